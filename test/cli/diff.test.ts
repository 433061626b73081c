import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { perImageCsv } from '#bang/store/perImage.js';
import type { Evaluation } from '#bang/metrics/evaluation.js';
import { packageRoot } from '#bang/base/files.js';
import { attackWith, resultWith } from '../report/entries.js';
import { bangInside, expectRefusal, workspace, type Workspace } from './bang.js';
import path from 'node:path';

let space: Workspace;
beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

const diff = (...args: string[]) =>
  bangInside(['diff', ...args.map((arg) => arg.replace('@', space.folder))]);

interface Json {
  config: { key: string; was: string; is: string }[];
  sameWeights: boolean | null;
  noise: string | null;
  figures: {
    figure: string;
    difference: number | null;
    deviations: number | null;
    withinNoise: boolean | null;
  }[];
  images: unknown;
  notes: string[];
}
const json = async (...args: string[]): Promise<Json> =>
  JSON.parse((await diff(...args, '--json')).stdout) as Json;

/** Writes a run of row B1 with another accuracy and seed. */
function run(folder: string, accuracy: number, seed = 1, weights = folder, images = 10_000): void {
  const row = { accuracy, images };
  const result = resultWith('lenet-b1', { config: { seed }, row, weights });
  space.write(path.join(folder, 'result.json'), JSON.stringify(result));
}

/** Four images: what is predicted, whether the gradient is blank, and L∞ of FGS. */
function images(folder: string, predicted: number[], blank: number[], linf: number[]): void {
  const evaluation: Evaluation = {
    channels: 1,
    images: 4,
    labels: Uint8Array.of(1, 2, 3, 4),
    predicted: Uint8Array.from(predicted),
    blank: Uint8Array.from(blank),
    protocol: { search: 'bisection', channels: 'reversed' },
    attacks: new Map([['fgs', { linf: Float32Array.from(linf), seconds: { attack: 0, pass: 0 } }]]),
  };
  writeFileSync(space.file(folder, 'per-image.csv'), perImageCsv(evaluation));
}

describe('bang diff', () => {
  beforeAll(() => {
    run('a', 99, 1, 'a', 4);
    run('b', 98.5, 1, 'b', 4);
    images('a', [1, 2, 3, 9], [0, 0, 1, 0], [5, 6, NaN, NaN]);
    images('b', [1, 8, 7, 4], [0, 1, 0, 0], [5, 9, 2, NaN]);
  });

  it('counts the images that changed', async () => {
    expect((await json('@/a', '@/b')).images).toEqual({
      images: 4,
      predicted: { changed: 3, toWrong: 2, toRight: 1 },
      blank: { became: 1, ceased: 1 },
      columns: expect.arrayContaining([
        { column: 'fgs_linf', changed: 2, gained: 1, lost: 0, most: 3 },
        { column: 'hc1_linf', changed: 0, gained: 0, lost: 0, most: 0 },
      ]) as unknown,
    });
    const { stdout, code } = await diff('@/a', '@/b/result.json');
    expect(stdout).toMatch(/the prediction of 3 changed: 2 are now wrong, 1 are now right$/m);
    expect(stdout).toMatch(/^fgs_linf: changed on 2 images, 1 new, 0 gone, by at most 3/m);
    expect(stdout).toMatch(/│ accuracy +│ +99\.00 % +│ +98\.50 % +│ +-0\.50 │/);
    expect(stdout).toMatch(/^\d+ numbers are the same$/m);
    expect(code).toBe(0);
  });

  it('compares no column of what only one of the runs measured', async () => {
    const result = (searched: object, attacks: object): string => {
      const made = resultWith('lenet-b1', { row: { images: 4, ...searched } });
      return JSON.stringify({ ...made, row: { ...made.row, attacks } });
    };
    const fgs = attackWith(1);
    const other = 'b-other';
    space.write(path.join(other, 'result.json'), result({}, { fgs }));
    images(other, [1, 2, 3, 9], [0, 0, 1, 0], [5, 6, NaN, NaN]);
    for (const sides of [
      ['@/a', `@/${other}`],
      [`@/${other}`, '@/a'],
    ]) {
      const { stdout } = await diff(...sides);
      expect(stdout).not.toMatch(/^hc1_linf: /m);
      const { images: changes } = await json(...sides);
      const { columns } = changes as { columns: { column: string }[] };
      expect(columns.map(({ column }) => column)).not.toContain('hc1_linf');
      expect(columns.map(({ column }) => column)).toContain('fgs_linf');
    }
    // Another line search has columns of its own.
    const scan = { protocol: { search: 'scan', channels: 'reversed' } };
    space.write(path.join(other, 'result.json'), result(scan, { fgs }));
    const lines = readFileSync(space.file(other, 'per-image.csv'), 'utf8').split('\n');
    const [first, ...rest] = lines;
    const swapped = first.replace(/(fgs_linf)(,.*?)(fgs_linf_scan)/, '$3$2$1');
    writeFileSync(space.file(other, 'per-image.csv'), [swapped, ...rest].join('\n'));
    expect((await diff('@/a', `@/${other}`)).stdout).not.toMatch(/^fgs_linf/m);
  });

  it('finds no difference between a run and itself', async () => {
    const same = await json('@/a', '@/a');
    expect(same.config).toEqual([]);
    expect(same.sameWeights).toBe(true);
    expect(same.figures.every(({ difference }) => difference === 0)).toBe(true);
    expect(same.images).toMatchObject({
      predicted: { changed: 0 },
      blank: { became: 0, ceased: 0 },
    });
  });

  it('says what differs between configs, of the real rows of Table 1', async () => {
    const table = path.join(packageRoot, 'results', 'table1');
    const found = await json(
      path.join(table, 'lenet-r0', 'seed-1'),
      path.join(table, 'lenet-b1', 'seed-1'),
    );
    expect(found.config.map(({ key }) => key)).toEqual(['name', 'training.bang', 'published.row']);
    const rate = found.figures.find(({ figure }) => figure === 'fgs_rate')!;
    expect(rate.difference).toBeCloseTo(2.28 - 92.82, 1);
    expect(found.noise).toBeNull();
    expect(found.images).toMatchObject({ images: 10_000 });
  });

  it('judges chance by the seeds', async () => {
    // 95, 97 and 99 have the deviation 2; so have the others; of two means of three, 2·√(2/3).
    [95, 97, 99].forEach((value, i) => {
      run(`many-a/seed-${i + 1}`, value, i + 1);
    });
    [92, 94, 96].forEach((value, i) => {
      run(`many-b/seed-${i + 1}`, value, i + 1);
    });
    const found = await json('@/many-a', '@/many-b');
    const [accuracy] = found.figures;
    expect(accuracy).toMatchObject({ figure: 'accuracy', difference: -3, withinNoise: true });
    expect(accuracy.deviations).toBeCloseTo(-3 / (2 * Math.sqrt(2 / 3)), 12);
    expect(found.notes).toContainEqual(expect.stringContaining('no per-image.csv'));
    // One against three: the scatter of the three counts.
    run('one', 88, 9);
    const alone = await json('@/many-a', '@/one');
    expect(alone.figures[0].deviations).toBeCloseTo(-9 / (2 * Math.sqrt(1 + 1 / 3)), 12);
    expect(alone.figures[0].withinNoise).toBe(false);
    expect(alone.sameWeights).toBeNull();
    expect(alone.notes).toContainEqual(expect.stringContaining('no seed is in both'));
    expect(alone.notes).toContainEqual(
      expect.stringContaining('A has the seeds 1, 2, 3, B 9: what'),
    );
  });

  it('or by a baseline', async () => {
    const spread = { mean: 50, std: 0.25, n: 5, min: 49, max: 51 };
    const baseline = {
      format: 1,
      name: 'x',
      seeds: [1, 2],
      figures: { accuracy: spread },
      data: { name: 'mnist', sha256: '' },
      config: {},
    };
    space.write('b.json', JSON.stringify(baseline));
    const { figures, noise, notes } = await json(
      '@/a',
      '@/b',
      '--baseline',
      '@/b.json'.replace('@', space.folder),
    );
    expect(noise).toBe('the baseline');
    expect(notes).toContainEqual(expect.stringContaining('is of another experiment than either'));
    expect(figures[0].deviations).toBeCloseTo(-0.5 / (0.25 * Math.SQRT2), 12);
    expect(figures[1]).toMatchObject({ deviations: null, withinNoise: null });
  });

  it.each([
    ['@/nowhere', /^bang: cannot read .*nowhere: there is no such folder\n$/],
    ['@', /^bang: .* holds \d experiments: name the folder of one \(/],
    ['@/b.json', /^bang: .*b\.json is not the result\.json of a run\n$/],
    ['@/none', /^bang: no finished run in .*none or below/],
  ])('refuses %s', async (place, message) => {
    space.write('none/file', '');
    run('other', 1);
    const odd = resultWith('lenet-r0');
    space.write('odd/result.json', JSON.stringify(odd));
    expectRefusal(await diff(place, '@/a'), message);
  });
});
