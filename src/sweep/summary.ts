import { type Measures, measuresOf, quantity, type TableQuantity } from '../metrics/quantities.js';
import type { Row } from '../metrics/row.js';
import { valueText } from '../config/points.js';

/** One cell of a sweep as reports need it. */
export interface SweepCell {
  id: string;
  /** One for each key that the sweep varies. */
  values: readonly unknown[];
  seed: number;
  reference: boolean;
  state: 'done' | 'failed' | 'stopped' | 'open';
  row?: Row;
  /** Where the figures come from; absent without them. */
  origin?: CellOrigin;
  error?: string;
}

export interface CellOrigin {
  /** sha256. */
  weights: string;
  bang: string;
  engine: string;
  cpu: string;
  threads: number;
  /** Of the whole cell, and of its training; null where it was trained before. */
  seconds: { training: number | null; total: number };
  finished: string;
}

/** The cells that differ in the seed only. */
export interface SweepPoint {
  values: readonly unknown[];
  reference: boolean;
  cells: SweepCell[];
  /** Of the cells that are done. */
  rows: Row[];
  measures: Measures;
}

/** The points of a sweep in its order, each with all its seeds. */
export function pointsOf(cells: readonly SweepCell[]): SweepPoint[] {
  const points = new Map<string, SweepCell[]>();
  for (const cell of cells) {
    const key = JSON.stringify([cell.reference, cell.values.map(valueText)]);
    points.set(key, [...(points.get(key) ?? []), cell]);
  }
  return [...points.values()].map((alike): SweepPoint => {
    const rows = alike.flatMap(({ row }) => row ?? []);
    const [{ values, reference }] = alike;
    return { values, reference, cells: alike, rows, measures: measuresOf(rows) };
  });
}

/** What the paper draws over β and ε, and what its figures leave out. */
export const SURFACES = ['accuracy', 'fgs_rate', 'hc1_pass', 'fgs_unmasked_linf'] as const;
export type Surface = (typeof SURFACES)[number];

/**
 * The points of which no other is both more accurate and more robust: robust by the mean L∞ that
 * unmasked FGS needs. The most accurate first.
 */
export function paretoFront(points: readonly SweepPoint[]): SweepPoint[] {
  const measured = points.flatMap((point) => {
    const { accuracy, fgs_unmasked_linf: robustness } = point.measures;
    if (point.reference || !accuracy || !robustness) return [];
    return [{ point, accuracy: accuracy.value, robustness: robustness.value }];
  });
  measured.sort((a, b) => b.accuracy - a.accuracy || b.robustness - a.robustness);
  let best = -Infinity;
  return measured.flatMap(({ point, robustness }) => {
    if (robustness <= best) return [];
    best = robustness;
    return [point];
  });
}

/** The last part of each key, or all of it where two have the same: for people. */
export function shortKeys(keys: readonly string[]): string[] {
  const last = (key: string): string => key.split('.').at(-1)!;
  return keys.map((key) => {
    const alone = keys.filter((other) => last(other) === last(key)).length === 1;
    return alone ? last(key) : key;
  });
}

/** `beta 1.05, epsilon 0.785`. */
export function pointText(keys: readonly string[], { values, reference }: SweepPoint): string {
  if (reference) return 'reference';
  return shortKeys(keys)
    .flatMap((key, i) => (values[i] === undefined ? [] : [`${key} ${valueText(values[i])}`]))
    .join(', ');
}

/** The best points so far, by accuracy and by unmasked robustness: a clause for each. */
export function bestOf(keys: readonly string[], cells: readonly SweepCell[]): string[] {
  const points = pointsOf(cells).filter(({ reference }) => !reference);
  const best = (name: TableQuantity, say: (value: number) => string): string[] => {
    const sign = quantity(name).better === 'less' ? -1 : 1;
    const found = points.flatMap((point) => {
      const value = point.measures[name]?.value;
      return value === undefined ? [] : [{ point, value }];
    });
    if (found.length === 0) return [];
    const top = found.reduce((a, b) => (sign * b.value > sign * a.value ? b : a));
    return [`${say(top.value)} (${pointText(keys, top.point)})`];
  };
  return [
    ...best('accuracy', (x) => `best accuracy ${x.toFixed(2)} %`),
    ...best('fgs_unmasked_linf', (x) => `best unmasked FGS-L∞ ${x.toFixed(2)}`),
  ];
}
