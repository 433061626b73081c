import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PATIENCE } from '../patience.js';
import { packageRoot } from '#bang/base/files.js';
import { discardLeft, openFolder } from '#bang/store/resultFolder.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-folder-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

it('is held by one at a time, until its work ends or fails', async () => {
  const [first, second] = [openFolder(folder, { seed: 1 }), openFolder(folder, { seed: 1 })];
  await first.hold(async () => {
    first.write('table', 'first');
    await expect(second.hold(() => Promise.resolve())).rejects.toThrow(/another run works there/);
  });
  await expect(second.hold(() => Promise.reject(new Error('fails')))).rejects.toThrow('fails');
  expect(await first.hold(() => Promise.resolve(5))).toBe(5);
  expect(existsSync(path.join(folder, 'bang.lock'))).toBe(false);
});

it('loses the lock of a process that was killed in it when it is opened, and no other', async () => {
  const lock = path.join(folder, 'bang.lock');
  const module = path.join(packageRoot, 'dist', 'store', 'lock.js');
  const script = `import { takeLock } from '${module}'; takeLock('${lock}', 'run'); process.kill(process.pid, 9);`;
  const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script]);
  expect([signal, existsSync(lock)]).toEqual(['SIGKILL', true]);
  const held = openFolder(folder, { seed: 1 });
  expect(existsSync(lock)).toBe(false);
  await held.hold(() => {
    openFolder(folder, { seed: 1 });
    expect(existsSync(lock)).toBe(true);
    return Promise.resolve();
  });
});

it('loses what a process left that was killed as it finished, unless another is at work', async () => {
  const [finished, other] = [openFolder(folder, { seed: 1 }), openFolder(folder, { seed: 1 })];
  const left = ['stages', 'checkpoint.safetensors'].map((name) => path.join(folder, name));
  const are = () => left.map((file) => existsSync(file));
  await other.hold(async () => {
    other.write('result', '{}');
    other.write('checkpoint', '');
    other.parts({}).write('fgs', 1);
    await discardLeft(finished);
    expect(are()).toEqual([true, true]);
  });
  await discardLeft(finished);
  expect(are()).toEqual([false, false]);
  expect(readdirSync(folder).sort()).toEqual(['config.yaml', 'result.json']);
  // Nothing is written where nothing is left.
  const { mtimeMs } = statSync(folder);
  await discardLeft(finished);
  expect(statSync(folder).mtimeMs).toBe(mtimeMs);
});

it('can be waited for', async () => {
  const order: string[] = [];
  let refused: () => void = () => undefined;
  const onRefusal = new Promise<void>((resolve) => (refused = resolve));
  const first = openFolder(folder, { seed: 1 });
  const second = openFolder(folder, { seed: 1 }, { patience: PATIENCE });
  const short = openFolder(folder, { seed: 1 }, { patience: 50 });
  await Promise.all([
    first.hold(async () => {
      await onRefusal;
      order.push('first');
    }),
    second.hold(() => Promise.resolve(order.push('second'))),
    expect(short.hold(() => Promise.resolve()))
      .rejects.toThrow(/another run works there/)
      .then(refused),
  ]);
  expect(order).toEqual(['first', 'second']);
});

it('is refused where another experiment has begun in it since it was opened', async () => {
  const [one, other] = [openFolder(folder, { seed: 1 }), openFolder(folder, { seed: 2 })];
  await one.hold(() => Promise.resolve());
  await expect(other.hold(() => Promise.resolve())).rejects.toThrow(/seed was 1, is 2/);
  expect(existsSync(path.join(folder, 'bang.lock'))).toBe(false);
});

it('is written only while it is held', async () => {
  const held = openFolder(folder, { seed: 1 });
  for (const write of [
    () => {
      held.write('table', '');
    },
    () => {
      held.remove('table');
    },
    () => {
      held.parts({}).write('part', 1);
    },
  ]) {
    expect(write).toThrow(/without its lock/);
    await held.hold(() => {
      write();
      return Promise.resolve();
    });
    expect(write).toThrow(/without its lock/);
  }
});

it('is of the same experiment where 0 is −0, which files do not tell apart', async () => {
  const first = openFolder(folder, { training: { weightDecay: -0 } });
  await first.hold(() => Promise.resolve());
  expect(() => openFolder(folder, { training: { weightDecay: -0 } })).not.toThrow();
  expect(() => openFolder(folder, { training: { weightDecay: 0 } })).not.toThrow();
});
