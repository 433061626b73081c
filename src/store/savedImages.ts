import { existsSync, readFileSync } from 'node:fs';
import { stringify } from 'csv-stringify/sync';
import { encode } from 'fast-png';
import type { Norm } from '../attacks/attack.js';
import { emptyIdx } from '../data/idx.js';
import type { Dataset } from '../data/dataset.js';
import type { AdversarialExamples, Evaluation } from '../metrics/evaluation.js';
import type { ResultFolder } from './resultFolder.js';

export const IMAGE_FORMATS = ['npy', 'idx', 'png'] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** The list of all images, which is written last: where it is, the others are. */
const LIST = 'images.csv';
const HEADINGS = [
  ...['file', 'row', 'index', 'label', 'asked', 'norm', 'budget', 'attack', 'linf', 'l2'],
] as const;

/** The adversarial examples of an attack, or of one budget of `auto`. */
interface Series {
  /** The beginning of the names of files: `fgs`, `auto-linf-16`. */
  stem: string;
  asked: string;
  norm: Norm | '';
  budget: number | '';
  examples: AdversarialExamples;
  /** Who fooled the image at this position in the data set. */
  by: (position: number) => string;
}

/** Whether a folder holds images in this format, or the list of none. */
export function hasImages(folder: ResultFolder, format: ImageFormat): boolean {
  const list = folder.file('images', LIST);
  if (!existsSync(list)) return false;
  const [, first = ''] = readFileSync(list, 'utf8').split('\n');
  return first === '' || first.includes(`.${format},`);
}

/**
 * Writes the adversarial examples of an evaluation, integers from 0 to 255, with labels and positions in the test set,
 * into the folder `images`, instead of what is there.
 *
 * @throws UserError if they cannot be written
 */
export function writeImages(
  folder: ResultFolder,
  format: ImageFormat,
  { attacks, atBudgets = [] }: Evaluation,
  test: Dataset,
): void {
  const smallest = [...attacks].flatMap(([name, { examples }]): Series[] => {
    const all = { asked: 'smallest', norm: '', budget: '', by: () => name } as const;
    return examples ? [{ stem: name, examples, ...all }] : [];
  });
  const within = atBudgets.flatMap(({ norm, budget, by, examples }): Series[] => {
    const stem = `auto-${norm}-${Number(budget.toFixed(4))}`;
    const all = { asked: 'within', norm, budget, by: (at: number) => by[at] ?? '' } as const;
    return examples ? [{ stem, examples, ...all }] : [];
  });
  folder.remove('images');
  const lines: (string | number)[][] = [];
  for (const series of [...smallest, ...within]) {
    const { stem, asked, norm, budget, examples, by } = series;
    const { positions } = examples;
    const files = filesOf(format, stem, examples, test);
    for (const [name, content] of files) folder.write('images', content, name);
    const size = test.height * test.width * test.channels;
    positions.forEach((position, row) => {
      const change = changeOf(
        examples.images.subarray(row * size, (row + 1) * size),
        test.images.subarray(position * size, (position + 1) * size),
      );
      lines.push([
        ...[nameOf(format, stem, position), format === 'png' ? 0 : row, position],
        ...[test.labels[position], asked, norm, budget, by(position)],
        ...[change.linf, Number(change.l2.toFixed(4))],
      ]);
    });
  }
  folder.write('images', stringify([[...HEADINGS], ...lines]), LIST);
}

/** The file that an image is in. */
function nameOf(format: ImageFormat, stem: string, position: number): string {
  if (format === 'npy') return `${stem}.npy`;
  if (format === 'png') return `${stem}/${String(position).padStart(5, '0')}.png`;
  return `${stem}-images.idx`;
}

/** The shape of images as files have it: grey ones without channels. */
function shapeOf(count: number, { height, width, channels }: Dataset): number[] {
  return channels === 1 ? [count, height, width] : [count, height, width, channels];
}

function filesOf(
  format: ImageFormat,
  stem: string,
  { positions, images }: AdversarialExamples,
  test: Dataset,
): [name: string, content: Uint8Array][] {
  const { height, width, channels } = test;
  const labels = Uint8Array.from(positions, (position) => test.labels[position]);
  const shape = shapeOf(positions.length, test);
  const name = nameOf(format, stem, 0);
  switch (format) {
    case 'npy':
      return [
        [name, npy('|u1', shape, images)],
        [`${stem}-labels.npy`, npy('|u1', [labels.length], labels)],
        [`${stem}-indices.npy`, npy('<u4', [positions.length], littleEndian(positions))],
      ];
    case 'idx':
      return [
        [name, idx(shape, images)],
        [`${stem}-labels.idx`, idx([labels.length], labels)],
        [`${stem}-indices.idx`, idxOfIntegers(positions)],
      ];
    case 'png': {
      const size = height * width * channels;
      return Array.from(positions, (position, row) => {
        const data = images.subarray(row * size, (row + 1) * size);
        return [
          nameOf(format, stem, position),
          encode({ width, height, channels, depth: 8, data }),
        ];
      });
    }
  }
}

/** NumPy's format, version 1.0. */
function npy(type: string, shape: readonly number[], data: Uint8Array): Uint8Array {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': ${tuple}, }`;
  // Magic, version and length are 10 bytes; spaces and a line feed make a multiple of 64 of it.
  const header = Buffer.from(`${text.padEnd(64 * Math.ceil((text.length + 11) / 64) - 11)}\n`);
  const length = Buffer.alloc(2);
  length.writeUInt16LE(header.length);
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), length, header, data]);
}

function littleEndian(values: Uint32Array): Uint8Array {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32LE(value, 4 * i));
  return bytes;
}

function idx(shape: number[], values: Uint8Array): Uint8Array {
  const { file, data } = emptyIdx(shape);
  data.set(values);
  return file;
}

/** The type of IDX files whose elements are integers of four bytes, the most significant first. */
const INTEGER = 0x0c;

function idxOfIntegers(values: Uint32Array): Uint8Array {
  const bytes = Buffer.alloc(8 + 4 * values.length);
  bytes.set([0, 0, INTEGER, 1]);
  bytes.writeUInt32BE(values.length, 4);
  values.forEach((value, i) => bytes.writeInt32BE(value, 8 + 4 * i));
  return bytes;
}

function changeOf(image: Uint8Array, original: Uint8Array): { linf: number; l2: number } {
  let [linf, squares] = [0, 0];
  image.forEach((value, p) => {
    const change = Math.abs(value - original[p]);
    linf = Math.max(linf, change);
    squares += change ** 2;
  });
  return { linf, l2: Math.sqrt(squares) };
}
