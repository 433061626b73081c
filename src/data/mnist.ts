import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { constants, gunzip } from 'node:zlib';
import { codeOf, messageOf, UserError } from '../errors.js';
import { readUserFile, reason } from '../files.js';
import type { DataFiles } from './cache.js';
import type { Dataset, DataSplits } from './dataset.js';
import { idxLength, idxShape, parseIdx, type Idx } from './idx.js';

const SIDE = 28;
const CLASSES = 10;

const IMAGES_RANK = 3;
const LABELS_RANK = 1;

/** The user's files are read whole; a million images of 28×28 fit. */
const MAX_FILE_BYTES = 2 ** 30;

/** An IDX array and the file it is from, for messages. */
interface NamedIdx extends Idx {
  file: string;
}

/** MNIST from the four files of its source. */
export function decodeMnist(files: DataFiles): DataSplits {
  const idx = (file: string, rank: number): NamedIdx => {
    const bytes = files.get(file);
    if (bytes === undefined) throw new Error(`the source of MNIST lacks ${file}`);
    return { file, ...parseIdx(bytes, rank, file) };
  };
  const split = (prefix: string): Dataset =>
    toDataset(
      idx(`${prefix}-images-idx3-ubyte`, IMAGES_RANK),
      idx(`${prefix}-labels-idx1-ubyte`, LABELS_RANK),
    );
  return { train: split('train'), test: split('t10k') };
}

/**
 * MNIST, or data in its form such as Fashion-MNIST, from a folder with the four original IDX files,
 * each gzipped or not: `train-images-idx3-ubyte` and so on, or `train-images.idx3-ubyte`.
 *
 * @throws UserError that names the file which is missing, damaged, or of another kind
 */
export async function readMnistFolder(folder: string): Promise<DataSplits> {
  const present = new Set(
    await readdir(folder).catch((error: unknown) => {
      throw new UserError(`cannot read the data folder ${folder}: ${reason(error)}`);
    }),
  );
  const idx = async (part: string, rank: number): Promise<NamedIdx> => {
    const name = `${part}-idx${rank}-ubyte`;
    const variant = `${part}.idx${rank}-ubyte`;
    const found = [name, variant, `${name}.gz`, `${variant}.gz`].find((file) => present.has(file));
    if (found === undefined) {
      throw new UserError(
        `${folder} lacks ${name} (or ${name}.gz): put the four original files of MNIST there, ` +
          'or leave the data folder out to have them fetched',
      );
    }
    const file = path.join(folder, found);
    return { file, ...(await readIdxFile(file, rank)) };
  };
  const split = async (prefix: string): Promise<Dataset> =>
    toDataset(
      await idx(`${prefix}-images`, IMAGES_RANK),
      await idx(`${prefix}-labels`, LABELS_RANK),
    );
  return { train: await split('train'), test: await split('t10k') };
}

/** Reads an IDX file, gzipped or not, whatever its name says. */
async function readIdxFile(file: string, rank: number): Promise<Idx> {
  const status = await stat(file).catch((error: unknown) => {
    throw new UserError(`cannot read ${file}: ${reason(error)}`);
  });
  if (!status.isFile()) {
    throw new UserError(`${file} is not a file: put the original MNIST file there`);
  }
  refuseTooLong(status.size, file);
  const bytes = await readUserFile(file);
  const gzipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return parseIdx(gzipped ? await gunzipIdx(bytes, rank, file) : bytes, rank, file);
}

const inflate = promisify<Uint8Array, object, Buffer>(gunzip);

/** Unzips an IDX file, and never more of it than its own header announces. */
async function gunzipIdx(bytes: Uint8Array, rank: number, file: string): Promise<Uint8Array> {
  try {
    // Deflate cannot grow 4 kB beyond 4 MB, so this look at the header is harmless.
    const head = await inflate(bytes.subarray(0, 4096), { finishFlush: constants.Z_SYNC_FLUSH });
    const expected = idxLength(idxShape(head, rank, file));
    refuseTooLong(expected, file);
    return await inflate(bytes, { maxOutputLength: expected, chunkSize: 2 ** 20 });
  } catch (error) {
    switch (codeOf(error)) {
      case 'ERR_BUFFER_TOO_LARGE':
        throw new UserError(
          `${file} is too long: it unpacks to more than its header announces; ` +
            'fetch it again from where it came',
        );
      case 'Z_BUF_ERROR':
        throw new UserError(
          `${file} is truncated: its gzip data ends early; fetch it again from where it came`,
        );
      case 'Z_DATA_ERROR':
      case 'Z_NEED_DICT':
        throw new UserError(
          `${file} is damaged (gzip: ${messageOf(error)}); fetch it again from where it came`,
        );
      default:
        throw error;
    }
  }
}

function refuseTooLong(bytes: number, file: string): void {
  if (bytes <= MAX_FILE_BYTES) return;
  throw new UserError(
    `${file} claims ${bytes} bytes, more than the ${MAX_FILE_BYTES} that are read: ` +
      'give the original MNIST file',
  );
}

/** Pairs images and labels, after checking that they are MNIST's kind and fit each other. */
function toDataset(images: NamedIdx, labels: NamedIdx): Dataset {
  const [count, height, width] = images.shape as [number, number, number];
  const [labelCount] = labels.shape as [number];
  if (height !== SIDE || width !== SIDE) {
    throw new UserError(
      `${images.file} has images of ${height}×${width} pixels: give images of ${SIDE}×${SIDE}`,
    );
  }
  if (count === 0) throw new UserError(`${images.file} holds no image: give at least one`);
  if (count !== labelCount) {
    throw new UserError(
      `${images.file} holds ${count} images, but ${labels.file} ${labelCount} labels: ` +
        'give two files that belong together',
    );
  }
  const wrong = labels.data.findIndex((label) => label >= CLASSES);
  if (wrong >= 0) {
    throw new UserError(
      `label ${wrong} of ${labels.file} is ${labels.data[wrong]}: give labels from 0 to ${CLASSES - 1}`,
    );
  }
  return {
    height,
    width,
    channels: 1,
    classes: CLASSES,
    count,
    images: images.data,
    labels: labels.data,
  };
}
