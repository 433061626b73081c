import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadData } from '#bang/data/load.js';
import { UserError } from '#bang/base/errors.js';
import { idxBytes, randomOf } from './idx-bytes.js';
import { temporaryFolder } from './registry.js';
import path from 'node:path';

describe('loadData of MNIST', () => {
  it('gives 60000 and 10000 images whose labels are known', async () => {
    const { train, test } = await loadData('mnist');
    expect(train).toMatchObject({ count: 60_000, height: 28, width: 28, channels: 1, classes: 10 });
    expect(test).toMatchObject({ count: 10_000, height: 28, width: 28, channels: 1, classes: 10 });
    expect(train.images).toHaveLength(60_000 * 28 * 28);
    expect(test.images).toHaveLength(10_000 * 28 * 28);
    expect([...test.labels.subarray(0, 4)]).toEqual([7, 2, 1, 0]);
    const histogram = new Array<number>(10).fill(0);
    for (const label of test.labels) histogram[label]++;
    expect(histogram).toEqual([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
  });
});

describe('loadData from a folder of the user', () => {
  let folder: string;
  let remove: () => void;

  const train = idxBytes([3, 28, 28], new Uint8Array(3 * 784).fill(5));
  const test = idxBytes([2, 28, 28], new Uint8Array(2 * 784).fill(6));
  const put = (name: string, bytes: Uint8Array): void => {
    writeFileSync(path.join(folder, name), bytes);
  };
  const load = (): ReturnType<typeof loadData> => loadData('mnist', { dataDir: folder });

  beforeEach(() => {
    ({ folder, remove } = temporaryFolder());
    put('train-images-idx3-ubyte', train);
    put('train-labels.idx1-ubyte', idxBytes([3], [0, 9, 4]));
    put('t10k-images-idx3-ubyte.gz', gzipSync(test));
    put('t10k-labels.idx1-ubyte.gz', gzipSync(idxBytes([2], [1, 2])));
  });
  afterEach(() => {
    remove();
  });

  it('takes files under both usual names, gzipped or not', async () => {
    const data = await load();
    expect(data.train.count).toBe(3);
    expect([...data.train.labels]).toEqual([0, 9, 4]);
    expect(data.test.images).toEqual(new Uint8Array(2 * 784).fill(6));
    expect([...data.test.labels]).toEqual([1, 2]);
  });

  it('goes by what a file holds, not by what it is called', async () => {
    put('train-images-idx3-ubyte', gzipSync(train));
    put('t10k-images-idx3-ubyte.gz', test);
    expect((await load()).train.images).toHaveLength(3 * 784);
  });

  it.each<[string, string, () => Uint8Array, RegExp]>([
    ['an odd size', 'train-images-idx3-ubyte', () => idxBytes([1, 2, 2], [1, 2, 3, 4]), /of 2×2 p/],
    ['no image', 'train-images-idx3-ubyte', () => idxBytes([0, 28, 28], []), /holds no image/],
    [
      'a label of 10',
      'train-labels.idx1-ubyte',
      () => idxBytes([3], [1, 10, 2]),
      /label 1 of .* is 10/,
    ],
    [
      'too few labels',
      'train-labels.idx1-ubyte',
      () => idxBytes([2], [1, 2]),
      /3 images, .* 2 labels/,
    ],
    ['labels', 'train-images-idx3-ubyte', () => idxBytes([1], [1]), /exchanged/],
    ['a web page', 'train-images-idx3-ubyte', () => Buffer.from('<html>'), /not an IDX file/],
    ['nothing', 'train-images-idx3-ubyte', () => Buffer.alloc(0), /not an IDX file/],
    [
      'a gzip bomb',
      't10k-images-idx3-ubyte.gz',
      () => gzipSync(Buffer.concat([test, Buffer.alloc(2 ** 26)])),
      /unpacks to more than its header announces/,
    ],
    [
      'a gzip file that claims 2^31 images',
      't10k-images-idx3-ubyte.gz',
      () => gzipSync(idxBytes([2 ** 31, 28, 28], [1])),
      /claims 1683627180048 bytes/,
    ],
    [
      'a truncated gzip file',
      't10k-images-idx3-ubyte.gz',
      () => gzipSync(test).subarray(0, -12),
      /truncated: its gzip data ends early/,
    ],
    [
      'a gzip file of a truncated one',
      't10k-images-idx3-ubyte.gz',
      () => gzipSync(test.subarray(0, 100)),
      /truncated: its header announces/,
    ],
  ])('refuses %s', async (_, name, bytes, message) => {
    put(name, bytes());
    const failure = await load().then(undefined, (error: unknown) => error);
    expect(failure).toBeInstanceOf(UserError);
    expect((failure as UserError).message).toMatch(message);
    expect((failure as UserError).message).toContain(path.join(folder, name));
  });

  const expected = async (): Promise<void> => {
    const data = await loadData('mnist', { dataDir: folder });
    expect([...data.train.images]).toEqual(new Array(3 * 784).fill(5));
    expect([...data.train.labels]).toEqual([0, 9, 4]);
    expect([...data.test.images]).toEqual(new Array(2 * 784).fill(6));
    expect([...data.test.labels]).toEqual([1, 2]);
  };
  const move = (from: string, to: string): void => {
    mkdirSync(path.dirname(path.join(folder, to)), { recursive: true });
    renameSync(path.join(folder, from), path.join(folder, to));
  };
  const NAMES = [
    'train-images-idx3-ubyte',
    'train-labels.idx1-ubyte',
    't10k-images-idx3-ubyte.gz',
    't10k-labels.idx1-ubyte.gz',
  ];

  it.each(['MNIST/raw', 'MNIST', 'raw', 'mnist/raw'])('finds the files in %s', async (inner) => {
    for (const name of NAMES) move(name, `${inner}/${name}`);
    await expected();
  });

  it('finds files in folders of their names, with or without others beside them', async () => {
    for (const name of NAMES) {
      const stem = name.replace('.gz', '');
      move(name, `x/${name}`);
      move(`x/${name}`, `${stem}/${name.replace('.idx', '-idx')}`);
    }
    await expected();
    put('train-images.idx3-ubyte', train);
    put('t10k-images.idx3-ubyte', Buffer.alloc(0));
    await expected();
  });

  it('takes names in upper case', async () => {
    for (const name of NAMES) move(name, name.toUpperCase());
    await expected();
  });

  it('takes a good file beside an empty one', async () => {
    put('t10k-images-idx3-ubyte', Buffer.alloc(0));
    put('train-images.idx3-ubyte', Buffer.alloc(0));
    put('train-labels-idx1-ubyte', Buffer.alloc(0));
    await expected();
  });

  it.each<[string, RegExp]>([
    [
      'emnist-letters-train-images-idx3-ubyte.gz',
      /holds EMNIST, whose images are transposed: put one of its sets into a folder/,
    ],
    [
      'FashionMNIST/raw/train-images-idx3-ubyte',
      /the folder of another data set: name that folder/,
    ],
    ['mnist.npz', /holds MNIST as NumPy arrays, which is Keras's version: give MNIST's four IDX/],
    [
      'mnist_train.csv',
      /holds MNIST as CSV: give MNIST's four IDX files, or leave the data folder out/,
    ],
    ['data_batch_1.bin', /holds CIFAR-10: give MNIST's four/],
    ['other.txt', /lacks train-images-idx3-ubyte \(or /],
  ])('says that it found %s', async (name, message) => {
    const dataDir = path.join(folder, 'other');
    mkdirSync(path.dirname(path.join(dataDir, name)), { recursive: true });
    writeFileSync(path.join(dataDir, name), 'x');
    const failure = await loadData('mnist', { dataDir }).then(undefined, (error: unknown) => error);
    expect(failure).toBeInstanceOf(UserError);
    expect((failure as UserError).message).toMatch(message);
    expect((failure as UserError).message.startsWith(`${dataDir} `)).toBe(true);
  });

  it('says which file or folder is not there', async () => {
    const empty = path.join(folder, 'empty');
    await expect(loadData('mnist', { dataDir: empty })).rejects.toThrow(/there is no such file/);
    mkdirSync(empty);
    await expect(loadData('mnist', { dataDir: empty })).rejects.toThrow(
      /lacks train-images-idx3-ubyte \(or train-images-idx3-ubyte.gz\)/,
    );
    mkdirSync(path.join(empty, 'train-images-idx3-ubyte'));
    await expect(loadData('mnist', { dataDir: empty })).rejects.toThrow(/is not a file/);
  });

  it('refuses or reads whatever random damage makes of a gzipped file', async () => {
    const random = randomOf(2);
    const whole = gzipSync(test);
    let refused = 0;
    for (let round = 0; round < 300; round++) {
      const damaged = Buffer.from(
        random(2) === 0 ? whole.subarray(0, 2 + random(whole.length - 2)) : whole,
      );
      damaged[2 + random(damaged.length - 2)] = random(256);
      put('t10k-images-idx3-ubyte.gz', damaged);
      try {
        expect((await load()).test.count).toBe(2);
      } catch (error) {
        expect(error).toBeInstanceOf(UserError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });
});
