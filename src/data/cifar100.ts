import path from 'node:path';
import { UserError } from '../base/errors.js';
import { PIXELS, readRecords } from './cifar10.js';
import type { Dataset, DataSplits } from './dataset.js';
import { described, descriptionIn } from './describe.js';
import { SHAPES } from './shapes.js';
import { lengthOf, placeWith } from './userFiles.js';

/** An image of the binary version: its coarse and fine label, then its red, green and blue planes. */
const LABEL_BYTES = 2;
const RECORD_BYTES = LABEL_BYTES + 3 * PIXELS;
/** The folder in the archive of the binary version. */
const ARCHIVE_FOLDER = 'cifar-100-binary';
const MOST_IMAGES = 100_000;

/**
 * CIFAR-100 with its 100 fine labels, from a folder with train.bin and test.bin of the official binary version,
 * or from its parent folder.
 *
 * @throws UserError that names a file that is missing or damaged
 */
export async function readCifar100Folder(folder: string): Promise<DataSplits> {
  const { place, present } = await placeWith(folder, ARCHIVE_FOLDER, (names) =>
    names.has('train.bin'),
  );
  for (const name of ['train.bin', 'test.bin']) {
    if (present.has(name)) continue;
    const python = present.has('train') && present.has('test');
    throw new UserError(
      `${place} ${python ? 'holds the Python version of CIFAR-100' : `lacks ${name}`}: put train.bin and test.bin of the binary version of CIFAR-100 there (cifar-100-binary.tar.gz)`,
    );
  }
  const [train, test] = [
    await readSplit(path.join(place, 'train.bin')),
    await readSplit(path.join(place, 'test.bin')),
  ];
  const description = await descriptionIn(place, present);
  return described({ train, test }, { classes: SHAPES.cifar100.classes, ...description }, place);
}

async function readSplit(file: string): Promise<Dataset> {
  const length = await lengthOf(file, 'the original CIFAR-100 file');
  const count = length / RECORD_BYTES;
  if (!Number.isInteger(count) || count < 1 || count > MOST_IMAGES) {
    throw new UserError(
      `${file} has ${length} bytes, which are no whole images of ${RECORD_BYTES}: download it again`,
    );
  }
  const images = new Uint8Array(count * 3 * PIXELS);
  const dataset = { ...SHAPES.cifar100, count, images, labels: new Uint8Array(count) };
  await readRecords(file, LABEL_BYTES, dataset);
  return dataset;
}
