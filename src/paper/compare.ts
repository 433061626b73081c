import {
  eachQuantity,
  measuresOf,
  spreadOverSeeds,
  TABLE_QUANTITIES,
  type Measures,
  type TableQuantity,
} from '../metrics/quantities.js';
import type { Row } from '../metrics/row.js';
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

const FEWEST_SEEDS_TO_JUDGE = 3;

/** Tolerance for the rounding errors of sums of a few decimal numbers. */
const ROUNDING = 1e-9;

/**
 * The quantities whose published value differs from ours by more than two standard deviations over seeds.
 * Quantities measured with fewer than three seeds are not judged.
 */
export function outsideSeeds(rows: readonly Row[], published: PublishedRow): Set<TableQuantity> {
  const apart = difference(measuresOf(rows), publishedMeasures(published));
  const spread = spreadOverSeeds(rows);
  return new Set(
    TABLE_QUANTITIES.filter((name) => {
      const [distance, over] = [apart[name], spread[name]];
      if (!distance || !over || over.seeds < FEWEST_SEEDS_TO_JUDGE) return false;
      return Math.abs(distance.value) > 2 * over.value + ROUNDING;
    }),
  );
}
