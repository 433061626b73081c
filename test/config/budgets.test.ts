import { describe, expect, it } from 'vitest';
import { budgetsOf, greyLevels, problemsOfBudgets } from '#bang/config/budgets.js';

describe('budgets', () => {
  it.each([
    [0.3, 'linf', 76],
    [0.2, 'linf', 51],
    ['8/255', 'linf', 8],
    [' 2 / 255 ', 'linf', 2],
    [16, 'linf', 16],
    [16.9, 'linf', 16],
    [1, 'linf', 1],
    ['1/1', 'linf', 255],
    ['1.5/1', 'l2', 382.5],
    [0.5, 'l2', 127.5],
    [2, 'l2', 2],
  ] as const)('%s in %s is %s grey levels', (written, norm, levels) => {
    expect(greyLevels(written, norm)).toBe(levels);
  });

  it('are ascending, and stay as they are when they are read again', () => {
    const found = budgetsOf({ linf: [0.3, '8/255', 16], l2: ['2/1', '128/255'] });
    expect(found).toEqual({ linf: [8, 16, 76], l2: [128, 510] });
    expect(budgetsOf(found)).toEqual(found);
    expect(budgetsOf([16, 8])).toEqual({ linf: [8, 16] });
  });

  it.each([
    [[0.001], /^expected 1 grey level \(1\/255\) or more, as pixels are whole, found 0\.001$/],
    [[300], /^expected at most 255 grey levels, found 300$/],
    [['0/0'], /^"0\/0" is no number$/],
    // Files write four digits.
    [{ l2: [0.01, 2.55] }, /^2\.55 is in the list twice: it is 2\.55 grey levels$/],
    [[8, '8/255'], /^"8\/255" is in the list twice: it is 8 grey levels$/],
    [{}, /^expected linf, l2 or both, found an empty mapping$/],
  ])('refuses %j', (given, message) => {
    const problems = problemsOfBudgets(given, ['evaluation', 'budgets']);
    expect(problems).toHaveLength(1);
    expect(problems[0].message).toMatch(message);
  });
});
