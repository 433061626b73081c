import { expect, it } from 'vitest';
import type { Cell } from '#bang/config/sweep.js';
import { carriedFiles } from '#bang/sweep/collector.js';
import { survivors } from '#bang/sweep/sweep.js';
import { resultWith } from '../report/entries.js';

it('halving keeps the share that was asked for, whatever its binary fraction', () => {
  const cells = (count: number): Cell[] =>
    Array.from({ length: count }, (_, i) => ({ id: String(i), reference: false }) as Cell);
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
