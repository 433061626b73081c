import { tf } from '../base/tf.js';
import type { Batch } from '../engine/ops/batch.js';
import { roundedNormal } from '../engine/noise.js';
import { addNoise } from '../engine/ops/perturbation.js';
import { makeRandom } from '../base/random.js';

/** How training images are changed each time they are used. */
export interface Augment {
  /** The standard deviation of Gaussian noise, in grey levels. */
  noise: number;
}

/** Changes a batch of iteration t, whose images are at these positions of the training data. */
export type Augmentation = (batch: Batch, positions: Uint32Array, t: number) => Batch;

/**
 * Noise on training images, rounded and clipped as in the study of random distortions. It depends on the seed, the
 * image and how many images were used before, so it is new at each use, the same on every engine and with any number
 * of threads, and known wherever a run is resumed.
 */
export function augmentation(augment: Augment | undefined, seed: number): Augmentation {
  if (!augment) return (batch) => batch;
  const distribution = roundedNormal(augment.noise);
  // Not the seed itself: a study of that seed must not add noise to test images that training has seen.
  const noiseSeed = makeRandom(seed, 'augment/noise').bits();
  return ({ pixels, labels }, positions, t) => {
    const [, height, width, channels] = pixels.shape;
    const noisy = [...positions].map((image, i) => {
      const one = tf.slice4d(pixels, [i, 0, 0, 0], [1, height, width, channels]);
      const use = (t * positions.length + i) % 2 ** 32;
      const source = { seed: noiseSeed, image, firstCopy: use };
      return addNoise(tf.reshape(one, [height, width, channels]), 1, source, distribution);
    });
    return { pixels: tf.concat4d(noisy, 0), labels };
  };
}
