import {
  eachQuantity,
  measuresOf,
  spreadOverSeeds,
  TABLE_QUANTITIES,
  type Measures,
  type TableQuantity,
} from '../metrics/quantities.js';
import type { Row } from '../metrics/row.js';
import { sumOf } from '../base/sums.js';
import { studentChance } from '../metrics/statistics.js';
import type { PublishedRow } from './published.js';

/** A published row as the quantities of the tables; the paper has no unmasked FGS. */
export function publishedMeasures({ accuracy, fgs, hc1 }: PublishedRow): Measures {
  return {
    accuracy: { value: accuracy },
    fgs_rate: { value: fgs.rate },
    fgs_pass: { value: fgs.passMean, std: fgs.passStd },
    fgs_linf: { value: fgs.linfMean, std: fgs.linfStd },
    hc1_rate: { value: hc1.rate },
    hc1_pass: { value: hc1.passMean, std: hc1.passStd },
    hc1_linf: { value: hc1.linfMean, std: hc1.linfStd },
    fgs_unmasked_rate: null,
    fgs_unmasked_linf: null,
  };
}

/** Ours minus published, for values and standard deviations; null where either is unknown. */
export function difference(ours: Measures, published: Measures): Measures {
  return eachQuantity((name) => {
    const [a, b] = [ours[name], published[name]];
    if (!a || !b) return null;
    const value = a.value - b.value;
    return a.std === undefined || b.std === undefined ? { value } : { value, std: a.std - b.std };
  });
}

/** An experiment beside the row of the paper that it repeats. */
export interface Repeated {
  /** One for each seed. */
  rows: readonly Row[];
  published?: PublishedRow;
  /** Whether it is not a repetition: its network, data or training is another. */
  departs?: boolean;
  /** Whether it is measured otherwise than the published row, such as on a subset of the images. */
  differs?: boolean;
}

/** Whether an experiment was trained and measured as in the paper, rather than on a subset or with other settings. */
export function isFull({ rows, departs, differs }: Repeated): boolean {
  return rows.length > 0 && differs !== true && departs !== true;
}

/** At least so many degrees of freedom are needed to say what is outside: three seeds of one row. */
const FEWEST_DEGREES = 2;

/** What happens by chance less often than this is called outside. */
const LEVEL = 0.05;

/**
 * For each quantity, how likely a single training would be as far from ours as the published one, or further
 * (Student's t), if both came from the same program. The deviation over seeds is pooled over the rows of the same
 * table that are trained likewise, with BANG or without, because few seeds tell little about it.
 *
 * @param among the experiments that deviations are pooled over
 * @returns without the quantities whose deviation is not known
 */
function chances(repeated: Repeated, among: readonly Repeated[]): Map<TableQuantity, number> {
  const { rows, published } = repeated;
  // Deviations over seeds know nothing of the choice of a subset of the images.
  if (!published || !isFull(repeated)) return new Map();
  const apart = difference(measuresOf(rows), publishedMeasures(published));
  const alike = among.filter(
    (one) =>
      one.published?.table === published.table &&
      (one.published.beta === null) === (published.beta === null) &&
      isFull(one),
  );
  const spreads = alike.map((one) => spreadOverSeeds(one.rows));
  const found = new Map<TableQuantity, number>();
  for (const name of TABLE_QUANTITIES) {
    const distance = apart[name];
    if (!distance) continue;
    const known = spreads.flatMap((spread) => spread[name] ?? []);
    const degrees = sumOf(known.map(({ seeds }) => seeds - 1));
    if (degrees < FEWEST_DEGREES) continue;
    const squares = sumOf(known.map(({ value, seeds }) => (seeds - 1) * value ** 2));
    const seeds = rows.filter((row) => measuresOf([row])[name]).length;
    // Of the published training and of our mean.
    const error = Math.sqrt((squares / degrees) * (1 + 1 / seeds));
    const far = Math.abs(distance.value);
    found.set(name, far < ROUNDING ? 1 : studentChance(far / error, degrees));
  }
  return found;
}

/** Tolerance for the rounding errors of sums of a few decimal numbers. */
const ROUNDING = 1e-9;

/** The quantities that are published outside the 95 % prediction interval of a training. */
export function outsideSeeds(one: Repeated, among: readonly Repeated[]): Set<TableQuantity> {
  return new Set([...chances(one, among)].filter(([, p]) => p < LEVEL).map(([name]) => name));
}

/** How often published values are outside, in all of a table. */
export interface Outsiders<T> {
  judged: number;
  outside: number;
  /**
   * The rows of which at least one value is outside when all its values are tested together (Bonferroni), which
   * holds however the values of a row depend on each other.
   */
  rows: T[];
}

/** @param all experiments of one table, over which deviations are pooled as well */
export function outsiders<T extends Repeated>(all: readonly T[]): Outsiders<T> {
  const found = all.map((one) => [...chances(one, all).values()]);
  const flat = found.flat();
  return {
    judged: flat.length,
    outside: flat.filter((p) => p < LEVEL).length,
    rows: all.filter((_, i) => found[i].some((p) => p * found[i].length < LEVEL)),
  };
}
