import { expect, it } from 'vitest';
import { pointsOf, type SweepCell } from '#bang/sweep/summary.js';
import { trendGrid } from '#bang/report/trends.js';
import { type Trend, trendsOf } from '#bang/sweep/trends.js';
import { randomOf } from '../data/idx-bytes.js';
import { rowWith } from '../report/entries.js';

const keys = ['training.bang.beta', 'training.bang.epsilon', 'training.bang.ratio'];

/** A cell in which only accuracy is measured. */
function cell(values: unknown[], accuracy: number, more: Partial<SweepCell> = {}): SweepCell {
  const row = rowWith({ accuracy, attacks: {} });
  return { id: values.join(), values, seed: 1, reference: false, state: 'done', row, ...more };
}

/** Uniform numbers in [0, 1). */
function evenly(seed: number): () => number {
  const random = randomOf(seed);
  return () => random(1 << 24) / (1 << 24);
}

function accuracyTrend(names: readonly string[], cells: readonly SweepCell[]): Trend | undefined {
  return trendsOf(names, pointsOf(cells))?.trends.find(({ quantity }) => quantity === 'accuracy');
}

it('finds an exact plane, whatever the keys, with its rise over the range of each', () => {
  const random = evenly(1);
  for (let trial = 0; trial < 100; trial++) {
    const names = keys.slice(0, 1 + (trial % keys.length));
    const slopes = names.map(() => 20 * random() - 10);
    const scales = names.map(() => 10 ** (6 * random() - 3));
    const points = Array.from({ length: names.length + 6 + (trial % 20) }, () =>
      scales.map((scale) => scale * random()),
    );
    const cells = points.map((values) =>
      cell(
        values,
        values.reduce((sum, value, k) => sum + (slopes[k] * value) / scales[k], 50),
      ),
    );
    const trend = accuracyTrend(names, cells)!;
    for (const [k, rise] of trend.rise.entries()) {
      const own = points.map((values) => values[k] / scales[k]);
      expect(rise).toBeCloseTo(slopes[k] * (Math.max(...own) - Math.min(...own)), 6);
    }
    expect(trend.explained).toBeCloseTo(1, 6);
    expect(trend.scatter).toBeLessThan(1e-6);
  }
});

it('leaves residuals that are uncorrelated with the keys, and reports their size', () => {
  const random = evenly(2);
  for (let trial = 0; trial < 50; trial++) {
    const names = keys.slice(0, 2);
    const cells = Array.from({ length: 20 }, () => cell([random(), 1 + random()], 100 * random()));
    const { rise, explained, scatter, mean } = accuracyTrend(names, cells)!;
    const [x, y] = [cells.map(({ values }) => values as number[]), cells.map(accuracyOf)];
    const range = names.map((_, k) => {
      const own = x.map((values) => values[k]);
      return Math.max(...own) - Math.min(...own);
    });
    const centre = names.map((_, k) => x.reduce((sum, values) => sum + values[k], 0) / 20);
    const left = y.map((value, i) =>
      names.reduce((r, _, k) => r - (rise[k] * (x[i][k] - centre[k])) / range[k], value - mean),
    );
    for (const k of names.keys()) {
      expect(left.reduce((sum, r, i) => sum + r * x[i][k], 0)).toBeCloseTo(0, 6);
    }
    const squares = (values: number[]): number => values.reduce((sum, v) => sum + v * v, 0);
    expect(scatter).toBeCloseTo(Math.sqrt(squares(left) / 17), 9);
    // The variances of the residuals and of the values, both without bias.
    const [free, whole] = [squares(left) / 17, squares(y.map((v) => v - mean)) / 19];
    expect(explained).toBeCloseTo(Math.max(0, 1 - free / whole), 9);
  }
});

function accuracyOf({ row }: SweepCell): number {
  return row!.accuracy;
}

it('explains as little of mere noise as expected', () => {
  const random = evenly(3);
  const shares = Array.from({ length: 2000 }, () => {
    const cells = Array.from({ length: 21 }, (_, i) =>
      cell([i % 5, Math.floor(i / 5)], 100 * random()),
    );
    return accuracyTrend(keys.slice(0, 2), cells)!.explained!;
  });
  // What is left of the variance has a beta distribution, of 9 and 1; without the adjustment, a tenth would be explained.
  expect(shares.reduce((sum, share) => sum + share, 0) / 2000).toBeCloseTo(0.9 ** 9 / 10, 2);
  expect(Math.min(...shares)).toBe(0);
});

it('explains nothing where all points are equal, up to rounding', () => {
  for (let value = 90; value < 91; value += 1 / 7) {
    expect(
      accuracyTrend(
        keys,
        grid(() => value),
      ),
    ).toMatchObject({ explained: undefined });
  }
});

const grid = (accuracy: (beta: number, epsilon: number) => number): SweepCell[] =>
  [1, 1.5, 2].flatMap((beta) =>
    [0.8, 0.82, 0.84].map((epsilon) => cell([beta, epsilon, 1], accuracy(beta, epsilon))),
  );

it('has a line for each quantity, compared with the reference, which is not a point of the plane', () => {
  const cells = [
    cell([undefined, undefined, undefined], 90.5, { reference: true }),
    // A fall that is too small to show.
    ...grid((beta, epsilon) => 90 + beta / 2 - epsilon / 1e6),
  ];
  const found = trendsOf(keys, pointsOf(cells))!;
  expect(found.keys).toEqual([
    { key: 'training.bang.beta', least: 1, greatest: 2 },
    { key: 'training.bang.epsilon', least: 0.8, greatest: 0.84 },
  ]);
  expect(found.trends).toHaveLength(1);
  expect(found.trends[0]).toMatchObject({
    quantity: 'accuracy',
    points: 9,
    reference: { value: 90.5, above: 6 },
  });
  const { columns, rows } = trendGrid(found);
  expect(columns.map(({ title }) => title.join(' '))).toEqual([
    'quantity',
    'reference',
    'mean of points',
    'explained %',
    'scatter',
    'beta 1 → 2',
    'epsilon 0.8 → 0.84',
    'points above',
  ]);
  expect(rows.map((row) => row.map(({ text }) => text))).toEqual([
    ['Accuracy %', '90.50', '90.75', '100', '0.00', '+0.50', '0.00', '6 of 9'],
  ]);
});

it('counts the mean over seeds as one point, and leaves out points without numbers', () => {
  const [first, ...others] = grid(() => 90);
  const cells = [
    { ...first, row: rowWith({ accuracy: 89, attacks: {} }) },
    { ...first, seed: 2, row: rowWith({ accuracy: 91, attacks: {} }) },
    ...others,
    cell([3, 0.8, 1], 0, { state: 'failed', row: undefined }),
    cell([3, 0.82, 1], 0, { state: 'open', row: undefined }),
  ];
  expect(accuracyTrend(keys, cells)).toMatchObject({
    points: 9,
    mean: 90,
    reference: undefined,
    explained: undefined,
    scatter: 0,
  });
  expect(trendGrid(trendsOf(keys, pointsOf(cells))!).rows[0].map(({ text }) => text)).toEqual([
    'Accuracy %',
    '–',
    '90.00',
    '–',
    '0.00',
    '0.00',
    '0.00',
    '–',
  ]);
});

it('reports nothing if a plane would be meaningless', () => {
  const nothing: Record<string, SweepCell[]> = {
    'too few points': grid((beta) => beta).slice(0, 7),
    'no point at all': [],
    'a key that is not a number': grid(() => 90).map((one, i) => ({
      ...one,
      values: [one.values[0], one.values[1], i % 2 === 0 ? 'inv' : 'fixed'],
    })),
    'keys that vary together': Array.from({ length: 12 }, (_, i) => cell([i, 2 * i, 1], i)),
    'one point many times': Array.from({ length: 12 }, (_, seed) => cell([1, 1, 1], 9, { seed })),
    'keys that some points leave out': grid(() => 90).map((one, i) => ({
      ...one,
      values: i === 0 ? [1, 0.8, undefined] : one.values,
    })),
  };
  for (const [why, cells] of Object.entries(nothing)) {
    expect(trendsOf(keys, pointsOf(cells)), why).toBeUndefined();
  }
});
