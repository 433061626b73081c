import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import path from 'node:path';
import { codeOf, UserError } from './errors.js';
import { isAlive, reason } from './files.js';

/** Where the program keeps what it fetches, and how such a folder is made so that nobody sees a part. */

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
 * A folder of this process's own in `parent`, on the same disk, in which something is made that is
 * then renamed to its place there. What killed processes left of theirs is removed.
 *
 * @throws an error of the system if there can be none
 */
export async function ownFolder(parent: string): Promise<string> {
  await mkdir(parent, { recursive: true });
  await removeLeftovers(parent);
  return await mkdtemp(path.join(parent, `.fetch-${machine()}-${process.pid}-`));
}

/** What writing to the cache throws, in one sentence for the user; other errors as they are. */
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
    // Fetch even if a leftover cannot be removed.
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
