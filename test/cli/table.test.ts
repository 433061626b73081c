import { spawnSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PATIENCE } from '../patience.js';
import { readCsv } from '../fixtures.js';
import { realResult } from '../report/entries.js';
import {
  bangInside,
  bangInsideOk,
  bangOk,
  executable,
  expectRefusal,
  FILES,
  tinyLenetConfig,
  workspace,
  type Workspace,
  writeSmallData,
} from './bang.js';

const FAST = ['training.iterations=20', 'evaluation.attacks=[fgs,fgs-unmasked]'].flatMap((one) => [
  '--set',
  one,
]);

let space: Workspace;
let three: Awaited<ReturnType<typeof bangOk>>;
beforeAll(async () => {
  space = workspace();
  writeSmallData(space);
  space.write('tiny.yaml', tinyLenetConfig());
  three = await run('tiny.yaml', '--set', 'seeds=[1,2,3]', '--out', 'runs/paper/tiny');
});
afterAll(() => {
  space.remove();
});

/** `bang run` on the small data, in the workspace. */
function run(...args: string[]) {
  return bangInsideOk(['run', ...args, ...FAST, '--data-dir', 'data'], { cwd: space.folder });
}

function table(...args: string[]) {
  return bangInside(['table', ...args], { cwd: space.folder });
}

/** The cells of the first line of a console table that begins with a name. */
function cells(text: string, name: string): string[] {
  const lines = text.split('\n').map((line) => line.split('│').map((cell) => cell.trim()));
  return lines.find((line) => line[1] === name)!;
}

describe('bang run with seeds', () => {
  it('makes a complete folder for each, the same as a run with that seed', async () => {
    expect(space.list('runs/paper/tiny')).toEqual(['seed-1', 'seed-2', 'seed-3']);
    expect(three.stderr).toMatch(
      /^tiny: BANG, 20 iterations; .* on 60 test images → runs\/paper\/tiny\/seed-2 \(.*threads?\)$/m,
    );
    await run('tiny.yaml', '--set', 'seed=2', '--out', 'alone');
    expect(space.list('runs/paper/tiny/seed-2')).toEqual(FILES);
    const [one, other] = [space.contents('runs/paper/tiny/seed-2'), space.contents('alone')];
    for (const name of FILES) {
      if (name !== 'result.json') expect(one[name], name).toBe(other[name]);
    }
    const { row, weights, config } = space.result('runs/paper/tiny/seed-2');
    expect({ weights, config }).toEqual({
      weights: space.result('alone').weights,
      config: space.result('alone').config,
    });
    expect(row.accuracy).toBe(space.result('alone').row.accuracy);
  });

  it('prints the mean, and the deviation over seeds below it', () => {
    const accuracies = [1, 2, 3].map((n) => space.result(`runs/paper/tiny/seed-${n}`).row.accuracy);
    const mean = (accuracies[0] + accuracies[1] + accuracies[2]) / 3;
    const squares = accuracies.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    expect(cells(three.stdout, 'tiny')[4]).toBe(mean.toFixed(2));
    expect(cells(three.stdout, 'over 3 seeds')[4]).toBe(`±${Math.sqrt(squares / 2).toFixed(2)}`);
    expect(three.stdout).toMatch(/^"over N seeds" is the sample standard deviation/m);
    expect(three.stdout).toMatch(/^Files: runs\/paper\/tiny$/m);
  });

  it('runs only the new ones', async () => {
    cpSync(space.file('runs/paper/tiny'), space.file('more'), { recursive: true });
    const before = space.contents('more/seed-1');
    const four = await run('tiny.yaml', '--set', 'seeds=[1,2,3,9]', '--out', 'more');
    expect(four.stderr.match(/^training: 20 iterations/gm)).toHaveLength(1);
    expect(four.stdout).toContain('over 4 seeds');
    expect(space.contents('more/seed-1')).toEqual(before);
  });

  it('does not mix with a single run, nor takes an empty list', async () => {
    const single = await bangInside(['run', 'tiny.yaml', '--set', 'seeds=[1]', '--out', 'alone'], {
      cwd: space.folder,
    });
    expectRefusal(single, /^bang: alone holds a single run, not one for each seed: /);
    const reverse = await bangInside(['run', 'tiny.yaml', '--out', 'more'], { cwd: space.folder });
    expectRefusal(reverse, /^bang: more holds one run for each seed, not a single run: choose /);
    const evaluated = await bangInside(['eval', 'alone/weights.safetensors', '--out', 'more'], {
      cwd: space.folder,
    });
    expectRefusal(evaluated, /^bang: more holds one run for each seed, not a single run: choose /);
    const empty = await bangInside(['run', 'tiny.yaml', '--set', 'seeds=[]'], {
      cwd: space.folder,
    });
    expectRefusal(empty, /^bang: --set seeds: expected a list of one seed or more/);
  });

  it('is shown by bang validate', async () => {
    const { stdout } = await bangInside([
      'validate',
      space.file('tiny.yaml'),
      '--set',
      'seeds=[4,7]',
    ]);
    expect(stdout).toMatch(/epsilon 0\.815, seeds 4 7\)$/m);
  });
});

describe('bang table', () => {
  beforeAll(async () => {
    const corrected = ['--set', 'evaluation.protocol=corrected'];
    await run('tiny.yaml', ...corrected, '--out', 'runs/scans/tiny');
    space.write('runs/real/r0/seed-1/result.json', JSON.stringify(realResult('lenet-r0')));
    space.write('runs/unfinished/config.yaml', 'model: lenet\n');
    space.write('runs/damaged/result.json', '{"format": 1');
    space.write('elsewhere/result.json', JSON.stringify(realResult('lenet-b0')));
  });

  it('prints both tables in one, in the order of the paper', async () => {
    const { code, stdout, stderr } = await table('runs', '--no-write');
    expect(code).toBe(0);
    expect(stdout.match(/^Table 1: LeNet on MNIST$/gm)).toHaveLength(1);
    const names = [...stdout.matchAll(/^│ (published \w\w|tiny|lenet-\w\w|no run yet) /gm)];
    expect(names.map(([, name]) => name)).toEqual([
      ...['lenet-r0', 'published R0', 'no run yet', 'published R1', 'no run yet', 'published B0'],
      ...['tiny', 'published B1', 'tiny', 'published B1', 'no run yet', 'published B2'],
      ...['no run yet', 'published B3', 'no run yet', 'published B4', 'no run yet', 'published B5'],
    ]);
    expect(stdout.match(/^│ over 3 seeds /gm)).toHaveLength(1);
    expect(stdout.match(/^│ 60 images /gm)).toHaveLength(2);
    expect(stdout.match(/^│ protocol corrected /gm)).toHaveLength(1);
    expect(stdout).toMatch(/^Protocol paper: .*\nProtocol corrected: /m);
    expect(stdout).toMatch(/^lenet-r0: 8\.6 % blank gradients; /m);
    expect(stdout).not.toMatch(/^Files/m);
    expect(stderr).toBe(
      'note: runs/damaged/result.json is damaged: it is left out\n' +
        'note: runs/unfinished is not finished: it is left out\n',
    );
    expect(space.list('runs')).not.toContain('table.md');
  });

  it('writes the same as CSV and Markdown, again and again', async () => {
    const first = await table('runs');
    expect(first.stdout).toMatch(/^Files: runs\/table\.csv, runs\/table\.md$/m);
    const written = space.contents('runs');
    expect(Object.keys(written).sort()).toEqual(['table.csv', 'table.md']);
    const again = await table('runs');
    expect(again.stdout).toBe(first.stdout);
    expect(space.contents('runs')).toEqual(written);

    const lines = readCsv(space.file('runs', 'table.csv'));
    expect(lines.map(({ row, source }) => `${row} ${source}`)).toEqual([
      ...['R0 bang', 'R0 published', 'R0 difference', 'R1 published', 'B0 published'],
      // Trained for 20 iterations: no difference from a network that was trained for 10 000.
      ...['B1 bang', 'B1 over seeds', 'B1 published', 'B1 bang', 'B1 published'],
      ...['B2', 'B3', 'B4', 'B5'].map((row) => `${row} published`),
    ]);
    const [ours, , , other] = lines.slice(5);
    expect(ours).toMatchObject({ name: 'tiny', table: '1', seeds: '1 2 3', images: '60' });
    expect(ours).toMatchObject({ search: 'bisection', beta: '1', epsilon: '0.815' });
    const rates = [1, 2, 3].map(
      (n) => space.result(`runs/paper/tiny/seed-${n}`).row.attacks.fgs!.rate,
    );
    expect(Number(ours.fgs_rate)).toBeCloseTo((rates[0] + rates[1] + rates[2]) / 3, 3);
    const departs = 'training.iterations 20 instead of 10000; training.batch 16 instead of 64';
    expect(ours.label).toBe(`60 images; other data; ${departs}`);
    expect(other.label).toBe(`protocol corrected; 60 images; other data; ${departs}`);
    const [r0, theirs, apart] = lines;
    expect(r0.label).toBe('');
    expect(Number(apart.fgs_rate)).toBeCloseTo(Number(r0.fgs_rate) - Number(theirs.fgs_rate), 3);

    const markdown = space.read('runs', 'table.md');
    expect(markdown).toMatch(/^# Table 1: LeNet on MNIST$/m);
    expect(markdown).toMatch(
      /^\| \*\*tiny\*\* \(protocol corrected, 60 images, other data, training\.iterations 20 instead of 10000, .*\) +\|/m,
    );
    expect(markdown.split('\n').filter((line) => line.startsWith('| '))).toHaveLength(
      lines.length + 2 + 6, // the head and its rule; the rows of which there is no run
    );
  });

  it('puts seeds of several folders together, and writes where it is told', async () => {
    cpSync(space.file('runs/paper/tiny/seed-3'), space.file('apart/seed-3'), { recursive: true });
    cpSync(space.file('runs/paper/tiny/seed-1'), space.file('apart/two/seed-1'), {
      recursive: true,
    });
    cpSync(space.file('runs/paper/tiny/seed-1'), space.file('apart/one'), { recursive: true });
    const { stdout, stderr } = await table('apart', 'elsewhere');
    expect(stdout).toContain('over 2 seeds');
    expect(stdout).toContain('lenet-b0');
    expect(stderr).toBe(
      'note: apart/two/seed-1 is of the same experiment and seed as apart/one: only the latter counts\n' +
        'note: for several folders, no files are written: --out FOLDER says where\n',
    );
    const out = await table('apart', 'elsewhere', '--out', 'new/place');
    expect(out.code).toBe(0);
    expect(space.list('new/place')).toEqual(['table.csv', 'table.md']);
  });

  it('does not change the files of a run', async () => {
    const before = space.contents('runs/scans/tiny');
    const { code, stdout, stderr } = await table('runs/scans/tiny');
    expect(code).toBe(0);
    expect(stdout).toContain('protocol corrected');
    expect(stderr).toBe(
      'note: runs/scans/tiny is the folder of a run, so no files are written: --out FOLDER says where\n',
    );
    expect(space.contents('runs/scans/tiny')).toEqual(before);
    expectRefusal(
      await table('runs', '--out', 'runs/scans/tiny'),
      /^bang: --out runs\/scans\/tiny: /,
    );
  });

  it('says how to avoid writing if files cannot be written', async () => {
    space.write('taken/table.csv/file', '');
    const { code, stderr } = await table('runs', '--out', 'taken');
    expect(code).toBe(2);
    expect(stderr).toMatch(/^bang: cannot write taken.table\.csv: .*; --no-write only prints$/m);
  });

  it('refuses what has no result', async () => {
    expectRefusal(
      await table('runs/unfinished'),
      /^bang: no finished run in runs\/unfinished or below: runs\/unfinished is not finished\n$/,
    );
    expectRefusal(await table('data'), /^bang: no finished run in data or below\n$/);
    expectRefusal(await table('nowhere'), /^bang: cannot read nowhere: there is no such folder\n$/);
    expectRefusal(await table('tiny.yaml'), /^bang: cannot read tiny\.yaml: it is not a folder\n$/);
    expectRefusal(await table(), /^bang: an argument is missing/);
  });

  it('fits on a terminal of 80 columns', () => {
    if (spawnSync('script', ['--version']).status !== 0) return;
    const command = [process.execPath, executable(), 'table', 'runs', '--no-write'].join(' ');
    const { status, stdout } = spawnSync(
      'script',
      ['-qec', `stty cols 80; ${command}`, '/dev/null'],
      { cwd: space.folder, encoding: 'utf8', timeout: PATIENCE },
    );
    expect(status).toBe(0);
    const drawn = stdout.split(/\r?\n/).filter((line) => /^[│┌├└]/.test(line));
    expect(drawn.filter((line) => line.startsWith('┌'))).toHaveLength(2);
    expect(Math.max(...drawn.map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  it('has help', async () => {
    const { stdout } = await bangInsideOk(['table', '--help'], { cwd: space.folder });
    expect(stdout).toMatch(/Examples:/);
    expect(stdout).toMatch(/--no-write/);
  });
});
