import { isFull } from '../../paper/compare.js';
import type { Entry } from '../../store/entry.js';

export interface SplitEntries {
  /** What was trained and measured as in the paper; if nothing was, everything. */
  main: Entry[];
  /** On subsets of the images, or with other settings. */
  others: Entry[];
  /** Published rows without a run. */
  missing: Entry[];
}

/** Sets other trainings, and runs on subsets or with other settings, apart from the rows of the paper. */
export function splitEntries(all: readonly Entry[]): SplitEntries {
  const there = all.filter(({ rows }) => rows.length > 0);
  const full = there.filter(isFull);
  const ofPaper = full.filter(({ published }) => published);
  const main = [ofPaper, full, there].find(({ length }) => length > 0) ?? [];
  return {
    main,
    others: there.filter((one) => !main.includes(one)),
    missing: all.filter(({ rows }) => rows.length === 0),
  };
}
