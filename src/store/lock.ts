import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { codeOf, messageOf, UserError } from '../base/errors.js';
import { fileClock, parseJson, reason } from '../base/files.js';
import { isRunning, thisProcess, type ProcessId } from '../base/processes.js';

/** In a folder of a run, a study, a sweep or a worker: says that a process works there. */
export const LOCK_FILE = 'bang.lock';

/** Who works in a folder. */
export interface Holder extends ProcessId {
  host: string;
  since: string;
  token: string;
}

/** Another process holds a lock. */
export class Occupied extends UserError {}

/** What a lock says to others. */
export interface LockState {
  holder: Holder;
  live: boolean;
  /** Milliseconds of silence after which the holder counts as gone; absent if its process can be asked for. */
  left?: number;
}

export interface Lock {
  /** @throws UserError if another process has taken the folder, as after a long suspension */
  check(): void;
  release(): void;
}

const BEAT_MS = 10_000;
/** A holder whose process cannot be asked for is gone when its lock has not been touched for this long. */
const SILENT_MS = 120_000;
/** How long a process that removes a dead lock has it to itself. */
const TURN_MS = 10_000;

/**
 * Makes this process the only one that works in a folder, and touches the lock every ten seconds. A lock that a
 * killed process left is taken over: at once by a process that sees the same processes, by others (another machine
 * or container) after two minutes of silence. The silence is measured by the clock of the file system alone.
 *
 * @param who what holds a folder of this kind, for the message: a sweep
 * @param lost called if another process has taken the folder, as after a long suspension
 * @throws Occupied, which names the holder; UserError if there can be no lock
 */
export function takeLock(file: string, who: string, lost: () => void): Lock {
  const holder: Holder = {
    ...thisProcess(),
    host: hostname(),
    since: new Date().toISOString(),
    token: randomUUID(),
  };
  const content = JSON.stringify(holder);
  try {
    while (!created(file, content)) {
      const found = readLock(file);
      if (found?.live === true) {
        if ((found.left ?? 0) > SILENT_MS) beginSilence(file);
        throw new Occupied(occupied(file, who, found));
      }
      if (found) removeDead(file, found.holder.token);
    }
    // On a file system where two can create the same file, the last one has it.
    if (!isHeldBy(holder.token, file)) throw new Occupied(occupied(file, who, readLock(file)));
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`cannot write ${file}: ${reason(error)}`);
  }
  const isOurs = (): boolean => isHeldBy(holder.token, file);
  const beat = setInterval(() => {
    try {
      if (isOurs() && touch(file, holder.token, content)) return;
      clearInterval(beat);
      lost();
    } catch {
      // The next beat tries again.
    }
  }, BEAT_MS);
  beat.unref();
  return {
    check() {
      if (isOurs()) return;
      throw new UserError(occupied(file, who, readLock(file)));
    },
    release() {
      clearInterval(beat);
      if (isOurs()) rmSync(file, { force: true });
    },
  };
}

/** Removes a lock whose holder is gone, as one that was killed after it had finished; where it cannot, nothing is said. */
export function removeIfDead(file: string): void {
  try {
    const found = readLock(file);
    if (found?.live === false) removeDead(file, found.holder.token);
  } catch {
    // Whoever needs the lock is told.
  }
}

/**
 * Who holds a folder, and whether it still does; undefined if nobody.
 *
 * @throws UserError if the file cannot be read
 */
export function readLock(file: string): LockState | undefined {
  try {
    const found = read(file);
    if (!found) return undefined;
    const { holder, touched } = found;
    const runs = isRunning(holder);
    if (runs !== undefined) return { holder, live: runs };
    const left = SILENT_MS - (clockOf(file) - touched);
    return { holder, live: left > 0, left };
  } catch (error) {
    throw new UserError(
      `cannot read ${file}: ${messageOf(error)}; remove it if nothing runs there`,
    );
  }
}

/** A file that is still empty, or that no version of the program wrote, is held by nobody knows whom. */
const UNKNOWN: Holder = { pid: 0, host: 'an unknown machine', since: 'an unknown time', token: '' };

function read(file: string): { holder: Holder; touched: number } | undefined {
  try {
    const descriptor = openSync(file, 'r');
    try {
      const { mtimeMs } = fstatSync(descriptor);
      const found = parseJson(readFileSync(descriptor, 'utf8')) as Partial<Holder> | undefined;
      const isHolder = typeof found?.token === 'string' && typeof found.pid === 'number';
      return { holder: isHolder ? { ...UNKNOWN, ...found } : UNKNOWN, touched: mtimeMs };
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function isHeldBy(token: string, file: string): boolean {
  return read(file)?.holder.token === token;
}

/** Creates a file unless it exists. No hard link: FAT, SMB and many shared folders have none. */
function created(file: string, content: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'wx');
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
  try {
    writeSync(descriptor, content);
    fsyncSync(descriptor);
  } catch (error) {
    // On a full disk it would be empty, and keep others out.
    rmSync(file, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
  return true;
}

/**
 * Gives a lock the present time of the file system, by writing the same bytes; false if it is not ours any longer.
 * What is read and what is written is the same file, whatever happens to its name meanwhile.
 */
function touch(file: string, token: string, content: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r+');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
  try {
    const found = parseJson(readFileSync(descriptor, 'utf8')) as Partial<Holder> | undefined;
    if (found?.token !== token) return false;
    writeSync(descriptor, content, 0);
    fsyncSync(descriptor);
    return true;
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Gives a lock from the future, where a wrong clock may have put it, the present time: else its silence would last
 * until then. A holder that lives does the same every ten seconds.
 */
function beginSilence(file: string): void {
  try {
    const now = clockOf(file) / 1000;
    utimesSync(file, now, now);
  } catch {
    // It is another user's, or gone.
  }
}

/** By the clock of the file system, which this machine's may differ from; ours where it cannot be asked. */
function clockOf(file: string): number {
  return fileClock(path.dirname(file)) ?? Date.now();
}

/**
 * Removes the lock of a holder that is gone, and only that: one process at a time, so that none removes the lock of
 * another that was faster. Returns without it where another process is at it; the caller looks again.
 */
function removeDead(file: string, token: string): void {
  const turn = `${file}.turn`;
  if (!created(turn, '')) {
    // It takes a millisecond, unless the process was killed in it.
    const since = statSync(turn, { throwIfNoEntry: false })?.mtimeMs;
    if (since !== undefined && clockOf(file) - since > TURN_MS) rmSync(turn, { force: true });
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    return;
  }
  try {
    if (isHeldBy(token, file)) rmSync(file, { force: true });
  } finally {
    rmSync(turn, { force: true });
  }
}

function occupied(file: string, who: string, state: LockState | undefined): string {
  if (!state) return `${file} is gone, which says that this ${who} works there: start it again`;
  const { holder, left } = state;
  const { pid, host, since } = holder;
  const gone =
    left === undefined
      ? ''
      : `, or, if it is gone, start again in ${Math.max(1, Math.ceil(Math.min(left, SILENT_MS) / 1000))} s`;
  return `another ${who} works there (process ${pid} on ${host}, since ${since}): wait for it or stop it${gone}; its lock is ${file}`;
}
