import { type Norm, NORM_TITLES } from '../attacks/attack.js';
import { groupedBy } from '../base/groups.js';
import { extentOf } from '../base/sums.js';
import { counted } from '../base/text.js';
import {
  isRobustAccuracy,
  type MeasuredQuantity,
  type Measures,
  measuresOf,
  quantity,
  robustAccuraciesOf,
  type RobustAccuracy,
} from '../metrics/quantities.js';
import type { Row } from '../metrics/row.js';
import { readableText, shortKeys, valueText } from '../config/points.js';

/** A cell of a sweep for reports. */
export interface SweepCell {
  id: string;
  /** A value for each key that the sweep varies. */
  values: readonly unknown[];
  seed: number;
  reference: boolean;
  state: 'done' | 'failed' | 'stopped' | 'open';
  row?: Row;
  /** Where the numbers come from; absent if there are none. */
  origin?: CellOrigin;
  error?: string;
  /** Whether a failed cell would fail again in the same way, or another attempt may succeed. */
  failure?: 'experiment' | 'other';
}

export interface CellOrigin {
  /** The sha256 of the weights. */
  weights: string;
  bang: string;
  engine: string;
  cpu: string;
  threads: number;
  /** Seconds of the whole cell and of its training, which is null if it was trained before. */
  seconds: { training: number | null; total: number };
  finished: string;
}

/** A point of a sweep: cells that differ only in the seed. */
export interface SweepPoint {
  values: readonly unknown[];
  reference: boolean;
  cells: SweepCell[];
  /** Rows of the cells that are done. */
  rows: Row[];
  measures: Measures;
}

/** A key that the cells of a point share. */
export function pointKey({ reference, values }: Pick<SweepCell, 'reference' | 'values'>): string {
  return JSON.stringify([reference, values.map(valueText)]);
}

/** The points of a sweep in the order of its cells. */
export function pointsOf(cells: readonly SweepCell[]): SweepPoint[] {
  return [...groupedBy(cells, pointKey).values()].map((alike): SweepPoint => {
    const rows = alike.flatMap(({ row }) => row ?? []);
    const [{ values, reference }] = alike;
    return { values, reference, cells: alike, rows, measures: measuresOf(rows) };
  });
}

/** A point with only those of its cells whose seed another point has finished as well. */
export function withSeedsOf(point: SweepPoint, other: SweepPoint): SweepPoint {
  const seeds = new Set(other.cells.flatMap(({ row, seed }) => (row ? [seed] : [])));
  const cells = point.cells.filter(({ seed }) => seeds.has(seed));
  const rows = cells.flatMap(({ row }) => row ?? []);
  return { ...point, cells, rows, measures: measuresOf(rows) };
}

/** Whether seeds of a point are missing of which others of its seeds are done: its means are not those of whole points. */
export function isPartial({ cells, rows }: SweepPoint): boolean {
  return rows.length > 0 && rows.length < cells.length;
}

/** The quantities that the paper draws over β and ε, and unmasked FGS, which it does not have. */
export const SURFACES = ['accuracy', 'fgs_rate', 'hc1_pass', 'fgs_unmasked_linf'] as const;

/** The same, and accuracies within budgets where they were measured. */
export function surfacesOf(points: readonly SweepPoint[]): MeasuredQuantity[] {
  return [...SURFACES, ...robustAccuraciesOf(points.flatMap(({ rows }) => rows))];
}

/**
 * What robustness is held against accuracy: the accuracy within the middle one of the budgets in the first norm that has
 * any, or the mean L∞ of unmasked FGS where there are none.
 */
export function robustnessAxis(points: readonly SweepPoint[]): MeasuredQuantity {
  const all = surfacesOf(points).filter(isRobustAccuracy);
  const normOf = (name: RobustAccuracy): Norm => quantity(name).within!.norm;
  const alike = all.filter((name) => normOf(name) === normOf(all[0]));
  return alike.at(Math.floor(alike.length / 2)) ?? 'fgs_unmasked_linf';
}

/**
 * The points that no other point dominates in accuracy and robustness (`robustnessAxis`); points that are equal in both
 * are all among them. The most accurate point is first; the reference is left out.
 */
export function paretoFront(points: readonly SweepPoint[]): SweepPoint[] {
  const axis = robustnessAxis(points);
  const measured = points.flatMap((point) => {
    const { accuracy, [axis]: robustness } = point.measures;
    if (point.reference || !accuracy || !robustness) return [];
    return [{ point, accuracy: accuracy.value, robustness: robustness.value }];
  });
  measured.sort((a, b) => b.accuracy - a.accuracy || b.robustness - a.robustness);
  let best = { accuracy: NaN, robustness: -Infinity };
  return measured.flatMap((one) => {
    const isEqual = one.robustness === best.robustness && one.accuracy === best.accuracy;
    if (one.robustness <= best.robustness && !isEqual) return [];
    best = one;
    return [one.point];
  });
}

/** A point in words: `beta 1.05, epsilon 0.785`. */
export function pointText(keys: readonly string[], point: SweepPoint): string {
  const seeds = isPartial(point) ? [`${point.rows.length} of ${point.cells.length} seeds`] : [];
  const named = point.reference ? ['reference'] : valueTexts(keys, point.values);
  return [...named, ...seeds].join(', ');
}

/** The name of a cell; with its values where that is only a number. */
export function cellText(
  keys: readonly string[],
  { id, values }: Pick<SweepCell, 'id' | 'values'>,
): string {
  return /^cell-\d/.test(id) ? `${id} (${valueTexts(keys, values).join(', ')})` : id;
}

function valueTexts(keys: readonly string[], values: readonly unknown[]): string[] {
  return shortKeys(keys).flatMap((key, i) =>
    values[i] === undefined ? [] : [`${key} ${readableText(values[i])}`],
  );
}

/** What a `robustnessAxis` is, in words. */
export function axisText(axis: MeasuredQuantity): string {
  const { within } = quantity(axis);
  return within
    ? `accuracy at ${NORM_TITLES[within.norm]} ≤ ${within.budget}`
    : 'the mean L∞ that unmasked FGS needs';
}

/** Its value in words: `unmasked FGS-L∞ 21.43`, `accuracy 31.20 % at L∞ ≤ 16`. */
export function axisPhrase(axis: MeasuredQuantity, value: number): string {
  const { within } = quantity(axis);
  const number = value.toFixed(2);
  return within
    ? `accuracy ${number} % at ${NORM_TITLES[within.norm]} ≤ ${within.budget}`
    : `unmasked FGS-L∞ ${number}`;
}

/** How far a sweep is: `3 of 9 cells done, 1 failed`. */
export function progressText(cells: readonly Pick<SweepCell, 'state'>[]): string {
  const count = (state: SweepCell['state']): number =>
    cells.filter((cell) => cell.state === state).length;
  const words = [`${count('done')} of ${counted(cells.length, 'cell')} done`];
  if (count('failed') > 0) words.push(`${count('failed')} failed`);
  if (count('stopped') > 0) words.push(`${count('stopped')} stopped early`);
  return words.join(', ');
}

/** The best points so far by accuracy and by robustness (`robustnessAxis`): a phrase for each. */
export function bestOf(keys: readonly string[], all: readonly SweepPoint[]): string[] {
  const points = all.filter(({ reference }) => !reference);
  const axis = robustnessAxis(points);
  const best = (name: MeasuredQuantity, say: (value: number) => string): string[] => {
    const sign = quantity(name).better === 'less' ? -1 : 1;
    const found = points.flatMap((point) => {
      const value = point.measures[name]?.value;
      return value === undefined ? [] : [{ point, value }];
    });
    if (found.length === 0) return [];
    const [, top] = extentOf(found.map(({ value }) => sign * value));
    const [first, ...ties] = found.filter(({ value }) => sign * value === top);
    const more =
      ties.length === 0
        ? ''
        : `; so ${ties.length === 1 ? 'has 1 other point' : `have ${ties.length} others`}`;
    return [`${say(first.value)} (${pointText(keys, first.point)}${more})`];
  };
  return [
    ...best('accuracy', (x) => `best accuracy ${x.toFixed(2)} %`),
    ...best(axis, (x) => `best ${axisPhrase(axis, x)}`),
  ];
}
