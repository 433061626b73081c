import Table from 'cli-table3';
import { stringify } from 'csv-stringify/sync';
import { csvNumber, flat } from './csv.js';
import { COLUMNS } from './entry.js';
import { FIGURES, figuresOf, type FigureName, type Figures } from './figures.js';
import { countCell, NOTHING, type Grid, type GridCell } from './grid.js';
import type { Row } from './result.js';

/** One cell of a sweep as reports need it. */
export interface SweepCell {
  id: string;
  /** One for each key that the sweep varies. */
  values: readonly unknown[];
  seed: number;
  reference: boolean;
  state: 'done' | 'failed' | 'stopped' | 'open';
  row?: Row | undefined;
  /** Where the figures come from; absent without them. */
  origin?: CellOrigin | undefined;
  error?: string | undefined;
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
  figures: Figures;
}

/** `sweep.csv`: a line for each cell. */
export function sweepCsv(keys: readonly string[], cells: readonly SweepCell[]): string {
  const lines = cells.map(({ id, values, seed, reference, state, row, origin, error }) => ({
    cell: id,
    ...valueColumns(keys, values),
    seed,
    reference: +reference,
    state,
    images: row?.images ?? '',
    blank: row?.blank ?? '',
    ...flat(figuresOf(row ? [row] : [])),
    seconds: origin === undefined ? '' : Number(origin.seconds.total.toFixed(1)),
    seconds_training: origin?.seconds.training?.toFixed(1) ?? '',
    engine: origin?.engine ?? '',
    threads: origin?.threads ?? '',
    cpu: origin?.cpu ?? '',
    bang: origin?.bang ?? '',
    finished: origin?.finished ?? '',
    weights: origin?.weights ?? '',
    error: error ?? '',
  }));
  return stringify(lines, { header: true });
}

function valueColumns(keys: readonly string[], values: readonly unknown[]) {
  return Object.fromEntries(keys.map((key, i) => [key, valueText(values[i])]));
}

/** A value as a configuration has it; empty where a point says nothing of the key. */
export function valueText(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
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
    return { values, reference, cells: alike, rows, figures: figuresOf(rows) };
  });
}

/** What the paper draws over β and ε, and what its figures leave out. */
const SURFACES = ['accuracy', 'fgs_rate', 'hc1_pass', 'fgs_unmasked_linf'] as const;

/**
 * `surfaces.csv`: a line for each point, means over seeds, and how far above the reference each is.
 */
export function surfacesCsv(keys: readonly string[], cells: readonly SweepCell[]): string {
  const points = pointsOf(cells);
  const level = points.find(({ reference }) => reference)?.figures;
  const lines = points
    .filter(({ reference }) => !reference)
    .map(({ values, rows, figures }) => ({
      ...valueColumns(keys, values),
      seeds: rows.length,
      ...Object.fromEntries(SURFACES.map((name) => [name, rounded(figures[name]?.value, name)])),
      ...Object.fromEntries(
        SURFACES.map((name) => {
          const [own, other] = [figures[name]?.value, level?.[name]?.value];
          const above = own === undefined || other === undefined ? undefined : own - other;
          return [`${name}_minus_reference`, rounded(above, name)];
        }),
      ),
    }));
  return stringify(lines, { header: true });
}

function rounded(value: number | undefined, name: FigureName): number | string {
  return value === undefined ? '' : csvNumber(name, value);
}

/**
 * The points of which no other is both more accurate and more robust: robust by the mean L∞ that
 * unmasked FGS needs. The most accurate first.
 */
export function paretoFront(points: readonly SweepPoint[]): SweepPoint[] {
  const measured = points.flatMap((point) => {
    const { accuracy, fgs_unmasked_linf: robustness } = point.figures;
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

/** `pareto.csv`: the front, the most accurate point first. */
export function paretoCsv(keys: readonly string[], cells: readonly SweepCell[]): string {
  const lines = paretoFront(pointsOf(cells)).map(({ values, rows, figures }) => ({
    ...valueColumns(keys, values),
    seeds: rows.length,
    accuracy: rounded(figures.accuracy?.value, 'accuracy'),
    fgs_unmasked_linf: rounded(figures.fgs_unmasked_linf?.value, 'fgs_unmasked_linf'),
    fgs_unmasked_rate: rounded(figures.fgs_unmasked_rate?.value, 'fgs_unmasked_rate'),
  }));
  const columns = [...keys, 'seeds', 'accuracy', 'fgs_unmasked_linf', 'fgs_unmasked_rate'];
  return stringify(lines, { header: true, columns });
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

/** What the console shows of a sweep of two keys, as far as there are two. */
const MAPS: readonly FigureName[] = ['accuracy', 'fgs_rate'];

const SHADES = ['·', '░', '▒', '▓', '█'];

/**
 * The sweep for a console: two maps where two keys are varied over a few values each, else a table
 * of the points.
 */
export function sweepReport(
  keys: readonly string[],
  cells: readonly SweepCell[],
  width = Infinity,
): string {
  const points = pointsOf(cells);
  const axes = axesOf(keys, points);
  if (axes) return MAPS.map((figure) => heatMap(figure, keys, points, axes, width)).join('\n\n');
  return pointTable(keys, points);
}

interface MapAxes {
  /** Positions of the two keys. */
  keys: [number, number];
  rows: string[];
  columns: string[];
}

/** Of two keys that vary, of which each combination is there at most once. */
function axesOf(keys: readonly string[], all: readonly SweepPoint[]): MapAxes | undefined {
  const points = all.filter(({ reference }) => !reference);
  if (points.some(({ values }) => values.includes(undefined))) return undefined;
  const distinct = keys.map((_, k) => [
    ...new Set(points.map(({ values }) => valueText(values[k]))),
  ]);
  const varied = keys.flatMap((_, k) => (distinct[k].length > 1 ? [k] : []));
  if (varied.length !== 2) return undefined;
  const [rows, columns] = varied.map((k) => distinct[k]);
  // Points drawn at random are no grid.
  if (rows.length * columns.length !== points.length) return undefined;
  return { keys: [varied[0], varied[1]], rows, columns };
}

/** Numbers and, beside them, shades: '·' is the least, '█' the most. */
function heatMap(
  figure: FigureName,
  keys: readonly string[],
  points: readonly SweepPoint[],
  { keys: [r, c], rows, columns }: MapAxes,
  width: number,
): string {
  const at = new Map(
    points
      .filter(({ reference }) => !reference)
      .map((point) => [`${valueText(point.values[r])} ${valueText(point.values[c])}`, point]),
  );
  const value = (point: SweepPoint | undefined) => point?.figures[figure]?.value;
  const known = [...at.values()].flatMap((point) => value(point) ?? []);
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const shade = (x: number): string => {
    const part = most > least ? (x - least) / (most - least) : 0;
    return SHADES[Math.min(SHADES.length - 1, Math.floor(part * SHADES.length))];
  };
  const short = shortKeys(keys);
  const label = `${short[r]} \\ ${short[c]}`;
  const first = Math.max(label.length, ...rows.map(({ length }) => length));
  const drawn = (cellText: (x: number) => string): string[] => {
    const texts = rows.map((row) =>
      columns.map((column) => {
        const point = at.get(`${row} ${column}`);
        const x = value(point);
        return x === undefined ? stateText(point) : cellText(x);
      }),
    );
    const widths = columns.map((column, i) =>
      Math.max(column.length, ...texts.map((line) => line[i].length)),
    );
    const line = (head: string, items: readonly string[]): string =>
      [head.padEnd(first), ...items.map((item, i) => item.padStart(widths[i]))].join(' ').trimEnd();
    return [line(label, columns), ...rows.map((row, i) => line(row, texts[i]))];
  };
  const choices = [
    () => drawn((x) => x.toFixed(2) + shade(x)),
    () => drawn((x) => x.toFixed(1) + shade(x)),
    () => drawn((x) => x.toFixed(1)),
    () => drawn(shade),
  ].map((draw) => draw());
  const lines = choices.find((choice) => choice.every(({ length }) => length <= width));
  const title = COLUMNS.find((column) => column.figure === figure)!.title.join(' ');
  const reference = value(points.find((point) => point.reference));
  const level = reference === undefined ? '' : `, reference ${reference.toFixed(2)}`;
  const scale =
    known.length === 0
      ? 'no cell is done'
      : `${least.toFixed(2)} ${SHADES.join('')} ${most.toFixed(2)}${level}`;
  return [`${title}: ${scale}`, ...(lines ?? choices.at(-1)!)].join('\n');
}

function stateText(point: SweepPoint | undefined): string {
  const states = point?.cells.map(({ state }) => state) ?? [];
  if (states.includes('failed')) return 'fail';
  return states.includes('stopped') ? 'stop' : '-';
}

/** Points beyond this many are in the files only. */
const MOST_LINES = 40;

function pointTable(keys: readonly string[], points: readonly SweepPoint[]): string {
  const table = new Table({
    head: ['', ...COLUMNS.map(({ title }) => title.join('\n'))],
    style: { head: [], border: [] },
    colAligns: ['left', ...COLUMNS.map(() => 'right' as const)],
  });
  for (const point of points.slice(0, MOST_LINES)) {
    const state = point.rows.length === 0 ? ` (${stateText(point)})` : '';
    const cells = figureCells(point).map(({ text }) => text);
    table.push([`${pointText(keys, point)}${state}`, ...cells]);
  }
  const more = points.length - MOST_LINES;
  return `${table.toString()}${more > 0 ? `\n… and ${more} more` : ''}`;
}

/** All points of a sweep, a column for each key, means over seeds. */
export function pointGrid(keys: readonly string[], points: readonly SweepPoint[]): Grid {
  return {
    columns: [
      ...shortKeys(keys).map((key) => ({ title: [key] })),
      { title: ['seeds'] },
      ...COLUMNS.map(({ title }) => ({ title })),
    ],
    rows: points.map((point) => [
      ...keys.map((_, k) => valueCell(point.reference ? undefined : point.values[k])),
      point.rows.length === 0 ? { text: stateText(point) } : countCell(point.rows.length),
      ...figureCells(point),
    ]),
  };
}

function valueCell(value: unknown): GridCell {
  if (typeof value === 'number') return countCell(value);
  return value === undefined ? NOTHING : { text: valueText(value) };
}

function figureCells({ figures }: SweepPoint): GridCell[] {
  return COLUMNS.map(({ figure, digits }) => {
    const value = figures[figure]?.value;
    if (value === undefined) return NOTHING;
    return { text: value.toFixed(digits), value: csvNumber(figure, value) };
  });
}

/** The best cells so far, by accuracy and by unmasked robustness: a clause for each. */
export function bestOf(keys: readonly string[], cells: readonly SweepCell[]): string[] {
  const points = pointsOf(cells).filter(({ reference }) => !reference);
  const best = (figure: FigureName, say: (value: number) => string): string[] => {
    const found = points.filter(({ figures }) => figures[figure]);
    if (found.length === 0) return [];
    const top = found.reduce((a, b) =>
      b.figures[figure]!.value > a.figures[figure]!.value ? b : a,
    );
    return [`${say(top.figures[figure]!.value)} (${pointText(keys, top)})`];
  };
  return [
    ...best('accuracy', (x) => `best accuracy ${x.toFixed(2)} %`),
    ...best('fgs_unmasked_linf', (x) => `best unmasked FGS-L∞ ${x.toFixed(2)}`),
  ];
}

/** The Pareto front as lines of text. */
export function paretoLines(keys: readonly string[], cells: readonly SweepCell[]): string[] {
  return paretoFront(pointsOf(cells)).map((point) => {
    const { accuracy, fgs_unmasked_linf: linf } = point.figures;
    return `accuracy ${accuracy!.value.toFixed(2)} %, unmasked FGS-L∞ ${linf!.value.toFixed(2)}: ${pointText(keys, point)}`;
  });
}

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
export function sameRow(a: Row, b: Row): boolean {
  const figures = (row: Row): string =>
    JSON.stringify(row, (key, value: unknown) => (key === 'seconds' ? undefined : value));
  return figures(a) === figures(b);
}
