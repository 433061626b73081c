import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { homedir, userInfo } from 'node:os';
import path from 'node:path';
import { codeOf, UserError } from './errors.js';
import { fileClock, makeFolder, reason, spaceMark } from './files.js';
import { isRunning, processSpace } from './processes.js';

/** The cache of downloaded files, and how its folders are written without exposing partial contents. */

/**
 * `$BANG_CACHE`, or a folder `bang` in the platform's cache directory.
 *
 * @throws UserError if neither is known
 */
export function cacheFolder(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  if (env.BANG_CACHE) return path.resolve(env.BANG_CACHE);
  return path.join(platformCache(env, platform), 'bang');
}

function platformCache(env: NodeJS.ProcessEnv, platform: NodeJS.Platform): string {
  if (platform === 'win32') return env.LOCALAPPDATA ?? path.join(homeFolder(), 'AppData', 'Local');
  if (platform === 'darwin') return path.join(homeFolder(), 'Library', 'Caches');
  const xdg = env.XDG_CACHE_HOME;
  // The XDG specification says to ignore relative paths.
  return xdg && path.isAbsolute(xdg) ? xdg : path.join(homeFolder(), '.cache');
}

/**
 * The user's home folder.
 *
 * @throws UserError if it is not known
 */
export function homeFolder(): string {
  for (const ask of [homedir, () => userInfo().homedir]) {
    try {
      const folder = ask();
      if (path.isAbsolute(folder)) return folder;
    } catch {
      // A user without an entry in the system's list, as in some containers.
    }
  }
  throw new UserError(
    'no home folder is known, since HOME is not set and the system does not know this user: ' +
      'set BANG_CACHE to a folder for what is fetched',
  );
}

/**
 * Creates a temporary folder for this process in `parent`. Its contents are later renamed into place,
 * on the same disk. Folders left by killed processes are removed.
 *
 * @throws the system's error if the folder cannot be created
 */
export async function ownFolder(parent: string): Promise<string> {
  makeFolder(parent);
  await removeDeadFetches(parent);
  return await mkdtemp(path.join(parent, `.fetch-${spaceMark()}-${process.pid}-`));
}

/** A system error while writing to the cache, as a UserError; other errors are returned unchanged. */
export function cacheError(error: unknown, folder: string): unknown {
  if (codeOf(error) === undefined) return error;
  return new UserError(
    `cannot write to the cache ${folder}: ${reason(error)}; ` +
      'make room or set BANG_CACHE to a folder that can be written',
  );
}

const LEFTOVER = /^\.fetch-(.+)-(\d+)-[A-Za-z0-9]{6}$/;
const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * Removes what killed fetches left. Whether a process lives can be asked only where its number means the
 * same process; on a cache that machines or containers share, a day is far longer than a fetch takes.
 */
async function removeDeadFetches(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    const match = LEFTOVER.exec(name);
    if (match === null) continue;
    const folder = path.join(parent, name);
    const pid = Number(match[2]);
    const isOfSpace = match[1] === spaceMark();
    const runs = isOfSpace ? isRunning({ pid, space: processSpace() }) : undefined;
    const dead = runs === undefined ? (await ageOf(folder, parent)) > DAY_MS : !runs;
    // Fetch even if a leftover cannot be removed.
    if (dead) await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** In milliseconds; 0 where it cannot be known. */
async function ageOf(folder: string, parent: string): Promise<number> {
  const now = fileClock(parent);
  const found = await stat(folder).catch(() => undefined);
  return now === undefined || found === undefined ? 0 : now - found.mtimeMs;
}
