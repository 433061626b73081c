import { randomUUID } from 'node:crypto';
import {
  linkSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { codeOf, messageOf, UserError } from '../base/errors.js';
import { isAlive, reason } from '../base/files.js';

/** Who works in a folder. */
export interface Holder {
  pid: number;
  host: string;
  since: string;
  token: string;
}

export interface Lock {
  release(): void;
}

/** The marks of this process: one with its number but not among them is of a process before it. */
const ours = new Set<string>();

const BEAT_MS = 10_000;
/** A holder that has not been heard of for so long is gone, whatever its number says. */
const SILENT_MS = 120_000;

/**
 * Makes this process the only one that works in a folder, which it goes on saying every ten seconds.
 * What a process left that was killed is taken over: its machine knows that it is gone, and others
 * notice that it is silent.
 *
 * @param who what holds a folder of this kind, for the message: a sweep
 * @param lost called if another process has taken the folder, as after a long suspension
 * @throws UserError that names who holds it
 */
export function takeLock(file: string, who: string, lost: () => void): Lock {
  const holder: Holder = {
    pid: process.pid,
    host: hostname(),
    since: new Date().toISOString(),
    token: randomUUID(),
  };
  ours.add(holder.token);
  const own = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(own, JSON.stringify(holder));
    // A link is made only where nothing is, and has its content from the first moment on.
    while (!linked(own, file)) {
      const found = readLock(file);
      if (found?.live === true) throw new UserError(occupied(file, who, found.holder));
      if (found) setAside(file, found.holder);
    }
  } catch (error) {
    ours.delete(holder.token);
    if (error instanceof UserError) throw error;
    throw new UserError(`cannot write ${file}: ${reason(error)}`);
  } finally {
    rmSync(own, { force: true });
  }
  const isOurs = (): boolean => readLock(file)?.holder.token === holder.token;
  const beat = setInterval(() => {
    try {
      if (!isOurs()) {
        clearInterval(beat);
        lost();
      } else {
        utimesSync(file, new Date(), new Date());
      }
    } catch {
      // A disk that does not answer now may do so in ten seconds.
    }
  }, BEAT_MS);
  beat.unref();
  return {
    release() {
      clearInterval(beat);
      ours.delete(holder.token);
      if (isOurs()) rmSync(file, { force: true });
    },
  };
}

/** Who holds a folder, and whether it still does; undefined if nobody. */
export function readLock(file: string): { holder: Holder; live: boolean } | undefined {
  try {
    const age = Date.now() - statSync(file).mtimeMs;
    const holder = JSON.parse(readFileSync(file, 'utf8')) as Holder;
    return { holder, live: !isGone(holder) && age < SILENT_MS };
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new UserError(
      `cannot read ${file}: ${messageOf(error)}; remove it if nothing runs there`,
    );
  }
}

/** A container that starts again has the same name, and its processes the same numbers. */
function isGone({ host, pid, token }: Holder): boolean {
  if (host !== hostname()) return false;
  return pid === process.pid ? !ours.has(token) : !isAlive(pid);
}

function linked(own: string, file: string): boolean {
  try {
    linkSync(own, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Removes the lock of a holder that is gone, and only that: another process may be faster. */
function setAside(file: string, gone: Holder): void {
  const aside = `${file}.${process.pid}.old.tmp`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  const { token } = JSON.parse(readFileSync(aside, 'utf8')) as Holder;
  if (token !== gone.token) linked(aside, file);
  rmSync(aside, { force: true });
}

function occupied(file: string, who: string, { pid, host, since }: Holder): string {
  return `another ${who} works there (process ${pid} on ${host}, since ${since}): wait for it or stop it; ${file} is its mark`;
}
