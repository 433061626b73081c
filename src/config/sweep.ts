import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { UserError } from '../base/errors.js';
import { configFile } from './builtIn.js';
import type { Config } from './experiment.js';
import { betweenZeroAndOne, integer, mapping, oneOf, runName, seed, text } from './fields.js';
import {
  change,
  checkTree,
  complaintsOf,
  folderOf,
  keysIn,
  complaintsAsErrors,
  parseOverride,
  plainOf,
  readYaml,
  refuseForeign,
  refuseOtherKind,
  replaceIn,
  stem,
} from './yamlFiles.js';
import { type KeyPath, type Problem, problemsOf, repeats, wrong } from './problems.js';
import {
  axisOf,
  MAX_CELLS,
  type Point,
  pointKeys,
  pointIn,
  pointsOf,
  problemsOfPoints,
  shortKeys,
  valueText,
} from './points.js';
import {
  type Complaint,
  Complaints,
  entriesOf,
  inner,
  isNull,
  plain,
  type Tree,
} from './yamlTree.js';

/** One experiment of a sweep: a point and a seed. */
export interface Cell {
  /** Unique in its sweep and the name of its folder: `beta-1.05_epsilon-0.785`. */
  id: string;
  /** The value of each key that the sweep varies; undefined if the point does not set it. */
  values: unknown[];
  seed: number;
  /** Whether this is the reference that the others are compared with, not a point of the sweep. */
  reference: boolean;
  config: Config;
}

/** What can be kept of a finished cell besides its config, result and table row. */
export const KEEPABLE = ['weights', 'per-image', 'training'] as const;
export type Keepable = (typeof KEEPABLE)[number];

/** Successive halving: points that do worse than others stop early. */
export interface Halving {
  /** Iterations at which points are compared, ascending. */
  rungs: number[];
  /** The share of points that continues after each rung. */
  keep: number;
}

/** A complete sweep: its file, its base and the overrides of the command line. */
export interface Plan {
  name: string;
  /** The keys that it varies. */
  keys: string[];
  /** In the order of running: seed by seed, the reference first. */
  cells: Cell[];
  halving?: Halving;
  keep: readonly Keepable[];
  /** The same sweep as one self-contained file; reading it makes the same cells. */
  record: Record<string, unknown>;
}

export const sweepSchema = mapping({
  name: runName
    .optional()
    .describe("Names the sweep and its folder; left out: the file's name without its extension."),
  description: text.optional().describe('A sentence for readers, which the program only repeats.'),
  base: z
    .union([text.min(1, { error: 'the path of a file' }), z.record(z.string(), z.unknown())], {
      error: 'the path of a configuration, relative to this file, or a configuration itself',
    })
    .describe(
      'The experiment that the cells share except for the varied keys: the path of its file, the name of one that comes with the program, or its keys.',
    ),
  ...pointKeys,
  seeds: z
    .array(seed, { error: 'a list of seeds' })
    .min(1, { error: 'a list of one seed or more' })
    .optional()
    .describe('Seeds with which to run every point; left out: the seed or seeds of base.'),
  reference: z
    .record(text, z.unknown(), { error: 'a mapping of keys to values' })
    .optional()
    .describe(
      'The cell to compare the others with, as changes of base, such as {training.bang: null}.',
    ),
  halving: mapping({
    rungs: z
      .array(integer(1), { error: 'a list of iterations' })
      .min(1, { error: 'a list of iterations' })
      .describe('Iterations at which the points are compared by validation accuracy, ascending.'),
    keep: betweenZeroAndOne().describe(
      'The share of points that continues after each rung; the others stop.',
    ),
  })
    .optional()
    .describe('Successive halving: stop points early that do worse than others; left out: none.'),
  keep: z
    .array(oneOf(KEEPABLE), { error: `a list of ${KEEPABLE.join(', ')}` })
    .default([])
    .describe('What to keep of each cell besides config, result and table row; left out: nothing.'),
  names: z
    .record(text, runName, { error: 'a mapping of names of cells' })
    .default({})
    .describe(
      'Written by the program when a sweep grows: the names that some cells had before, which are those of their folders.',
    ),
});

type SweepConfig = z.output<typeof sweepSchema>;

/**
 * Reads a sweep from a YAML file, what it extends, and its base.
 *
 * @param given the path of the file, or the name of one that comes with the program
 * @param overrides changes of the base, such as `evaluation.images=1000`
 * @throws ConfigError with a line for each problem; UserError if a file cannot be read
 */
export async function loadPlan(given: string, overrides: readonly string[] = []): Promise<Plan> {
  const file = configFile(given);
  const sources: string[] = [];
  return complaintsAsErrors(sources, async () => {
    const tree = withoutDropped(await readYaml(file, sources), sources.length > 1);
    refuseOtherKind('base', tree, given);
    const config = checkSweep(tree);
    let base = withoutExpect(await baseOf(tree, sources));
    for (const override of overrides) {
      refuseVaried(override, config);
      base = replaceIn(base, parseOverride(override));
    }
    return planOf(config.name ?? stem(file), tree, config, base);
  });
}

/**
 * A sweep without the axes that it inherits and sets to null.
 *
 * @param extending whether the sweep's file extends another; if not, a null axis is a mistake
 */
function withoutDropped(tree: Tree, extending: boolean, path: KeyPath = []): Tree {
  if (tree.kind !== 'mapping' || !extending) return tree;
  const entries = [...tree.entries].flatMap(([key, value]): [string, Tree][] => {
    const at = [...path, key];
    if (isNull(value) && axisOf(at) !== undefined) return [];
    const holdsAxes = ['grid', 'random'].includes(String(at[0])) && at.length < 3;
    return [[key, holdsAxes ? withoutDropped(value, extending, at) : value]];
  });
  return { ...tree, entries: new Map(entries) };
}

function checkSweep(tree: Tree): SweepConfig {
  const { value, removed } = plainOf(tree);
  const problems = problemsOf(sweepSchema, value, removed);
  if (problems.length > 0) throw complaintsOf(tree, problems);
  const config = sweepSchema.parse(value);
  const across = [...problemsOfPoints(config, tree, removed), ...problemsBeside(config)];
  if (across.length > 0) throw complaintsOf(tree, across);
  return config;
}

function problemsBeside({ seeds = [], halving }: SweepConfig): Problem[] {
  const problems = repeats(seeds, ['seeds']);
  const rungs = halving?.rungs ?? [];
  rungs.forEach((rung, i) => {
    if (i === 0 || rung > rungs[i - 1]) return;
    const message = `expected more than ${rungs[i - 1]}, the rung before, found ${rung}`;
    problems.push(wrong(['halving', 'rungs', i], message));
  });
  return problems;
}

/** The experiment that a sweep varies, from another file or from the sweep's key `base`. */
async function baseOf(tree: Tree, sources: string[]): Promise<Tree> {
  const base = inner(tree, 'base')!;
  if (base.kind !== 'scalar') return base;
  try {
    const file = configFile(String(base.value), folderOf(base, '.'));
    const read = await readYaml(file, sources);
    refuseForeign(read, file, 'experiment');
    return read;
  } catch (error) {
    // If the base cannot be read, the mistake is in the line that names it.
    if (!(error instanceof UserError)) throw error;
    throw new Complaints([{ at: base.at, text: `base: ${error.message}` }]);
  }
}

/** A base without its bands, which a sweep never checks and which may be of attacks that a cell leaves out. */
function withoutExpect(base: Tree): Tree {
  if (base.kind !== 'mapping') return base;
  return { ...base, entries: new Map(entriesOf(base).filter(([key]) => key !== 'expect')) };
}

/** Refuses a change of the base that the cells or the reference would overwrite, at least in part. */
function refuseVaried(
  override: string,
  { grid = {}, list = [], random, seeds, reference = {} }: SweepConfig,
): void {
  const key = override.split('=')[0];
  const refuse = (text: string): never => {
    throw new Complaints([{ at: { set: key }, text }]);
  };
  if (key === 'name') refuse('cells are named after their values: --out names the folder');
  if (seeds && (key === 'seed' || key === 'seeds')) {
    refuse('the sweep has seeds: change them in its file');
  }
  const isSet = Object.keys(reference).find(
    // A key that is dropped from the reference is meant for the cells.
    (one) => reference[one] !== null && `${key}.`.startsWith(`${one}.`),
  );
  if (isSet !== undefined) {
    refuse(`the reference sets ${isSet === key ? 'this key' : isSet}: change it in the file`);
  }
  const varied = [grid, ...list, random?.keys ?? {}]
    .flatMap(Object.keys)
    .find((one) => `${one}.`.startsWith(`${key}.`) || `${key}.`.startsWith(`${one}.`));
  if (varied === undefined) return;
  refuse(`the sweep varies ${varied === key ? 'this key' : varied}: change it in the file`);
}

function planOf(name: string, tree: Tree, config: SweepConfig, base: Tree): Plan {
  const points = pointsOf(config, tree);
  const keys = [...new Set(points.flatMap((point) => point.map(({ key }) => key)))];
  const reference = pointIn(inner(tree, 'reference'));
  const names = namesOf(points, keys);
  const all = [
    ...(config.reference ? [{ point: reference, name: 'reference', reference: true }] : []),
    ...points.map((point, i) => ({ point, name: names[i], reference: false })),
  ];
  const complaints: Complaint[] = [];
  const made = all.flatMap(({ point, ...one }) => {
    try {
      return [{ ...one, values: valuesOf(point, keys), ...experimentAt(point, base, config) }];
    } catch (error) {
      if (!(error instanceof Complaints)) throw error;
      // Many cells have the same few mistakes.
      if (complaints.length < 1000) complaints.push(...error.complaints);
      return [];
    }
  });
  if (complaints.length > 0) throw new Complaints(complaints);
  const seeds = made[0].seeds;
  if (seeds.length * made.length > MAX_CELLS) {
    const found = `found ${seeds.length * made.length}: ${made.length} with ${seeds.length} seeds`;
    const message = `expected at most ${MAX_CELLS} cells, ${found}`;
    throw wrongValue(tree, config.seeds ? ['seeds'] : ['base'], message);
  }
  const former = new Map(Object.entries(config.names));
  const cells = seeds.flatMap((seed) =>
    made.map(({ name, values, reference, config }): Cell => {
      const usual = seeds.length > 1 ? `${name}_seed-${seed}` : name;
      const id = former.get(usual) ?? usual;
      const cell = { ...config, name: id, seed };
      // The paper's row belongs to the base, not to the cells.
      delete cell.published;
      delete cell.description;
      return { id, values, seed, reference, config: cell };
    }),
  );
  refuseTwins(
    cells,
    all.map(({ point }) => point),
    config,
    tree,
  );
  refuseRungs(cells, config, tree);
  refuseStarts(cells, tree);
  const { value: plainBase } = plainOf(base);
  const record = { ...(plain(tree) as Record<string, unknown>), name, base: plainBase };
  if (new Set(cells.map(({ id }) => id)).size < cells.length) {
    throw wrongValue(tree, ['names'], 'two cells have the same name');
  }
  const { halving, keep } = config;
  return { name, keys, cells, halving, keep, record };
}

function experimentAt(
  point: Point,
  base: Tree,
  { seeds }: SweepConfig,
): { config: Config; seeds: number[] } {
  const changed = point.reduce(
    (tree, { key, at, value }) => replaceIn(tree, change(keysIn(key)!, at, value)),
    base,
  );
  const { config, seeds: own } = checkTree(changed, 'cell');
  return { config, seeds: seeds ?? own ?? [config.seed] };
}

function valuesOf(point: Point, keys: readonly string[]): unknown[] {
  const settings = new Map(point.map(({ key, value }) => [key, plain(value)]));
  return keys.map((key) => settings.get(key));
}

const MAX_NAME = 80;

/** A name for each point: its values if all are short and unique, else a number. */
function namesOf(points: readonly Point[], keys: readonly string[]): string[] {
  const shown = shortKeys(keys);
  const names = points.map((point) =>
    point.map(({ key, value }) => `${shown[keys.indexOf(key)]}-${wordOf(plain(value))}`).join('_'),
  );
  const good = names.every((name) => /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name));
  const short = names.every((name) => name.length <= MAX_NAME);
  if (good && short && new Set(names).size === names.length && !names.includes('reference')) {
    return names;
  }
  const digits = String(points.length).length;
  return points.map((_, i) => `cell-${String(i + 1).padStart(digits, '0')}`);
}

function wordOf(value: unknown): string {
  if (value === null) return 'none';
  return typeof value === 'object' ? ' ' : valueText(value);
}

/** The same sweep with more kept of each cell. */
export function keeping(plan: Plan, more: readonly Keepable[]): Plan {
  const keep = KEEPABLE.filter((name) => plan.keep.includes(name) || more.includes(name));
  if (keep.length === plan.keep.length) return plan;
  return { ...plan, keep, record: { ...plan.record, keep } };
}

/**
 * Refuses a sweep in which two points are the same experiment, at the value that makes no difference.
 *
 * @param cells those of the first seed are in the order of `points`
 */
function refuseTwins(
  cells: readonly Cell[],
  points: readonly Point[],
  { list, reference }: SweepConfig,
  tree: Tree,
): void {
  const seen = new Map<string, number>();
  cells.slice(0, points.length).forEach((cell, i) => {
    if (cell.reference) return;
    const key = JSON.stringify({ ...cell.config, name: '' });
    const twin = seen.get(key);
    seen.set(key, i);
    if (twin === undefined) return;
    const text = `${cells[twin].id} and ${cell.id} of the sweep are the same experiment: leave one out`;
    if (list) throw wrongValue(tree, ['list', reference ? i - 1 : i], text);
    const before = new Map(points[twin].map(({ key, value }) => [key, plain(value)]));
    const differing = points[i].find(
      ({ key, value }) => !isDeepStrictEqual(plain(value), before.get(key)),
    );
    const { at, key: name } = differing ? { ...differing, at: differing.value.at } : points[i][0];
    throw new Complaints([{ at, text: `${name}: ${text}` }]);
  });
}

/**
 * The same sweep with other names of its cells.
 *
 * @param ids the names, in the order of the cells
 */
export function renamed(plan: Plan, ids: readonly string[]): Plan {
  if (plan.cells.every(({ id }, i) => id === ids[i])) return plan;
  const names = new Map(Object.entries((plan.record.names ?? {}) as Record<string, string>));
  const usual = new Map([...names].map(([key, value]) => [value, key]));
  const cells = plan.cells.map((cell, i): Cell => {
    names.set(usual.get(cell.id) ?? cell.id, ids[i]);
    return { ...cell, id: ids[i], config: { ...cell.config, name: ids[i] } };
  });
  const changed = [...names].filter(([key, value]) => key !== value);
  return { ...plan, cells, record: { ...plan.record, names: Object.fromEntries(changed) } };
}

/** Refuses rungs at which the validation accuracy, by which cells are compared, is not measured. */
function refuseRungs(cells: readonly Cell[], { halving }: SweepConfig, tree: Tree): void {
  if (!halving) return;
  const problems = cells.flatMap(({ config: { training, data } }): Problem[] => {
    const { iterations, logEvery, trainOn } = training;
    const rungs = ['halving', 'rungs'];
    const bad = halving.rungs.flatMap((rung, i) =>
      rung >= iterations || rung % logEvery !== 0
        ? [
            wrong(
              [...rungs, i],
              `expected a multiple of training.logEvery (${logEvery}) below training.iterations (${iterations}), found ${rung}`,
            ),
          ]
        : [],
    );
    // Of other data it is known once they are read.
    if (data === 'idx' || (data === 'mnist' && trainOn === '50k')) return bad;
    const all = data === 'mnist' ? 'with trainOn: 60k' : `${data} is trained on whole:`;
    return [...bad, wrong(['halving'], `${all} no images are left for validation`)];
  });
  if (problems.length > 0) throw complaintsOf(tree, problems);
}

/** Refuses weights to begin from, which another machine that computes a cell would not have. */
function refuseStarts(cells: readonly Cell[], tree: Tree): void {
  if (cells.every(({ config }) => config.training.from === undefined)) return;
  throw wrongValue(tree, ['base'], 'a sweep trains from random weights: leave out training.from');
}

function wrongValue(tree: Tree, path: KeyPath, message: string): Complaints {
  return complaintsOf(tree, [wrong(path, message)]);
}
