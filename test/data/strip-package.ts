import { createHash } from 'node:crypto';
import { crc32, deflateSync } from 'node:zlib';
import { encode } from 'fast-png';
import type { KnownFile, Source, Strips } from '#bang/data/sources.js';
import { idxBytes } from './idx-bytes.js';
import { integrityOf, tarball } from './registry.js';

/** A PNG of 8-bit RGB pixels, as encoders make it. */
export function rgbPng(width: number, height: number, pixels: Uint8Array): Buffer {
  return Buffer.from(encode({ width, height, data: pixels, depth: 8, channels: 3 }));
}

/** A chunk of a PNG, with a true checksum. */
export function chunk(type: string, data: Uint8Array = new Uint8Array(0)): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

export const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');

/** The header chunk of a PNG that may be anything. */
export function header(
  width: number,
  height: number,
  { depth = 8, colour = 2, interlace = 0 } = {},
): Buffer {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width);
  data.writeUInt32BE(height, 4);
  data.set([depth, colour, 0, 0, interlace], 8);
  return chunk('IHDR', data);
}

/** The chunk of image data that holds these bytes: rows that begin with their filter. */
export function imageData(rows: Uint8Array): Buffer {
  return chunk('IDAT', deflateSync(rows));
}

const STRIPS = {
  image: [2, 3] as [number, number],
  rows: 4,
  classes: 10,
};
const ROW_BYTES = 2 * 3 * 3;

/** Pixels of a strip that differ from those of another. */
function pixelsOf(strip: number): Uint8Array {
  return Uint8Array.from({ length: STRIPS.rows * ROW_BYTES }, (_, i) => (i * 7 + strip * 31) % 256);
}

const LABELS = { train: [0, 1, 2, 3, 4, 5, 6, 7], test: [9, 8, 7, 6] };

/** The files of a package like CIFAR-10's, with two strips of 4 images of 2×3 pixels, and one. */
export function stripFiles(): Record<string, Buffer> {
  const strip = (which: number): Buffer => rgbPng(2 * 3, STRIPS.rows, pixelsOf(which));
  return {
    'one.png': strip(1),
    'two.png': strip(2),
    'test.png': strip(3),
    'train.json': Buffer.from(JSON.stringify(LABELS.train)),
    'test.json': Buffer.from(JSON.stringify(LABELS.test)),
  };
}

/** What the cache is to hold of it. */
export const DECODED: Record<string, Buffer> = {
  'train-images': Buffer.from(idxBytes([8, 2, 3, 3], [...pixelsOf(1), ...pixelsOf(2)])),
  'train-labels': Buffer.from(idxBytes([8], LABELS.train)),
  'test-images': Buffer.from(idxBytes([4, 2, 3, 3], pixelsOf(3))),
  'test-labels': Buffer.from(idxBytes([4], LABELS.test)),
};

function known(name: string): KnownFile {
  const bytes = DECODED[name];
  return {
    name,
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  };
}

/** A package of these files, and the source that expects exactly them. */
export function stripPackage(files: Record<string, Buffer>): { tgz: Buffer; source: Source } {
  const tgz = tarball(
    Object.entries(files).map(([name, body]) => ({ path: `package/${name}`, body })),
  );
  const split = (name: string, strips: string[]): Strips['splits'][number] => ({
    from: { strips, labels: `${name}.json` },
    into: { images: known(`${name}-images`), labels: known(`${name}-labels`) },
  });
  const source = {
    name: 'fake',
    package: 'fake-data@1.0.0',
    integrity: integrityOf(tgz),
    bytes: tgz.length,
    files: Object.entries(files).map(([name, body]) => ({
      name,
      entry: `package/${name}`,
      bytes: body.length,
      md5: createHash('md5').update(body).digest('hex'),
    })),
    strips: {
      ...STRIPS,
      splits: [split('train', ['one.png', 'two.png']), split('test', ['test.png'])],
    },
  };
  return { tgz, source };
}
