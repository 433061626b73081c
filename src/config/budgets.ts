import { type Budgets, type Norm, NORMS } from '../attacks/attack.js';
import { inBrief, isMapping, type KeyPath, type Problem, wrong } from './problems.js';

/** How budgets are written, in the words of the schema and of messages. */
export const BUDGET_RULE =
  'A number below 1, and a fraction such as 8/255, are shares of the range from 0 to 255, as if pixels were from 0 to 1; a number of 1 or more is in grey levels.';

/** Two numbers with a slash between them. */
export const FRACTION = /^\s*(\d+(?:\.\d+)?)\s*\/\s*(\d+(?:\.\d+)?)\s*$/;

const LARGEST = 255;
/** In L2 any change is less: 255 in each of a million pixels. */
const LARGEST_L2 = 255_000;

/** A budget as it is written. */
export type Written = number | string;
/** Budgets as they are written: in L∞, or by norm. */
export type WrittenBudgets = Written[] | Partial<Record<Norm, Written[] | undefined>>;

/** A budget in grey levels, in L∞ a whole number, as pixels are; NaN if it is not written as one. */
export function greyLevels(written: unknown, norm: Norm): number {
  const levels = (): number => {
    if (typeof written === 'number') return written < 1 ? written * LARGEST : written;
    const [, part, whole] = FRACTION.exec(String(written)) ?? [];
    return (Number(part) * LARGEST) / Number(whole);
  };
  // What rounding takes from 0.2 · 255 = 51 must not make 50 of it, and 0.01 · 255 is written in files as 2.55.
  return norm === 'linf' ? Math.floor(levels() + 1e-9) : Number(levels().toFixed(4));
}

/** The budgets in grey levels, each list ascending. */
export function budgetsOf(given: WrittenBudgets): Budgets {
  const byNorm = Array.isArray(given) ? { linf: given } : given;
  const lists = NORMS.flatMap((norm): [Norm, number[]][] => {
    const list = byNorm[norm];
    if (!list) return [];
    return [[norm, list.map((one) => greyLevels(one, norm)).sort((a, b) => a - b)]];
  });
  return Object.fromEntries(lists);
}

/** Problems of budgets whose shape is right: too small, too large, or in the list twice. */
export function problemsOfBudgets(given: unknown, path: KeyPath): Problem[] {
  if (isMapping(given)) {
    if (NORMS.every((norm) => given[norm] === undefined)) {
      return [wrong(path, 'expected linf, l2 or both, found an empty mapping')];
    }
    return NORMS.flatMap((norm) => problemsOfList(given[norm], norm, [...path, norm]));
  }
  return problemsOfList(given, 'linf', path);
}

function problemsOfList(list: unknown, norm: Norm, path: KeyPath): Problem[] {
  if (!Array.isArray(list)) return [];
  const all = list.map((one: unknown) => greyLevels(one, norm));
  const most = norm === 'linf' ? LARGEST : LARGEST_L2;
  return all.flatMap((levels, i): Problem[] => {
    const wrongOne = (message: string): Problem[] => [wrong([...path, i], message)];
    const written = inBrief(list[i]);
    if (Number.isNaN(levels)) {
      // What is not written as a budget is told elsewhere.
      return FRACTION.test(String(list[i])) ? wrongOne(`${written} is no number`) : [];
    }
    if (levels < 1) {
      return wrongOne(
        `expected 1 grey level (1/255) or more, as pixels are whole, found ${written}`,
      );
    }
    if (levels > most) return wrongOne(`expected at most ${most} grey levels, found ${written}`);
    if (all.indexOf(levels) < i) {
      return wrongOne(`${written} is in the list twice: it is ${levels} grey levels`);
    }
    return [];
  });
}
