import { UserError } from '../base/errors.js';
import { shapeText } from '../base/text.js';
import type { DataFiles } from './cache.js';
import type { Dataset } from './dataset.js';
import { parseIdx, type Idx } from './idx.js';
import type { ImageShape } from './shapes.js';

/** An IDX array, with the name of its file for messages. */
export interface NamedIdx extends Idx {
  file: string;
}

export const LABELS_RANK = 1;

/** The rank of the IDX array of such images. Grey images have no channel axis. */
export function imagesRank(shape: ImageShape): number {
  return 1 + axesOf(shape).length;
}

function axesOf({ height, width, channels }: ImageShape): number[] {
  return channels === 1 ? [height, width] : [height, width, channels];
}

/** Images and labels from two IDX files of the cache. */
export function decodeIdxFiles(
  files: DataFiles,
  images: string,
  labels: string,
  shape: ImageShape,
): Dataset {
  const idx = (file: string, rank: number): NamedIdx => {
    const bytes = files.get(file);
    if (bytes === undefined) throw new Error(`the source lacks ${file}`);
    return { file, ...parseIdx(bytes, [rank], file) };
  };
  return pair(idx(images, imagesRank(shape)), idx(labels, LABELS_RANK), shape);
}

/**
 * Pairs images and labels.
 *
 * @throws UserError if the images have another shape, there are none, their number differs from that of
 *   the labels, or a label is out of range
 */
export function pair(images: NamedIdx, labels: NamedIdx, shape: ImageShape): Dataset {
  const [count, ...found] = images.shape as [number, ...number[]];
  const [labelCount] = labels.shape as [number];
  const expected = axesOf(shape);
  if (found.join() !== expected.join()) {
    throw new UserError(
      `${images.file} has images of ${shapeText(found)} pixels: ` +
        `give images of ${shapeText(expected)}`,
    );
  }
  if (count === 0) throw new UserError(`${images.file} holds no image: give at least one`);
  if (count !== labelCount) {
    throw new UserError(
      `${images.file} holds ${count} images, but ${labels.file} ${labelCount} labels: ` +
        'give two files that belong together',
    );
  }
  refuseWrongLabel(labels.data, shape.classes, labels.file);
  return { ...shape, count, images: images.data, labels: labels.data };
}

/** @throws UserError that names the first label that is not below `classes` */
export function refuseWrongLabel(labels: Uint8Array, classes: number, file: string): void {
  const wrong = labels.findIndex((label) => label >= classes);
  if (wrong < 0) return;
  throw new UserError(
    `label ${wrong} of ${file} is ${labels[wrong]}: give labels from 0 to ${classes - 1}`,
  );
}
