import { stringify } from 'yaml';
import { z } from 'zod';
import { configSchema } from './experimentSchema.js';
import { integer, mapping, oneOf, positive, text } from './fields.js';
import { keysIn } from './yamlFiles.js';
import { isOneOf, type KeyPath, type Problem, repeats, schemasAt, wrong } from './problems.js';
import {
  Complaints,
  entriesOf,
  inner,
  itemsOf,
  type Place,
  plain,
  type Tree,
  treeAt,
} from './yamlTree.js';
import { clip } from '../base/clip.js';
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
  to: number.describe('The largest value; with step, a whole number of steps from the smallest.'),
  step: positive()
    .optional()
    .describe('The difference between two values; left out: any number in between.'),
  scale: oneOf(['linear', 'log'])
    .optional()
    .describe(
      'Without step: whether values or their logarithms are drawn uniformly; left out: linear.',
    ),
});

/** A range, as error messages describe it. */
const RANGE = 'a list of values or {from, to, step}';
const INTERVAL = `${RANGE} or {from, to}`;

const gridAxis = z.union([range, notEmpty], { error: RANGE });
const randomAxis = z.union([interval, notEmpty], { error: INTERVAL });

/** More experiments than this are a mistake. */
export const MAX_CELLS = 100_000;

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

/**
 * The problems of a source that its schema cannot find.
 *
 * @param tree the file of `source`
 * @param removed paths of the file that are null
 */
export function problemsOfPoints(
  source: PointSource,
  tree: Tree,
  removed: readonly KeyPath[],
): Problem[] {
  const problems: Problem[] = [];
  const refuse = (...problem: Parameters<typeof wrong>) => problems.push(wrong(...problem));
  const { grid, random } = source;
  const kinds = KINDS.filter((kind) => source[kind]);
  if (kinds.length !== 1) {
    const empty =
      removed.find(([kind, ...inner]) => inner.length === 0 && isOneOf(kind, KINDS)) ?? [];
    const found = kinds.length === 0 ? 'none' : kinds.join(' and ');
    const place = kinds.length === 0 ? empty : kinds.slice(1, 2);
    refuse(place, `expected one of grid, list and random, found ${found}`, 'key');
  }
  const empty = removed.filter((path) => axisOf(path) !== undefined);
  for (const path of empty) {
    const expected = path[0] === 'grid' ? RANGE : INTERVAL;
    refuse(path, `no value, expected ${expected}; leave the key out if the sweep does not vary it`);
  }
  const keys: KeyPath[] = [
    ...keysAt(tree, ['grid']),
    ...itemsOf(inner(tree, 'list')).flatMap((_, i) => keysAt(tree, ['list', i])),
    ...keysAt(tree, ['random', 'keys']),
    ...keysAt(tree, ['reference']),
  ];
  for (const path of keys) {
    const problem = problemOfKey(String(path.at(-1)));
    if (problem !== undefined) refuse(path, problem, 'key');
  }
  const axes = [
    ...Object.entries(grid ?? {}).map(([key, axis]) => [['grid', key], axis] as const),
    ...Object.entries(random?.keys ?? {}).map(
      ([key, axis]) => [['random', 'keys', key], axis] as const,
    ),
  ];
  for (const [path, axis] of axes) {
    if (Array.isArray(axis)) {
      problems.push(...repeats(axis, path));
      continue;
    }
    const problem = problemOfRange(path.at(-1)!, axis);
    if (problem !== undefined) refuse([...path, problem.key], problem.message);
    else if (isRange(axis) && sizeOf(axis) > MAX_CELLS) {
      const found = `found ${sizeOf(axis)}`;
      refuse([...path, 'step'], `expected at most ${MAX_CELLS} values, ${found}`);
    }
  }
  if (problems.length > 0) return problems;
  for (const path of [...(grid ? [['grid']] : []), ...(random ? [['random', 'keys']] : [])]) {
    if (axes.length === 0) refuse(path, 'expected at least one key, found none');
  }
  if (grid) {
    const count = Object.values(grid).reduce((all, axis) => all * sizeOf(axis), 1);
    if (count > MAX_CELLS) {
      refuse(['grid'], `expected at most ${MAX_CELLS} combinations, found ${count}`);
    }
  }
  if (random && axes.length > 0) {
    const count = combinationsOf(random.keys);
    if (count < random.cells) {
      const expected = `expected at most ${count}, as many as there are combinations of the values`;
      refuse(['random', 'cells'], `${expected}, found ${random.cells}`);
    }
  }
  return problems;
}

const KINDS = ['grid', 'list', 'random'] as const;

/** The key of the axis at a path, if one is there. */
export function axisOf(path: KeyPath): string | undefined {
  const [kind, second, third] = path;
  if (kind === 'grid' && path.length === 2) return String(second);
  return kind === 'random' && second === 'keys' && path.length === 3 ? String(third) : undefined;
}

/** The paths of all keys of a mapping, those with null, too. */
function keysAt(tree: Tree, path: KeyPath): KeyPath[] {
  return entriesOf(treeAt(tree, path)).map(([key]) => [...path, key]);
}

/** How many points there are to draw. */
function combinationsOf(axes: Record<string, Axis>): number {
  const sizes = Object.entries(axes).map(([key, axis]) => {
    if (Array.isArray(axis) || isRange(axis)) return sizeOf(axis);
    if (isWhole(key)) return axis.to - axis.from + 1;
    return axis.from === axis.to ? 1 : Infinity;
  });
  return sizes.reduce((all, size) => all * size, 1);
}

/** Why a sweep cannot vary a key, or undefined if it can. Does not check that the key exists. */
function problemOfKey(key: string): string | undefined {
  const keys = keysIn(key);
  // Without `__proto__`, which would be lost.
  if (!keys || keys.includes('__proto__'))
    return 'expected the name of a key, such as training.bang.beta';
  if (keys[0] === 'seed' || keys[0] === 'seeds') {
    return 'cannot be varied here; seeds: [1, 2, 3] at the top level repeats every point';
  }
  if (keys[0] === 'extends') return 'only a file can extend another';
  if (keys[0] === 'name') return 'the sweep names its cells itself';
  return undefined;
}

/** Whether an experiment's key takes only whole numbers. */
function isWhole(key: string): boolean {
  const numbers = schemasAt(configSchema, keysIn(key) ?? []).filter(
    (schema) => schema instanceof z.ZodNumber,
  );
  return numbers.length > 0 && numbers.every((schema) => schema.format === 'safeint');
}

export function problemOfRange(
  key: string,
  axis: Exclude<Axis, unknown[]>,
): { key: 'from' | 'to' | 'step' | 'scale'; message: string } | undefined {
  const { from, to } = axis;
  if (to < from)
    return { key: 'to', message: `expected at least ${from}, the value of from, found ${to}` };
  if (!isRange(axis)) {
    if (axis.scale === 'log' && from <= 0) {
      const message = `expected a number above 0, as the scale is log, found ${from}`;
      return { key: 'from', message };
    }
    const broken = (['from', 'to'] as const).find((end) => !Number.isSafeInteger(axis[end]));
    if (broken !== undefined && isWhole(key)) {
      const message = `expected a whole number, as ${key} is one, found ${axis[broken]}`;
      return { key: broken, message };
    }
    if (Number.isFinite(to - from)) return undefined;
    return { key: 'to', message: `expected a number nearer to ${from}, found ${to}` };
  }
  if (axis.scale !== undefined) {
    const message = 'with step, values are drawn from the steps: leave out step or scale';
    return { key: 'scale', message };
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

function isRange(axis: Exclude<Axis, unknown[]>): axis is Range & { scale?: 'linear' | 'log' } {
  return axis.step !== undefined;
}

type Range = z.output<typeof range>;

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
export function rangeValues(axis: Range): number[] {
  const { integers, unit } = inUnits([axis.from, axis.to, axis.step])!;
  const [first, , by] = integers;
  return Array.from({ length: sizeOf(axis) }, (_, i) => (first + i * by) / unit);
}

export function sizeOf(axis: Range | unknown[]): number {
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
    return itemsOf(inner(tree, 'list')).map(pointIn);
  }
  const { cells, seed, keys } = random!;
  const drawn = inner(tree, 'random')!;
  const axes = axesOf(keys, inner(drawn, 'keys'));
  const seen = new Set<string>();
  return Array.from({ length: cells }, (_, i) => {
    // One generator per point: a longer sweep begins with the points of a shorter one.
    const draw = makeRandom(seed, 'sweep', i);
    let point = drawnPoint(axes, draw);
    // No point twice.
    for (let again = 0; again < MOST_DRAWS && seen.has(nameOf(point)); again++) {
      point = drawnPoint(axes, draw);
    }
    if (seen.has(nameOf(point))) point = unseenPoint(axes, seen) ?? refuseMore(drawn, i, cells);
    seen.add(nameOf(point));
    return point;
  });
}

/** A mapping of keys to values as a point. */
export function pointIn(tree: Tree | undefined): Point {
  return entriesOf(tree).map(([key, value]) => ({ key, at: value.keyAt, value }));
}

const MOST_DRAWS = 10_000;

/** The first point of all combinations that is not drawn yet; undefined if an axis is no list. */
function unseenPoint(axes: readonly AxisValues[], seen: ReadonlySet<string>): Point | undefined {
  if (axes.some(({ between }) => between)) return undefined;
  const at = axes.map(() => 0);
  for (;;) {
    const point = axes.map(({ key, at: place, choices }, i): Setting => {
      return { key, at: place, value: choices[at[i]] };
    });
    if (!seen.has(nameOf(point))) return point;
    let last = at.length - 1;
    while (last >= 0 && ++at[last] === axes[last].choices.length) at[last--] = 0;
    if (last < 0) return undefined;
  }
}

function refuseMore(random: Tree, found: number, wanted: number): never {
  const text = `expected at most ${found}, as no more different points were found, found ${wanted}`;
  throw new Complaints([{ at: inner(random, 'cells')!.at, text: `random.cells: ${text}` }]);
}

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

interface AxisValues {
  key: string;
  at: Place;
  choices: Tree[];
  /** Instead of choices: any number of an interval. */
  between?: Interval;
}

/** `whole`: only whole numbers. */
type Interval = z.output<typeof interval> & { whole: boolean };

function axesOf(axes: Record<string, Axis>, tree: Tree | undefined): AxisValues[] {
  return entriesOf(tree).map(([key, value]) => {
    const at = value.keyAt;
    // Zod leaves out `__proto__`, which is refused as a key later.
    if (!Object.hasOwn(axes, key)) return { key, at, choices: [value] };
    const axis = axes[key];
    if (Array.isArray(axis)) return { key, at, choices: itemsOf(value) };
    if (!isRange(axis)) return { key, at, choices: [], between: { ...axis, whole: isWhole(key) } };
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

/** Rounded to six digits, which are easy to read and type, or down to a whole number. */
function drawn({ from, to, scale, whole }: Interval, random: Random): number {
  const u = random.uniform();
  const end = whole ? to + 1 : to;
  const value = scale === 'log' ? from * (end / from) ** u : from + (end - from) * u;
  const rounded = whole ? Math.floor(value) : Number(value.toPrecision(6));
  return clip(rounded, from, to);
}

function scalar(at: Place, value: number): Tree {
  return { at, keyAt: at, kind: 'scalar', value };
}

/** A value as text in a configuration; empty if undefined. */
export function valueText(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A value as a person reads it: those of single layers as in YAML. */
export function readableText(value: unknown): string {
  return typeof value === 'object' && value !== null
    ? stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trimEnd()
    : valueText(value);
}

/** The last part of each key, or the whole key if two have the same last part. */
export function shortKeys(keys: readonly string[]): string[] {
  const last = (key: string): string => key.split('.').at(-1)!;
  return keys.map((key) => {
    const alone = keys.filter((other) => last(other) === last(key)).length === 1;
    return alone ? last(key) : key;
  });
}
