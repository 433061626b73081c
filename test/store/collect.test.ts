import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { rmSync, truncateSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Config } from '#bang/config/experiment.js';
import {
  findRuns,
  groupRuns,
  leftOut,
  refuseNothing,
  tablesOf,
  type FoundRun,
} from '#bang/store/collect.js';
import { isResult, type Result } from '#bang/store/result.js';
import { workspace, type Workspace } from '../cli/bang.js';
import { randomOf } from '../data/idx-bytes.js';
import { realResult, resultWith } from '../report/entries.js';

const found = (result: Result, folder: string): FoundRun => ({ folder, result });

function seed(name: Parameters<typeof realResult>[0], number: number): Result {
  const { config } = realResult(name);
  return resultWith(name, { config: { ...config, seed: number } });
}

describe('grouping', () => {
  it('groups the seeds of one experiment, in order', () => {
    const runs = [3, 1, 2].map((n) => found(seed('lenet-b1', n), `x/seed-${n}`));
    const { groups, notes } = groupRuns([...runs, found(seed('lenet-b0', 1), 'y/seed-1')]);
    expect(groups.map((group) => group.map(({ folder }) => folder))).toEqual([
      ['x/seed-1', 'x/seed-2', 'x/seed-3'],
      ['y/seed-1'],
    ]);
    expect(notes).toEqual([]);
  });

  it('does not group R0 and R1, which differ only in the seed', () => {
    const r0 = realResult('lenet-r0');
    const published = { table: 1, row: 'R1' } as const;
    const r1 = resultWith('lenet-r0', {
      name: 'lenet-r1',
      config: { ...r0.config, seed: 2, name: 'lenet-r1', published },
    });
    expect(groupRuns([found(r0, 'r0'), found(r1, 'r1')]).groups).toHaveLength(2);
  });

  it('ignores keys on which no number depends', () => {
    const { config, ...rest } = realResult('lenet-b1');
    const other = {
      ...Object.fromEntries(Object.entries(config).reverse()),
      description: 'another',
      engine: 'native',
      seed: 2,
      training: { ...config.training!, checkpointEvery: 7 },
    } as Config;
    const { groups } = groupRuns([
      found({ ...rest, config }, 'a'),
      found({ ...rest, config: other }, 'b'),
    ]);
    expect(groups).toHaveLength(1);
  });

  it('never mixes protocols, numbers of images, data or trainings', () => {
    const base = realResult('lenet-b1');
    const config = { ...base.config, seed: 2 };
    const evaluation = { ...config.evaluation!, attacks: ['fgs' as const] };
    const training = { ...config.training!, iterations: 9 };
    const others: Result[] = [
      resultWith('lenet-b1', { config, row: { protocol: { search: 'scan', channels: 'kept' } } }),
      resultWith('lenet-b1', { config, row: { images: 1000 } }),
      resultWith('lenet-b1', { config, data: { ...base.data, sha256: 'other' } }),
      resultWith('lenet-b1', { config: { ...config, evaluation } }),
      resultWith('lenet-b1', { config: { ...config, training } }),
      resultWith('lenet-b1', { config, name: 'other' }),
    ];
    const runs = [base, ...others].map((result, i) => found(result, String(i)));
    expect(groupRuns(runs).groups).toHaveLength(runs.length);
  });

  it('distinguishes weights from elsewhere by their contents', () => {
    const { model, data, evaluation } = realResult('lenet-b1').config;
    const foreign = (weights: string): Result => ({
      ...realResult('lenet-b1'),
      config: { model, data, evaluation },
      weights,
    });
    const runs = ['a', 'b', 'a'].map((weights, i) => found(foreign(weights), String(i)));
    const { groups, notes } = groupRuns(runs);
    expect(groups.map((group) => group.length)).toEqual([1, 1]);
    expect(notes).toEqual(['2 is of the same experiment and seed as 0: only the latter counts']);
  });

  it('loses no run and invents none, whatever the order', () => {
    const random = randomOf(5);
    for (let round = 0; round < 50; round++) {
      const runs = Array.from({ length: random(20) }, (_, i) => {
        const name = (['lenet-r0', 'lenet-b0', 'lenet-b1'] as const)[random(3)];
        const images = [10_000, 1000][random(2)];
        const { config } = realResult(name);
        const more = { config: { ...config, seed: random(4) }, row: { images } };
        return found(resultWith(name, more), `run-${i}`);
      });
      const { groups, notes } = groupRuns(runs);
      expect(groups.flat().length + notes.length).toBe(runs.length);
      for (const group of groups) {
        expect(new Set(group.map(({ result }) => result.config.seed)).size).toBe(group.length);
        expect(new Set(group.map(({ result }) => result.row.images)).size).toBe(1);
        expect(new Set(group.map(({ result }) => result.name)).size).toBe(1);
      }
      const seedsOf = (all: typeof groups) =>
        all
          .map(([first, ...rest]) =>
            JSON.stringify([
              ...[first.result.name, first.result.row.images],
              ...[first, ...rest].map(({ result }) => result.config.seed),
            ]),
          )
          .sort();
      const shuffled = [...runs].sort(() => random(3) - 1);
      expect(seedsOf(groupRuns(shuffled).groups)).toEqual(seedsOf(groups));
    }
  });
});

describe('the tables', () => {
  const tables = (...results: Result[]) =>
    tablesOf(groupRuns(results.map((result, i) => found(result, `folder/${i}`))).groups);

  it('have the rows in the order of the paper, including those without a run', () => {
    const own = resultWith('lenet-b1', {
      name: 'mine',
      config: { ...realResult('lenet-b1').config, published: undefined },
    });
    const [table, ...others] = tables(own, seed('lenet-b1', 1), seed('lenet-r0', 1));
    expect(others).toEqual([]);
    expect(table.title).toBe('Table 1: LeNet on MNIST');
    expect(table.entries.map(({ published }) => published?.id)).toEqual([
      ...['R0', 'R1', 'B0', 'B1', 'B2', 'B3', 'B4', 'B5'],
      undefined,
    ]);
    expect(table.entries.map(({ name }) => name)).toEqual([
      ...['lenet-r0', '', '', 'lenet-b1', '', '', '', '', 'mine'],
    ]);
  });

  it('have a separate line for another protocol, after the line measured as in the paper', () => {
    const corrected = resultWith('lenet-b1', {
      row: { protocol: { search: 'scan', channels: 'kept' } },
    });
    const [{ entries }] = tables(corrected, realResult('lenet-b1'));
    const lines = entries.filter(({ name }) => name === 'lenet-b1');
    expect(lines.map(({ labels }) => labels)).toEqual([[], ['protocol corrected']]);
  });

  it('label entries that would look alike with what differs', () => {
    const other = resultWith('lenet-b1', { data: { ...realResult('lenet-b1').data, sha256: 'x' } });
    const [{ entries }] = tables(realResult('lenet-b1'), other);
    const lines = entries.filter(({ name }) => name === 'lenet-b1');
    expect(lines.map(({ labels }) => labels)).toEqual([[], ['other data']]);
  });

  it('are not of the paper if no run is in it', () => {
    const config = { ...realResult('lenet-b1').config, published: undefined } as Partial<Config>;
    const [table] = tables(resultWith('lenet-b1', { config }));
    expect(table.title).toBe('Not in the paper');
    expect(table.entries).toHaveLength(1);
  });
});

describe('finding runs', () => {
  let space: Workspace;
  beforeAll(() => {
    space = workspace();
    const result = JSON.stringify(realResult('lenet-b1'));
    space.write('all/b1/seed-10/result.json', result);
    space.write('all/b1/seed-2/result.json', result);
    space.write('all/b1/seed-3/config.yaml', 'model: lenet\n');
    space.write('all/b1/seed-4/result.json', result.slice(0, 500));
    space.write('all/b1/seed-5/result.json', result.replace('"images":10000', '"images":"x"'));
    space.write('all/.hidden/result.json', result);
    space.write('all/other/notes.txt', 'nothing of ours');
    space.write('file', '');
  });
  afterAll(() => {
    space.remove();
  });

  it('finds each once, and reports damaged and unfinished ones', () => {
    const all = space.file('all');
    const found = findRuns([all, space.file('all', 'b1'), all]);
    const { runs } = found;
    const short = (text: string) => text.replaceAll(all, 'all').replaceAll('\\', '/');
    expect(runs.map(({ folder }) => short(folder))).toEqual(['all/b1/seed-2', 'all/b1/seed-10']);
    expect(leftOut(found).map(short)).toEqual([
      'all/b1/seed-4/result.json is damaged: it is left out',
      'all/b1/seed-5/result.json is damaged: it is left out',
      'all/b1/seed-3 is not finished: it is left out',
    ]);
  });

  it('counts many unfinished runs in one folder, instead of naming each', () => {
    const unfinished = ['a', 'b', 'c', 'd'].map((name) => path.join('cells', name));
    expect(leftOut({ unfinished, unreadable: ['other is damaged'] })).toEqual([
      'other is damaged: it is left out',
      '4 runs in cells are not finished: they are left out',
    ]);
    expect(leftOut({ unfinished: unfinished.slice(1), unreadable: [] })).toHaveLength(3);
  });

  it('names some of what is not finished or damaged where there is nothing else', () => {
    const unfinished = ['a', 'b', 'c'].map((name) => `cells/${name}`);
    const found = {
      runs: [],
      unfinished,
      unreadable: ['cells/d/result.json is damaged'],
    };
    expect(() => {
      refuseNothing(found, ['cells']);
    }).toThrow(
      /^no finished run in cells or below: cells\/d\/result\.json is damaged, cells\/a is not finished, cells\/b is not finished, and 1 more$/,
    );
  });

  it('refuses paths that are not folders', () => {
    expect(() => findRuns([space.file('none')])).toThrow(/none: there is no such folder$/);
    expect(() => findRuns([space.file('file')])).toThrow(/file: it is not a folder$/);
  });
});

describe('a result', () => {
  it('is recognized, and anything else is not', () => {
    const real = realResult('lenet-b1');
    expect(isResult(real)).toBe(true);
    const damages: ((copy: Record<string, unknown>) => void)[] = [
      (copy) => (copy.format = 2),
      (copy) => delete copy.name,
      (copy) => (copy.row = { ...real.row, accuracy: null }),
      (copy) => (copy.row = { ...real.row, protocol: { search: '\u001b[31m', channels: 'kept' } }),
      (copy) => (copy.row = { ...real.row, attacks: { fgs: { rate: 'x' } } }),
      // The attacks that the paper does not have are read back, too.
      (copy) => (copy.row = { ...real.row, attacks: { ...real.row.attacks, pgd: { rate: 'x' } } }),
      (copy) =>
        (copy.row = {
          ...real.row,
          robustness: { budgets: [1, 2], attacks: { worst: { accuracy: [1], medianLinf: 1 } } },
        }),
      (copy) => (copy.row = { ...real.row, masking: { attacked: 1, attacks: {} } }),
      (copy) => (copy.config = { ...real.config, published: { table: 3, row: 'B1' } }),
      (copy) => (copy.config = { ...real.config, training: { bang: { beta: 'x', epsilon: 1 } } }),
      (copy) => (copy.data = []),
    ];
    for (const damage of damages) {
      const copy: Record<string, unknown> = { ...real };
      damage(copy);
      expect(isResult(copy), damage.toString()).toBe(false);
    }
    for (const other of [undefined, null, 1, 'x', [], {}]) expect(isResult(other)).toBe(false);
  });
});

it('notes a folder that is removed meanwhile', () => {
  const space = workspace();
  try {
    for (const name of ['a', 'b']) space.write(`${name}/x`, '');
    const { unreadable } = findRuns([space.folder], (folder) => {
      if (folder === space.file('a')) rmSync(space.file('b'), { recursive: true });
      return false;
    });
    expect(unreadable).toEqual([`${space.file('b')} cannot be read (there is no such file)`]);
  } finally {
    space.remove();
  }
});

// Windows has no pipes in folders.
it.skipIf(process.platform === 'win32')(
  'leaves out a result that is no regular file, or too large',
  () => {
    const space = workspace();
    try {
      space.write('good/result.json', JSON.stringify(realResult('lenet-b1')));
      space.write('large/result.json', '');
      truncateSync(space.file('large/result.json'), 2 ** 26 + 1);
      space.write('special/config.yaml', '');
      execFileSync('mkfifo', [space.file('special/result.json')]);
      const { runs, unreadable } = findRuns([space.folder]);
      expect(runs.map(({ folder }) => folder)).toEqual([space.file('good')]);
      expect(unreadable).toEqual([
        `${space.file('large/result.json')} is larger than 64 MiB`,
        `${space.file('special/result.json')} is not a regular file`,
      ]);
    } finally {
      space.remove();
    }
  },
);
