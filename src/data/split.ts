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
 * The images that are trained on, and the rest, for validation; undefined if there is none. Both parts keep the
 * order of the files, so that split and order are chosen independently.
 */
export function splitImages(
  all: Dataset,
  split: Split,
  seed: number,
): { train: Dataset; validation?: Dataset } {
  const count = trainedOn(all.count, split);
  if (count === all.count) return { train: all };
  if (split.split !== 'random') {
    return { train: slice(all, 0, count), validation: slice(all, count, all.count) };
  }
  const members = membersOf(all.count, split, seed);
  const positions = Uint32Array.from(members.keys());
  return {
    train: imagesAt(
      all,
      positions.filter((i) => members[i] === 1),
    ),
    validation: imagesAt(
      all,
      positions.filter((i) => members[i] === 0),
    ),
  };
}

/**
 * 1 for each of the images that is trained on, else 0. A random choice depends only on the seed and the number of
 * images.
 */
export function membersOf(images: number, split: Split, seed: number): Uint8Array {
  const members = new Uint8Array(images);
  const count = trainedOn(images, split);
  if (split.split !== 'random') return members.fill(1, 0, count);
  const order = permutation(images, makeRandom(seed, 'split'));
  for (const position of order.subarray(0, count)) members[position] = 1;
  return members;
}

/** How many images are trained on. */
export function trainedOn(images: number, { trainOn }: Split): number {
  return trainOn === '50k' ? Math.min(50_000, images) : images;
}
