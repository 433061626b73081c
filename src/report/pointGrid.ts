import { csvNumber } from '../store/csv.js';
import {
  axisPhrase,
  paretoFront,
  pointText,
  robustnessAxis,
  type SweepPoint,
} from '../sweep/summary.js';
import { readableText, shortKeys } from '../config/points.js';
import { countCell, type Grid, type GridCell, NOTHING } from './grid.js';
import { type QuantityColumn, columnsOf } from './lines.js';

/** The state of a point, shown where nothing was measured. */
export function stateText(point: SweepPoint | undefined): string {
  const states = point?.cells.map(({ state }) => state) ?? [];
  if (states.includes('failed')) return 'fail';
  return states.includes('stopped') ? 'stop' : '-';
}

/** All points of a sweep with a column for each key; means over seeds. */
export function pointGrid(keys: readonly string[], points: readonly SweepPoint[]): Grid {
  const measured = measuredColumns(points);
  return {
    columns: [
      ...shortKeys(keys).map((key) => ({ title: [key] })),
      { title: ['seeds'] },
      ...measured.map(({ title }) => ({ title })),
    ],
    rows: points.map((point) => [
      ...keys.map((_, k) => valueCell(point.reference ? undefined : point.values[k])),
      point.rows.length === 0 ? { text: stateText(point) } : countCell(point.rows.length),
      ...measureCells(point, measured),
    ]),
  };
}

function valueCell(value: unknown): GridCell {
  if (typeof value === 'number') return countCell(value);
  return value === undefined ? NOTHING : { text: readableText(value) };
}

/** The columns of what is measured at points. */
export function measuredColumns(points: readonly SweepPoint[]): QuantityColumn[] {
  return columnsOf(points.flatMap(({ rows }) => rows));
}

/** The numbers of a point, a cell for each column. */
export function measureCells(
  { measures }: SweepPoint,
  columns: readonly QuantityColumn[],
): GridCell[] {
  return columns.map(({ quantity, digits }) => {
    const value = measures[quantity]?.value;
    if (value === undefined) return NOTHING;
    return { text: value.toFixed(digits), value: csvNumber(quantity, value) };
  });
}

/** The Pareto front as lines of text. */
export function paretoLines(keys: readonly string[], points: readonly SweepPoint[]): string[] {
  const axis = robustnessAxis(points);
  return paretoFront(points).map((point) => {
    const { accuracy, [axis]: robustness } = point.measures;
    return `accuracy ${accuracy!.value.toFixed(2)} %, ${axisPhrase(axis, robustness!.value)}: ${pointText(keys, point)}`;
  });
}
