import { describe, expect, it } from 'vitest';
import { bestOf, paretoFront, pointsOf, pointText, type SweepCell } from '#bang/sweep/summary.js';
import { paretoCsv, surfacesCsv, sweepCsv } from '#bang/sweep/sweepCsv.js';
import { compareSweeps } from '#bang/sweep/compareSweeps.js';
import { sweepReport } from '#bang/report/sweep.js';
import { randomOf } from '../data/idx-bytes.js';
import { attackWith, rowWith } from '../report/entries.js';

const keys = ['training.bang.beta', 'training.bang.epsilon'];

/** A cell with these numbers. */
function cell(
  values: unknown[],
  accuracy: number,
  linf: number,
  more: Partial<SweepCell> = {},
): SweepCell {
  const unmasked = attackWith(905, { linf: { mean: linf, std: 1 } });
  const row = rowWith({
    accuracy,
    attacks: { fgs: attackWith(10 * accuracy), 'fgs-unmasked': unmasked },
  });
  const id = values.map(String).join('-');
  return { id, values, seed: 1, reference: false, state: 'done', row, ...more };
}

function records(csv: string): Record<string, string>[] {
  const [head, ...lines] = csv.trim().split('\n');
  const names = head.split(',');
  return lines.map((line) =>
    Object.fromEntries(line.split(',').map((value, i) => [names[i], value])),
  );
}

describe('the Pareto front', () => {
  it('has exactly the points that no other dominates', () => {
    const random = randomOf(3);
    for (let trial = 0; trial < 50; trial++) {
      // Few values, so that there are ties.
      const cells = Array.from({ length: 1 + random(30) }, (_, i) =>
        cell([i, 0], random(10), random(10)),
      );
      const points = pointsOf(cells);
      const at = ({ measures }: (typeof points)[number]): [number, number] => [
        measures.accuracy!.value,
        measures.fgs_unmasked_linf!.value,
      ];
      const dominated = ([x, y]: [number, number]): boolean =>
        points.map(at).some(([a, b]) => a >= x && b >= y && (a > x || b > y));
      const front = paretoFront(points).map(at);
      const expected = points.map(at).filter((point) => !dominated(point));
      const sorted = (list: [number, number][]) => list.map(String).sort();
      // Of equal points, all.
      expect(sorted(front)).toEqual(sorted(expected));
      expect(front).toEqual([...front].sort((a, b) => b[0] - a[0]));
    }
  });
});

describe('the tables', () => {
  const cells = [
    cell([], 99, 10, { reference: true, id: 'reference', values: [undefined, undefined] }),
    cell([1, 0.8], 98, 20),
    cell([1, 0.8], 96, 40, { seed: 2 }),
    cell([1, 0.9], 97, 30),
    cell([2, 0.8], 0, 0, { state: 'failed', row: undefined, error: 'the loss, "oh",\nis NaN' }),
  ];

  it('have a line for each cell, with the errors of failed ones', () => {
    const csv = sweepCsv(keys, cells);
    expect(csv).toContain('"the loss, ""oh"",\nis NaN"');
    const [reference, first] = records(csv);
    expect(reference).toMatchObject({ cell: 'reference', reference: '1', accuracy: '99' });
    expect(first).toMatchObject({
      'training.bang.beta': '1',
      'training.bang.epsilon': '0.8',
      seed: '1',
      state: 'done',
      accuracy: '98',
      fgs_rate: '98',
      fgs_unmasked_linf_mean: '20',
    });
  });

  it('have means over seeds and their differences from the reference', () => {
    const [first, second, failed] = records(surfacesCsv(keys, cells));
    expect(first).toMatchObject({
      seeds: '2',
      accuracy: '97',
      accuracy_minus_reference: '-1',
      fgs_unmasked_linf: '30',
      fgs_unmasked_linf_minus_reference: '10',
    });
    expect(second).toMatchObject({ seeds: '1', accuracy: '97' });
    // The reference has only the first seed.
    expect(first).toMatchObject({ fgs_rate: '97', fgs_rate_minus_reference: '-1' });
    expect(failed).toMatchObject({ 'training.bang.beta': '2', seeds: '0', accuracy: '' });
  });
});

describe('accuracy within budgets', () => {
  /** 90 % of images without an attack; within 8, 16 and 32 grey levels, and in L2, what is given. */
  const robust = (values: number[], linf: [number, number, number], l2: number): SweepCell => {
    const row = rowWith({
      accuracy: 90,
      robustness: { budgets: [8, 16, 32], attacks: { worst: { accuracy: linf } } },
      atBudgets: [
        // The attacks within budgets alone leave more than all together.
        { norm: 'linf', budget: 16, left: 90, accuracy: 99, taken: {}, seconds: 1 },
        { norm: 'l2', budget: 127.5, left: 90, accuracy: l2, taken: {}, seconds: 1 },
      ],
    });
    const id = values.map(String).join('-');
    return { id, values, seed: 1, reference: false, state: 'done', row };
  };
  const cells = [
    robust([1, 0.8], [80, 50, 10], 30),
    robust([1, 0.9], [70, 60, 10], 20),
    robust([2, 0.8], [70, 40, 10], 10),
    robust([2, 0.9], [70, 55, 10], 10),
  ];

  it('has columns for all budgets, those of L∞ with all attacks, and maps', () => {
    const expected = {
      robust_accuracy_linf_8: '80',
      robust_accuracy_linf_16: '50',
      robust_accuracy_linf_32: '10',
      'robust_accuracy_l2_127.5': '30',
    };
    expect(records(sweepCsv(keys, cells))[0]).toMatchObject(expected);
    expect(records(surfacesCsv(keys, cells))[0]).toMatchObject(expected);
    const titles = sweepReport(keys, pointsOf(cells))
      .split('\n\n')
      .map((map) => map.split(':')[0]);
    expect(titles.slice(-4)).toEqual([
      'accuracy L∞ ≤ 8 %',
      'accuracy L∞ ≤ 16 %',
      'accuracy L∞ ≤ 32 %',
      'accuracy L2 ≤ 127.5 %',
    ]);
  });

  it('is what the Pareto front and the best point tell, at the middle budget in L∞', () => {
    const [only, ...others] = records(paretoCsv(keys, cells));
    expect(others).toEqual([]);
    expect(only).toMatchObject({ 'training.bang.epsilon': '0.9', robust_accuracy_linf_16: '60' });
    expect(bestOf(keys, pointsOf(cells))[1]).toBe(
      'best accuracy 60.00 % at L∞ ≤ 16 (beta 1, epsilon 0.9)',
    );
  });

  it('is compared', () => {
    const after = cells.map(({ values }) => robust(values as number[], [75, 50, 0], 40));
    const { changes } = compareSweeps(keys, cells, after);
    expect(changes.robust_accuracy_linf_32?.mean).toBe(-10);
    expect(changes['robust_accuracy_l2_127.5']).toMatchObject({ mean: 22.5, most: 30 });
  });
});

describe('the map', () => {
  const betas = Array.from({ length: 13 }, (_, i) => Number((1 + i * 0.05).toFixed(2)));
  const cells = betas.flatMap((beta, i) =>
    betas.map((epsilon, j) => cell([beta, epsilon], 90 + (i * 13 + j) / 20, 1)),
  );
  cells[5] = { ...cells[5], state: 'failed', row: undefined };
  cells[6] = { ...cells[6], state: 'open', row: undefined };

  it.each([Infinity, 120, 80, 60])('fits into %s columns and has every point', (width) => {
    const maps = sweepReport(keys, pointsOf(cells), width).split('\n\n');
    // HC1 was not measured.
    expect(maps.map((map) => map.split(':')[0])).toEqual([
      'Accuracy %',
      'FGS-Rate %',
      'unmasked FGS-L∞ grey levels',
    ]);
    for (const map of maps) {
      const [, head, ...rows] = map.split('\n');
      expect(Math.max(head.length, ...rows.map(({ length }) => length))).toBeLessThanOrEqual(
        // Thirteen columns cannot be narrower than their headings.
        Math.max(width, 14 + 13 * 5),
      );
      expect(head).toMatch(/^beta \\ epsilon +1 +1\.05 /);
      expect(rows).toHaveLength(13);
      expect(rows[0].split(/ +/).slice(6, 8)).toEqual(['fail', '-']);
      for (const row of rows) expect(row.split(/ +/)).toHaveLength(14);
    }
  });

  it('shows numbers if there is room, and shades in order', () => {
    const [accuracy] = sweepReport(keys, pointsOf(cells)).split('\n\n');
    expect(accuracy).toMatch(/^Accuracy %: 90\.00 ·░▒▓█ 98\.40\n/);
    const rows = accuracy.split('\n').slice(2).join('');
    const order = (rows.match(/[·░▒▓█]/g) ?? []).map((shade) => '·░▒▓█'.indexOf(shade));
    expect(order).toHaveLength(167);
    expect(order).toEqual([...order].sort());
  });

  it('is a table of points unless exactly two keys vary', () => {
    const one = [1, 1.5, 2].map((beta) => cell([beta, 0.8], 97, beta));
    const table = sweepReport(keys, pointsOf(one));
    expect(table).toMatch(/│ beta 1\.5, epsilon 0\.8 +│ +97\.00 /);
  });
});

it('shows values of single layers as in a configuration; its files have them as JSON', () => {
  const cells = [cell([{ conv1: 1, ip1: 0.5 }], 99, 40), cell([1.5], 98, 30)];
  const text = '{ conv1: 1, ip1: 0.5 }';
  expect(pointText([keys[0]], pointsOf(cells)[0])).toBe(`beta ${text}`);
  expect(sweepReport([keys[0]], pointsOf(cells))).toContain(text);
  expect(sweepCsv([keys[0]], cells)).toContain('"{""conv1"":1,""ip1"":0.5}"');
});

it('marks a point of which seeds are missing', () => {
  const cells = [1, 2].flatMap((beta) => [1, 2].map((epsilon) => cell([beta, epsilon], 97, beta)));
  cells.push({ ...cell([2, 2], 0, 0, { seed: 2 }), state: 'open', row: undefined });
  const [accuracy] = sweepReport(keys, pointsOf(cells)).split('\n\n');
  expect(accuracy.split('\n').slice(2)).toEqual([
    '1              97.00·  97.00·',
    '2              97.00·  97.00·*',
    '* seeds are missing',
  ]);
  const more = [cell([3, 3], 99, 9), { ...cell([3, 3], 0, 0), row: undefined }];
  const best = bestOf(keys, pointsOf([...cells, ...more]));
  expect(best[0]).toBe('best accuracy 99.00 % (beta 3, epsilon 3, 1 of 2 seeds)');
  expect(bestOf(keys, pointsOf(cells))[0]).toBe(
    'best accuracy 97.00 % (beta 1, epsilon 1; so have 3 others)',
  );
});

describe('a comparison', () => {
  it('counts only seeds that both have', () => {
    const seed2 = cell([1, 1], 90, 10, { seed: 2 });
    const found = compareSweeps(keys, [cell([1, 1], 98, 20), seed2], [cell([1, 1], 97, 21)]);
    expect(found).toMatchObject({ common: 1, leftOut: 1 });
    expect(found.changes.accuracy).toMatchObject({ mean: -1, most: -1 });
    expect(compareSweeps(keys, [cell([1, 1], 98, 20)], [seed2])).toMatchObject({ common: 0 });
  });

  it('counts the reference apart', () => {
    const reference = cell([0, 0], 99, 10, { reference: true });
    const found = compareSweeps(keys, [reference, cell([1, 1], 98, 20)], [reference]);
    expect(found).toMatchObject({ common: 0, reference: true, onlyFirst: 1, onlySecond: 0 });
  });

  it('finds changes, their points and identical cells', () => {
    const origin = (weights: string): SweepCell['origin'] => ({
      ...{ weights, bang: '1', engine: 'e', cpu: 'c', threads: 1, finished: '' },
      seconds: { training: 1, total: 2 },
    });
    const before = [
      cell([1, 1], 98, 20, { origin: origin('a') }),
      cell([1, 2], 97, 30, { origin: origin('b') }),
      cell([1, 3], 96, 30),
    ];
    const after = [
      cell([1, 2], 95, 33, { origin: origin('c') }),
      cell([1, 1], 98, 20, { origin: origin('a') }),
      cell([1, 4], 96, 30),
    ];
    const found = compareSweeps(keys, before, after);
    expect(found).toMatchObject({
      common: 2,
      onlyFirst: 1,
      onlySecond: 1,
      identical: { cells: 1, of: 2 },
    });
    expect(found.changes.accuracy).toMatchObject({ mean: -1, most: -2, where: { values: [1, 2] } });
    expect(found.changes.fgs_unmasked_linf?.mean).toBeCloseTo(1.5, 12);
    expect(records(found.csv)[1]).toMatchObject({ accuracy: '-2', fgs_unmasked_linf: '3' });
  });
});
