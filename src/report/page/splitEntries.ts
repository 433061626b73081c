import { isFull } from '../../paper/compare.js';
import type { Entry } from '../../store/entry.js';

export interface SplitEntries<T> {
  /** What was trained and measured as in the paper; if nothing was, everything. */
  main: T[];
  /** On subsets of the images, or with other settings. */
  others: T[];
  /** Published rows without a run. */
  missing: T[];
}

/** Sets other trainings, and runs on subsets or with other settings, apart from the rows of the paper. */
export function splitEntries<T>(all: readonly T[], entryOf: (one: T) => Entry): SplitEntries<T> {
  const isThere = (one: T): boolean => entryOf(one).rows.length > 0;
  const there = all.filter(isThere);
  const full = there.filter((one) => isFull(entryOf(one)));
  const ofPaper = full.filter((one) => entryOf(one).published);
  const main = [ofPaper, full, there].find(({ length }) => length > 0) ?? [];
  return {
    main,
    others: there.filter((one) => !main.includes(one)),
    missing: all.filter((one) => !isThere(one)),
  };
}
