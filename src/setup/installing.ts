import { rename, rm, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheError, cacheFolder, ownFolder } from '../base/cacheFolder.js';
import { codeOf, UserError } from '../base/errors.js';
import { jsonText, makeFolder } from '../base/files.js';
import type { Progress } from '../base/progress.js';
import { type Installation, RECORD } from '../engine/installation.js';
import { CommandFailed, lastLine, runCommand } from './command.js';

/** What setting up an engine has in common with setting up another. */

export interface SetUp<I extends Installation> {
  installation: I;
  /** Whether it already existed. */
  already: boolean;
}

/** The largest difference between float32 sums in another order, as a share of the largest value. */
const TOLERANCE = 1e-4;

/** The result of the comparison with the CPU kernels. */
export interface Checked {
  /** The largest difference as a share of the largest value of its tensor. */
  difference: number;
}

export interface CheckedTensorFlow extends Checked {
  version: string;
  gpu: boolean;
}

export interface CheckedWebgpu extends Checked {
  /** Its name. */
  gpu: string;
  /** Whether it is a driver that computes on the CPU. */
  software: boolean;
  /** How many times as fast as the CPU's engine it takes a training step; 0 if it is such a driver. */
  faster: number;
}

/** What is checked, as messages name it. */
const SUBJECTS = { tensorflow: 'tfjs-node-gpu', webgpu: 'the package webgpu' };

/**
 * Runs `verify.js`.
 *
 * @throws UserError if the engine cannot be loaded, or computes other values
 */
export async function compared<C extends Checked>(
  engine: keyof typeof SUBJECTS,
  folder: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<C> {
  const subject = SUBJECTS[engine];
  const task = progress.start('compare with the CPU kernels', 1, 'step');
  let found: C;
  let summary: string | undefined;
  try {
    const program = fileURLToPath(new URL('verify.js', import.meta.url));
    const output = await runCommand(process.execPath, [program, engine, folder], {
      signal,
      engine,
    });
    found = JSON.parse(lastLine(output)) as C;
    summary = `they differ by ${found.difference.toExponential(1)} of the largest value`;
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    throw new UserError(`${subject} does not run on this machine (${complaint(error)})`);
  } finally {
    task.finish(summary);
  }
  // Written so that NaN fails too.
  if (!(found.difference <= TOLERANCE)) {
    throw new UserError(
      `${subject} does not agree with the CPU kernels: they differ by ${found.difference.toExponential(1)} of the largest value`,
    );
  }
  return found;
}

function complaint({ output, signal }: CommandFailed): string {
  if (signal !== null) return `it was killed by ${signal}`;
  const error = output.split('\n').find((line) => /^\w*Error/.test(line));
  return error?.replace(/^UserError: (the \w+ engine cannot be used: )?/, '') ?? lastLine(output);
}

/**
 * Removes the folder of an installation in the cache.
 *
 * @returns whether there was one
 * @throws UserError if it cannot be removed
 */
export async function removeFolder(folder: string): Promise<boolean> {
  const root = cacheFolder();
  try {
    // Moved away in one step, so that nobody finds half of it.
    const own = await ownFolder(root);
    const removed = await putAway(folder, own);
    await rm(own, { recursive: true, force: true });
    return removed;
  } catch (error) {
    throw cacheError(error, root);
  }
}

/** What `check` returns; undefined, and a note that it is set up again, if what is there does not work. */
export async function keptIf<T>(
  progress: Progress,
  check: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await check();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    progress.note(`${error.message}; setting it up again`);
    return undefined;
  }
}

/**
 * Makes an installation apart and moves it to `folder` in one step; what was there goes.
 *
 * @param gigabytes what `make` needs of its disk
 * @param make fills `fresh`, may use `scratch`, and returns what the record says
 * @throws UserError if the cache cannot be written or has too little room; what `make` throws
 */
export async function install<I extends Installation>(
  { folder, gigabytes }: { folder: string; gigabytes: number },
  make: (fresh: string, scratch: string) => Promise<I>,
): Promise<I> {
  const root = cacheFolder();
  let own: string | undefined;
  try {
    own = await ownFolder(root);
    await requireSpace(root, gigabytes);
    const [fresh, scratch] = ['new', 'scratch'].map((name) => path.join(own!, name));
    makeFolder(scratch);
    const installation = await make(fresh, scratch);
    await writeRecord(fresh, installation);
    await putAway(folder, own);
    await rename(fresh, folder);
    return installation;
  } catch (error) {
    throw cacheError(error, root);
  } finally {
    // Whatever cannot be removed now is removed next time.
    if (own !== undefined) await rm(own, { recursive: true, force: true }).catch(() => undefined);
  }
}

export async function writeRecord(folder: string, installation: Installation): Promise<void> {
  await writeFile(path.join(folder, RECORD), jsonText(installation));
}

/** Moves a folder into `own`; false if it does not exist. */
async function putAway(folder: string, own: string): Promise<boolean> {
  try {
    await rename(folder, path.join(own, 'old'));
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** @throws UserError if the file system has less than that left */
async function requireSpace(root: string, gigabytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(root);
  const free = (bavail * bsize) / 1e9;
  if (free >= gigabytes) return;
  throw new UserError(
    `${root} has ${free.toFixed(1)} GB left and setting up needs ${gigabytes} GB: ` +
      'make room or set BANG_CACHE to a folder with more',
  );
}
