import { makeRandom, permutation } from '../base/random.js';
import { type Dataset, imagesAt, slice } from './dataset.js';

export const TRAIN_ON = ['50k', '60k'] as const;
export const SPLITS = ['first', 'random'] as const;

/** Which of the images of a data set's training files are trained on. */
export interface Split {
  trainOn: (typeof TRAIN_ON)[number];
  /** Which 50 000: the first (default), or a random choice. */
  split?: (typeof SPLITS)[number];
}

/**
 * The images that are trained on, and the rest, for validation; undefined if there is none. A random choice
 * depends only on the seed and the number of images, and both parts keep the order of the files, so that split
 * and order are chosen independently.
 */
export function splitImages(
  all: Dataset,
  { trainOn, split }: Split,
  seed: number,
): { train: Dataset; validation?: Dataset } {
  const count = trainOn === '50k' ? 50_000 : all.count;
  if (count >= all.count) return { train: all };
  if (split !== 'random') {
    return { train: slice(all, 0, count), validation: slice(all, count, all.count) };
  }
  const order = permutation(all.count, makeRandom(seed, 'split'));
  return {
    train: imagesAt(all, order.slice(0, count).sort()),
    validation: imagesAt(all, order.slice(count).sort()),
  };
}
