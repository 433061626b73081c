import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  type Stats,
  writeFileSync,
} from 'node:fs';
import { randomUUID } from 'node:crypto';
import { sha256Of } from './digest.js';
import { codeOf, messageOf, UserError } from './errors.js';
import { didYouMean } from './nearFile.js';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isRunning, processSpace } from './processes.js';

/** The root of this package, which contains `configs/` and `results/`. */
export const packageRoot = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Writes a file atomically: readers see the old content or the new, never a part, even after a crash. What processes
 * left there that were killed while they wrote is removed. A symbolic link stays: the file that it leads to is replaced.
 * A device or pipe stays as well, and is written to.
 *
 * @throws UserError if it cannot be written
 */
export function writeFileAtomic(file: string, content: string | Uint8Array): void {
  try {
    const found = statOf(file);
    if (found && !found.isFile() && !found.isDirectory()) writeFileSync(file, content);
    else replace(found && lstatSync(file).isSymbolicLink() ? realpathSync(file) : file, content);
  } catch (error) {
    throw new UserError(`cannot write ${file}: ${reason(error)}`);
  }
}

function replace(file: string, content: string | Uint8Array): void {
  const temporary = partName(file);
  try {
    makeFolder(path.dirname(file));
    const descriptor = openSync(temporary, 'w');
    try {
      writeFileSync(descriptor, content);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    rename(temporary, file);
  } catch (error) {
    removeIfThere(temporary);
    throw error;
  }
  removeParts(path.dirname(file));
}

/** What a path leads to; undefined if that is nothing that can be reached. */
function statOf(file: string): Stats | undefined {
  try {
    return statSync(file);
  } catch {
    return undefined;
  }
}

/** Whether a path leads to a folder. Unlike statSync's `throwIfNoEntry: false`, this never throws. */
export function isFolder(file: string): boolean {
  return statOf(file)?.isDirectory() === true;
}

/** Whether a path leads to something other than a folder: a file, a device, a pipe. */
export function isFile(file: string): boolean {
  return statOf(file)?.isDirectory() === false;
}

/** For how long, in ms, the rename of a file is tried again while others have it open. */
const PATIENCE = 2000;

/**
 * Renames a file, in the place of one that may be there. Windows refuses that for as long as another program has
 * either of them open: a scanner for viruses, an index of files.
 *
 * @throws the system's error
 */
function rename(from: string, to: string): void {
  const end = Date.now() + PATIENCE;
  for (let pause = 1; ; pause *= 2) {
    try {
      renameSync(from, to);
      return;
    } catch (error) {
      const mayPass = ['EPERM', 'EACCES', 'EBUSY'].includes(codeOf(error) ?? '');
      if (process.platform !== 'win32' || !mayPass || Date.now() >= end) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
    }
  }
}

/** The name of a file that was written in part, and the process: `table.csv.123-0a1b2c3d.tmp`. */
const PART = /^(.+)\.(\d+)(?:-([0-9a-f]{8}))?\.tmp$/;

/** The file of which one with this name is a part, and the process that wrote it; undefined for other files. */
export function partOf(name: string): { of: string; pid: number; mark?: string } | undefined {
  const found = PART.exec(name);
  return found ? { of: found[1], pid: Number(found[2]), mark: found[3] } : undefined;
}

/** Tells the processes that this one sees from those of other machines and containers that write to the same disk. */
export function spaceMark(): string {
  const space = processSpace() ?? 'unknown';
  return sha256Of(space).slice(0, 8);
}

/** The name of a part of a file for this process. */
function partName(file: string): string {
  return `${file}.${process.pid}-${spaceMark()}.tmp`;
}

/**
 * The time (ms) that a file written now in a folder gets, which another machine's clock may tell; undefined where none
 * can be written.
 */
export function fileClock(folder: string): number | undefined {
  // Named like a part, so that one that is left by a kill is removed.
  const probe = partName(path.join(folder, `.${randomUUID()}`));
  try {
    writeFileSync(probe, '', { flag: 'wx' });
    return statSync(probe).mtimeMs;
  } catch {
    return undefined;
  } finally {
    removeIfThere(probe);
  }
}

/** Folders without parts that were there when this process first wrote into them. */
const cleaned = new Set<string>();

/** Removes the parts in a folder whose processes are known to have ended. */
function removeParts(folder: string): void {
  const place = path.resolve(folder);
  // Listing it for each of thousands of files takes longer than writing them.
  if (cleaned.has(place)) return;
  cleaned.add(place);
  const [space, mark] = [processSpace(), spaceMark()];
  try {
    for (const name of readdirSync(place)) {
      const part = name.endsWith('.tmp') ? partOf(name) : undefined;
      if (part?.mark !== mark) continue;
      if (isRunning({ pid: part.pid, space }) === false) removeIfThere(path.join(place, name));
    }
  } catch {
    // The file itself is written; a folder may be written to and yet not be listed.
  }
}

/**
 * Creates a folder and those that contain it, where they are missing. Not by Node's own recursion, which never
 * ends in folders such as /proc, where none can be created.
 *
 * @throws the system's error
 */
export function makeFolder(folder: string): void {
  const make = (): void => {
    try {
      mkdirSync(folder);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' || !statSync(folder).isDirectory()) throw error;
    }
  };
  try {
    make();
  } catch (error) {
    const parent = path.dirname(folder);
    if (codeOf(error) !== 'ENOENT' || parent === folder) throw error;
    if ((error as NodeJS.ErrnoException).syscall !== 'mkdir') throw error;
    makeFolder(parent);
    try {
      make();
    } catch (again) {
      if (codeOf(again) !== 'ENOENT') throw again;
      const message = `nothing can be created in ${parent}`;
      throw Object.assign(new Error(message), { code: 'ENOTSUP', path: folder });
    }
  }
}

function removeIfThere(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // If it cannot be removed, it could not be created either.
  }
}

/** In bytes; texts that people or this program write are far smaller. */
const LARGEST = 2 ** 26;

/**
 * Reads a file that the user named.
 *
 * @param largest in bytes
 * @throws UserError if it does not exist, is no regular file, is larger or cannot be read
 */
export async function readUserFile(file: string, largest = LARGEST): Promise<Buffer> {
  try {
    refuseOdd(await stat(file), file, largest);
    return await readFile(file);
  } catch (error) {
    throw unreadable(file, error);
  }
}

/**
 * The same, synchronously.
 *
 * @throws UserError as `readUserFile`
 */
export function readRegularFile(file: string, largest = LARGEST): Buffer {
  try {
    refuseOdd(statSync(file), file, largest);
    return readFileSync(file);
  } catch (error) {
    throw unreadable(file, error);
  }
}

/** Pipes and devices may never end, and large files would fill the memory. */
function refuseOdd(info: Stats, file: string, largest: number): void {
  if (info.isDirectory()) throw new UserError(`cannot read ${file}: it is a folder`);
  if (!info.isFile()) throw new UserError(`${file} is not a regular file`);
  if (info.size <= largest) return;
  throw new UserError(`${file} is larger than ${Math.ceil(largest / 2 ** 20)} MiB`);
}

function unreadable(file: string, error: unknown): UserError {
  if (error instanceof UserError) return error;
  return new UserError(`cannot read ${file}: ${reason(error)}${didYouMean(file, error)}`);
}

/** The reason for an error that says that a limit of the system is reached, which any file and any module may meet. */
export function shortageIn(error: unknown): string | undefined {
  const met = isThere(error) ? { code: 'EMFILE' } : error;
  return ['EMFILE', 'ENFILE', 'ENOMEM'].includes(codeOf(met) ?? '') ? reason(met) : undefined;
}

/** Whether a module that Node did not find is there: it could not open another file, and took it for missing. */
function isThere(error: unknown): boolean {
  if (codeOf(error) !== 'ERR_MODULE_NOT_FOUND') return false;
  const [, name = ''] = /^Cannot find (?:package|module) '([^']+)'/.exec(messageOf(error)) ?? [];
  // Of a package, the name of the file may be one that Node has guessed.
  const [place] = /^.*[\\/]node_modules[\\/](@[^\\/]+[\\/])?[^\\/]+/.exec(name) ?? [name];
  return existsSync(path.resolve(packageRoot, 'node_modules', place));
}

/** The reason for a system error, in words; for other errors, their message. */
export function reason(error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOENT':
      return 'there is no such file';
    case 'EISDIR':
      return 'it is a folder';
    case 'ENOTDIR':
    case 'EEXIST': // of mkdir
      return 'a part of the path is a file, not a folder';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EROFS':
      return 'the disk is read-only';
    case 'ENOSPC':
      return 'the disk is full';
    case 'EDQUOT':
      return 'the disk quota is used up';
    case 'EFBIG':
      return 'files may not become this large here; raise the limit (ulimit -f)';
    case 'EIO':
      return 'the disk reports an error';
    case 'ENAMETOOLONG':
      return 'the name is too long';
    case 'ELOOP':
      return 'its symbolic links lead in a circle';
    case 'EMFILE':
      return 'this process may not open more files; raise the limit (ulimit -n) to 1024';
    case 'ENFILE':
      return 'the system has too many open files';
    case 'ENOMEM':
      return 'the system has no more memory to give';
    default:
      return messageOf(error);
  }
}

/**
 * The content of a JSON file; undefined if it does not exist or is damaged.
 *
 * @throws UserError if it exists but cannot be read
 */
export function readJson(file: string): unknown {
  if (!existsSync(file)) return undefined;
  return parseJson(readRegularFile(file).toString('utf8'));
}

/** A value as the content of a JSON file. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** What is nested more deeply is none of ours, and would overflow the stack of who walks through it. */
const MOST_NESTED = 100;

/** Parses JSON; undefined if the text is not JSON, or is nested too deeply. */
export function parseJson(text: string): unknown {
  if (depthOf(text) > MOST_NESTED) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** How deeply the brackets of JSON are nested; only just more than may be, if they are nested more deeply. */
function depthOf(json: string): number {
  let [depth, most, inString] = [0, 0, false];
  for (let i = 0; i < json.length && most <= MOST_NESTED; i++) {
    const character = json[i];
    if (character === '"') inString = !inString;
    else if (inString && character === '\\') i++;
    else if (inString) continue;
    else if (character === '[' || character === '{') most = Math.max(most, ++depth);
    else if (character === ']' || character === '}') depth--;
  }
  return most;
}
