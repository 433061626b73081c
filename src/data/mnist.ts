import path from 'node:path';
import { promisify } from 'node:util';
import { constants, gunzip } from 'node:zlib';
import { codeOf, messageOf, UserError } from '../base/errors.js';
import { readUserFile } from '../base/files.js';
import type { DataFiles } from './cache.js';
import type { Dataset, DataSplits } from './dataset.js';
import { described, descriptionIn } from './describe.js';
import { foreignData } from './foreignData.js';
import { isFilled, isFolder, lengthOf, namesIn } from './userFiles.js';
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

/** Where torchvision puts the files below the folder that it is given. */
const INNER_FOLDERS = ['MNIST', 'mnist', 'raw'];

/**
 * MNIST, or data in the same format such as Fashion-MNIST, from a folder with the four IDX files, or from a
 * folder with `MNIST/raw`. Each is gzipped or not, named like `train-images-idx3-ubyte` or
 * `train-images.idx3-ubyte` in any case, or lies in a folder of such a name.
 *
 * @throws UserError that names a file that is missing, damaged, or of another kind
 */
export async function readMnistFolder(folder: string): Promise<DataSplits> {
  const place = await placeOf(folder);
  const present = await namesIn(place);
  const idx = async (part: string, rank: number): Promise<NamedIdx> => {
    const file = await fileOf(place, present, namesOf(part, rank));
    if (file !== undefined) return { file, ...(await readIdxFile(file, [rank])) };
    const foreign = foreignData(place, present, 'mnist');
    if (foreign !== undefined) throw new UserError(foreign);
    const [name] = namesOf(part, rank);
    throw new UserError(
      `${place} lacks ${name} (or ${name}.gz): put the four original files of MNIST there, ` +
        'or leave the data folder out to have them fetched',
    );
  };
  const split = async (prefix: string): Promise<Dataset> =>
    pair(
      await idx(`${prefix}-images`, imagesRank(SHAPES.mnist)),
      await idx(`${prefix}-labels`, LABELS_RANK),
      SHAPES.mnist,
    );
  const splits = { train: await split('train'), test: await split('t10k') };
  const description = await descriptionIn(place, present);
  return described(splits, { classes: SHAPES.mnist.classes, ...description }, place);
}

/** The names under which a file is distributed. */
function namesOf(part: string, rank: number): string[] {
  const names = [`${part}-idx${rank}-ubyte`, `${part}.idx${rank}-ubyte`];
  return [...names, ...names.map((name) => `${name}.gz`)];
}

/** The folder itself if it has any of the files, else the one in it that has. */
async function placeOf(folder: string): Promise<string> {
  const first = namesOf('train-images', imagesRank(SHAPES.mnist));
  let place = folder;
  for (let depth = 0; depth <= 2; depth++) {
    const present = await namesIn(place);
    if ([...present].some((name) => first.includes(name.toLowerCase()))) return place;
    const inner = INNER_FOLDERS.find((name) => present.has(name));
    if (inner === undefined || !(await isFolder(path.join(place, inner)))) return folder;
    place = path.join(place, inner);
  }
  return folder;
}

/**
 * The file of one of these names, in any case, or in a folder of such a name. An empty one counts only if there
 * is no other, and so does a folder without any.
 */
async function fileOf(
  folder: string,
  present: ReadonlySet<string>,
  names: readonly string[],
): Promise<string | undefined> {
  const among = (found: Iterable<string>): string[] =>
    names.flatMap((name) => [...found].filter((one) => one.toLowerCase() === name));
  const candidates: string[] = [];
  for (const name of among(present)) {
    const file = path.join(folder, name);
    if (!(await isFolder(file))) candidates.push(file);
    else for (const one of among(await namesIn(file))) candidates.push(path.join(file, one));
  }
  for (const file of candidates) if (await isFilled(file)) return file;
  const name = among(present).at(0);
  return candidates.at(0) ?? (name === undefined ? undefined : path.join(folder, name));
}

/** Reads an IDX file with one of these numbers of dimensions; whether it is gzipped is detected from its content. */
export async function readIdxFile(file: string, ranks: readonly number[]): Promise<Idx> {
  refuseTooLong(await lengthOf(file, 'an IDX file'), file);
  const bytes = await readUserFile(file, MAX_FILE_BYTES);
  const gzipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return parseIdx(gzipped ? await gunzipIdx(bytes, ranks, file) : bytes, ranks, file);
}

const inflate = promisify<Uint8Array, object, Buffer>(gunzip);

/** Unzips an IDX file, but no more of it than its own header announces. */
async function gunzipIdx(
  bytes: Uint8Array,
  ranks: readonly number[],
  file: string,
): Promise<Uint8Array> {
  try {
    // 4 kB of deflate data cannot expand beyond about 4 MB, so reading the header is safe.
    const head = await inflate(bytes.subarray(0, 4096), { finishFlush: constants.Z_SYNC_FLUSH });
    const expected = idxLength(idxShape(head, ranks, file));
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
    `${file} claims ${bytes} bytes, more than the ${MAX_FILE_BYTES} that are read: give a smaller file`,
  );
}
