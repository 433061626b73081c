import { stringify } from 'csv-stringify/sync';
import { FIGURES, type FigureName } from '../metrics/figures.js';
import type { Row } from '../metrics/row.js';
import {
  pointsOf,
  rounded,
  valueColumns,
  valueText,
  type SweepCell,
  type SweepPoint,
} from './summary.js';

/** Two sweeps, point by point. */
export interface Comparison {
  /** Points that are done in both. */
  common: number;
  onlyFirst: number;
  onlySecond: number;
  /** Cells of the same seed with the same weights and figures, bit for bit, of so many. */
  identical: { cells: number; of: number };
  /** Second minus first, of each figure that both have. */
  figures: Partial<Record<FigureName, Change>>;
  csv: string;
}

export interface Change {
  mean: number;
  /** The largest by amount, with its sign, and where. */
  most: number;
  where: SweepPoint;
}

/** @param keys of both sweeps, which vary the same */
export function compareSweeps(
  keys: readonly string[],
  first: readonly SweepCell[],
  second: readonly SweepCell[],
): Comparison {
  const keyOf = ({ reference, values }: Pick<SweepCell, 'reference' | 'values'>): string =>
    JSON.stringify([reference, values.map(valueText)]);
  const done = (cells: readonly SweepCell[]) =>
    new Map(
      pointsOf(cells)
        .filter(({ rows }) => rows.length > 0)
        .map((point) => [keyOf(point), point]),
    );
  const [a, b] = [done(first), done(second)];
  const pairs = [...a].flatMap(([key, point]) => {
    const other = b.get(key);
    return other ? [{ point, other }] : [];
  });
  const figures: Comparison['figures'] = {};
  for (const name of FIGURES) {
    const changes = pairs.flatMap(({ point, other }) => {
      const [x, y] = [point.figures[name], other.figures[name]];
      return x && y ? [{ where: point, by: y.value - x.value }] : [];
    });
    if (changes.length === 0) continue;
    const mean = changes.reduce((sum, { by }) => sum + by, 0) / changes.length;
    const most = changes.reduce((x, y) => (Math.abs(y.by) > Math.abs(x.by) ? y : x));
    figures[name] = { mean, most: most.by, where: most.where };
  }
  const cellKey = (cell: SweepCell): string => `${keyOf(cell)} ${cell.seed}`;
  const others = new Map(second.map((cell) => [cellKey(cell), cell]));
  const twins = first.flatMap((cell) => {
    const other = others.get(cellKey(cell));
    return cell.row && other?.row ? [{ cell, other }] : [];
  });
  const same = ({ cell, other }: (typeof twins)[number]): boolean =>
    cell.origin?.weights === other.origin?.weights && sameRow(cell.row!, other.row!);
  const lines = pairs.map(({ point, other }) => ({
    ...valueColumns(keys, point.values),
    reference: +point.reference,
    ...Object.fromEntries(
      FIGURES.map((name) => {
        const [x, y] = [point.figures[name]?.value, other.figures[name]?.value];
        return [name, x === undefined || y === undefined ? '' : rounded(y - x, name)];
      }),
    ),
  }));
  return {
    common: pairs.length,
    onlyFirst: a.size - pairs.length,
    onlySecond: b.size - pairs.length,
    identical: { cells: twins.filter(same).length, of: twins.length },
    figures,
    csv: stringify(lines, { header: true, columns: [...keys, 'reference', ...FIGURES] }),
  };
}

/** Whether all figures are the same; how long it took is none of them. */
function sameRow(a: Row, b: Row): boolean {
  const figures = (row: Row): string =>
    JSON.stringify(row, (key, value: unknown) => (key === 'seconds' ? undefined : value));
  return figures(a) === figures(b);
}
