import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { takeLock } from '#bang/store/lock.js';
import { beginningIn, timeLeft } from '#bang/store/timeLeft.js';

const folder = mkdtempSync(path.join(os.tmpdir(), 'left-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('the time that is left', () => {
  it('is that of what remains, at the speed between two marks', () => {
    expect(timeLeft({ done: 0, at: 0 }, { done: 25, at: 1000 }, 100)).toBe(3000);
    expect(timeLeft({ done: 50, at: 5000 }, { done: 75, at: 6000 }, 100)).toBe(1000);
    expect(timeLeft({ done: 0, at: 0 }, { done: 100, at: 1000 }, 100)).toBe(0);
  });

  it('is not known before anything was done', () => {
    expect(timeLeft({ done: 5, at: 0 }, { done: 5, at: 1000 }, 100)).toBeUndefined();
    expect(timeLeft({ done: 0, at: 1000 }, { done: 5, at: 1000 }, 100)).toBeUndefined();
  });

  it('counts from the lock of a process that began the run, not of one that continues it', () => {
    const config = path.join(folder, 'config.yaml');
    expect(beginningIn(folder)).toBeUndefined();
    const lock = takeLock(path.join(folder, 'bang.lock'), 'run', () => undefined);
    writeFileSync(config, 'name: x\n');
    const begun = beginningIn(folder);
    expect(begun?.done).toBe(0);
    expect(Math.abs(begun!.at - Date.now())).toBeLessThan(60_000);
    utimesSync(config, new Date(0), new Date(0));
    expect(beginningIn(folder)).toBeUndefined();
    lock.release();
  });
});
