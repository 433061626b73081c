import { ATTACK_NAMES, type AttackName, type Norm, NORMS } from '../attacks/attack.js';
import { ATTACKS } from '../attacks/attacks.js';
import type { AttackSummary, Row } from './row.js';
import { robustAccuracy } from './robustness.js';
import { meanOf } from '../base/sums.js';
import { sampleDeviation, type Spread } from './statistics.js';

/** How a number is formatted. */
export interface NumberStyle {
  unit: '%' | 'grey levels' | '';
  digits: number;
}

/** A quantity that is measured for a network: one column of a table. */
export interface Quantity extends NumberStyle {
  /** The name as in CSV headings: `accuracy`, `fgs_rate`, `fgs_linf`. */
  name: string;
  /** Whether more or less of it is better for the network; null if neither. */
  better: 'more' | 'less' | null;
  /** The attack that has to be run to measure it. */
  attack?: AttackName;
  /** Whether PASS has to be measured for it. */
  ofPass: boolean;
  /** Whether noise has to be measured for it. */
  ofNoise?: boolean;
  /** The budget within which it has to be measured, in grey levels. */
  within?: { norm: Norm; budget: number };
  /** Whether it is a mean over images, which has a standard deviation. */
  spreads: boolean;
  /** Null if there is nothing to measure, such as a rate over no images. */
  of(row: Row): Measured | null;
}

/** A measured number; accuracy and rates are in percent, L∞ in grey levels. */
export interface Measured {
  value: number;
  /** The standard deviation over images, for quantities that are means over two images or more. */
  std?: number;
}

const PERCENT: NumberStyle = { unit: '%', digits: 2 };
const GREY_LEVELS: NumberStyle = { unit: 'grey levels', digits: 2 };
const SCORE: NumberStyle = { unit: '', digits: 4 };

type OfAttack = Omit<Quantity, 'name' | 'attack' | 'of'> & {
  of: (summary: AttackSummary) => Measured | null;
};

/** The quantities of each attack, by the suffix of their names. */
const OF_ATTACK: Record<string, OfAttack> = {
  rate: {
    ...PERCENT,
    better: 'less',
    ofPass: false,
    spreads: false,
    of: ({ attacked, rate }) => (attacked === 0 ? null : { value: rate }),
  },
  // A low PASS is better: the perturbation is easier to notice.
  pass: {
    ...SCORE,
    better: 'less',
    ofPass: true,
    spreads: true,
    of: ({ pass, succeeded }) => mean(pass, succeeded),
  },
  linf: {
    ...GREY_LEVELS,
    better: 'more',
    ofPass: false,
    spreads: true,
    of: ({ linf, succeeded }) => mean(linf, succeeded),
  },
  aligned_rate: {
    ...PERCENT,
    better: null,
    ofPass: true,
    spreads: false,
    of: ({ aligned, succeeded }) => (aligned === null ? null : share(aligned, succeeded)),
  },
};

/** All quantities that are measured for a network. */
const QUANTITIES: readonly Quantity[] = [
  {
    name: 'accuracy',
    ...PERCENT,
    better: 'more',
    ofPass: false,
    spreads: false,
    of: ({ accuracy }) => ({ value: accuracy }),
  },
  {
    name: 'blank_rate',
    ...PERCENT,
    better: 'less',
    ofPass: false,
    spreads: false,
    of: ({ blank, correct }) => share(blank, correct),
  },
  ...ATTACK_NAMES.flatMap((attack) =>
    Object.entries(OF_ATTACK)
      // PASS is measured only for the paper's attacks.
      .filter(([, { ofPass }]) => ATTACKS[attack].published || !ofPass)
      .map(([key, { of, ...quantity }]): Quantity => ({
        ...quantity,
        name: `${attack.replaceAll('-', '_')}_${key}`,
        attack,
        of: ({ attacks }) => {
          const summary = attacks[attack];
          return summary ? of(summary) : null;
        },
      })),
  ),
  {
    name: 'noise_rate',
    ...PERCENT,
    better: 'less',
    ofPass: false,
    ofNoise: true,
    spreads: false,
    of: ({ noise }) => (typeof noise?.rate === 'number' ? { value: noise.rate } : null),
  },
];

/** Earlier versions wrote 0 as the deviation of a single value. */
function mean(spread: Spread | null, values: number): Measured | null {
  if (!spread) return null;
  const { mean: value, std } = spread;
  return std === null || values < 2 ? { value } : { value, std };
}

function share(part: number, whole: number): Measured | null {
  return whole === 0 ? null : { value: (100 * part) / whole };
}

/** The quantities of the paper's tables, in their order, followed by those of unmasked FGS. */
export const TABLE_QUANTITIES = [
  'accuracy',
  'fgs_rate',
  'fgs_pass',
  'fgs_linf',
  'hc1_rate',
  'hc1_pass',
  'hc1_linf',
  'fgs_unmasked_rate',
  'fgs_unmasked_linf',
] as const;
export type TableQuantity = (typeof TABLE_QUANTITIES)[number];

/**
 * Accuracy within a budget in grey levels: the percentage of all images that are classified correctly and that no attack
 * fools. There is one for each budget that was given.
 */
export type RobustAccuracy = `robust_accuracy_${Norm}_${number}`;

export const ROBUST_ACCURACY = new RegExp(
  `^robust_accuracy_(${NORMS.join('|')})_([1-9]\\d*(?:\\.\\d*[1-9])?)$`,
);

export function isRobustAccuracy(name: string): name is RobustAccuracy {
  return ROBUST_ACCURACY.test(name);
}

/** The accuracies within budgets that at least one of the rows has: L∞ first, with ascending budgets. */
export function robustAccuraciesOf(rows: readonly Row[]): RobustAccuracy[] {
  return NORMS.flatMap((norm) => {
    const budgets = rows.flatMap(({ robustness, atBudgets = [] }) => [
      ...(norm === 'linf' && robustness ? robustness.budgets : []),
      ...atBudgets.flatMap((one) => (one.norm === norm ? [one.budget] : [])),
    ]);
    return [...new Set(budgets)]
      .sort((a, b) => a - b)
      .map((budget): RobustAccuracy => `robust_accuracy_${norm}_${budget}`);
  });
}

function robustQuantity(name: RobustAccuracy): Quantity {
  const [, norm, digits] = ROBUST_ACCURACY.exec(name)!;
  const within = { norm: norm as Norm, budget: Number(digits) };
  return {
    name,
    ...PERCENT,
    better: 'more',
    ofPass: false,
    spreads: false,
    within,
    of: (row) => {
      const value = robustAccuracy(row, within.norm, within.budget);
      return value === undefined ? null : { value };
    },
  };
}

/** A quantity of the tables, or one that has a column beside theirs where it was measured. */
export type MeasuredQuantity = TableQuantity | RobustAccuracy;

const byName = new Map(QUANTITIES.map((quantity) => [quantity.name, quantity]));

export function quantity(name: MeasuredQuantity): Quantity {
  return isRobustAccuracy(name) ? robustQuantity(name) : byName.get(name)!;
}

/** The measured values of a network's quantities; null if not measured. */
export type Measures = Record<TableQuantity, Measured | null> &
  Partial<Record<RobustAccuracy, Measured | null>>;

export function eachQuantity<T>(of: (name: TableQuantity) => T): Record<TableQuantity, T> {
  const entries = TABLE_QUANTITIES.map((name) => [name, of(name)]);
  return Object.fromEntries(entries) as Record<TableQuantity, T>;
}

/**
 * The quantities of the tables and accuracies within budgets: means over seeds of the values and of the standard
 * deviations over images. Seeds for which a quantity is unknown are left out of its means.
 *
 * @param rows one per seed
 */
export function measuresOf(rows: readonly Row[]): Measures {
  const meanOver = (name: MeasuredQuantity): Measured | null => {
    const one = quantity(name);
    const known = rows.flatMap((row) => one.of(row) ?? []);
    if (known.length === 0) return null;
    const value = meanOf(known.map((measured) => measured.value));
    const std = known.flatMap((measured) => measured.std ?? []);
    return std.length === 0 ? { value } : { value, std: meanOf(std) };
  };
  const robust = robustAccuraciesOf(rows).map((name) => [name, meanOver(name)]);
  return { ...eachQuantity(meanOver), ...(Object.fromEntries(robust) as Partial<Measures>) };
}

/** One number of a quantity: its value, or its mean or standard deviation over images. */
export interface Scalar extends NumberStyle {
  /** The name as in CSV headings: `fgs_rate`, `fgs_linf_mean`, `fgs_linf_std`. */
  name: string;
  quantity: Quantity;
  of(row: Row): number | null;
}

/**
 * All numbers that every row may have, with the names used in CSV headings, `expect` blocks, baselines and `bang diff`.
 */
export const SCALARS: readonly Scalar[] = QUANTITIES.flatMap(scalarsOf);

/** All numbers that rows have: `SCALARS`, and accuracies within their budgets. */
export function scalarsIn(rows: readonly Row[]): Scalar[] {
  const robust = robustAccuraciesOf(rows).map(robustQuantity);
  return [...SCALARS, ...robust.flatMap(scalarsOf)];
}

function scalarsOf(one: Quantity): Scalar[] {
  const { unit, digits, name } = one;
  const value = (row: Row): number | null => one.of(row)?.value ?? null;
  if (!one.spreads) return [{ name, unit, digits, quantity: one, of: value }];
  const std = (row: Row): number | null => one.of(row)?.std ?? null;
  return [
    { name: `${name}_mean`, unit, digits, quantity: one, of: value },
    { name: `${name}_std`, unit, digits, quantity: one, of: std },
  ];
}

/** The least and the largest that a number can be. */
export function rangeOf({ name, unit }: Pick<Scalar, 'name' | 'unit'>): [number, number] {
  if (unit === '%') return [0, 100];
  if (unit === 'grey levels') return [0, 255];
  return [name.endsWith('_std') ? 0 : -1, 1];
}

const scalarsByName = new Map(SCALARS.map((one) => [one.name, one]));

/** The number of that name; undefined if there is none. */
export function scalarNamed(name: string): Scalar | undefined {
  return isRobustAccuracy(name) ? scalarsOf(robustQuantity(name))[0] : scalarsByName.get(name);
}

/** @throws RangeError if no number has that name */
export function scalar(name: string): Scalar {
  const found = scalarNamed(name);
  if (!found) throw new RangeError(`there is no quantity ${name}`);
  return found;
}

/**
 * Maps the names of scalars in `expect` blocks and baselines of earlier versions, such as
 * `fgsUnmasked.linfMean`, to the present ones.
 */
export const OLD_NAMES: ReadonlyMap<string, string> = new Map(
  SCALARS.flatMap(({ name, quantity: { attack } }) => {
    if (attack === undefined && name !== 'blank_rate') return [];
    const prefix = attack?.replaceAll('-', '_') ?? 'blank';
    const end = name.slice(prefix.length + 1);
    return [[`${camelCase(prefix)}.${camelCase(end)}`, name]];
  }),
);

function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** Statistics of a number over seeds. */
export interface OverSeeds {
  mean: number;
  /** The sample standard deviation (n − 1); null for a single seed. */
  std: number | null;
  /** The number of seeds for which the number is known. */
  n: number;
  min: number;
  max: number;
}

/** Statistics over the rows, one per seed, in which the number is known; null if there are none. */
export function overSeeds({ of }: Pick<Scalar, 'of'>, rows: readonly Row[]): OverSeeds | null {
  const values = rows.flatMap((row) => of(row) ?? []);
  if (values.length === 0) return null;
  return {
    mean: meanOf(values),
    std: sampleDeviation(values),
    n: values.length,
    min: Math.min(...values),
    max: Math.max(...values),
  };
}

/** The standard deviation over seeds of each table quantity; null if fewer than two seeds have it. */
export function spreadOverSeeds(
  rows: readonly Row[],
): Record<TableQuantity, { value: number; seeds: number } | null> {
  return eachQuantity((name) => {
    const over = overSeeds({ of: (row) => quantity(name).of(row)?.value ?? null }, rows);
    return over?.std == null ? null : { value: over.std, seeds: over.n };
  });
}
