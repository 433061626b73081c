import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { UserError } from '#bang/base/errors.js';
import { omit } from '#bang/base/omit.js';
import type { Config } from '#bang/config/experiment.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { packageRoot } from '#bang/base/files.js';
import { loadPlan } from '#bang/config/sweep.js';
import { rangeValues } from '#bang/config/points.js';
import { randomOf } from '../data/idx-bytes.js';

const configs = path.join(packageRoot, 'configs');

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-plan-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function write(name: string, content: string): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

/** A sweep over LeNet's row B1. */
function sweep(text: string): string {
  return write('sweep.yaml', `base: ${path.join(configs, 'lenet-b1.yaml')}\n${text}`);
}

/** The values of each point, without the reference. */
async function valuesOf(text: string): Promise<unknown[][]> {
  const { cells } = await loadPlan(sweep(text));
  return cells.filter(({ reference }) => !reference).map(({ values }) => values);
}

describe('the grids of the paper', () => {
  const steps = (texts: string) => texts.split(' ').map(Number);

  const inFileOrder = (training: Config['training']): Config['training'] =>
    omit({ ...training, shuffle: false }, 'split');

  it('Figure 2: LeNet, 13 × 13, and regular training', async () => {
    const { cells, keys, name } = await loadPlan(path.join(configs, 'grids', 'lenet.yaml'));
    expect(name).toBe('lenet');
    expect(keys).toEqual(['training.bang.beta', 'training.bang.epsilon']);
    const betas = steps('1 1.05 1.1 1.15 1.2 1.25 1.3 1.35 1.4 1.45 1.5 1.55 1.6');
    const epsilons = steps('0.78 0.785 0.79 0.795 0.8 0.805 0.81 0.815 0.82 0.825 0.83 0.835 0.84');
    const expected = betas.flatMap((beta) => epsilons.map((epsilon) => [beta, epsilon]));
    expect(cells.slice(1).map(({ values }) => values)).toEqual(expected);

    const [reference, ...others] = cells;
    const { config: r0 } = await loadConfig(path.join(configs, 'lenet-r0.yaml'));
    const { published, ...regular } = { ...r0, training: inFileOrder(r0.training) };
    expect(published?.row).toBe('R0');
    expect(reference).toMatchObject({ reference: true, id: 'reference' });
    expect(reference.config).toEqual({ ...regular, name: 'reference' });

    const { config: b1 } = await loadConfig(path.join(configs, 'lenet-b1.yaml'));
    const same = others.find(({ id }) => id === 'beta-1_epsilon-0.815')!;
    expect({ ...same.config, published: b1.published }).toEqual({
      ...b1,
      name: same.id,
      training: inFileOrder(b1.training),
    });
  });

  it('Figure 4: CIFAR-10 quick, 13 × 13, and 4 × 4 of the same range', async () => {
    const fine = await loadPlan(path.join(configs, 'grids', 'cifar10.yaml'));
    const coarse = await loadPlan(path.join(configs, 'grids', 'cifar10-coarse.yaml'));
    expect(fine.cells).toHaveLength(170);
    const betas = steps('0.4 0.6 0.8 1');
    const epsilons = steps('0.8 0.82 0.84 0.86');
    const values = betas.flatMap((beta) => epsilons.map((epsilon) => [beta, epsilon]));
    expect(coarse.cells.slice(1).map((cell) => cell.values)).toEqual(values);
    for (const { id, config } of coarse.cells) {
      expect(config).toEqual(fine.cells.find((cell) => cell.id === id)!.config);
      expect(config.training.bang?.ratio ?? 0.5).toBe(0.5);
    }
  });
});

describe('ranges', () => {
  it('have exactly the numbers that a file would have, whatever the step', () => {
    const random = randomOf(1);
    for (let i = 0; i < 500; i++) {
      const digits = random(7);
      const decimal = (whole: number): string => {
        const text = String(whole).padStart(digits + 1, '0');
        return digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
      };
      const [first, step, count] = [random(100_000), 1 + random(1000), 1 + random(40)];
      const texts = Array.from({ length: count }, (_, j) => decimal(first + j * step));
      const range = {
        from: Number(texts[0]),
        to: Number(texts.at(-1)),
        step: Number(decimal(step)),
      };
      expect(rangeValues(range)).toEqual(texts.map(Number));
    }
    expect(rangeValues({ from: 1e-7, to: 3e-7, step: 1e-7 })).toEqual([1e-7, 2e-7, 3e-7]);
    expect(rangeValues({ from: -0.1, to: 0.2, step: 0.1 })).toEqual([-0.1, 0, 0.1, 0.2]);
  });
});

describe('points', () => {
  it('are all combinations of a grid; the last key changes fastest', async () => {
    const text = 'grid: {training.bang.beta: [1, 2], training.batch: {from: 16, to: 48, step: 16}}';
    expect(await valuesOf(text)).toEqual([
      [1, 16],
      [1, 32],
      [1, 48],
      [2, 16],
      [2, 32],
      [2, 48],
    ]);
  });

  it('of a list may set different keys to any values', async () => {
    const file = sweep(
      'list:\n  - {training.bang: null, training.momentum: 0.5}\n  - {training.bang.beta: {conv1: 1, conv2: 1, ip1: 2, ip2: 1}}',
    );
    const { cells, keys } = await loadPlan(file);
    expect(keys).toEqual(['training.bang', 'training.momentum', 'training.bang.beta']);
    expect(cells.map(({ id }) => id)).toEqual(['cell-1', 'cell-2']);
    expect(cells[0].config.training).not.toHaveProperty('bang');
    expect(cells[0].config.training.momentum).toBe(0.5);
    expect(cells[1].config.training.bang?.beta).toMatchObject({ ip1: 2 });
  });

  it('are drawn at random, the same ones every time; a larger number only adds points', async () => {
    const text = (count: number) => `random:
  cells: ${count}
  seed: 5
  keys:
    training.bang.beta: {from: 1, to: 1.6}
    training.learningRate.base: {from: 0.0001, to: 1, scale: log}
    training.batch: [32, 64]
    training.momentum: {from: 0.5, to: 0.9, step: 0.1}`;
    const many = (await valuesOf(text(200))) as number[][];
    expect(await valuesOf(text(20))).toEqual(many.slice(0, 20));
    const column = (i: number) => many.map((values) => values[i]);
    expect(Math.min(...column(0))).toBeGreaterThanOrEqual(1);
    expect(Math.max(...column(0))).toBeLessThanOrEqual(1.6);
    expect(new Set(column(0)).size).toBeGreaterThan(190);
    expect(new Set(column(2))).toEqual(new Set([32, 64]));
    expect(new Set(column(3))).toEqual(new Set([0.5, 0.6, 0.7, 0.8, 0.9]));
    // Uniform over four powers of ten: half lie below 0.01. Five standard deviations are 35.
    expect(Math.abs(column(1).filter((rate) => rate < 0.01).length - 100)).toBeLessThan(35);
    for (const value of column(0)) expect(String(value).length).toBeLessThanOrEqual(7);
  });

  it('drawn at random from lists are all different, even if all combinations are drawn', async () => {
    const text = 'random: {cells: 65, keys: {training.batch: {from: 1, to: 13, step: 1}, X}}';
    const found = await valuesOf(text.replace('X', 'training.bang.beta: [1, 2, 3, 4, 5]'));
    expect(new Set(found.map(String)).size).toBe(65);
  });

  it('are whole numbers where the key takes nothing else, all equally often', async () => {
    const values = (await valuesOf(
      'random: {cells: 60, keys: {training.batch: {from: 3, to: 5}, training.bang.beta: {from: 1, to: 2}}}',
    )) as number[][];
    const counts = [3, 4, 5].map((batch) => values.filter(([one]) => one === batch).length);
    // Binomial with n = 60, p = 1/3: four standard deviations are 14.6.
    for (const count of counts) expect(Math.abs(count - 20)).toBeLessThan(15);
    expect(counts.reduce((a, b) => a + b)).toBe(60);
    expect(values.filter(([, beta]) => Number.isInteger(beta)).length).toBeLessThan(5);

    const log = (await valuesOf(
      'random: {cells: 500, keys: {training.iterations: {from: 1, to: 1000000, scale: log}}}',
    )) as number[][];
    for (const [value] of log) expect(Number.isInteger(value)).toBe(true);
    const below = (limit: number) => log.filter(([value]) => value < limit).length;
    // Half below the geometric mean; small numbers run out, since none is drawn twice.
    expect(below(1000)).toBeGreaterThan(150);
    expect(below(1000)).toBeLessThan(300);
  });

  it('can be all that there are, however many', async () => {
    const all = await valuesOf(
      'random: {cells: 3000, keys: {training.batch: {from: 1, to: 100}, training.bang.beta: {from: 1, to: 30, step: 1}}}'.replace(
        'to: 100}',
        'to: 100, step: 1}',
      ),
    );
    expect(new Set(all.map(String)).size).toBe(3000);
  });

  it('lose the axes that a file sets to null and the file that it extends has', async () => {
    write(
      'wide.yaml',
      `base: ${path.join(configs, 'lenet-b1.yaml')}
grid: {training.batch: [1, 2], training.bang.beta: [1, 2]}`,
    );
    const file = write('narrow.yaml', 'extends: wide.yaml\ngrid: {training.batch: null}');
    const plan = await loadPlan(file);
    expect(plan.keys).toEqual(['training.bang.beta']);
    const again = await loadPlan(write('record.yaml', stringify(plan.record)));
    expect(again.cells).toEqual(plan.cells);
  });

  it('are repeated for each seed, as is the reference', async () => {
    const { cells } = await loadPlan(
      sweep('grid: {training.bang.beta: [1, 2]}\nseeds: [7, 8]\nreference: {training.bang: null}'),
    );
    expect(cells.map(({ id, seed, config }) => [id, seed, config.seed])).toEqual([
      ['reference_seed-7', 7, 7],
      ['beta-1_seed-7', 7, 7],
      ['beta-2_seed-7', 7, 7],
      ['reference_seed-8', 8, 8],
      ['beta-1_seed-8', 8, 8],
      ['beta-2_seed-8', 8, 8],
    ]);
  });

  it('have the overrides of the command line', async () => {
    const file = sweep('grid: {training.bang.beta: [1, 2]}');
    const { cells } = await loadPlan(file, ['evaluation.images=100', 'seeds=[1,2]']);
    expect(cells).toHaveLength(4);
    for (const { config } of cells) expect(config.evaluation.images).toBe(100);
  });

  it('may leave out attacks of which the base expects numbers', async () => {
    const base = path.join(configs, 'ci', 'lenet-b1.yaml');
    const points = 'list: [{evaluation.attacks: [fgs]}, {evaluation.attacks: [hc1], expect: null}]';
    const { cells, record } = await loadPlan(write('sweep.yaml', `base: ${base}\n${points}`));
    expect(cells.map(({ config }) => config.evaluation.attacks)).toEqual([['fgs'], ['hc1']]);
    const again = await loadPlan(write('record.yaml', stringify(record)), ['expect=null']);
    expect(again.cells).toEqual(cells);
  });

  it('are the same when read from the record of a sweep', async () => {
    write(
      'base.yaml',
      `extends: ${path.join(configs, 'lenet-b1.yaml')}\nevaluation: {protocol: corrected}`,
    );
    const file = write(
      'deep/er/sweep.yaml',
      'base: ../../base.yaml\nlist: [{training.bang: null}, {evaluation.protocol: paper}]\nseeds: [1, 2]\nreference: {training.batch: 1}\nhalving: {rungs: [500, 1000], keep: 0.5}\nkeep: [training]',
    );
    const plan = await loadPlan(file, ['training.bang.ratio=0.5']);
    const record = write('record.yaml', stringify(plan.record));
    const again = await loadPlan(record);
    expect({ ...again, record: 0 }).toEqual({ ...plan, record: 0 });
  });
});

describe('a mistake', () => {
  it.each<[string, string, RegExp]>([
    [
      'an unknown key',
      'grid:\n  training.bang.betta: [1]',
      /sweep\.yaml:3:3: training\.bang\.betta: unknown key, did you mean beta\?$/,
    ],
    [
      'a key of the top level further down',
      'grid:\n  training.bang.beta: {from: 1, to: 2, step: 1, seeds: 1}',
      /sweep\.yaml:3:49: .*seeds: unknown key, it belongs at the top level$/,
    ],
    [
      'a wrong value',
      'grid:\n  training.bang.ratio: [0, 0.5, 1.5]',
      /sweep\.yaml:3:33: training\.bang\.ratio: expected a number from 0 to 1, found 1\.5$/,
    ],
    [
      'a range that misses its end',
      'grid:\n  training.bang.beta: {from: 1, to: 1.62, step: 0.05}',
      /sweep\.yaml:3:37: grid\."training\.bang\.beta"\.to: expected 1 plus a multiple of 0\.05, such as 1\.6, found 1\.62$/,
    ],
    [
      'a range without a step',
      'grid:\n  training.bang.beta: {from: 1, to: 2}',
      /sweep\.yaml:3:3: .*step: missing, expected a number above 0$/,
    ],
    ['no points', '', /sweep\.yaml:1:1: expected one of grid, list and random, found none$/],
    [
      'two kinds of points',
      'grid: {training.batch: [1]}\nlist: [{training.batch: 2}]',
      /sweep\.yaml:3:1: list: expected one of .* found grid and list$/,
    ],
    [
      'a seed among the keys',
      'grid: {seed: [1, 2]}',
      /seed: cannot be varied here; seeds: \[1, 2, 3\]/,
    ],
    [
      'equal points',
      'list: [{training.batch: 2}, {training.batch: 2}]',
      /cell-1 and cell-2 .* same/,
    ],
    [
      'an unknown key of the sweep',
      'gird: {training.batch: [1]}',
      /:2:1: gird: unknown key, did you mean grid\?/,
    ],
    [
      'a million cells',
      'grid: {training.batch: {from: 1, to: 1000, step: 1}, training.iterations: {from: 1, to: 1000, step: 1}}',
      /expected at most 100000 combinations, found 1000000$/,
    ],
    [
      'a step that is far too small',
      'grid: {training.bang.beta: {from: 0, to: 1, step: 1.0e-12}}',
      /\.step: expected at most 100000 values, found 1000000000001$/,
    ],
    [
      'a step that is far too small, to draw from',
      'random: {cells: 5, keys: {training.bang.beta: {from: 0, to: 1, step: 1.0e-9}}}',
      /\.step: expected at most 100000 values, found 1000000001$/,
    ],
    [
      'more points than there are',
      'random: {cells: 7, keys: {training.batch: [1, 2, 3], training.bang.beta: [1, 2]}}',
      /sweep\.yaml:2:17: random\.cells: expected at most 6, as many as there are combinations of the values, found 7$/,
    ],
    [
      'more whole numbers than there are',
      'random: {cells: 4, keys: {training.batch: {from: 1, to: 3}}}',
      /:2:17: random\.cells: expected at most 3, .* found 4$/,
    ],
    [
      'more numbers than six digits can tell apart',
      'random: {cells: 4, keys: {training.bang.beta: {from: 1, to: 1.00001}}}',
      /:2:17: random\.cells: expected at most 2, as no more different points were found, found 4$/,
    ],
    [
      'a value twice',
      'grid: {training.batch: [1, 2, 1]}',
      /:2:31: grid\."training\.batch"\[2\]: 1 is in the list twice$/,
    ],
    [
      'a value twice, to draw from',
      'random: {cells: 1, keys: {training.batch: [1, 1]}}',
      /:2:47: random\.keys\."training\.batch"\[1\]: 1 is in the list twice$/,
    ],
    [
      'a value that is that of another point in other words',
      'grid:\n  training.learningRate.power: [0.75, 7.5e-1]',
      /:3:39: grid\."training\.learningRate\.power"\[1\]: 0\.75 is in the list twice$/,
    ],
    [
      'equal experiments with different values',
      'grid:\n  evaluation.pgd: [null, {steps: 5, restarts: 1}]',
      /:3:26: evaluation\.pgd: cell-1 and cell-2 of the sweep are the same experiment: leave one out$/,
    ],
    [
      'an axis without values',
      'grid:\n  training.batch:\n  training.bang.beta: [1]',
      /:3:18: grid\."training\.batch": no value, expected a list of values or \{from, to, step\}; leave the key out if the sweep does not vary it$/,
    ],
    [
      'an axis that is null, to draw from',
      'random: {cells: 1, keys: {training.batch: null}}',
      /:2:43: random\.keys\."training\.batch": no value, expected a list .* or \{from, to\}; leave/,
    ],
    [
      'an axis that is an empty list',
      'grid: {training.batch: []}',
      /:2:24: grid\."training\.batch": expected a list of values, found an empty list$/,
    ],
    ['a grid of nothing', 'grid: {}', /:2:7: grid: expected at least one key, found none$/],
    [
      'nothing to draw from',
      'random: {cells: 1, keys: {}}',
      /:2:26: random\.keys: expected at least one key, found none$/,
    ],
    [
      'points that are null',
      'grid:',
      /:2:1: grid: expected one of grid, list and random, found none$/,
    ],
    [
      'a key with an empty part that is null',
      'list: [{training..batch: null}]',
      /:2:9: list\[0\]\."training\.\.batch": expected the name of a key/,
    ],
    [
      'a key of the reference with an empty part that is null',
      'grid: {training.batch: [1]}\nreference: {.: null}',
      /:3:13: reference\."\.": expected the name of a key/,
    ],
    ['a seed that is null', 'list: [{seed: null}]', /:2:9: list\[0\]\.seed: cannot be varied here/],
    [
      '__proto__',
      'grid: {__proto__: [1], training.batch: [1]}',
      /:2:8: grid\.__proto__: expected the name of a key/,
    ],
    [
      'a name of every object',
      'grid: {constructor: [1]}',
      /:2:8: constructor: unknown key, expected name, /,
    ],
    [
      'a wrong key in a range',
      'grid:\n  training.batch: {from: 1, to: 2, step: 1, by: 1}',
      /:3:45: grid\."training\.batch"\.by: unknown key, expected from, to or step$/,
    ],
    [
      'a misspelt key in a range to draw from',
      'random: {cells: 2, keys: {training.batch: {from: 1, to: 3, stp: 1}}}',
      /:2:60: random\.keys\."training\.batch"\.stp: unknown key, did you mean step\?$/,
    ],
    [
      'a misspelt scale',
      'random: {cells: 2, keys: {training.batch: {from: 1, to: 3, scale: lgo}}}',
      /^\S+:2:67: random\.keys\."training\.batch"\.scale: expected linear or log, found "lgo"$/,
    ],
    [
      'a scale of steps',
      'random: {cells: 2, keys: {training.batch: {from: 1, to: 3, step: 1, scale: log}}}',
      /\.scale: with step, values are drawn from the steps: leave out step or scale$/,
    ],
    [
      'a fraction as the end of whole numbers',
      'random: {cells: 2, keys: {training.batch: {from: 1, to: 3.5}}}',
      /:2:57: .*\.to: expected a whole number, as training\.batch is one, found 3\.5$/,
    ],
    [
      'a range that is not finite',
      'random: {cells: 2, keys: {training.momentum: {from: -1.0e+308, to: 1.0e+308}}}',
      /\.to: expected a number nearer to -1e\+308, found 1\.0e\+308$/,
    ],
    [
      'a hundred thousand points, twice',
      'grid: {training.batch: {from: 1, to: 40000, step: 1}}\nseeds: [1, 2, 3]',
      /:3:8: seeds: expected at most 100000 cells, found 120000: 40000 with 3 seeds$/,
    ],
    [
      'a file to keep that does not exist',
      'grid: {training.batch: [1, 2]}\nkeep: [wieghts]',
      /:3:8: keep\[0\]: expected weights, per-image or training, found "?wieghts/,
    ],
    [
      'rungs between the lines of the log',
      'grid: {training.bang.beta: [1, 2]}\nhalving: {rungs: [700], keep: 0.5}',
      /rungs\[0\]: expected a multiple of training\.logEvery \(500\) below .*, found 700$/,
    ],
    [
      'halving without images for validation',
      'list: [{model: cifar10-quick, data: cifar10, published: null, training.split: first}]\nhalving: {rungs: [500], keep: 0.5}',
      /halving: cifar10 is trained on whole: no images are left for validation$/,
    ],
  ])('is reported with its place: %s', async (_, text, message) => {
    const error: unknown = await loadPlan(sweep(text)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(message);
  });

  it('in the base is reported there, and a missing base in the line that names it', async () => {
    write('wrong.yaml', 'model: lenet\ndata: mnits');
    const file = write('sweep.yaml', 'base: wrong.yaml\ngrid: {training.batch: [1, 2]}');
    await expect(loadPlan(file)).rejects.toThrow(
      /wrong\.yaml:2:7: data: expected mnist, cifar10, cifar100 or idx/,
    );
    write('another.yaml', 'base: x.yaml\ngrid: {training.batch: [1, 2]}');
    const nested = write('sweep.yaml', 'grid: {training.batch: [1, 2]}\nbase: another.yaml');
    await expect(loadPlan(nested)).rejects.toThrow(
      /sweep\.yaml:2:7: base: \S*another\.yaml describes a sweep: name an experiment$/,
    );
    const other = write('sweep.yaml', 'grid: {training.batch: [1, 2]}\nbase: nowhere.yaml');
    await expect(loadPlan(other)).rejects.toThrow(
      /sweep\.yaml:2:7: base: cannot read .*nowhere\.yaml: there is no such file/,
    );
    const inside = write('sweep.yaml', 'base: {extends: x.yaml}\ngrid: {training.batch: [1, 2]}');
    await expect(loadPlan(inside)).rejects.toThrow(
      /sweep\.yaml:1:8: extends: only a file extends another: name a file here instead$/m,
    );
  });

  it('is to override a key that the sweep varies', async () => {
    const file = sweep('grid: {training.bang.beta: [1, 2]}');
    await expect(loadPlan(file, ['training.bang.beta=3'])).rejects.toThrow(
      '--set training.bang.beta: the sweep varies this key: change it in the file',
    );
    for (const part of ['training.bang.beta.conv1=3', 'training.bang={beta: 1, epsilon: 0.8}']) {
      await expect(loadPlan(file, [part])).rejects.toThrow(
        'the sweep varies training.bang.beta: change it in the file',
      );
    }
    await expect(loadPlan(file, ['training.batch=3'])).resolves.toBeDefined();
  });
});
