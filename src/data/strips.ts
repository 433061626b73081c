import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { crc32, inflateSync } from 'node:zlib';
import { decode } from 'fast-png';
import { codeOf, Interrupted, messageOf } from '../base/errors.js';
import type { Progress } from '../base/progress.js';
import { emptyIdx } from './idx.js';
import { problemOf, unexpected, type KnownFile, type Source, type Strips } from './sources.js';

/**
 * Decodes the strips and labels of a package, which lie in `from`, and writes the IDX files of the
 * cache into `to`. One strip after the other, so that progress shows and memory holds one.
 *
 * @throws UserError if one is damaged or of another kind; Interrupted if `signal` aborts; what the
 *   file system says if a file cannot be read or written
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
 * Decodes a PNG of 8-bit RGB pixels into `pixels`, width·height·3 bytes. Nothing is unpacked of an
 * image of another size, however large it claims to be, and nothing beyond that size.
 *
 * @returns what is wrong with it, as the rest of a sentence that begins with its name
 */
export function decodeStrip(
  png: Uint8Array,
  width: number,
  height: number,
  pixels: Uint8Array,
): string | undefined {
  const chunks = readChunks(png);
  if (typeof chunks === 'string') return chunks;
  // The PNG reader unpacks whatever there is, and takes missing rows for black ones.
  const problem =
    problemOfHeader(chunks.header, width, height) ??
    problemOfData(chunks.data, height * (1 + width * 3));
  if (problem !== undefined) return problem;
  try {
    pixels.set(decode(png).data);
  } catch (error) {
    return `is a damaged PNG (${messageOf(error)})`;
  }
  return undefined;
}

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
const HEADER_BYTES = 13;

/** A strip is a header, image data and an end: what else a PNG may hold could change its meaning. */
function readChunks(png: Uint8Array): { header: Buffer; data: Buffer[] } | string {
  const bytes = Buffer.from(png.buffer, png.byteOffset, png.byteLength);
  if (!bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) return 'is not a PNG';
  let header: Buffer | undefined;
  const data: Buffer[] = [];
  let at = SIGNATURE.length;
  // A chunk is the length of its content, its type, its content and a checksum.
  while (at + 12 <= bytes.length) {
    const end = at + 12 + bytes.readUInt32BE(at);
    if (end > bytes.length) break;
    const type = bytes.toString('latin1', at + 4, at + 8);
    const content = bytes.subarray(at + 8, end - 4);
    const sum = bytes.readUInt32BE(end - 4);
    if (crc32(bytes.subarray(at + 4, end - 4)) !== sum) return 'is a PNG with a wrong checksum';
    at = end;
    if (header === undefined) {
      if (type !== 'IHDR' || content.length !== HEADER_BYTES) return 'is a PNG without a header';
      header = content;
    } else if (type === 'IDAT') {
      data.push(content);
    } else if (type === 'IEND') {
      return at === bytes.length ? { header, data } : 'is a PNG that goes on after its end';
    } else {
      return 'is a PNG with more than a header and image data';
    }
  }
  return 'is a truncated PNG';
}

function problemOfHeader(header: Buffer, width: number, height: number): string | undefined {
  const found = `${header.readUInt32BE(0)}×${header.readUInt32BE(4)}`;
  if (found !== `${width}×${height}`) {
    return `is a PNG of ${found} pixels instead of ${width}×${height}`;
  }
  const [depth, colour, , , interlace] = header.subarray(8);
  const RGB = 2;
  if (depth !== 8 || colour !== RGB || interlace !== 0) {
    return (
      `is a PNG of depth ${depth}, colour type ${colour} and interlacing ${interlace} ` +
      `instead of 8, ${RGB} and 0`
    );
  }
  return undefined;
}

/** @param expected the length of the unpacked data */
function problemOfData(data: Buffer[], expected: number): string | undefined {
  try {
    const { length } = inflateSync(Buffer.concat(data), { maxOutputLength: expected });
    return length === expected ? undefined : 'is a PNG with too little image data';
  } catch (error) {
    return codeOf(error) === 'ERR_BUFFER_TOO_LARGE'
      ? 'is a PNG with too much image data'
      : `is a damaged PNG (${messageOf(error)})`;
  }
}

/**
 * Decodes a JSON list of labels into `labels`, which is as long as the list must be.
 *
 * @returns what is wrong with it, as the rest of a sentence that begins with its name
 */
export function decodeLabels(
  json: Buffer,
  classes: number,
  labels: Uint8Array,
): string | undefined {
  let list: unknown;
  try {
    list = JSON.parse(json.toString());
  } catch {
    return 'is not JSON';
  }
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
