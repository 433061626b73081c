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

/** The process that holds a lock. */
export interface Holder {
  pid: number;
  host: string;
  since: string;
  token: string;
}

export interface Lock {
  release(): void;
}

/** The tokens of this process. A lock with its pid but another token is an earlier process's. */
const ours = new Set<string>();

const BEAT_MS = 10_000;
/** A holder that has not renewed its lock for this long is gone, even if its pid is alive. */
const SILENT_MS = 120_000;

/**
 * Makes this process the only one that works in a folder, and renews the lock every ten seconds. The
 * lock of a killed process is taken over: on the same machine at once, elsewhere when it has not been
 * renewed for two minutes.
 *
 * @param who the kind of holder for the message, such as `sweep`
 * @param lost called if another process has taken the lock, as after a long suspension
 * @throws UserError with the holder if the lock is held; UserError if it cannot be written
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
    // A link is created only if the file does not exist, and never without its content.
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
      // The next beat tries again.
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

/**
 * The holder of a lock, and whether it is still there; undefined if there is no lock.
 *
 * @throws UserError if the file cannot be read
 */
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

/** A restarted container has the same host name and the same pids; tokens tell its processes apart. */
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

/** Removes the lock of a holder that is gone, but not that of a process which took over meanwhile. */
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
  return `another ${who} works there (process ${pid} on ${host}, since ${since}): wait for it or stop it; its lock is ${file}`;
}
