import type { Dataset } from '../data/dataset.js';
import { UserError } from '../base/errors.js';
import type { Progress } from '../base/progress.js';
import { makeRandom, permutation } from '../base/random.js';
import { printable } from '../base/text.js';
import type { NoiseStudy } from '../config/noise.js';

/**
 * Before the networks are trained in vain: no stage could find images of a class that the data lack.
 *
 * @throws UserError if a class has no test images
 */
export function refuseEmptyClasses({ classes, labels, names }: Dataset): void {
  const found = new Set(labels);
  for (let label = 0; label < classes; label++) {
    if (found.has(label)) continue;
    const name = names ? ` (${printable(names[label])})` : '';
    throw new UserError(
      `class ${label}${name} has no test images, but a noise study draws equally many of each class: add some to the test data, or leave the class out of all data`,
    );
  }
}

/**
 * Draws the same number of images of each class, by the study's seed: as many as the study asks for or
 * the scarcest class has.
 *
 * @param both 1 for each image that both networks classify correctly at all stages
 * @returns positions in ascending order
 * @throws UserError if a class has no such image
 */
export function choose(
  { seed, images, stages }: NoiseStudy,
  test: Dataset,
  both: Uint8Array,
  progress: Progress,
): Uint32Array {
  const candidates = Array.from({ length: test.classes }, (): number[] => []);
  both.forEach((right, n) => {
    if (right) candidates[test.labels[n]].push(n);
  });
  const least = Math.min(...candidates.map(({ length }) => length));
  if (least < images) {
    const scarce = `class ${candidates.findIndex(({ length }) => length === least)}`;
    const such = `test images that both networks classify correctly at all ${stages.length} stages`;
    if (least === 0)
      throw new UserError(`${scarce} has no ${such}: choose fewer stages with --set every=N`);
    progress.note(
      `${scarce} has only ${least} ${such}: ${least} of each class are used, not ${images}`,
    );
  }
  const chosen = candidates.flatMap((positions, label) => {
    const order = permutation(positions.length, makeRandom(seed, 'noise/images', label));
    return [...order.subarray(0, Math.min(images, least))].map((n) => positions[n]);
  });
  return Uint32Array.from(chosen).sort();
}
