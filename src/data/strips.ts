import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { decode, type DecodedPng } from 'fast-png';
import { Interrupted } from '../base/errors.js';
import { parseJson } from '../base/files.js';
import type { Progress } from '../base/progress.js';
import { shapeText } from '../base/text.js';
import { emptyIdx } from './idx.js';
import { problemOf, unexpected, type KnownFile, type Source, type Strips } from './sources.js';

/**
 * Decodes the strips and labels in the folder `from` and writes the IDX files of the cache into `to`.
 * Works strip by strip, to report progress and to keep only one in memory.
 *
 * @throws UserError if a file is damaged or of another kind; Interrupted if `signal` aborts; a system
 *   error if a file cannot be read or written
 */
export async function decodeStrips(
  source: Source,
  { image: [height, width], rows, classes, splits }: Strips,
  from: string,
  to: string,
  { progress, signal }: { progress: Progress; signal?: AbortSignal },
): Promise<void> {
  const refuse = (name: string, problem: string | undefined): void => {
    if (problem !== undefined) throw unexpected(source, `${name} ${problem}`);
  };
  const keep = async (bytes: Uint8Array, file: KnownFile): Promise<void> => {
    const problem = problemOf(bytes, file);
    if (problem !== undefined) throw unexpected(source, `decoded, ${problem}`);
    await writeFile(path.join(to, file.name), bytes);
  };

  const begun = performance.now();
  const total = splits.reduce((sum, { from: { strips } }) => sum + strips.length * rows, 0);
  const task = progress.start(`decode ${source.name}`, total, 'images');
  let summary: string | undefined;
  try {
    let done = 0;
    for (const { from: names, into } of splits) {
      const count = names.strips.length * rows;
      const labels = emptyIdx([count]);
      const json = await readFile(path.join(from, names.labels));
      refuse(names.labels, decodeLabels(json, classes, labels.data));
      await keep(labels.file, into.labels);

      const images = emptyIdx([count, height, width, 3]);
      const stripBytes = rows * height * width * 3;
      for (const [i, name] of names.strips.entries()) {
        if (signal?.aborted) throw new Interrupted(`decoding ${source.name} was stopped`);
        const png = await readFile(path.join(from, name));
        const pixels = images.data.subarray(i * stripBytes, (i + 1) * stripBytes);
        refuse(name, decodeStrip(png, height * width, rows, pixels));
        done += rows;
        task.update(done);
      }
      await keep(images.file, into.images);
    }
    summary = `${total} images in ${((performance.now() - begun) / 1000).toFixed(1)} s`;
  } finally {
    task.finish(summary);
  }
}

/**
 * Decodes a PNG of 8-bit RGB pixels into `pixels`, width·height·3 bytes. Checksums verify the strips
 * before decoding and the result after it; the checks here only give a more precise message.
 *
 * @returns the problem, as the rest of a sentence that begins with the file's name, or undefined
 */
export function decodeStrip(
  png: Uint8Array,
  width: number,
  height: number,
  pixels: Uint8Array,
): string | undefined {
  let image: DecodedPng;
  try {
    image = decode(png, { checkCrc: true });
  } catch {
    return 'is a damaged PNG';
  }
  const shapeOf = ({ width, height, channels, depth }: Omit<DecodedPng, 'data' | 'text'>): string =>
    `${shapeText([width, height, channels])} values of ${depth} bits`;
  const [found, expected] = [shapeOf(image), shapeOf({ width, height, channels: 3, depth: 8 })];
  if (found !== expected) return `is a PNG of ${found} instead of ${expected}`;
  pixels.set(image.data);
  return undefined;
}

/**
 * Decodes a JSON list of labels into `labels`, which has the expected length of the list.
 *
 * @returns the problem, as the rest of a sentence that begins with the file's name, or undefined
 */
export function decodeLabels(
  json: Buffer,
  classes: number,
  labels: Uint8Array,
): string | undefined {
  const list = parseJson(json.toString());
  if (list === undefined) return 'is not JSON';
  if (!Array.isArray(list)) return 'is not a list of labels';
  if (list.length !== labels.length) {
    return `has ${list.length} labels instead of ${labels.length}`;
  }
  const wrong = list.findIndex((label) => !isLabel(label, classes));
  if (wrong >= 0) return `has no integer from 0 to ${classes - 1} at position ${wrong}`;
  labels.set(list as number[]);
  return undefined;
}

function isLabel(value: unknown, classes: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < classes;
}
