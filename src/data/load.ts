import { silent, type Progress } from '../base/progress.js';
import { cachedFiles, type DataFiles } from './cache.js';
import { decodeCifar10, readCifar10Folder } from './cifar10.js';
import type { DataSplits } from './dataset.js';
import { decodeMnist, readMnistFolder } from './mnist.js';
import { readCifar100Folder } from './cifar100.js';
import { UserError } from '../base/errors.js';
import { refuseOther } from '../base/names.js';
import { readIdxFolder } from './idxFolder.js';
import { DATA_NAMES, sources, type DataName, type FetchedName } from './sources.js';

export interface LoadOptions {
  /** A folder with the data set's original files, read instead of the cache. */
  dataDir?: string;
  progress?: Progress;
  signal?: AbortSignal;
}

/** How the files of a data set are decoded. */
interface Reader {
  /** From the cached files, which are known to be intact. */
  decode: (files: DataFiles) => DataSplits;
  /** From a folder of the user's, whose content is unchecked. */
  readFolder: (folder: string) => Promise<DataSplits>;
}

const readers: Record<FetchedName, Reader> = {
  mnist: { decode: decodeMnist, readFolder: readMnistFolder },
  cifar10: { decode: decodeCifar10, readFolder: (folder) => readCifar10Folder(folder) },
};

/**
 * Loads a data set from `dataDir` if given, else from the cache. If the data set is missing from the
 * cache or damaged, it is fetched first; otherwise the network is not used.
 *
 * @throws UserError if there is no such data set, or it cannot be fetched, written or read; Interrupted if `signal` aborts
 */
export async function loadData(
  name: DataName,
  { dataDir, progress = silent, signal }: LoadOptions = {},
): Promise<DataSplits> {
  refuseOther('data', DATA_NAMES, name);
  if (name === 'cifar100' || name === 'idx') {
    if (dataDir === undefined) {
      throw new UserError(`${name} is not fetched: name the folder with its files with --data-dir`);
    }
    return name === 'idx' ? readIdxFolder(dataDir) : readCifar100Folder(dataDir);
  }
  const { decode, readFolder } = readers[name];
  if (dataDir !== undefined) return readFolder(dataDir);
  return decode(await cachedFiles(sources[name], { progress, signal }));
}
