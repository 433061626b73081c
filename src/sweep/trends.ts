import { extentOf, meanOf } from '../base/sums.js';
import {
  type MeasuredQuantity,
  robustAccuraciesOf,
  TABLE_QUANTITIES,
} from '../metrics/quantities.js';
import type { SweepPoint } from './summary.js';
import { valueText } from '../config/points.js';

/**
 * A quantity over all points of a sweep: how much of it a plane over the keys explains, and how much is
 * scatter, as between seeds.
 */
export interface Trend {
  quantity: MeasuredQuantity;
  /** The number of points with the quantity, without the reference. */
  points: number;
  mean: number;
  /** The reference's value, and the number of points above it. */
  reference?: { value: number; above: number };
  /** For each key that varies: the rise of the plane from the key's least value to its greatest. */
  rise: number[];
  /**
   * The share of the variance that the plane explains beyond chance, from 0 to 1 (adjusted R²); undefined if the
   * variance is 0 up to rounding.
   */
  explained: number | undefined;
  /** The standard deviation about the plane. */
  scatter: number;
}

export interface Trends {
  /** The keys that vary, with their least and greatest values. */
  keys: { key: string; least: number; greatest: number }[];
  trends: Trend[];
}

/** Whether a plane explains less than half of a variance, so that single points say little. */
export function isScatter(explained: number): boolean {
  return explained < 1 / 2;
}

/** The fewest degrees of freedom left for the scatter with which a plane means anything. */
const FEWEST_LEFT = 5;

/**
 * Planes by least squares over the points of a sweep, each the mean over its seeds. Undefined if a key with
 * values other than numbers varies, there are too few points, or the keys do not vary independently.
 */
export function trendsOf(keys: readonly string[], all: readonly SweepPoint[]): Trends | undefined {
  const points = all.filter(({ reference, rows }) => !reference && rows.length > 0);
  const varied = keys.flatMap((key, k) => {
    const distinct = new Set(points.map(({ values }) => valueText(values[k])));
    return distinct.size > 1 ? [{ key, k }] : [];
  });
  const numbers = points.map(({ values }) => varied.map(({ k }) => values[k]));
  if (varied.length === 0 || !numbers.every(areNumbers)) return undefined;
  const ranges = varied.map(({ key }, v) => {
    const [least, greatest] = extentOf(numbers.map((x) => x[v]));
    return { key, least, greatest };
  });
  const at = (point: SweepPoint): number[] =>
    ranges.map(({ least, greatest }, v) => {
      const value = point.values[varied[v].k] as number;
      return (value - least) / (greatest - least);
    });
  const level = all.find(({ reference }) => reference)?.measures;
  const robust = robustAccuraciesOf(points.flatMap(({ rows }) => rows));
  const trends = [...TABLE_QUANTITIES, ...robust].flatMap((quantity): Trend[] => {
    const known = points.flatMap((point) => {
      const found = point.measures[quantity];
      return found ? [{ x: at(point), y: found.value }] : [];
    });
    const plane = planeThrough(known);
    if (plane === undefined) return [];
    const reference = level?.[quantity]?.value;
    const above = known.filter(({ y }) => reference !== undefined && y > reference).length;
    return [
      {
        quantity,
        points: known.length,
        mean: meanOf(known.map(({ y }) => y)),
        reference: reference === undefined ? undefined : { value: reference, above },
        ...plane,
      },
    ];
  });
  return trends.length === 0 ? undefined : { keys: ranges, trends };
}

function areNumbers(values: readonly unknown[]): values is number[] {
  return values.every((value) => typeof value === 'number');
}

/**
 * Fits y = a + rise · x by least squares, x from 0 to 1; undefined if there are too few points, or the x do not vary
 * independently.
 */
function planeThrough(
  points: readonly { x: number[]; y: number }[],
): Pick<Trend, 'rise' | 'explained' | 'scatter'> | undefined {
  const count = points[0]?.x.length ?? 0;
  const free = points.length - count - 1;
  if (free < FEWEST_LEFT) return undefined;
  const centre = Array.from({ length: count }, (_, i) => meanOf(points.map(({ x }) => x[i])));
  const height = meanOf(points.map(({ y }) => y));
  const centred = points.map(({ x, y }) => ({ x: x.map((v, i) => v - centre[i]), y: y - height }));
  const sum = (of: (point: { x: number[]; y: number }) => number): number =>
    centred.reduce((total, point) => total + of(point), 0);
  const rise = solve(
    centre.map((_, i) => centre.map((_, j) => sum(({ x }) => x[i] * x[j]))),
    centre.map((_, i) => sum(({ x, y }) => x[i] * y)),
  );
  if (rise === undefined) return undefined;
  const whole = sum(({ y }) => y * y);
  const left = sum(({ x, y }) => (y - x.reduce((own, v, i) => own + v * rise[i], 0)) ** 2);
  const share = 1 - left / free / (whole / (points.length - 1));
  return {
    rise,
    explained: whole > points.length * (1e-12 * height) ** 2 ? Math.max(0, share) : undefined,
    scatter: Math.sqrt(left / free),
  };
}

/**
 * Whether the points of a grid say little one by one: no surface over its two keys, plane or curved, explains half of
 * their variance. False if the values of the keys are no numbers, or the points too few to tell.
 */
export function areScattered(points: readonly { x: number; y: number; value: number }[]): boolean {
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  if ([...xs, ...ys].some(Number.isNaN)) return false;
  const [across, up] = [fromMinusToOne(xs), fromMinusToOne(ys)];
  const plane = (x: number, y: number): number[] => [x, y];
  const curved = (x: number, y: number): number[] => [x, y, x * x, x * y, y * y];
  const explained = [plane, curved].flatMap((terms) => {
    const own = points.map(({ value }, i) => ({ x: terms(across[i], up[i]), y: value }));
    return planeThrough(own)?.explained ?? [];
  });
  return explained.length > 0 && explained.every(isScatter);
}

/** Numbers moved and scaled to −1 to 1. */
function fromMinusToOne(numbers: readonly number[]): number[] {
  const [least, greatest] = extentOf(numbers);
  return numbers.map((x) => (2 * x - least - greatest) / (greatest - least || 1));
}

/** Gaussian elimination with pivots; undefined if the matrix is singular up to rounding. */
function solve(matrix: number[][], right: number[]): number[] | undefined {
  const rows = matrix.map((row, i) => [...row, right[i]]);
  const n = rows.length;
  for (let i = 0; i < n; i++) {
    const own = rows.slice(i).reduce((a, b) => (Math.abs(b[i]) > Math.abs(a[i]) ? b : a));
    if (Math.abs(own[i]) < 1e-9) return undefined;
    rows.splice(rows.indexOf(own), 1);
    rows.splice(i, 0, own);
    for (const row of rows) {
      if (row === own) continue;
      const factor = row[i] / own[i];
      for (let j = i; j <= n; j++) row[j] -= factor * own[j];
    }
  }
  return rows.map((row, i) => row[n] / row[i]);
}
