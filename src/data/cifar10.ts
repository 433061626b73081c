import path from 'node:path';
import { UserError } from '../base/errors.js';
import { readUserFile } from '../base/files.js';
import type { DataFiles } from './cache.js';
import type { Dataset, DataSplits } from './dataset.js';
import { foreignData } from './foreignData.js';
import { lengthOf, placeWith } from './userFiles.js';
import { decodeIdxFiles, refuseWrongLabel } from './labelled.js';
import { SHAPES } from './shapes.js';

const SHAPE = SHAPES.cifar10;
export const PIXELS = SHAPE.height * SHAPE.width;

/** An image of the binary version: its label, then its red, green and blue planes. */
const RECORD_BYTES = 1 + 3 * PIXELS;

/** The folder in the archive of the binary version. */
const ARCHIVE_FOLDER = 'cifar-10-batches-bin';
const TRAIN_FILES = [1, 2, 3, 4, 5].map((batch) => `data_batch_${batch}.bin`);
const TEST_FILES = ['test_batch.bin'];

/** CIFAR-10 from the files that its strips were decoded into. */
export function decodeCifar10(files: DataFiles): DataSplits {
  const split = (prefix: string): Dataset =>
    decodeIdxFiles(files, `${prefix}-images-idx4-ubyte`, `${prefix}-labels-idx1-ubyte`, SHAPE);
  return { train: split('train'), test: split('test') };
}

/**
 * CIFAR-10, or data in the same format, from a folder with the six files of the official binary
 * version, or from its parent folder.
 *
 * @param imagesPerFile 10 000 in the official files
 * @throws UserError that names a file that is missing, damaged, or of another kind
 */
export async function readCifar10Folder(
  folder: string,
  imagesPerFile = 10_000,
): Promise<DataSplits> {
  const { place, present } = await placeWith(
    folder,
    ARCHIVE_FOLDER,
    (names) => named(names, TRAIN_FILES[0]) !== undefined,
  );
  const missing = [...TRAIN_FILES, ...TEST_FILES].find((name) => !named(present, name));
  if (missing !== undefined) {
    const foreign = foreignData(place, present, 'cifar10');
    if (foreign !== undefined) throw new UserError(foreign);
    throw new UserError(
      `${place} lacks ${missing}: put the six files of the binary version of CIFAR-10 there, ` +
        'or leave the data folder out to have them fetched',
    );
  }
  const split = (names: string[]): Promise<Dataset> =>
    readSplit(
      names.map((name) => path.join(place, named(present, name)!)),
      imagesPerFile,
    );
  return { train: await split(TRAIN_FILES), test: await split(TEST_FILES) };
}

/** The file of this name, in any case. */
function named(present: ReadonlySet<string>, name: string): string | undefined {
  if (present.has(name)) return name;
  return [...present].find((one) => one.toLowerCase() === name);
}

async function readSplit(files: string[], imagesPerFile: number): Promise<Dataset> {
  const count = files.length * imagesPerFile;
  const images = new Uint8Array(count * 3 * PIXELS);
  const labels = new Uint8Array(count);
  for (const [i, file] of files.entries()) {
    const length = await lengthOf(file, 'the original CIFAR-10 file');
    if (length > 0 && length % RECORD_BYTES === 0 && length !== imagesPerFile * RECORD_BYTES) {
      throw new UserError(
        `${file} holds ${length / RECORD_BYTES} images instead of CIFAR-10's ${imagesPerFile}: download it again, or give images of your own as data: idx`,
      );
    }
    refuseOtherLength(length, imagesPerFile * RECORD_BYTES, file);
    const [begin, end] = [i * imagesPerFile, (i + 1) * imagesPerFile];
    await readRecords(file, 1, {
      ...SHAPE,
      images: images.subarray(begin * 3 * PIXELS, end * 3 * PIXELS),
      labels: labels.subarray(begin, end),
    });
  }
  return { ...SHAPE, count, images, labels };
}

/**
 * Reads images and labels from records of `labelBytes` label bytes, of which the last counts, and three colour planes.
 *
 * @param into filled; says how many images there are
 * @throws UserError if the file is of another length, or a label is not of a class
 */
export async function readRecords(
  file: string,
  labelBytes: number,
  { images, labels, classes }: Pick<Dataset, 'images' | 'labels' | 'classes'>,
): Promise<void> {
  const record = labelBytes + 3 * PIXELS;
  const expected = labels.length * record;
  const bytes = await readUserFile(file, expected);
  // The file may have changed since its length was looked up.
  refuseOtherLength(bytes.length, expected, file);
  for (let i = 0; i < labels.length; i++) labels[i] = bytes[i * record + labelBytes - 1];
  refuseWrongLabel(labels, classes, file);
  interleave(bytes, images, labelBytes);
}

function refuseOtherLength(bytes: number, expected: number, file: string): void {
  if (bytes === expected) return;
  throw new UserError(
    `${file} is ${bytes < expected ? 'truncated' : 'too long'}: it has ${bytes} bytes instead of ` +
      `${expected}; download it again`,
  );
}

/** Converts records of `labels` bytes and three colour planes to images [N,H,W,3]. */
function interleave(records: Uint8Array, images: Uint8Array, labels: number): void {
  let to = 0;
  const bytes = labels + 3 * PIXELS;
  for (let record = 0; record + bytes <= records.length; record += bytes) {
    for (let red = record + labels; red < record + labels + PIXELS; red++) {
      images[to++] = records[red];
      images[to++] = records[red + PIXELS];
      images[to++] = records[red + 2 * PIXELS];
    }
  }
}
