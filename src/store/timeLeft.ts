import { statSync } from 'node:fs';
import path from 'node:path';
import { readLock, LOCK_FILE } from './lock.js';
import { FILES } from './resultFolder.js';

/** How far something was at a time, in milliseconds since 1970. */
export interface Mark {
  done: number;
  at: number;
}

/** The time that is left at the speed from one mark to another, in milliseconds; undefined if nothing was done between them. */
export function timeLeft(from: Mark, to: Mark, total: number): number | undefined {
  const [done, took] = [to.done - from.done, to.at - from.at];
  if (done <= 0 || took <= 0) return undefined;
  return (took / done) * Math.max(0, total - to.done);
}

/**
 * Where the process that trains in a run's folder began; undefined if none is at work, or if it continues what another
 * one began: how far that was is not known.
 */
export function beginningIn(folder: string): Mark | undefined {
  const lock = readLock(path.join(folder, LOCK_FILE));
  if (lock?.live !== true) return undefined;
  const since = Date.parse(lock.holder.since);
  // Written by the process that began the run, soon after it took the lock.
  const begun = statSync(path.join(folder, FILES.identity), { throwIfNoEntry: false })?.mtimeMs;
  return begun !== undefined && begun >= since - SLACK_MS ? { done: 0, at: since } : undefined;
}

/** Times in locks may be rounded. */
const SLACK_MS = 1000;

/** When a training's log was last written to. */
export function logTime(folder: string): number | undefined {
  return statSync(path.join(folder, FILES.training), { throwIfNoEntry: false })?.mtimeMs;
}
