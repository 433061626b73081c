import { createHash } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCifar10Folder, readRecords } from '#bang/data/cifar10.js';
import { readCifar100Folder } from '#bang/data/cifar100.js';
import { loadData } from '#bang/data/load.js';
import type { Dataset } from '#bang/data/dataset.js';
import { UserError } from '#bang/base/errors.js';
import { randomOf } from './idx-bytes.js';
import { temporaryFolder } from './registry.js';
import path from 'node:path';

const NAMES = [1, 2, 3, 4, 5].map((batch) => `data_batch_${batch}.bin`).concat('test_batch.bin');

let folder: string;
let remove: () => void;

beforeEach(() => {
  ({ folder, remove } = temporaryFolder());
});
afterEach(() => {
  remove();
});

/** Images from `begin` on as a file of the official binary version. */
function officialFile({ images, labels }: Dataset, begin: number, count: number): Buffer {
  const file = Buffer.alloc(count * 3073);
  for (let i = 0; i < count; i++) {
    file[i * 3073] = labels[begin + i];
    const from = (begin + i) * 3072;
    const to = i * 3073 + 1;
    for (let pixel = 0; pixel < 1024; pixel++) {
      file[to + pixel] = images[from + 3 * pixel];
      file[to + pixel + 1024] = images[from + 3 * pixel + 1];
      file[to + pixel + 2048] = images[from + 3 * pixel + 2];
    }
  }
  return file;
}

function histogram(labels: Uint8Array): number[] {
  const counts = new Array<number>(10).fill(0);
  for (const label of labels) counts[label]++;
  return counts;
}

function channelMeans(images: Uint8Array): number[] {
  const sums = [0, 0, 0];
  for (let i = 0; i < images.length; i += 3) {
    sums[0] += images[i];
    sums[1] += images[i + 1];
    sums[2] += images[i + 2];
  }
  return sums.map((sum) => (3 * sum) / images.length);
}

describe('loadData of CIFAR-10', () => {
  it('gives the official images, the same from the official files', async () => {
    const data = await loadData('cifar10');
    const { train, test } = data;
    const shape = { height: 32, width: 32, channels: 3, classes: 10 };
    expect(train).toMatchObject({ count: 50_000, ...shape });
    expect(test).toMatchObject({ count: 10_000, ...shape });
    expect(train.images).toHaveLength(50_000 * 3072);
    expect(test.images).toHaveLength(10_000 * 3072);
    expect(histogram(train.labels)).toEqual(new Array(10).fill(5000));
    expect(histogram(test.labels)).toEqual(new Array(10).fill(1000));
    const [red, green, blue] = channelMeans(train.images);
    expect(red).toBeCloseTo(125.3069, 4);
    expect(green).toBeCloseTo(122.9504, 4);
    expect(blue).toBeCloseTo(113.8654, 4);

    const inArchive = path.join(folder, 'cifar-10-batches-bin');
    mkdirSync(inArchive);
    const md5s = NAMES.map((name, i) => {
      const file = i < 5 ? officialFile(train, i * 10_000, 10_000) : officialFile(test, 0, 10_000);
      writeFileSync(path.join(inArchive, name), file);
      return createHash('md5').update(file).digest('hex');
    });
    // Those of the files in cifar-10-binary.tar.gz.
    expect(md5s).toEqual([
      '5dd7e06a14cb22eb9f671a540d1b7c25',
      '5ea93a67294ea407fff1d09f752e9692',
      '942cd6a4bcdd0dd3c604fbe906cb4421',
      'ae636b3ba5c66a11e91e8cb52e771fcb',
      '53f37980c15c3d472c316c40844f3f0d',
      '803d5f7f4d78ea53de84dbe85f74fb6d',
    ]);

    for (const dataDir of [folder, inArchive]) {
      const found = await loadData('cifar10', { dataDir });
      for (const split of ['train', 'test'] as const) {
        const { images, labels, ...rest } = data[split];
        expect(found[split]).toMatchObject(rest);
        // Not `toEqual`, which takes a second for every ten million elements.
        expect(Buffer.compare(found[split].images, images)).toBe(0);
        expect(Buffer.compare(found[split].labels, labels)).toBe(0);
      }
    }
  });
});

describe('readCifar10Folder', () => {
  const COUNT = 3;
  const random = randomOf(5);
  const splits = (['train', 'test'] as const).map((name): Dataset => {
    const count = name === 'train' ? 5 * COUNT : COUNT;
    return {
      height: 32,
      width: 32,
      channels: 3,
      classes: 10,
      count,
      images: Uint8Array.from({ length: count * 3072 }, () => random(256)),
      labels: Uint8Array.from({ length: count }, () => random(10)),
    };
  });
  const [train, test] = splits;

  const at = (name: string): string => path.join(folder, name);
  const load = (): ReturnType<typeof readCifar10Folder> => readCifar10Folder(folder, COUNT);

  beforeEach(() => {
    NAMES.forEach((name, i) => {
      const file = i < 5 ? officialFile(train, i * COUNT, COUNT) : officialFile(test, 0, COUNT);
      writeFileSync(at(name), file);
    });
  });

  it('puts the files together in their order', async () => {
    expect(await load()).toEqual({ train, test });
  });

  it('takes names in upper case', async () => {
    for (const name of NAMES) renameSync(at(name), at(name.toUpperCase()));
    expect(await load()).toEqual({ train, test });
  });

  it.each<[string, RegExp]>([
    [
      'data_batch_1',
      /holds the Python version of CIFAR-10: give the six files of the binary version/,
    ],
    ['cifar-10-batches-py/data_batch_1', /holds the Python version of CIFAR-10: give /],
    ['data_batch_1.mat', /holds the Matlab version of CIFAR-10: give /],
    ['cifar-10-python.tar.gz', /holds an archive of the Python version of CIFAR-10: give /],
    ['cifar-10-binary.tar.gz', /holds the archive cifar-10-binary\.tar\.gz: unpack it there$/],
    [
      'cifar-100-binary/train.bin',
      /holds CIFAR-100, which has 100 classes: read it as data: cifar100$/,
    ],
    ['fine_label_names.txt', /holds CIFAR-100, which has 100 classes: read it as data: cifar100$/],
    ['train-images-idx3-ubyte.gz', /holds MNIST: give the six files/],
    ['train.bin', /lacks data_batch_1\.bin: put the six files/],
  ])('says that it found %s', async (name, message) => {
    const other = at('other');
    const file = path.join(other, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, 'x');
    await expect(readCifar10Folder(other)).rejects.toThrow(message);
    await expect(readCifar10Folder(other)).rejects.toThrow(UserError);
  });

  it('knows CIFAR-100 by its folder', async () => {
    mkdirSync(at('cifar-100-python'));
    writeFileSync(at('cifar-100-python/train'), 'x');
    await expect(readCifar10Folder(at('cifar-100-python'))).rejects.toThrow(
      /cifar-100-python holds CIFAR-100, which has 100 classes: read it as data: cifar100$/,
    );
  });

  it.each<[string, () => void, RegExp]>([
    [
      'truncated',
      () => {
        truncateSync(at('data_batch_2.bin'), 9218);
      },
      /data_batch_2.bin is truncated: it has 9218 bytes instead of 9219;/,
    ],
    [
      'empty',
      () => {
        writeFileSync(at('data_batch_2.bin'), '');
      },
      /data_batch_2.bin is truncated: it has 0 bytes/,
    ],
    [
      'longer than memory',
      () => {
        truncateSync(at('data_batch_2.bin'), 2 ** 40);
      },
      /data_batch_2.bin is too long: it has 1099511627776 bytes instead of 9219;/,
    ],
    [
      'of other labels',
      () => {
        const file = officialFile(train, 0, COUNT);
        file[3073] = 10;
        writeFileSync(at('data_batch_2.bin'), file);
      },
      /label 1 of .*data_batch_2.bin is 10: give labels from 0 to 9/,
    ],
    [
      'missing',
      () => {
        rmSync(at('data_batch_2.bin'));
      },
      /lacks data_batch_2.bin: put the six files of the binary version/,
    ],
    [
      'a folder',
      () => {
        rmSync(at('data_batch_2.bin'));
        mkdirSync(at('data_batch_2.bin'));
      },
      /data_batch_2.bin is not a file: put the original CIFAR-10 file there/,
    ],
  ])('refuses a file that is %s', async (_, harm, message) => {
    harm();
    const failure: unknown = await load().then(undefined, (error: unknown) => error);
    expect(failure).toBeInstanceOf(UserError);
    expect((failure as UserError).message).toMatch(message);
    expect((failure as UserError).message).not.toContain('\n');
  });

  it('says that the folder is missing or empty', async () => {
    const empty = at('empty');
    await expect(loadData('cifar10', { dataDir: empty })).rejects.toThrow(/there is no such file/);
    mkdirSync(empty);
    await expect(loadData('cifar10', { dataDir: empty })).rejects.toThrow(/lacks data_batch_1.bin/);
    mkdirSync(path.join(empty, 'cifar-10-batches-bin'));
    await expect(loadData('cifar10', { dataDir: empty })).rejects.toThrow(
      /cifar-10-batches-bin lacks data_batch_1.bin/,
    );
  });

  it('does not take files of another number of images', async () => {
    await expect(loadData('cifar10', { dataDir: folder })).rejects.toThrow(
      /data_batch_1.bin holds 3 images instead of CIFAR-10's 10000: download it again, or give images of your own as data: idx$/,
    );
  });
});

describe('CIFAR-100', () => {
  // Two images of 32×32: coarse and fine label, then planes of one value each.
  const [red, green, blue] = [10, 20, 30].map((value) => new Array<number>(1024).fill(value));
  const files = [2, 99].map((fine) => [19, fine, ...red, ...green, ...blue]);

  it('has its fine labels, and its planes as pixels', async () => {
    writeFileSync(path.join(folder, 'train.bin'), Uint8Array.from(files.flat()));
    writeFileSync(path.join(folder, 'test.bin'), Uint8Array.from(files[1]));
    const { train, test } = await readCifar100Folder(folder);
    expect(train).toMatchObject({ count: 2, classes: 100, labels: Uint8Array.of(2, 99) });
    expect([...train.images]).toEqual(Array.from({ length: 2048 }, () => [10, 20, 30]).flat());
    expect([...test.labels]).toEqual([99]);
  });

  it('is refused if a file changed while it was read', async () => {
    const file = path.join(folder, 'train.bin');
    writeFileSync(file, Uint8Array.from(files[0]));
    const two = { classes: 100, images: new Uint8Array(2 * 3072), labels: new Uint8Array(2) };
    await expect(readRecords(file, 2, two)).rejects.toThrow(
      /train\.bin is truncated: it has 3074 bytes instead of 6148;/,
    );
  });
});
