import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Config } from '#bang/config/experiment.js';
import {
  bang,
  bangInside,
  bangInsideOk,
  FILES,
  tensors,
  tinyConfig,
  workspace,
  writeSmallData,
} from './bang.js';
import type { Finished, Workspace } from './bang.js';

let space: Workspace;
beforeAll(() => {
  space = workspace();
  writeSmallData(space);
  space.write('tiny.yaml', tinyConfig());
});
afterAll(() => {
  space.remove();
});

const command = (out: string, seed: number, ...more: string[]): string[] => {
  const short = ['training.iterations=20', 'evaluation.images=20'].flatMap((one) => ['--set', one]);
  const changes = [...short, '--set', `seed=${seed}`, ...more];
  return ['run', 'tiny.yaml', '--data-dir', 'data', '--out', out, ...changes];
};

describe('two runs in one folder at once', () => {
  it('never mix: one has the folder, and the other says who has it, or that it is of another', async () => {
    const alone = [5, 6].map((seed) => `alone-${seed}`);
    for (const seed of [5, 6]) {
      await bangInsideOk(command(`alone-${seed}`, seed), { cwd: space.folder });
    }
    for (let trial = 0; trial < 3; trial++) {
      const out = `both-${trial}`;
      const start = async (seed: number, wait: number): Promise<Finished> => {
        await new Promise((resolve) => setTimeout(resolve, wait));
        return bang(command(out, seed), { cwd: space.folder });
      };
      const ended = await Promise.all([start(5, 0), start(6, trial * 150)]);
      const codes = ended.map(({ code }) => code);
      expect([...codes].sort(), ended.map(({ stderr }) => stderr).join()).toEqual([0, 2]);
      const winner = codes.indexOf(0);
      expect(ended[1 - winner].stderr).toMatch(
        /^bang: (another run works there \(process \d+ on |both-\d holds another experiment \(seed was )/m,
      );
      const { seed } = parse(space.read(out, 'config.yaml')) as Config;
      expect(seed).toBe(5 + winner);
      expect(space.list(out)).toEqual(FILES);
      expect(space.result(out).config.seed).toBe(seed);
      expect(space.result(out).weights).toBe(space.result(alone[winner]).weights);
      expect(tensors(space, out)).toEqual(tensors(space, alone[winner]));
      expect(space.read(out, 'per-image.csv')).toBe(space.read(alone[winner], 'per-image.csv'));
    }
  });

  it('of the same experiment give one result', async () => {
    const ended = await Promise.all(
      [0, 1].map(() => bang(command('same', 5), { cwd: space.folder })),
    );
    for (const { code, stderr } of ended) {
      if (code !== 0) expect(stderr).toMatch(/^bang: another run works there/m);
    }
    expect(ended.some(({ code }) => code === 0)).toBe(true);
    expect(tensors(space, 'same')).toEqual(tensors(space, 'alone-5'));
  });
});

it('a result of another experiment than the folder says is not printed', async () => {
  await bangInsideOk(command('other', 5), { cwd: space.folder });
  const result = { ...space.result('other'), config: { ...space.result('other').config, seed: 7 } };
  writeFileSync(space.file('other', 'result.json'), JSON.stringify(result));
  const { code, stdout, stderr } = await bangInside(command('other', 5), {
    cwd: space.folder,
  });
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(
    /^bang: other.result\.json is of another experiment than other.config\.yaml \(seed was 5, is 7\): /m,
  );
});

it('a run whose folder was taken while it was suspended writes nothing more', async () => {
  const long = ['--set', 'training.iterations=4000', '--set', 'training.checkpointEvery=20'];
  const lock = space.file('taken', 'bang.lock');
  const stranger = JSON.stringify({ pid: 1, host: 'elsewhere', since: 'today', token: 'x' });
  const { code, stderr } = await bang(command('taken', 5, ...long), {
    cwd: space.folder,
    // Not to stop it: the other process takes the lock as soon as it is at work.
    when: () => {
      if (!existsSync(space.file('taken', 'checkpoint.safetensors'))) return false;
      writeFileSync(lock, stranger);
      return true;
    },
    signal: 'SIGCONT',
  });
  expect(code).toBe(2);
  expect(stderr).toMatch(/^bang: another run works there \(process 1 on elsewhere, since today\)/m);
  expect(readFileSync(lock, 'utf8')).toBe(stranger);
});
