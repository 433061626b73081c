import Table from 'cli-table3';
import { extentOf } from '../base/sums.js';
import type { QuantityColumn } from './lines.js';
import type { MeasuredQuantity } from '../metrics/quantities.js';
import { measureCells, measuredColumns, stateText } from './pointGrid.js';
import { isPartial, pointText, surfacesOf, type SweepPoint } from '../sweep/summary.js';
import { readableText, shortKeys } from '../config/points.js';

const SHADES = ['·', '░', '▒', '▓', '█'];

/** The sweep for a console: maps if exactly two keys vary on a grid, else a table of the points. */
export function sweepReport(
  keys: readonly string[],
  points: readonly SweepPoint[],
  width = Infinity,
): string {
  const axes = axesOf(keys, points);
  if (!axes) return pointTable(keys, points);
  const isMeasured = (quantity: MeasuredQuantity): boolean =>
    points.some(({ measures }) => measures[quantity]);
  // Accuracy in any case: its map shows which cells are not done.
  const shown = surfacesOf(points).filter((name) => name === 'accuracy' || isMeasured(name));
  return measuredColumns(points)
    .filter(({ quantity }) => shown.includes(quantity))
    .map((column) => heatMap(column, keys, points, axes, width))
    .join('\n\n');
}

interface MapAxes {
  /** Positions of the two keys. */
  keys: [number, number];
  rows: string[];
  columns: string[];
}

/** The axes if exactly two keys vary and every combination occurs once. */
function axesOf(keys: readonly string[], all: readonly SweepPoint[]): MapAxes | undefined {
  const points = all.filter(({ reference }) => !reference);
  if (points.some(({ values }) => values.includes(undefined))) return undefined;
  const distinct = keys.map((_, k) => [
    ...new Set(points.map(({ values }) => readableText(values[k]))),
  ]);
  const varied = keys.flatMap((_, k) => (distinct[k].length > 1 ? [k] : []));
  if (varied.length !== 2) return undefined;
  const [rows, columns] = varied.map((k) => distinct[k]);
  // Points drawn at random are not a grid.
  if (rows.length * columns.length !== points.length) return undefined;
  return { keys: [varied[0], varied[1]], rows, columns };
}

/** Numbers followed by shades: '·' is the least, '█' the most. */
function heatMap(
  column: QuantityColumn,
  keys: readonly string[],
  points: readonly SweepPoint[],
  { keys: [r, c], rows, columns }: MapAxes,
  width: number,
): string {
  const at = new Map(
    points
      .filter(({ reference }) => !reference)
      .map((point) => [`${readableText(point.values[r])} ${readableText(point.values[c])}`, point]),
  );
  const value = (point: SweepPoint | undefined) => point?.measures[column.quantity]?.value;
  const known = [...at.values()].flatMap((point) => value(point) ?? []);
  const [least, most] = extentOf(known);
  const shade = (x: number): string => {
    const part = most > least ? (x - least) / (most - least) : 0;
    return SHADES[Math.min(SHADES.length - 1, Math.floor(part * SHADES.length))];
  };
  const short = shortKeys(keys);
  const label = `${short[r]} \\ ${short[c]}`;
  const first = Math.max(label.length, ...rows.map(({ length }) => length));
  const isMarked = [...at.values()].some(isPartial);
  const markOf = (point: SweepPoint): string => (isPartial(point) ? '*' : isMarked ? ' ' : '');
  const drawn = (cellText: (x: number) => string): string[] => {
    const texts = rows.map((row) =>
      columns.map((at_) => {
        const point = at.get(`${row} ${at_}`);
        const x = value(point);
        return x === undefined ? stateText(point) : cellText(x) + markOf(point!);
      }),
    );
    const widths = columns.map((column, i) =>
      Math.max(column.length, ...texts.map((line) => line[i].length)),
    );
    const line = (head: string, items: readonly string[]): string =>
      [head.padEnd(first), ...items.map((item, i) => item.padStart(widths[i]))].join(' ').trimEnd();
    return [line(label, columns), ...rows.map((row, i) => line(row, texts[i]))];
  };
  // PASS in as many characters as the others.
  const digits = Math.min(column.digits, 3);
  const choices = [
    () => drawn((x) => x.toFixed(digits) + shade(x)),
    () => drawn((x) => x.toFixed(digits - 1) + shade(x)),
    () => drawn((x) => x.toFixed(digits - 1)),
    () => drawn(shade),
  ].map((draw) => draw());
  const lines = choices.find((choice) => choice.every(({ length }) => length <= width));
  const title = column.title.join(' ');
  const reference = value(points.find((point) => point.reference));
  const level = reference === undefined ? '' : `, reference ${reference.toFixed(digits)}`;
  const scale =
    known.length === 0
      ? 'no cell is done'
      : `${least.toFixed(digits)} ${SHADES.join('')} ${most.toFixed(digits)}${level}`;
  const partial = isMarked ? ['* seeds are missing'] : [];
  return [`${title}: ${scale}`, ...(lines ?? choices.at(-1)!), ...partial].join('\n');
}

/** Further points are only in the files. */
const MOST_LINES = 40;

function pointTable(keys: readonly string[], points: readonly SweepPoint[]): string {
  const columns = measuredColumns(points);
  const table = new Table({
    head: ['', ...columns.map(({ title }) => title.join('\n'))],
    style: { head: [], border: [] },
    colAligns: ['left', ...columns.map(() => 'right' as const)],
  });
  for (const point of points.slice(0, MOST_LINES)) {
    const state = point.rows.length === 0 ? ` (${stateText(point)})` : '';
    const cells = measureCells(point, columns).map(({ text }) => text);
    table.push([`${pointText(keys, point)}${state}`, ...cells]);
  }
  const more = points.length - MOST_LINES;
  return `${table.toString()}${more > 0 ? `\n… and ${more} more` : ''}`;
}
