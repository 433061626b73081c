import { ATTACK_NAMES, type AttackName } from '../attacks/attack.js';
import { ATTACKS } from '../attacks/attacks.js';
import type { AttackSummary, Row } from './row.js';
import { meanOf, sampleDeviation, type Spread } from './statistics.js';

/** How a number is written. */
export interface NumberStyle {
  unit: '%' | 'pixels' | '';
  digits: number;
}

/** What is measured of a network: one column of a table. */
export interface Quantity extends NumberStyle {
  /** As CSV headings have it: `accuracy`, `fgs_rate`, `fgs_linf`. */
  name: string;
  /** What speaks for the network: more of it, or less; null if neither does. */
  better: 'more' | 'less' | null;
  /** The attack that it is of, and whether it is of PASS: what it takes to measure it. */
  attack?: AttackName;
  ofPass: boolean;
  /** Whether it is a mean over images, beside which a standard deviation stands. */
  spreads: boolean;
  /** Null where there is nothing to measure, such as a rate over no images. */
  of(row: Row): Measured | null;
}

/** A measured number; accuracy and rates are in percent, L∞ in pixel units. */
export interface Measured {
  value: number;
  /** The standard deviation over images, of quantities that are means over images. */
  std?: number;
}

const PERCENT: NumberStyle = { unit: '%', digits: 2 };
const PIXELS: NumberStyle = { unit: 'pixels', digits: 2 };
const SCORE: NumberStyle = { unit: '', digits: 4 };

type OfAttack = Omit<Quantity, 'name' | 'attack' | 'of'> & {
  of: (summary: AttackSummary) => Measured | null;
};

/** What is measured of each attack, by the end of its name. */
const OF_ATTACK: Record<string, OfAttack> = {
  rate: {
    ...PERCENT,
    better: 'less',
    ofPass: false,
    spreads: false,
    of: ({ attacked, rate }) => (attacked === 0 ? null : { value: rate }),
  },
  // A perturbation that looks less like the original is easier to notice.
  pass: { ...SCORE, better: 'less', ofPass: true, spreads: true, of: ({ pass }) => mean(pass) },
  linf: { ...PIXELS, better: 'more', ofPass: false, spreads: true, of: ({ linf }) => mean(linf) },
  aligned_rate: {
    ...PERCENT,
    better: null,
    ofPass: true,
    spreads: false,
    of: ({ aligned, succeeded }) => (aligned === null ? null : share(aligned, succeeded)),
  },
};

/** Everything that is measured of a network, by the name that it has wherever it is written. */
export const QUANTITIES: readonly Quantity[] = [
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
      // PASS is measured where the paper has it.
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
];

function mean(spread: Spread | null): Measured | null {
  return spread && { value: spread.mean, std: spread.std };
}

function share(part: number, whole: number): Measured | null {
  return whole === 0 ? null : { value: (100 * part) / whole };
}

/** The quantities of the paper's tables, in their order, and after them those of FGS unmasked. */
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

const byName = new Map(QUANTITIES.map((quantity) => [quantity.name, quantity]));

export function quantity(name: TableQuantity): Quantity {
  return byName.get(name)!;
}

/** What is measured of a network, by quantity; null where there is nothing. */
export type Measures = Record<TableQuantity, Measured | null>;

export function eachQuantity<T>(of: (name: TableQuantity) => T): Record<TableQuantity, T> {
  const entries = TABLE_QUANTITIES.map((name) => [name, of(name)]);
  return Object.fromEntries(entries) as Record<TableQuantity, T>;
}

/**
 * The quantities of the tables.
 *
 * @param rows one for each seed: of values, and of deviations over images, the means over those seeds
 *   that have them
 */
export function measuresOf(rows: readonly Row[]): Measures {
  return eachQuantity((name) => {
    const known = rows.flatMap((row) => quantity(name).of(row) ?? []);
    if (known.length === 0) return null;
    const value = meanOf(known.map((measured) => measured.value));
    const std = known.flatMap((measured) => measured.std ?? []);
    return std.length === 0 ? { value } : { value, std: meanOf(std) };
  });
}

/** One number of a quantity: the quantity itself, or its mean and its deviation over images. */
export interface Scalar extends NumberStyle {
  /** As CSV headings have it: `fgs_rate`, `fgs_linf_mean`, `fgs_linf_std`. */
  name: string;
  quantity: Quantity;
  of(row: Row): number | null;
}

/**
 * Every number of a row, by the names that CSV headings, `expect` blocks, baselines and `bang diff` have
 * for them.
 */
export const SCALARS: readonly Scalar[] = QUANTITIES.flatMap((one): Scalar[] => {
  const { unit, digits, name } = one;
  const value = (row: Row): number | null => one.of(row)?.value ?? null;
  if (!one.spreads) return [{ name, unit, digits, quantity: one, of: value }];
  const std = (row: Row): number | null => one.of(row)?.std ?? null;
  return [
    { name: `${name}_mean`, unit, digits, quantity: one, of: value },
    { name: `${name}_std`, unit, digits, quantity: one, of: std },
  ];
});

const scalarsByName = new Map(SCALARS.map((one) => [one.name, one]));

/** @throws RangeError if there is none of that name */
export function scalar(name: string): Scalar {
  const found = scalarsByName.get(name);
  if (!found) throw new RangeError(`there is no quantity ${name}`);
  return found;
}

/**
 * The names that `expect` blocks and baselines had for the scalars before they had those of CSV headings,
 * such as `fgsUnmasked.linfMean`, with the present ones.
 */
export const OLD_NAMES: ReadonlyMap<string, string> = new Map(
  SCALARS.filter(({ name }) => name !== 'accuracy').map(({ name, quantity: { attack } }) => {
    const prefix = attack?.replaceAll('-', '_') ?? 'blank';
    const end = name.slice(prefix.length + 1);
    return [`${camelCase(prefix)}.${camelCase(end)}`, name];
  }),
);

function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** How a number depends on the seed. */
export interface OverSeeds {
  mean: number;
  /** The sample standard deviation (n − 1); null of a single seed. */
  std: number | null;
  /** The number of seeds that have it. */
  n: number;
  min: number;
  max: number;
}

/** Over those rows, one for each seed, in which the number is known; null if it is in none. */
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

/** The same of a quantity of the tables; null where fewer than two seeds have it. */
export function spreadOverSeeds(
  rows: readonly Row[],
): Record<TableQuantity, { value: number; seeds: number } | null> {
  return eachQuantity((name) => {
    const over = overSeeds({ of: (row) => quantity(name).of(row)?.value ?? null }, rows);
    return over?.std == null ? null : { value: over.std, seeds: over.n };
  });
}
