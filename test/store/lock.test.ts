import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { UserError } from '#bang/base/errors.js';
import { readLock, takeLock } from '#bang/store/lock.js';

let folder = '';
let file = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-lock-'));
  file = path.join(folder, 'sweep.lock');
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  rmSync(file, { force: true });
});

const never = (): void => {
  throw new Error('the lock was lost');
};

function foreign(holder: Record<string, unknown>): void {
  const since = '2026-01-01T00:00:00.000Z';
  writeFileSync(file, JSON.stringify({ pid: 1, host: 'elsewhere', since, token: 'x', ...holder }));
}

it('has one holder at a time, and is free after release', () => {
  const lock = takeLock(file, 'sweep', never);
  expect(readLock(file)).toMatchObject({ live: true, holder: { pid: process.pid } });
  expect(() => takeLock(file, 'sweep', never)).toThrow(UserError);
  expect(() => takeLock(file, 'sweep', never)).toThrow(new RegExp(`process ${process.pid} on `));
  lock.release();
  expect(readLock(file)).toBeUndefined();
  takeLock(file, 'sweep', never).release();
  expect(readdirSync(folder)).toEqual([]);
});

it('is taken over from a process on this machine that has ended', () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  const { holder } = ((lock) => {
    const found = readLock(file)!;
    lock.release();
    return found;
  })(takeLock(file, 'sweep', never));
  foreign({ ...holder, pid });
  const lock = takeLock(file, 'sweep', never);
  expect(readLock(file)).toMatchObject({ live: true, holder: { pid: process.pid } });
  lock.release();
});

it('is taken over from an earlier process with the same pid', () => {
  // A restarted container has the same host name and pids.
  const own = takeLock(file, 'worker', never);
  const { holder } = readLock(file)!;
  own.release();
  foreign({ ...holder, token: 'of the process before' });
  const lock = takeLock(file, 'worker', never);
  expect(readLock(file)).toMatchObject({ live: true });
  expect(() => takeLock(file, 'worker', never)).toThrow(/^another worker works there \(process /);
  lock.release();
});

it('is taken over from another machine only if it has not been renewed for minutes', () => {
  foreign({});
  expect(() => takeLock(file, 'sweep', never)).toThrow(/process 1 on elsewhere/);
  const longAgo = new Date(Date.now() - 5 * 60_000);
  utimesSync(file, longAgo, longAgo);
  takeLock(file, 'sweep', never).release();
  expect(existsSync(file)).toBe(false);
});

it('is not removed by a holder from which it was taken over', () => {
  const lock = takeLock(file, 'sweep', () => undefined);
  foreign({});
  lock.release();
  expect(readLock(file)?.holder.host).toBe('elsewhere');
});
