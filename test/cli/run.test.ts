import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PATIENCE } from '../patience.js';
import { fixture, readCsv } from '../fixtures.js';
import {
  bang,
  bangInside,
  bangOk,
  executable,
  expectRefusal,
  FILES,
  linearConfig,
  tensors,
  tinyConfig,
  tinyLenetConfig,
  workspace,
  type Workspace,
  writeSmallData,
} from './bang.js';

let space: Workspace;
beforeAll(() => {
  space = workspace();
  writeSmallData(space);
  space.write('tiny.yaml', tinyLenetConfig());
});
afterAll(() => {
  space.remove();
});

describe('bang run', () => {
  let first: Awaited<ReturnType<Workspace['run']>>;
  beforeAll(async () => {
    // As a shell would; the others in this process.
    const args = ['run', 'tiny.yaml', '--data-dir', 'data', '--set', 'evaluation.pass=true'];
    first = await bangOk(args, { cwd: space.folder });
  });

  it('prints the published row below ours, and in what they differ', () => {
    const rows = first.stdout.split('\n').map((line) => line.split('│').map((cell) => cell.trim()));
    const cells = (name: string) => rows.find((row) => row[1] === name)!;
    const [ours, published, difference] = ['tiny', 'published B1', 'difference'].map(cells);
    // Of 40 iterations, not of 10 000.
    expect(difference).toBeUndefined();
    expect(published.slice(2, 6)).toEqual(['1', '0.815', '99.22', '1.68']);
    expect(ours.slice(2, 4)).toEqual(['1', '0.815']);
    expect(first.stdout).toMatch(/^tiny: .*gradient/m);
    expect(first.stdout).toMatch(/^Files: runs\/tiny$/m);
    expect(first.stderr).toMatch(/^training: 40 iterations, loss [\d.]+$/m);
    expect(first.stderr).toMatch(/^HC1: \d+ of \d+ images, [\d.]+ s$/m);
  });

  it('writes its files, and only complete ones', () => {
    expect(space.list('runs/tiny')).toEqual(FILES);
    const log = readCsv(space.file('runs', 'tiny', 'training.csv'));
    expect(log.map((row) => row.iteration)).toEqual(['10', '20', '30', '40']);
    expect(Object.keys(log[0])).toContain('eta_mean_conv1');
  });

  it('has the same columns of per-image.csv as the reference', () => {
    const [line] = readCsv(space.file('runs', 'tiny', 'per-image.csv'));
    const [reference] = readCsv(fixture('authors-lenet-r0.per-image.csv'));
    expect(Object.keys(line)).toEqual(expect.arrayContaining(Object.keys(reference)));
  });

  it('summarises per-image.csv', () => {
    const lines = readCsv(space.file('runs', 'tiny', 'per-image.csv'));
    const { row, data } = space.result('runs/tiny');
    const correct = lines.filter((line) => line.label === line.predicted);
    expect(row.images).toBe(60);
    expect(lines).toHaveLength(60);
    expect(row.correct).toBe(correct.length);
    expect(row.accuracy).toBeCloseTo((100 * correct.length) / 60, 10);
    expect(row.blank).toBe(correct.filter((line) => line.blank === '1').length);
    expect(data).toMatchObject({ name: 'mnist', folder: 'data' });
    const columns = { fgs: 'fgs', hc1: 'hc1', 'fgs-unmasked': 'fgs_unmasked' } as const;
    for (const [attack, column] of Object.entries(columns)) {
      const summary = row.attacks[attack as keyof typeof columns]!;
      const linf = lines.map((line) => line[`${column}_linf`]).filter((text) => text !== '');
      expect(summary.rate).toBeCloseTo((100 * linf.length) / correct.length, 10);
      expect(summary.linf?.mean).toBeCloseTo(mean(linf.map(Number)), 6);
      expect(summary.linf?.std).toBeCloseTo(deviation(linf.map(Number)), 6);
      if (column === 'fgs_unmasked') continue;
      const pass = lines.map((line) => line[`${column}_pass`]).filter((text) => text !== '');
      expect(pass).toHaveLength(linf.length);
      expect(summary.pass?.mean).toBeCloseTo(mean(pass.map(Number)), 4);
    }
  });

  it('prints a finished result at once, next to the row chosen now', async () => {
    const before = space.contents('runs/tiny');
    const changed = statSync(space.file('runs', 'tiny', 'result.json')).mtimeMs;
    const again = await space.run('tiny.yaml', '--set', 'evaluation.pass=true');
    expect(again.stdout).toBe(first.stdout);
    expect(again.stderr).toBe('');
    const other = await space.run(
      ...['tiny.yaml', '--set', 'evaluation.pass=true', '--set', 'published.row=R0'],
    );
    expect(other.stdout).toContain('published R0');
    expect(statSync(space.file('runs', 'tiny', 'result.json')).mtimeMs).toBe(changed);
    expect(space.contents('runs/tiny')).toEqual(before);
  });

  it('refuses another experiment in the folder and says what differs', async () => {
    const before = space.contents('runs/tiny');
    const args = ['run', 'tiny.yaml', '--data-dir', 'data', '--set', 'seed=2'];
    const refused = await bangInside(args, { cwd: space.folder });
    expectRefusal(
      refused,
      /^bang: runs\/tiny holds another experiment \(seed was 1, is 2; evaluation\.pass was true, is false\): choose another folder with --out, or --force to start over\n$/,
    );
    expect(space.contents('runs/tiny')).toEqual(before);
  });

  it('refuses a finished result that was made on other data, and loses nothing', async () => {
    writeSmallData(space, 'others', { seed: 2 });
    const before = space.contents('runs/tiny');
    const args = ['run', 'tiny.yaml', '--data-dir', 'others', '--set', 'evaluation.pass=true'];
    expectRefusal(
      await bangInside(args, { cwd: space.folder }),
      /^bang: runs\/tiny was made on other data: choose another folder with --out, or --force/,
    );
    expect(space.contents('runs/tiny')).toEqual(before);
  });

  it.each([
    ['.', 'a sweep'],
    ['cells', 'the cells of a sweep'],
  ])('refuses the folder %s of a sweep', async (inside, what) => {
    space.write('swept/sweep.yaml', 'base: lenet-b1\n');
    const args = ['run', 'tiny.yaml', '--data-dir', 'data', '--out', `swept/${inside}`];
    const message = new RegExp(`holds ${what}: choose another folder with --out\\n$`);
    expectRefusal(await bangInside(args, { cwd: space.folder }), message);
    expect(space.list('swept')).toEqual(['sweep.yaml']);
  });

  it('loses nothing to --force on a command that cannot be carried out', async () => {
    const before = space.contents('runs/tiny');
    for (const wrong of [
      ['--threads', '0'],
      ['--data-dir', 'nowhere'],
    ]) {
      const args = ['run', 'tiny.yaml', '--force', ...wrong];
      expectRefusal(await bangInside(args, { cwd: space.folder }), /--threads|nowhere/);
    }
    expect(space.contents('runs/tiny')).toEqual(before);
  });

  it('starts over with --force, keeps files that are not its own, and finds the same', async () => {
    const before = space.contents('runs/tiny');
    const { provenance, row } = space.result('runs/tiny');
    space.write('runs/tiny/notes.txt', 'mine');
    const again = await space.run('tiny.yaml', '--set', 'evaluation.pass=true', '--force');
    expect(again.stderr).toMatch(/^training: 40 iterations/m);
    expect(again.stdout).toBe(first.stdout);
    expect(space.list('runs/tiny')).toEqual([...FILES, 'notes.txt'].sort());
    expect(space.result('runs/tiny').provenance!.finished).not.toBe(provenance!.finished);
    expect(space.result('runs/tiny').row.accuracy).toBe(row.accuracy);
    for (const name of ['training.csv', 'weights.safetensors', 'per-image.csv', 'table.csv']) {
      expect(space.bytes('runs/tiny', name).toString('base64')).toBe(before[name]);
    }
  });

  it('makes a folder for each of several configs, with --set in all', async () => {
    space.write('more/one.yaml', tinyConfig());
    space.write('more/two.yaml', tinyConfig('name: second\nseed: 7'));
    const set = ['--set', 'training.bang=null', '--set', 'evaluation.attacks=[fgs]'];
    const both = await space.run('more/one.yaml', 'more/two.yaml', '--out', 'deep/er', ...set);
    expect(both.stdout).toMatch(/│ one .*│ second /s);
    expect(both.stdout).toMatch(/^Files: deep\/er$/m);
    for (const name of ['one', 'second']) {
      expect(space.list(`deep/er/${name}`)).toEqual(FILES);
      expect(space.result(`deep/er/${name}`).config.training).not.toHaveProperty('bang');
      expect(Object.keys(space.result(`deep/er/${name}`).row.attacks)).toEqual(['fgs']);
    }
    expect(tensors(space, 'deep/er/one')).not.toEqual(tensors(space, 'deep/er/second'));
  });

  it('computes none of several configs if the data of one of them are missing', async () => {
    space.write('cifar.yaml', 'extends: cifar10-b0\nname: cifar\n');
    const args = ['run', 'tiny.yaml', 'cifar.yaml', '--data-dir', 'data', '--out', 'neither'];
    expectRefusal(await bangInside(args, { cwd: space.folder }), /^bang: data holds MNIST/);
    expect(existsSync(space.file('neither'))).toBe(false);
  });

  it('finds the same bits with any number of threads', async () => {
    const short = [
      'training.iterations=10',
      'evaluation.attacks=[fgs]',
      'evaluation.images=20',
    ].flatMap((one) => ['--set', one]);
    for (const threads of ['1', '2', '3']) {
      await space.run('tiny.yaml', ...short, '--threads', threads, '--out', `threads-${threads}`);
      expect(space.result(`threads-${threads}`).provenance!.threads).toBe(Number(threads));
      expect(tensors(space, `threads-${threads}`)).toEqual(tensors(space, 'threads-1'));
      for (const name of ['training.csv', 'per-image.csv', 'table.csv']) {
        expect(space.read(`threads-${threads}`, name)).toBe(space.read('threads-1', name));
      }
    }
  });
});

describe('a training that leads nowhere', () => {
  it('stops when it diverges, also on a terminal', async () => {
    const out = ['--data-dir', 'data', '--out', 'diverged'];
    const args = ['run', 'tiny.yaml', '--set', 'training.learningRate.base=1e6', ...out];
    const { code, stdout, stderr } = await bangInside(args, { cwd: space.folder });
    expect(stderr).toMatch(
      /^tiny: .*\nbang: .*loss .* iteration \d+.*: lower training\.learningRate.*\n$/,
    );
    expect(code).toBe(1);
    expect(stdout).toBe('');
    if (spawnSync('script', ['--version']).status !== 0) return;
    // A bar that nobody takes down keeps the process alive.
    const command = [process.execPath, executable(), ...args].join(' ');
    const terminal = spawnSync('script', ['-qec', command, '/dev/null'], {
      cwd: space.folder,
      timeout: PATIENCE,
      encoding: 'utf8',
    });
    expect(terminal.status).toBe(1);
    expect(terminal.stdout).toContain('bang: ');
  });

  it('ends neither the other seeds nor the other configs of the command', async () => {
    const bad = tinyConfig('name: bad\nseeds: [1, 2]').replace(
      'logEvery: 10',
      'logEvery: 1, learningRate: { base: 1.e+6 }',
    );
    space.write('batch/bad.yaml', bad);
    space.write('batch/good.yaml', tinyConfig('seeds: [1, 2]'));
    const args = ['run', 'batch/bad.yaml', 'batch/good.yaml', '--data-dir', 'data'];
    const { code, stdout, stderr } = await bangInside(
      [...args, '--out', 'batch/out', '--set', 'evaluation.attacks=[fgs]'],
      { cwd: space.folder },
    );
    expect(stderr).toMatch(/^batch\/out\/bad\/seed-1 failed: .*loss/m);
    expect(stderr).toMatch(
      /^bang: 2 of 4 runs failed: batch\/out\/bad\/seed-1, batch\/out\/bad\/seed-2\n$/m,
    );
    expect(stdout).toMatch(/│ good .*^Files: batch\/out$/ms);
    expect(stdout).not.toContain('│ bad ');
    expect(code).toBe(1);
  });

  it('is stopped by Ctrl-C among others, of which the finished ones are shown', async () => {
    space.write('batch/done.yaml', tinyConfig());
    space.write('batch/long.yaml', tinyConfig().replace('iterations: 40', 'iterations: 100000'));
    const args = ['run', 'batch/done.yaml', 'batch/long.yaml', '--data-dir', 'data'];
    const { code, stdout } = await bang([...args, '--out', 'batch/stopped'], {
      cwd: space.folder,
      when: () => existsSync(space.file('batch/stopped/long/training.csv')),
    });
    expect(stdout).toMatch(/│ done .*^Files: batch\/stopped$/ms);
    expect(code).toBe(130);
  });

  it('stops when the loss stays at chance', async () => {
    const set = ['iterations=1000', 'batch=1', 'learningRate.base=1e-9', 'bang=null'].flatMap(
      (one) => ['--set', `training.${one}`],
    );
    space.write('chance.yaml', linearConfig());
    const args = ['run', 'chance.yaml', ...set, '--set', 'training.logEvery=1000'];
    const { code, stderr } = await bangInside([...args, '--data-dir', 'data', '--out', 'chance'], {
      cwd: space.folder,
    });
    expect(stderr).toMatch(
      /^bang: after 1000 iterations the loss is still at chance .*: change training\.learningRate\n$/m,
    );
    expect(code).toBe(1);
  });
});

const mean = (values: number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = (values: number[]): number =>
  Math.sqrt(mean(values.map((value) => (value - mean(values)) ** 2)));
