import { expect, it } from 'vitest';
import type { Cell } from '#bang/config/sweep.js';
import { carriedFiles } from '#bang/sweep/collector.js';
import { survivors } from '#bang/sweep/sweep.js';
import { resultWith } from '../report/entries.js';

it('halving keeps the share that was asked for, whatever its binary fraction', () => {
  const cells = (count: number): Cell[] =>
    Array.from(
      { length: count },
      (_, i) => ({ id: String(i), values: [i], reference: false }) as unknown as Cell,
    );
  for (const count of [7, 50, 100, 300]) {
    const all = cells(count);
    for (let percent = 1; percent < 100; percent++) {
      const left = survivors(all, ({ id }) => Number(id), percent / 100);
      // Exact in integers.
      expect(left).toHaveLength(Math.max(1, Math.floor((count * percent + 99) / 100)));
      expect(left.at(-1)).toBe(all.at(-1));
    }
  }
});

it('halving compares points by their mean over seeds, and keeps or stops all cells of a point', () => {
  const accuracies = { a: [90, 40], b: [60, 80], c: [61, undefined], reference: [1, 2] };
  const cells = Object.entries(accuracies).flatMap(([id, each]) =>
    each.map((accuracy, seed) => ({
      ...{ id, values: [id], seed, accuracy, reference: id === 'reference' },
    })),
  );
  const left = (keep: number): string[] =>
    survivors(
      cells as unknown as Cell[],
      (cell) => (cell as unknown as { accuracy: number | undefined }).accuracy,
      keep,
    ).map(({ id, seed }) => `${id}${seed}`);
  const references = ['reference0', 'reference1'];
  expect(left(0.3)).toEqual(['b0', 'b1', ...references]);
  expect(left(0.6)).toEqual(['a0', 'a1', 'b0', 'b1', ...references]);
  // The other seed of c has failed.
  expect(left(1)).toEqual(['a0', 'a1', 'b0', 'b1', 'c0', ...references]);
});

it('workers send back all files that a local cell has', () => {
  const { row, ...rest } = resultWith('lenet-b1');
  const carried = (more: object, keep: Parameters<typeof carriedFiles>[1] = []) =>
    carriedFiles({ ...rest, row: { ...row, ...more } }, keep);
  expect(carried({}, ['weights', 'per-image', 'training'])).toEqual([
    ...['result', 'table', 'weights', 'perImage', 'training'],
  ]);
  const all = { robustness: {}, masking: {}, atBudgets: [], noise: {} };
  expect(carried(all)).toEqual(['result', 'table', 'robustness', 'masking', 'budgets', 'noise']);
});
