import { stringify } from 'csv-stringify/sync';
import { csvNumber, flat } from '../store/csv.js';
import { COLUMNS } from '../store/entry.js';
import { figuresOf, type FigureName, type Figures } from '../metrics/figures.js';
import { countCell, NOTHING, type Grid, type GridCell } from '../report/grid.js';
import type { Row } from '../metrics/row.js';

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

/** A column of a CSV file for each key. */
export function valueColumns(keys: readonly string[], values: readonly unknown[]) {
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
export const SURFACES = ['accuracy', 'fgs_rate', 'hc1_pass', 'fgs_unmasked_linf'] as const;
export type Surface = (typeof SURFACES)[number];

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

/** A figure as CSV files have it; empty where there is none. */
export function rounded(value: number | undefined, name: FigureName): number | string {
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

/** What stands where there are no figures. */
export function stateText(point: SweepPoint | undefined): string {
  const states = point?.cells.map(({ state }) => state) ?? [];
  if (states.includes('failed')) return 'fail';
  return states.includes('stopped') ? 'stop' : '-';
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

/** The figures of a point, a cell for each column of the tables. */
export function figureCells({ figures }: SweepPoint): GridCell[] {
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
