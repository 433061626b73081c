import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { UserError } from '#bang/base/errors.js';
import { packageRoot } from '#bang/base/files.js';
import { thisProcess } from '#bang/base/processes.js';
import { readLock, takeLock } from '#bang/store/lock.js';

let folder = '';
let file = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-lock-'));
  file = path.join(folder, 'bang.lock');
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

it('is not taken over from a container that has this host name and numbers of its own', () => {
  const lock = takeLock(file, 'run', never);
  const { holder } = readLock(file)!;
  lock.release();
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  for (const space of ['another boot or namespace', undefined]) {
    foreign({ ...holder, pid, space, token: 'x' });
    const refused = new RegExp(
      `^another run works there \\(process ${pid}.*gone, .* in 1[12]\\d s`,
    );
    expect(() => takeLock(file, 'run', never)).toThrow(refused);
  }
});

// Elsewhere nothing says when a process was started.
it.runIf(process.platform === 'linux')(
  'is taken over from a process whose number another one has now',
  () => {
    const lock = takeLock(file, 'run', never);
    const { holder } = readLock(file)!;
    lock.release();
    expect(holder.started).toMatch(/^\d+$/);
    foreign({ ...holder, started: '1', token: 'x' });
    takeLock(file, 'run', never).release();
  },
);

it('is measured by the clock of the file system, not by that of this machine', () => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });
  try {
    foreign({});
    expect(() => takeLock(file, 'run', never)).toThrow(/process 1 on elsewhere/);
    expect(readLock(file)?.live).toBe(true);
  } finally {
    vi.useRealTimers();
  }
});

it('is touched while it is held, and lost once it is another’s', () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  try {
    const lost = vi.fn();
    const lock = takeLock(file, 'run', lost);
    const longAgo = new Date(Date.now() - 5 * 60_000);
    utimesSync(file, longAgo, longAgo);
    const content = readFileSync(file, 'utf8');
    vi.advanceTimersByTime(10_000);
    expect(Date.now() - statSync(file).mtimeMs).toBeLessThan(60_000);
    expect(readFileSync(file, 'utf8')).toBe(content);
    lock.check();
    expect(lost).not.toHaveBeenCalled();

    foreign({});
    expect(() => {
      lock.check();
    }).toThrow(/another run works there \(process 1 on elsewhere/);
    const theirs = readFileSync(file, 'utf8');
    vi.advanceTimersByTime(10_000);
    expect(lost).toHaveBeenCalledOnce();
    expect(readFileSync(file, 'utf8')).toBe(theirs);
    rmSync(file);
    expect(() => {
      lock.check();
    }).toThrow(/is gone/);
  } finally {
    vi.useRealTimers();
  }
});

it('that is empty or damaged is somebody’s until it is old', () => {
  for (const content of ['', '{', 'null', '[]', '{"pid":"1"}']) {
    writeFileSync(file, content);
    expect(() => takeLock(file, 'run', never)).toThrow(/another run works there/);
    const longAgo = new Date(Date.now() - 5 * 60_000);
    utimesSync(file, longAgo, longAgo);
    takeLock(file, 'run', never).release();
  }
  expect(readdirSync(folder)).toEqual([]);
});

it.runIf(process.platform === 'linux')('is not left empty where the disk takes nothing', () => {
  const script = `
    const { takeLock } = await import(${JSON.stringify(pathToFileURL(`${packageRoot}/dist/store/lock.js`))});
    takeLock(${JSON.stringify(file)}, 'run', () => undefined);`;
  const limited = 'ulimit -f 0; exec "$0" --input-type=module -e "$1"';
  const { stderr } = spawnSync('bash', ['-c', limited, process.execPath, script]);
  expect(String(stderr)).toMatch(/cannot write \S+bang\.lock: files may not become this large/);
  expect(readdirSync(folder)).toEqual([]);
});

it('is had by one of many that take over the same dead lock, each time', async () => {
  const script = `
    const { takeLock } = await import(${JSON.stringify(pathToFileURL(`${packageRoot}/dist/store/lock.js`))});
    let lock;
    const orders = {
      take() {
        try {
          lock = takeLock(${JSON.stringify(file)}, 'run', () => undefined);
          return 'taken';
        } catch {
          return 'refused';
        }
      },
      release() {
        lock?.release();
        lock = undefined;
        return 'ready';
      },
    };
    process.stdin.setEncoding('utf8').on('data', (order) => process.stdout.write(orders[order]()));
    process.stdout.write('ready');`;
  const many = Array.from({ length: 6 }, () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    const one = { child, said: '', ended: once(child, 'close') };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (one.said += text));
    return one;
  });
  const saying = (...words: string[]): number =>
    many.filter(({ said }) => words.includes(said)).length;
  const order = async (word: string, ...answers: string[]): Promise<void> => {
    for (const one of many) {
      one.said = '';
      one.child.stdin.write(word);
    }
    await expect.poll(() => saying(...answers), { interval: 1 }).toBe(many.length);
  };
  await expect.poll(() => saying('ready')).toBe(many.length);
  const taken: number[] = [];
  for (let round = 0; round < 100; round++) {
    foreign({});
    const longAgo = new Date(Date.now() - 5 * 60_000);
    utimesSync(file, longAgo, longAgo);
    await order('take', 'taken', 'refused');
    taken.push(saying('taken'));
    await order('release', 'ready');
  }
  expect(taken).toEqual(taken.map(() => 1));
  expect(readdirSync(folder)).toEqual([]);
  for (const { child } of many) child.stdin.end();
  await Promise.all(many.map(({ ended }) => ended));
});

it('is taken over where a process was killed as it removed a dead one', () => {
  foreign({});
  const turn = `${file}.turn`;
  writeFileSync(turn, '');
  const longAgo = new Date(Date.now() - 5 * 60_000);
  for (const one of [file, turn]) utimesSync(one, longAgo, longAgo);
  takeLock(file, 'run', never).release();
  expect(readdirSync(folder)).toEqual([]);
});

it('is taken over from another machine only if it has not been renewed for minutes', () => {
  foreign({});
  expect(() => takeLock(file, 'sweep', never)).toThrow(/process 1 on elsewhere/);
  const longAgo = new Date(Date.now() - 5 * 60_000);
  utimesSync(file, longAgo, longAgo);
  takeLock(file, 'sweep', never).release();
  expect(existsSync(file)).toBe(false);
});

it('from the future holds for two minutes, not until then', () => {
  foreign({});
  const future = new Date(Date.now() + 3_600_000);
  utimesSync(file, future, future);
  expect(() => takeLock(file, 'sweep', never)).toThrow(/start again in 120 s/);
  expect(readLock(file)!.left).toBeLessThanOrEqual(120_000);
});

it('of a process that may be another one by now holds only while it is renewed', () => {
  foreign({ ...thisProcess(), started: undefined });
  expect(() => takeLock(file, 'sweep', never)).toThrow(/start again in \d+ s/);
  const longAgo = new Date(Date.now() - 5 * 60_000);
  utimesSync(file, longAgo, longAgo);
  takeLock(file, 'sweep', never).release();
});

it('is not removed by a holder from which it was taken over', () => {
  const lock = takeLock(file, 'sweep', () => undefined);
  foreign({});
  lock.release();
  expect(readLock(file)?.holder.host).toBe('elsewhere');
});
