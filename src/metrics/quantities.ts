import { ATTACK_NAMES, type AttackName } from '../attacks/attack.js';
import { ATTACKS } from '../attacks/run.js';
import type { AttackSummary, Row } from './row.js';

/** How a figure is written. */
export interface FigureStyle {
  unit: '%' | 'pixels' | '';
  digits: number;
}

/** One figure of a row, by a name such as `fgs.linfMean`. */
export interface RowFigure extends FigureStyle {
  name: string;
  /** The attack that it is of, and whether it is a figure of PASS; what it takes to measure it. */
  attack?: AttackName;
  ofPass: boolean;
  /** Null where there is nothing to measure, such as a rate over no images. */
  of(row: Row): number | null;
}

const PERCENT: FigureStyle = { unit: '%', digits: 2 };
const PIXELS: FigureStyle = { unit: 'pixels', digits: 2 };
const SCORE: FigureStyle = { unit: '', digits: 4 };

const ofNetwork: RowFigure[] = [
  { name: 'accuracy', ...PERCENT, ofPass: false, of: ({ accuracy }) => accuracy },
  {
    name: 'blank.rate',
    ...PERCENT,
    ofPass: false,
    of: ({ blank, correct }) => share(blank, correct),
  },
];

const OF_ATTACK: Record<string, [FigureStyle, of: (summary: AttackSummary) => number | null]> = {
  rate: [PERCENT, ({ attacked, rate }) => (attacked === 0 ? null : rate)],
  linfMean: [PIXELS, ({ linf }) => linf?.mean ?? null],
  linfStd: [PIXELS, ({ linf }) => linf?.std ?? null],
  passMean: [SCORE, ({ pass }) => pass?.mean ?? null],
  passStd: [SCORE, ({ pass }) => pass?.std ?? null],
  alignedRate: [
    PERCENT,
    ({ aligned, succeeded }) => (aligned === null ? null : share(aligned, succeeded)),
  ],
};
const OF_PASS = ['passMean', 'passStd', 'alignedRate'];

/**
 * Every figure of a row, by the names that `expect` blocks, baselines and `bang diff` have for them:
 * `accuracy`, `blank.rate`, and of each attack `fgs.rate`, `fgs.linfMean` and so on. Rates are in
 * percent, L∞ in pixel units.
 */
export const ROW_FIGURES: readonly RowFigure[] = [
  ...ofNetwork,
  ...ATTACK_NAMES.flatMap((attack) =>
    Object.entries(OF_ATTACK)
      // PASS is measured where the paper has it.
      .filter(([key]) => ATTACKS[attack].published || !OF_PASS.includes(key))
      .map(([key, [style, of]]): RowFigure => ({
        name: `${camelCase(attack)}.${key}`,
        ...style,
        attack,
        ofPass: OF_PASS.includes(key),
        of: ({ attacks }) => {
          const summary = attacks[attack];
          return summary ? of(summary) : null;
        },
      })),
  ),
];

const byName = new Map(ROW_FIGURES.map((figure) => [figure.name, figure]));

/** @throws RangeError if there is no such figure */
export function rowFigure(name: string): RowFigure {
  const figure = byName.get(name);
  if (!figure) throw new RangeError(`there is no figure ${name}`);
  return figure;
}

/** How a figure depends on the seed. */
export interface SeedFigure {
  mean: number;
  /** The sample standard deviation (n − 1); 0 of one seed. */
  std: number;
  /** The number of seeds. */
  n: number;
  min: number;
  max: number;
}

/** A figure over rows, one for each seed; null where it is null in one of them. */
export function overSeeds(figure: RowFigure, rows: readonly Row[]): SeedFigure | null {
  const values = rows.flatMap((row) => figure.of(row) ?? []);
  const n = values.length;
  if (n < rows.length) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const std = Math.sqrt(squares / Math.max(1, n - 1));
  return { mean, std, n, min: Math.min(...values), max: Math.max(...values) };
}

/** `97.20 %`, `12.93 pixels`, `0.7638`. */
export function figureText(value: number, { unit, digits }: FigureStyle): string {
  const text = fixed(value, digits);
  return unit === '' ? text : `${text} ${unit}`;
}

/** With more digits where so few would hide all of it, and no sign of a zero. */
export function fixed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  if (Number(text) !== 0) return text;
  return Math.abs(value) < 1e-9 ? text.replace('-', '') : String(Number(value.toPrecision(2)));
}

function share(part: number, whole: number): number | null {
  return whole === 0 ? null : (100 * part) / whole;
}

function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
