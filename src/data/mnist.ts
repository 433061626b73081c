import path from 'node:path';
import { promisify } from 'node:util';
import { constants, gunzip } from 'node:zlib';
import { codeOf, messageOf, UserError } from '../base/errors.js';
import { readUserFile } from '../base/files.js';
import type { DataFiles } from './cache.js';
import type { Dataset, DataSplits } from './dataset.js';
import { lengthOf, namesIn } from './userFiles.js';
import { idxLength, idxShape, parseIdx, type Idx } from './idx.js';
import { decodeIdxFiles, imagesRank, LABELS_RANK, pair, type NamedIdx } from './labelled.js';
import { SHAPES } from './shapes.js';

/** The user's files are read into memory; the limit allows a million images of 28×28. */
const MAX_FILE_BYTES = 2 ** 30;

/** MNIST from its four files. */
export function decodeMnist(files: DataFiles): DataSplits {
  const split = (prefix: string): Dataset =>
    decodeIdxFiles(
      files,
      `${prefix}-images-idx3-ubyte`,
      `${prefix}-labels-idx1-ubyte`,
      SHAPES.mnist,
    );
  return { train: split('train'), test: split('t10k') };
}

/**
 * MNIST, or data in the same format such as Fashion-MNIST, from a folder with the four IDX files, each
 * gzipped or not, named like `train-images-idx3-ubyte` or `train-images.idx3-ubyte`.
 *
 * @throws UserError that names a file that is missing, damaged, or of another kind
 */
export async function readMnistFolder(folder: string): Promise<DataSplits> {
  const present = await namesIn(folder);
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
    pair(
      await idx(`${prefix}-images`, imagesRank(SHAPES.mnist)),
      await idx(`${prefix}-labels`, LABELS_RANK),
      SHAPES.mnist,
    );
  return { train: await split('train'), test: await split('t10k') };
}

/** Reads an IDX file; whether it is gzipped is detected from its content. */
async function readIdxFile(file: string, rank: number): Promise<Idx> {
  refuseTooLong(await lengthOf(file, 'the original MNIST file'), file);
  const bytes = await readUserFile(file);
  const gzipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return parseIdx(gzipped ? await gunzipIdx(bytes, rank, file) : bytes, rank, file);
}

const inflate = promisify<Uint8Array, object, Buffer>(gunzip);

/** Unzips an IDX file, but no more of it than its own header announces. */
async function gunzipIdx(bytes: Uint8Array, rank: number, file: string): Promise<Uint8Array> {
  try {
    // 4 kB of deflate data cannot expand beyond about 4 MB, so reading the header is safe.
    const head = await inflate(bytes.subarray(0, 4096), { finishFlush: constants.Z_SYNC_FLUSH });
    const expected = idxLength(idxShape(head, rank, file));
    refuseTooLong(expected, file);
    return await inflate(bytes, { maxOutputLength: expected, chunkSize: 2 ** 20 });
  } catch (error) {
    switch (codeOf(error)) {
      case 'ERR_BUFFER_TOO_LARGE':
        throw new UserError(
          `${file} is too long: it unpacks to more than its header announces; ` +
            'download it again',
        );
      case 'Z_BUF_ERROR':
        throw new UserError(`${file} is truncated: its gzip data ends early; download it again`);
      case 'Z_DATA_ERROR':
      case 'Z_NEED_DICT':
        throw new UserError(`${file} is damaged (gzip: ${messageOf(error)}); download it again`);
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
