import { meanOf } from './statistics.js';
import type { PublishedAttack, PublishedRow } from '../paper/published.js';
import type { AttackSummary, Row } from './row.js';

/** The figures of a row, in the order of the paper's tables, and behind them FGS unmasked. */
export const FIGURES = [
  'accuracy',
  'fgs_rate',
  'fgs_pass',
  'fgs_linf',
  'hc1_rate',
  'hc1_pass',
  'hc1_linf',
  'fgs_unmasked_rate',
  'fgs_unmasked_pass',
  'fgs_unmasked_linf',
] as const;

export type FigureName = (typeof FIGURES)[number];

/** Accuracy and rates are in percent, L∞ in pixel units. */
export interface Figure {
  value: number;
  /** The deviation over images, of PASS and L∞. */
  std?: number;
}

/** One number for each column; null where there is none. */
export type Figures = Record<FigureName, Figure | null>;

/**
 * The figures of an experiment.
 *
 * @param rows one for each seed; figures, and deviations over images, are their means
 */
export function figuresOf(rows: readonly Row[]): Figures {
  const each = rows.map(figuresOfRow);
  return eachFigure((name) => {
    const known = present(each, name);
    if (known.length === 0) return null;
    const value = meanOf(known.map((figure) => figure.value));
    const std = known.flatMap((figure) => figure.std ?? []);
    return std.length === 0 ? { value } : { value, std: meanOf(std) };
  });
}

export function publishedFigures({ accuracy, fgs, hc1 }: PublishedRow): Figures {
  const of = ({ rate, passMean, passStd, linfMean, linfStd }: PublishedAttack) => ({
    rate: { value: rate },
    pass: { value: passMean, std: passStd },
    linf: { value: linfMean, std: linfStd },
  });
  return assemble({ value: accuracy }, of(fgs), of(hc1), NOTHING);
}

/** Ours minus published, of means and of deviations. */
export function difference(ours: Figures, published: Figures): Figures {
  return eachFigure((name) => {
    const [a, b] = [ours[name], published[name]];
    if (!a || !b) return null;
    const value = a.value - b.value;
    return a.std === undefined || b.std === undefined ? { value } : { value, std: a.std - b.std };
  });
}

/** How much a figure depends on the seed. */
export interface SeedSpread {
  /** The sample standard deviation (n − 1). */
  value: number;
  /** Over how many seeds: those in which the figure is known. */
  seeds: number;
}

/** Over the rows, one for each seed; null where fewer than two of them have the figure. */
export function spreadOverSeeds(rows: readonly Row[]): Record<FigureName, SeedSpread | null> {
  const each = rows.map(figuresOfRow);
  return eachFigure((name) => {
    const values = present(each, name).map(({ value }) => value);
    if (values.length < 2) return null;
    const centre = meanOf(values);
    const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
    return { value: Math.sqrt(squares / (values.length - 1)), seeds: values.length };
  });
}

const FEWEST_SEEDS_TO_JUDGE = 3;

/** What sums of a few decimal figures may be off by. */
const ROUNDING = 1e-9;

/**
 * The figures of which the published one lies further from ours than two standard deviations over
 * seeds. Fewer than three seeds tell nothing.
 */
export function outsideSeeds(rows: readonly Row[], published: PublishedRow): Set<FigureName> {
  const apart = difference(figuresOf(rows), publishedFigures(published));
  const spread = spreadOverSeeds(rows);
  return new Set(
    FIGURES.filter((name) => {
      const [distance, over] = [apart[name], spread[name]];
      if (!distance || !over || over.seeds < FEWEST_SEEDS_TO_JUDGE) return false;
      return Math.abs(distance.value) > 2 * over.value + ROUNDING;
    }),
  );
}

interface AttackFigures {
  rate: Figure | null;
  pass: Figure | null;
  linf: Figure | null;
}

const NOTHING: AttackFigures = { rate: null, pass: null, linf: null };

function figuresOfRow({ accuracy, attacks }: Row): Figures {
  const of = (summary?: AttackSummary): AttackFigures => {
    if (!summary) return NOTHING;
    const { attacked, rate, pass, linf } = summary;
    return {
      rate: attacked === 0 ? null : { value: rate },
      pass: pass && { value: pass.mean, std: pass.std },
      linf: linf && { value: linf.mean, std: linf.std },
    };
  };
  const { fgs, hc1, 'fgs-unmasked': unmasked } = attacks;
  return assemble({ value: accuracy }, of(fgs), of(hc1), of(unmasked));
}

function assemble(
  accuracy: Figure,
  fgs: AttackFigures,
  hc1: AttackFigures,
  unmasked: AttackFigures,
): Figures {
  return {
    accuracy,
    fgs_rate: fgs.rate,
    fgs_pass: fgs.pass,
    fgs_linf: fgs.linf,
    hc1_rate: hc1.rate,
    hc1_pass: hc1.pass,
    hc1_linf: hc1.linf,
    fgs_unmasked_rate: unmasked.rate,
    fgs_unmasked_pass: unmasked.pass,
    fgs_unmasked_linf: unmasked.linf,
  };
}

function eachFigure<T>(of: (name: FigureName) => T): Record<FigureName, T> {
  return Object.fromEntries(FIGURES.map((name) => [name, of(name)])) as Record<FigureName, T>;
}

function present(each: readonly Figures[], name: FigureName): Figure[] {
  return each.flatMap((figures) => figures[name] ?? []);
}
