import type { Adversarials } from './attack.js';
import type { Originals } from './classifier.js';

/** The norms of perturbations, in grey levels; NaN if the attack failed. */
export interface PerturbationNorms {
  /** The largest change of a pixel. */
  linf: Float32Array;
  l2: Float32Array;
}

/** The norms of what an attack made of each original. */
export function perturbationNorms(
  { count, size, images: originals }: Originals,
  { images, fooled }: Adversarials,
): PerturbationNorms {
  const linf = new Float32Array(count).fill(NaN);
  const l2 = new Float32Array(count).fill(NaN);
  for (let image = 0; image < count; image++) {
    if (!fooled[image]) continue;
    let [largest, squares] = [0, 0];
    for (let p = image * size; p < (image + 1) * size; p++) {
      const change = Math.abs(images[p] - originals[p]);
      largest = Math.max(largest, change);
      squares += change ** 2;
    }
    linf[image] = largest;
    l2[image] = Math.sqrt(squares);
  }
  return { linf, l2 };
}
