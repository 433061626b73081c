import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cachedFiles, readCache, type FetchOptions } from '#bang/data/cache.js';
import { decodeLabels, decodeStrip } from '#bang/data/strips.js';
import { Interrupted, UserError } from '#bang/base/errors.js';
import { randomOf } from './idx-bytes.js';
import { npmEnv, recorder, serveRegistry, temporaryFolder, type Registry } from './registry.js';
import {
  chunk,
  DECODED,
  header,
  imageData,
  rgbPng,
  SIGNATURE,
  stripFiles,
  stripPackage,
} from './strip-package.js';

const WIDTH = 6;
const HEIGHT = 4;
const PIXEL_BYTES = WIDTH * HEIGHT * 3;
/** Rows of zeros, each after its filter. */
const ROWS = new Uint8Array(HEIGHT * (1 + WIDTH * 3));
const END = chunk('IEND');

function decode(png: Buffer): string | undefined {
  return decodeStrip(png, WIDTH, HEIGHT, new Uint8Array(PIXEL_BYTES));
}

describe('decodeStrip', () => {
  it('gives the pixels, whatever the shape', () => {
    const random = randomOf(1);
    for (let round = 0; round < 50; round++) {
      const [width, height] = [1 + random(40), 1 + random(40)];
      const pixels = Uint8Array.from({ length: width * height * 3 }, () => random(256));
      const found = new Uint8Array(pixels.length);
      expect(decodeStrip(rgbPng(width, height, pixels), width, height, found)).toBeUndefined();
      expect(found).toEqual(pixels);
    }
  });

  const data = imageData(ROWS);
  it.each<[string, () => Buffer, RegExp]>([
    ['nothing', () => Buffer.alloc(0), /^is a damaged PNG$/],
    ['a web page', () => Buffer.from('<html>, and so on'), /^is a damaged PNG$/],
    ['a signature alone', () => SIGNATURE, /^is a damaged PNG$/],
    [
      'another height',
      () => rgbPng(6, 3, new Uint8Array(54)),
      /of 6×3×3 values .* of 6×4×3 values/,
    ],
    ['grey', () => whole(header(6, 4, { colour: 0 }), data, END), /of 6×4×1 values/],
    ['no end', () => whole(header(6, 4), data), /^is a damaged PNG$/],
    [
      'data that are not compressed',
      () => whole(header(6, 4), chunk('IDAT', ROWS), END),
      /^is a damaged PNG$/,
    ],
    [
      'a filter that does not exist',
      () => whole(header(6, 4), imageData(ROWS.map(() => 9)), END),
      /^is a damaged PNG$/,
    ],
    [
      'a wrong checksum',
      () => {
        const png = whole(header(6, 4), data, END);
        png[png.length - 1] ^= 1;
        return png;
      },
      /^is a damaged PNG$/,
    ],
  ])('refuses %s', (_, png, problem) => {
    expect(decode(png())).toMatch(problem);
  });

  it('refuses every beginning of a PNG', () => {
    const random = randomOf(3);
    const pixels = Uint8Array.from({ length: PIXEL_BYTES }, () => random(256));
    const png = rgbPng(WIDTH, HEIGHT, pixels);
    for (let length = 0; length < png.length; length++) {
      expect(decode(png.subarray(0, length))).toMatch(/^is a damaged PNG$/);
    }
  });
});

function whole(...chunks: Buffer[]): Buffer {
  return Buffer.concat([SIGNATURE, ...chunks]);
}

describe('decodeLabels', () => {
  it('gives the labels', () => {
    const labels = new Uint8Array(3);
    expect(decodeLabels(Buffer.from('[0, 9, 4]'), 10, labels)).toBeUndefined();
    expect([...labels]).toEqual([0, 9, 4]);
  });

  it.each([
    ['', 'is not JSON'],
    ['[1,2', 'is not JSON'],
    ['['.repeat(1e6), 'is not JSON'],
    ['{"length":3}', 'is not a list of labels'],
    ['null', 'is not a list of labels'],
    ['[1,2]', 'has 2 labels instead of 3'],
    ['[1,2,3,4]', 'has 4 labels instead of 3'],
    ['[1,10,3]', 'has no integer from 0 to 9 at position 1'],
    ['[-1,1,3]', 'has no integer from 0 to 9 at position 0'],
    ['[1,2.5,3]', 'has no integer from 0 to 9 at position 1'],
    ['[1,2,"3"]', 'has no integer from 0 to 9 at position 2'],
    ['[1,null,1e999]', 'has no integer from 0 to 9 at position 1'],
  ])('refuses %.20s', (json, problem) => {
    expect(decodeLabels(Buffer.from(json), 10, new Uint8Array(3))).toBe(problem);
  });
});

describe('cachedFiles of a package of strips', () => {
  let registry: Registry;
  let folder: string;
  let root: string;
  // Removed at the very end: npm goes on writing to its cache for a moment after a fetch.
  const all = temporaryFolder();
  afterAll(all.remove);

  beforeEach(async () => {
    folder = mkdtempSync(path.join(all.folder, 'test-'));
    root = path.join(folder, 'cache');
    registry = await serveRegistry(Buffer.alloc(0));
    for (const [key, value] of Object.entries(npmEnv(registry.host, folder))) {
      vi.stubEnv(key, value);
    }
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await registry.close();
  });

  const place = (...parts: string[]): string => path.join(root, 'data', ...parts);

  /** Fetches a package with these files, all as its source says. */
  function fetchPackage(files: Record<string, Buffer>, options: FetchOptions = {}) {
    const { tgz, source } = stripPackage(files);
    registry.answer = (response) => response.end(tgz);
    registry.integrity = source.integrity;
    return { source, files: cachedFiles(source, { root, ...options }) };
  }

  it('decodes once, keeps only what it decoded, and says how far it is', async () => {
    const { said, updates, progress } = recorder();
    const { source, files } = fetchPackage(stripFiles(), { progress });
    expect(Object.fromEntries(await files)).toEqual(DECODED);
    expect(readdirSync(place())).toEqual(['fake']);
    expect(readdirSync(place('fake')).sort()).toEqual(Object.keys(DECODED).sort());
    expect(updates.slice(-3)).toEqual([4, 8, 12]);
    expect(said[1]).toMatch(/^decode fake 12 images: 12 images in [\d.]+ s$/);

    const asked = registry.requests.length;
    await cachedFiles(source, { root });
    expect(registry.requests).toHaveLength(asked);
  });

  it('notices damage and decodes again, from the tarball that npm has kept', async () => {
    const { source, files } = fetchPackage(stripFiles());
    await files;
    vi.stubEnv('npm_config_offline', 'true');
    writeFileSync(place('fake/test-images'), Buffer.alloc(DECODED['test-images'].length));
    expect(await readCache(source, root)).toMatchObject({
      state: 'damaged',
      problem: expect.stringContaining('test-images has the SHA-256 ') as string,
    });
    await cachedFiles(source, { root });
    rmSync(place('fake/train-labels'));
    await cachedFiles(source, { root });
    expect((await readCache(source, root)).state).toBe('cached');
    expect(readdirSync(place())).toEqual(['fake']);
  });

  it.each<[string, string, Buffer, string]>([
    [
      'a truncated strip',
      'two.png',
      stripFiles()['two.png'].subarray(0, -20),
      'two.png is a damaged PNG',
    ],
    ['a strip of another size', 'one.png', rgbPng(6, 5, new Uint8Array(90)), 'one.png is a PNG of'],
    ['labels out of range', 'test.json', Buffer.from('[1,2,3,10]'), 'test.json has no integer'],
    ['no labels', 'train.json', Buffer.from('<html>'), 'train.json is not JSON'],
    [
      'images that are not the expected ones',
      'one.png',
      rgbPng(6, 4, new Uint8Array(72)),
      'decoded, train-images has the SHA-256',
    ],
  ])('refuses %s in one sentence and leaves nothing', async (_, name, bytes, problem) => {
    const { files } = fetchPackage({ ...stripFiles(), [name]: bytes });
    const error: unknown = await files.then(undefined, (reason: unknown) => reason);
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toContain(
      `the package fake-data@1.0.0 that was fetched is not the expected one (${problem}`,
    );
    expect(existsSync(place()) ? readdirSync(place()) : []).toEqual([]);
  });

  it('stops between two strips', async () => {
    const controller = new AbortController();
    const { progress, updates } = recorder((label, done) => {
      if (label === 'decode fake' && done === 4) controller.abort();
    });
    const { files } = fetchPackage(stripFiles(), { progress, signal: controller.signal });
    await expect(files).rejects.toThrow(new Interrupted('decoding fake was stopped'));
    expect(updates.at(-1)).toBe(4);
    expect(readdirSync(place())).toEqual([]);
  });
});
