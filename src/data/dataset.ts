import { UserError } from '../base/errors.js';
import { copyRows } from '../base/rows.js';
import type { ImageShape } from './shapes.js';

/** Images as bytes, N×height×width×channels (NHWC), and their labels, 0 ≤ label < classes. */
export interface Dataset extends ImageShape {
  /** N, the number of images. */
  count: number;
  images: Uint8Array;
  labels: Uint8Array;
  /** The names of the classes, in the order of the labels, if the files tell them. */
  names?: readonly string[];
}

/** A copy of the pixels of one image, height × width × channels. */
export function imageAt({ images, height, width, channels }: Dataset, i: number): Uint8Array {
  const size = height * width * channels;
  return images.slice(i * size, (i + 1) * size);
}

export interface DataSplits {
  /** Without images where a folder has only those for tests. */
  train: Dataset;
  test: Dataset;
}

/** @throws UserError if there are no images for training */
export function refuseNoTraining({ count }: Dataset): void {
  if (count > 0) return;
  throw new UserError(
    'there are no images for training: put train-images-idx3-ubyte and train-labels-idx1-ubyte into the data folder',
  );
}

/** @throws UserError if more images are to be evaluated than there are */
export function refuseMoreImages(test: Dataset, count: number | 'all'): void {
  if (count === 'all' || count <= test.count) return;
  throw new UserError(
    `evaluation.images: expected all or at most the ${test.count} test images, found ${count}`,
  );
}

/**
 * The first `count` images of a data set, or all if there are fewer.
 *
 * @throws UserError if `count` is negative or not whole
 */
export function firstImages(data: Dataset, count: number | 'all'): Dataset {
  if (count === 'all' || count >= data.count) return data;
  return slice(data, 0, count);
}

/** Copies of the images at these positions. */
export function imagesAt(data: Dataset, positions: ArrayLike<number>): Dataset {
  const size = data.height * data.width * data.channels;
  const images = new Uint8Array(positions.length * size);
  return withImages(data, positions, copyRows(images, data.images, positions, size));
}

/** These images, made of those at these positions, with the labels of those. */
export function withImages(
  data: Dataset,
  positions: ArrayLike<number>,
  images: Uint8Array,
): Dataset {
  const labels = Uint8Array.from(positions, (position) => data.labels[position]);
  return { ...data, count: positions.length, images, labels };
}

/**
 * Images from `begin` to `end`, exclusive; the arrays are views.
 *
 * @throws UserError if the data set has no such images: it would claim more than it has
 */
export function slice(data: Dataset, begin: number, end: number): Dataset {
  const whole = Number.isInteger(begin) && Number.isInteger(end);
  if (!whole || begin < 0 || end < begin || end > data.count) {
    throw new UserError(
      `there are no images from ${begin} to ${end} in a data set of ${data.count}: give whole numbers, 0 ≤ begin ≤ end ≤ ${data.count}`,
    );
  }
  const size = data.height * data.width * data.channels;
  return {
    ...data,
    count: end - begin,
    images: data.images.subarray(begin * size, end * size),
    labels: data.labels.subarray(begin, end),
  };
}
