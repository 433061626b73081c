import { z } from 'zod';
import { integer, mapping, oneOf, positive, text } from './fields.js';
import { keysIn } from './yamlFiles.js';
import type { KeyPath, Problem } from './problems.js';
import type { Place, Tree } from './yamlTree.js';
import { makeRandom, type Random } from '../base/random.js';

/** The value of a point for one key. */
export interface Setting {
  key: string;
  at: Place;
  value: Tree;
}

/** The values in which an experiment of a sweep differs from its base. */
export type Point = Setting[];

const number = z.number({ error: 'a number' });
const values = z.array(z.unknown(), { error: 'a list of values' });
const notEmpty = values.min(1, { error: 'a list of values' });

const range = mapping({
  from: number.describe('The first value.'),
  to: number.describe('The last value, a whole number of steps from the first.'),
  step: positive().describe('The difference between two values.'),
});
const interval = mapping({
  from: number.describe('The smallest value.'),
  to: number.describe('The largest value.'),
  scale: oneOf(['linear', 'log'])
    .default('linear')
    .describe('Whether values or their logarithms are drawn uniformly.'),
});

/** A range, as error messages describe it. */
const RANGE = 'a list of values or {from, to, step}';

const gridAxis = z.union([range, notEmpty], { error: RANGE });
const randomAxis = z.union([range, interval, notEmpty], { error: `${RANGE} or {from, to}` });

/** More experiments than this are a mistake. */
const MAX_CELLS = 100_000;

export const pointKeys = {
  grid: z
    .record(text, gridAxis, { error: 'a mapping of keys to values' })
    .optional()
    .describe('Every combination of values, a list or {from, to, step} for each key.'),
  list: z
    .array(z.record(text, z.unknown(), { error: 'a mapping of keys to values' }), {
      error: 'a list of mappings',
    })
    .min(1, { error: 'a list of mappings' })
    .optional()
    .describe('Instead of grid: the points one by one, each a mapping of keys to values.'),
  random: mapping({
    cells: integer(1, MAX_CELLS).describe('How many points are drawn.'),
    seed: integer(0)
      .default(1)
      .describe('Seeds the draws: the same seed always draws the same points.'),
    keys: z
      .record(text, randomAxis, { error: 'a mapping of keys to values' })
      .describe('For each key a list, {from, to, step}, or {from, to} to draw from.'),
  })
    .optional()
    .describe('Instead of grid: points drawn at random.'),
} as const;

type Axis = z.output<typeof randomAxis>;

/** The part of a sweep's configuration that defines its points. */
export interface PointSource {
  grid?: Record<string, z.output<typeof gridAxis>>;
  list?: Record<string, unknown>[];
  random?: { cells: number; seed: number; keys: Record<string, Axis> };
}

/** The problems of a source that its schema cannot find. */
export function problemsOfPoints(source: PointSource): Problem[] {
  const problems: Problem[] = [];
  const wrong = (path: KeyPath, message: string, at: Problem['at'] = 'value') =>
    problems.push({ path, at, message });
  const kinds = (['grid', 'list', 'random'] as const).filter((kind) => source[kind]);
  if (kinds.length !== 1) {
    const found = kinds.length === 0 ? 'none' : kinds.join(' and ');
    wrong(kinds.slice(1, 2), `expected one of grid, list and random, found ${found}`, 'key');
  }
  const keyed: [KeyPath, Record<string, unknown>][] = [
    [['grid'], source.grid ?? {}],
    ...(source.list ?? []).map((point, i): [KeyPath, typeof point] => [['list', i], point]),
    [['random', 'keys'], source.random?.keys ?? {}],
  ];
  for (const [path, keys] of keyed) {
    for (const key of Object.keys(keys)) {
      const problem = problemOfKey(key);
      if (problem !== undefined) wrong([...path, key], problem, 'key');
    }
  }
  const axes = [
    ...Object.entries(source.grid ?? {}).map(([key, axis]) => [['grid', key], axis] as const),
    ...Object.entries(source.random?.keys ?? {}).map(
      ([key, axis]) => [['random', 'keys', key], axis] as const,
    ),
  ];
  for (const [path, axis] of axes) {
    if (Array.isArray(axis)) continue;
    const problem = problemOfRange(axis);
    if (problem !== undefined) wrong([...path, problem.key], problem.message);
    else if ('step' in axis && sizeOf(axis) > MAX_CELLS) {
      const found = `found ${sizeOf(axis)}`;
      wrong([...path, 'step'], `expected at most ${MAX_CELLS} values, ${found}`);
    }
  }
  if (source.grid && problems.length === 0) {
    const count = Object.values(source.grid).reduce((all, axis) => all * sizeOf(axis), 1);
    if (Object.keys(source.grid).length === 0)
      wrong(['grid'], 'expected at least one key, found none');
    if (count > MAX_CELLS) {
      wrong(['grid'], `expected at most ${MAX_CELLS} combinations, found ${count}`);
    }
  }
  return problems;
}

/** Why a sweep cannot vary a key, or undefined if it can. Does not check that the key exists. */
export function problemOfKey(key: string): string | undefined {
  const keys = keysIn(key);
  if (!keys) return 'expected the name of a key, such as training.bang.beta';
  if (keys[0] === 'seed' || keys[0] === 'seeds') {
    return 'cannot be varied here; seeds: [1, 2, 3] at the top level repeats every point';
  }
  if (keys[0] === 'extends') return 'only a file can extend another';
  if (keys[0] === 'name') return 'the sweep names its cells itself';
  return undefined;
}

function problemOfRange(
  axis: Exclude<Axis, unknown[]>,
): { key: 'from' | 'to' | 'step'; message: string } | undefined {
  const { from, to } = axis;
  if (to < from)
    return { key: 'to', message: `expected at least ${from}, the value of from, found ${to}` };
  if (!('step' in axis)) {
    return axis.scale === 'log' && from <= 0
      ? { key: 'from', message: `expected a number above 0, as the scale is log, found ${from}` }
      : undefined;
  }
  const { step } = axis;
  const whole = inUnits([from, to, step]);
  if (!whole) return { key: 'step', message: 'expected numbers with fewer digits' };
  const [first, last, by] = whole.integers;
  const remainder = (last - first) % by;
  if (remainder === 0) return undefined;
  const nearest = (last - remainder) / whole.unit;
  return {
    key: 'to',
    message: `expected ${from} plus a multiple of ${step}, such as ${nearest}, found ${to}`,
  };
}

/** Decimal numbers as integer multiples of their smallest decimal place, which add up exactly. */
function inUnits(numbers: readonly number[]): { integers: number[]; unit: number } | undefined {
  const digits = Math.max(...numbers.map(decimals));
  if (digits > 15) return undefined;
  const unit = 10 ** digits;
  const integers = numbers.map((value) => Math.round(value * unit));
  return integers.every(Number.isSafeInteger) ? { integers, unit } : undefined;
}

/** Digits after the decimal point of a number: 3 for 0.005, 6 for 2e-6. */
function decimals(value: number): number {
  const [, fraction = '', exponent = '0'] =
    /^-?\d+(?:\.(\d+))?(?:e(.+))?$/.exec(String(value)) ?? [];
  return Math.max(0, fraction.length - Number(exponent));
}

/**
 * `from`, `from + step`, … `to` without rounding errors: 0.815, not 0.8150000000000001. A quotient of
 * integers is rounded only once, like a decimal number in a file.
 */
export function rangeValues(axis: z.output<typeof range>): number[] {
  const { integers, unit } = inUnits([axis.from, axis.to, axis.step])!;
  const [first, , by] = integers;
  return Array.from({ length: sizeOf(axis) }, (_, i) => (first + i * by) / unit);
}

function sizeOf(axis: z.output<typeof gridAxis>): number {
  if (Array.isArray(axis)) return axis.length;
  const [first, last, by] = inUnits([axis.from, axis.to, axis.step])!.integers;
  return (last - first) / by + 1;
}

/**
 * The points of a sweep.
 *
 * @param source without problems
 * @param tree the file of `source`, with the places of its values
 */
export function pointsOf(source: PointSource, tree: Tree): Point[] {
  const { grid, list, random } = source;
  if (grid) return combinations(axesOf(grid, inner(tree, 'grid')));
  if (list) {
    return itemsOf(inner(tree, 'list')).map((point) =>
      entriesOf(point).map(([key, value]) => ({ key, at: value.keyAt, value })),
    );
  }
  const { cells, seed, keys } = random!;
  const axes = axesOf(keys, inner(inner(tree, 'random'), 'keys'));
  const seen = new Set<string>();
  return Array.from({ length: cells }, (_, i) => {
    // One generator per point: a longer sweep begins with the points of a shorter one.
    const draw = makeRandom(seed, 'sweep', i);
    let point = drawnPoint(axes, draw);
    // No point twice. If no others are left, `refuseTwins` reports it.
    for (let again = 0; again < MOST_DRAWS && seen.has(nameOf(point)); again++) {
      point = drawnPoint(axes, draw);
    }
    seen.add(nameOf(point));
    return point;
  });
}

/** If one point in a thousand is left, the draws miss it with a probability of e⁻¹⁰. */
const MOST_DRAWS = 10_000;

function drawnPoint(axes: readonly AxisValues[], draw: Random): Point {
  return axes.map(({ key, at, choices, between }) => ({
    key,
    at,
    value: between
      ? scalar(at, drawn(between, draw))
      : choices[Math.floor(draw.uniform() * choices.length)],
  }));
}

function nameOf(point: Point): string {
  return JSON.stringify(point.map(({ value }) => plain(value)));
}

/** A tree as plain data, including nulls. */
export function plain(tree: Tree): unknown {
  switch (tree.kind) {
    case 'scalar':
      return tree.value;
    case 'list':
      return tree.items.map(plain);
    case 'mapping':
      return Object.fromEntries(entriesOf(tree).map(([key, value]) => [key, plain(value)]));
  }
}

interface AxisValues {
  key: string;
  at: Place;
  choices: Tree[];
  /** Instead of choices: any number of an interval. */
  between?: z.output<typeof interval>;
}

function axesOf(axes: Record<string, Axis>, tree: Tree): AxisValues[] {
  return entriesOf(tree).map(([key, value]) => {
    const at = value.keyAt;
    // Zod leaves out `__proto__`, which is refused as a key later.
    if (!Object.hasOwn(axes, key)) return { key, at, choices: [value] };
    const axis = axes[key];
    if (Array.isArray(axis)) return { key, at, choices: itemsOf(value) };
    if (!('step' in axis)) return { key, at, choices: [], between: axis };
    return { key, at, choices: rangeValues(axis).map((one) => scalar(value.at, one)) };
  });
}

/** Every combination; the last key changes fastest. */
function combinations([axis, ...others]: readonly AxisValues[]): Point[] {
  if (!(axis as AxisValues | undefined)) return [[]];
  const rest = combinations(others);
  const { key, at } = axis;
  return axis.choices.flatMap((value) => rest.map((point) => [{ key, at, value }, ...point]));
}

/** Rounded to six digits, which are easy to read and type. */
function drawn({ from, to, scale }: z.output<typeof interval>, random: Random): number {
  const u = random.uniform();
  const value = scale === 'log' ? from * (to / from) ** u : from + (to - from) * u;
  return Math.min(to, Math.max(from, Number(value.toPrecision(6))));
}

function scalar(at: Place, value: number): Tree {
  return { at, keyAt: at, kind: 'scalar', value };
}

function inner(tree: Tree, key: string): Tree {
  return new Map(entriesOf(tree)).get(key)!;
}

export function entriesOf(tree: Tree): [string, Tree][] {
  return tree.kind === 'mapping' ? [...tree.entries] : [];
}

function itemsOf(tree: Tree): Tree[] {
  return tree.kind === 'list' ? tree.items : [];
}

/** A value as text in a configuration; empty if undefined. */
export function valueText(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
