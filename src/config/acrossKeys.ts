import { ATTACK_CHOICES, AUTO } from '../attacks/attack.js';
import { problemsOfBudgets } from './budgets.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import { UserError } from '../base/errors.js';
import { type NetworkName, NETWORKS } from '../model/networks.js';
import { logitsLayer } from '../model/parameters.js';
import { publishedRow, publishedRowNames } from '../paper/published.js';
import {
  type OwnNetwork,
  ownNetworkSchema,
  problemsOfNetwork,
  weightedLayersOf,
} from './ownNetwork.js';
import { inBrief, isMapping, isOneOf, type Problem, valueAt, wrong } from './problems.js';
import { inWords, nearest, shapeText } from '../base/text.js';
import { TRAIN_ON } from '../data/split.js';
import { modelNames } from './experimentSchema.js';
import { type Config, fits, isOwn, layersOf, tableOf } from './experiment.js';

interface ImageCounts {
  /** By the value of `trainOn`. */
  train: Partial<Record<(typeof TRAIN_ON)[number], number>>;
  test: number;
}

/** How many images each data set has, where its name tells. */
const images: Partial<Record<DataName, ImageCounts>> = {
  mnist: { train: { '50k': 50_000, '60k': 60_000 }, test: 10_000 },
  cifar10: { train: { '50k': 50_000 }, test: 10_000 },
  cifar100: { train: { '50k': 50_000 }, test: 10_000 },
};

/** In grey levels: the literature's budgets in L2 are 0.25 or more with pixels from 0 to 1, so these are meant so, too. */
const SMALL_L2 = 10;

/** A sentence for each oddity of a valid experiment, which runs but perhaps not as meant. */
export function configNotes(config: Config): string[] {
  const { learningRate, iterations } = config.training;
  const notes: string[] = [];
  const small = config.evaluation.budgets?.l2?.find((budget) => budget < SMALL_L2);
  if (small !== undefined) {
    notes.push(
      `evaluation.budgets.l2: ${small} is in grey levels, hardly any change: if pixels are meant to be from 0 to 1, write ${small}/1`,
    );
  }
  if (learningRate.policy !== 'step') return notes;
  const { at } = learningRate;
  if (at.some((step, i) => i > 0 && step <= at[i - 1])) {
    notes.push('training.learningRate.at: the steps are not in ascending order');
  }
  const late = at.filter((step) => step >= iterations);
  if (late.length > 0) {
    notes.push(
      `training.learningRate.at: training ends after ${iterations} iterations, before ${late.join(', ')}`,
    );
  }
  return notes;
}

/** The value at a path of the configuration. */
type ValueAt = (...path: string[]) => unknown;

/** Problems that involve more than one key. Skips values whose shape is already wrong. */
export function problemsAcross(root: unknown): Problem[] {
  const value: ValueAt = (...path) => valueAt(root, path);
  return [
    ...problemsOfCounts(value),
    ...problemsOfLists(value),
    ...problemsOfModel(value),
    ...problemsOfNamed(value),
  ];
}

/** More images than the data have. */
function problemsOfCounts(value: ValueAt): Problem[] {
  const data = value('data');
  if (!isOneOf(data, DATA_NAMES)) return [];
  const counts = images[data];
  if (!counts) return [];
  const { train, test } = counts;
  const problems: Problem[] = [];
  const trainOn = value('training', 'trainOn') ?? '50k';
  if (isOneOf(trainOn, TRAIN_ON)) {
    const count = train[trainOn];
    if (count === undefined) {
      const expected = `expected ${inWords(Object.keys(train))}, the training images of ${data}`;
      const message = `${expected}, found ${inBrief(trainOn)}`;
      problems.push(wrong(['training', 'trainOn'], message));
    } else {
      const [batch, split] = [value('training', 'batch'), value('training', 'split')];
      const all = Math.max(...Object.values(train));
      problems.push(...problemsOfTrained({ batch, split }, data, count, all));
    }
  }
  const evaluated = value('evaluation', 'images');
  if (typeof evaluated === 'number' && evaluated > test) {
    const message = `expected all or at most the ${test} test images, found ${evaluated}`;
    problems.push(wrong(['evaluation', 'images'], message));
  }
  return problems;
}

/**
 * A batch or a split that the training images of some data do not allow.
 *
 * @param count how many are trained on
 * @param all how many there are
 */
export function problemsOfTrained(
  { batch, split }: { batch?: unknown; split?: unknown },
  data: DataName,
  count: number,
  all: number,
): Problem[] {
  const problems: Problem[] = [];
  if (typeof batch === 'number' && batch > count) {
    const message = `expected at most the ${count} training images, found ${batch}`;
    problems.push(wrong(['training', 'batch'], message));
  }
  if (split === 'random' && count === all) {
    const message = `expected first, as all ${count} training images of ${data} are trained on, found "random": set training.split=first as well`;
    problems.push(wrong(['training', 'split'], message));
  }
  return problems;
}

/** Seeds and attacks that are given twice, and budgets. */
function problemsOfLists(value: ValueAt): Problem[] {
  const problems: Problem[] = [];
  const seeds = value('seeds');
  if (seeds !== undefined && value('seed') !== undefined) {
    problems.push(wrong(['seeds'], 'seed is given too: leave out one of them'));
  }
  if (Array.isArray(seeds)) {
    seeds.forEach((seed: unknown, i) => {
      if (seeds.indexOf(seed) < i && typeof seed === 'number') {
        problems.push(wrong(['seeds', i], `${seed} is in the list twice`));
      }
    });
  }
  const attacks = value('evaluation', 'attacks');
  if (Array.isArray(attacks)) {
    attacks.forEach((attack: unknown, i) => {
      if (attacks.indexOf(attack) < i && isOneOf(attack, ATTACK_CHOICES)) {
        problems.push(wrong(['evaluation', 'attacks', i], `${attack} is in the list twice`));
      }
    });
  }
  const budgets = value('evaluation', 'budgets');
  problems.push(...problemsOfBudgets(budgets, ['evaluation', 'budgets']));
  const inL2 = isMapping(budgets) && budgets.l2 !== undefined;
  if (inL2 && !(Array.isArray(attacks) && attacks.includes(AUTO))) {
    const message = 'only auto attacks within budgets in L2: add it to evaluation.attacks';
    problems.push(wrong(['evaluation', 'budgets', 'l2'], message, 'key'));
  }
  return problems;
}

/** A network of the user's own, and numbers for each layer of any network. */
function problemsOfModel(value: ValueAt): Problem[] {
  const [model, data, batch] = [value('model'), value('data'), value('training', 'batch')];
  const own = isMapping(model) ? ownNetworkSchema.safeParse(model).data : undefined;
  const problems: Problem[] = [];
  if (own) {
    problems.push(
      ...problemsOfNetwork(own, {
        data: isOneOf(data, DATA_NAMES) ? data : undefined,
        batch: typeof batch === 'number' ? batch : undefined,
      }),
    );
    if (problems.length === 0 && value('evaluation', 'logitScale') !== undefined) {
      problems.push(...problemsOfScaling(own));
    }
    if (value('published') !== undefined) {
      const message =
        'the paper has no row for a network of your own; if it is inherited, drop it with published: null';
      problems.push(wrong(['published'], message, 'key'));
    }
  }
  const named = isOneOf(model, modelNames) ? model : own;
  if (named) {
    for (const key of ['beta', 'epsilon']) {
      problems.push(...problemsOfLayers(value('training', 'bang', key), key, named));
    }
  }
  return problems;
}

function problemsOfScaling({ layers }: OwnNetwork): Problem[] {
  try {
    logitsLayer(layers);
    return [];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return [wrong(['evaluation', 'logitScale'], error.message, 'key')];
  }
}

/** Data that a network of the paper does not take, and rows that it does not have. */
function problemsOfNamed(value: ValueAt): Problem[] {
  const [model, data] = [value('model'), value('data')];
  if (!isOneOf(model, modelNames)) return [];
  const problems: Problem[] = [];
  if (isOneOf(data, DATA_NAMES) && !fits(model, data)) {
    const fitting = inWords(DATA_NAMES.filter((name) => fits(model, name)));
    const takes = `as ${model} takes images of ${shapeText(NETWORKS[model].input)}`;
    problems.push(wrong(['data'], `expected ${fitting}, ${takes}, found ${inBrief(data)}`));
  }
  const table = value('published', 'table');
  const row = value('published', 'row');
  if (table !== 1 && table !== 2) return problems;
  if (table !== tableOf[model]) {
    const message = `expected ${tableOf[model]}, the table of ${model}, found ${table}`;
    problems.push(wrong(['published', 'table'], message));
  } else if (typeof row === 'string' && !publishedRow(table, row)) {
    const names = publishedRowNames(table);
    const near = rowLike(row, names);
    const hint = near === undefined ? '' : `, did you mean ${near}?`;
    const message = `expected a row of table ${table}: ${inWords(names)}, found ${inBrief(row)}${hint}`;
    problems.push(wrong(['published', 'row'], message));
  }
  return problems;
}

/** Names of two characters are all alike: only case and what is around letters and digits may differ. */
function rowLike(row: string, names: readonly string[]): string | undefined {
  const plain = row.toUpperCase().replace(/[^A-Z0-9]/g, '');
  return names.find((name) => name === plain.replace(/^(ROW|TABLE[12]|LENET|CIFAR10)+/, ''));
}

function problemsOfLayers(value: unknown, key: string, model: NetworkName | OwnNetwork): Problem[] {
  if (!isMapping(value)) return [];
  const path = ['training', 'bang', key];
  const layers = weightedLayersOf(layersOf(model));
  const title = isOwn(model) ? 'the network' : model;
  const unknown = Object.keys(value).filter((name) => !isOneOf(name, layers));
  const missing = layers.filter((name) => !Object.hasOwn(value, name));
  return [
    ...unknown.map((name) => {
      const near = nearest(name, layers);
      const hint = near ? `did you mean ${near}?` : `expected ${inWords(layers)}`;
      return wrong([...path, name], `${title} has no such layer, ${hint}`, 'key');
    }),
    ...missing.map((name) => {
      const message = `missing, expected a number for each layer of ${title}: ${layers.join(', ')}`;
      return wrong([...path, name], message, 'missing');
    }),
  ];
}
