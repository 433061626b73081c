import { toCsv } from '../store/csvFile.js';
import {
  type MeasuredQuantity,
  robustAccuraciesOf,
  TABLE_QUANTITIES,
} from '../metrics/quantities.js';
import type { Row } from '../metrics/row.js';
import { pointKey, pointsOf, type SweepCell, type SweepPoint, withSeedsOf } from './summary.js';
import { valueColumns } from './sweepCsv.js';
import { csvField, TABLE_COLUMNS } from '../store/csv.js';
import { meanOf, sumOf } from '../base/sums.js';

/** A comparison of two sweeps, point by point. */
export interface SweepChanges {
  /** The number of points that are done in both, without the reference, as in the next two. */
  common: number;
  onlyFirst: number;
  onlySecond: number;
  /** Whether the reference is done in both. */
  reference: boolean;
  /** The number of cells of these points whose seed only one of the two sweeps has done; nothing counts them. */
  leftOut: number;
  /** Of all cells with the same point and seed in both: those with weights and numbers equal bit for bit. */
  identical: { cells: number; of: number };
  /** Second minus first, for each quantity that both have. */
  changes: Partial<Record<MeasuredQuantity, Change>>;
  csv: string;
}

export interface Change {
  mean: number;
  /** The change with the largest absolute value, with its sign, and its point. */
  most: number;
  where: SweepPoint;
}

/** @param keys those that both sweeps vary */
export function compareSweeps(
  keys: readonly string[],
  first: readonly SweepCell[],
  second: readonly SweepCell[],
): SweepChanges {
  const done = (cells: readonly SweepCell[]) =>
    new Map(
      pointsOf(cells)
        .filter(({ rows }) => rows.length > 0)
        .map((point) => [pointKey(point), point]),
    );
  const [a, b] = [done(first), done(second)];
  // Only over the seeds that both have: other seeds are no change.
  const pairs = [...a].flatMap(([key, one]) => {
    const twin = b.get(key);
    if (!twin) return [];
    const [point, other] = [withSeedsOf(one, twin), withSeedsOf(twin, one)];
    const leftOut = one.rows.length + twin.rows.length - point.rows.length - other.rows.length;
    return point.rows.length === 0 ? [] : [{ point, other, leftOut }];
  });
  const changes: SweepChanges['changes'] = {};
  const robust = robustAccuraciesOf(
    pairs.flatMap(({ point, other }) => [...point.rows, ...other.rows]),
  );
  for (const name of [...TABLE_QUANTITIES, ...robust]) {
    const each = pairs.flatMap(({ point, other }) => {
      const [x, y] = [point.measures[name], other.measures[name]];
      return x && y ? [{ where: point, by: y.value - x.value }] : [];
    });
    if (each.length === 0) continue;
    const mean = meanOf(each.map(({ by }) => by));
    const most = each.reduce((x, y) => (Math.abs(y.by) > Math.abs(x.by) ? y : x));
    changes[name] = { mean, most: most.by, where: most.where };
  }
  const cellKey = (cell: SweepCell): string => `${pointKey(cell)} ${cell.seed}`;
  const others = new Map(second.map((cell) => [cellKey(cell), cell]));
  const twins = first.flatMap((cell) => {
    const other = others.get(cellKey(cell));
    return cell.row && other?.row ? [{ cell, other }] : [];
  });
  const same = ({ cell, other }: (typeof twins)[number]): boolean =>
    cell.origin?.weights === other.origin?.weights && sameRow(cell.row!, other.row!);
  const points = (all: Iterable<SweepPoint>): number =>
    [...all].filter(({ reference }) => !reference).length;
  const common = points(pairs.map(({ point }) => point));
  const lines = pairs.map(({ point, other }) => ({
    ...valueColumns(keys, point.values),
    reference: +point.reference,
    ...Object.fromEntries(
      [...TABLE_COLUMNS, ...robust].map((name) => {
        if (name === 'fgs_unmasked_pass') return [name, ''];
        const [x, y] = [point.measures[name]?.value, other.measures[name]?.value];
        return [name, x === undefined || y === undefined ? '' : csvField(name, y - x)];
      }),
    ),
  }));
  return {
    common,
    reference: common < pairs.length,
    leftOut: sumOf(pairs.map(({ leftOut }) => leftOut)),
    onlyFirst: points(a.values()) - common,
    onlySecond: points(b.values()) - common,
    identical: { cells: twins.filter(same).length, of: twins.length },
    changes,
    csv: toCsv(lines, [...keys, 'reference', ...TABLE_COLUMNS, ...robust]),
  };
}

/** Whether all numbers except for durations are equal. */
function sameRow(a: Row, b: Row): boolean {
  const numbers = (row: Row): string =>
    JSON.stringify(row, (key, value: unknown) => (key === 'seconds' ? undefined : value));
  return numbers(a) === numbers(b);
}
