import { ATTACK_CHOICES, AUTO } from '../attacks/attack.js';
import { problemsOfBudgets } from './budgets.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import { NETWORKS } from '../model/networks.js';
import { publishedRow, publishedRowNames } from '../paper/published.js';
import {
  type OwnNetwork,
  ownNetworkSchema,
  problemsOfNetwork,
  weightedLayersOf,
} from './ownNetwork.js';
import { inBrief, isMapping, isOneOf, type KeyPath, type Problem, valueAt } from './problems.js';
import { inWords, nearest, shapeText } from '../base/text.js';
import { TRAIN_ON } from '../data/split.js';
import { type ModelName, modelNames } from './experimentSchema.js';
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

/** Problems that involve more than one key. Skips values whose shape is already wrong. */
export function problemsAcross(root: unknown): Problem[] {
  const value = (...path: string[]) => valueAt(root, path);
  const problems: Problem[] = [];
  const wrong = (path: KeyPath, message: string) => problems.push({ path, at: 'value', message });

  const data = value('data');
  const batch = value('training', 'batch');
  const counts = isOneOf(data, DATA_NAMES) ? images[data] : undefined;
  if (counts && isOneOf(data, DATA_NAMES)) {
    const { train, test } = counts;
    const trainOn = value('training', 'trainOn') ?? '50k';
    if (isOneOf(trainOn, TRAIN_ON)) {
      const count = train[trainOn];
      if (count === undefined) {
        const choices = inWords(Object.keys(train));
        wrong(
          ['training', 'trainOn'],
          `expected ${choices}, the training images of ${data}, found ${inBrief(trainOn)}`,
        );
      } else if (typeof batch === 'number' && batch > count) {
        wrong(
          ['training', 'batch'],
          `expected at most the ${count} training images, found ${batch}`,
        );
      }
      if (value('training', 'split') === 'random' && count === Math.max(...Object.values(train))) {
        wrong(
          ['training', 'split'],
          `expected first, as all ${count} training images of ${data} are trained on, found "random": set training.split=first as well`,
        );
      }
    }
    const evaluated = value('evaluation', 'images');
    if (typeof evaluated === 'number' && evaluated > test) {
      wrong(
        ['evaluation', 'images'],
        `expected all or at most the ${test} test images, found ${evaluated}`,
      );
    }
  }

  const seeds = value('seeds');
  if (seeds !== undefined && value('seed') !== undefined) {
    wrong(['seeds'], 'seed is given too: leave out one of them');
  }
  if (Array.isArray(seeds)) {
    seeds.forEach((seed: unknown, i) => {
      if (seeds.indexOf(seed) < i && typeof seed === 'number') {
        wrong(['seeds', i], `${seed} is in the list twice`);
      }
    });
  }

  const attacks = value('evaluation', 'attacks');
  if (Array.isArray(attacks)) {
    attacks.forEach((attack: unknown, i) => {
      if (attacks.indexOf(attack) < i && isOneOf(attack, ATTACK_CHOICES)) {
        wrong(['evaluation', 'attacks', i], `${attack} is in the list twice`);
      }
    });
  }

  const budgets = value('evaluation', 'budgets');
  problems.push(...problemsOfBudgets(budgets, ['evaluation', 'budgets']));
  const inL2 = isMapping(budgets) && budgets.l2 !== undefined;
  if (inL2 && !(Array.isArray(attacks) && attacks.includes(AUTO))) {
    const message = 'only auto attacks within budgets in L2: add it to evaluation.attacks';
    problems.push({ path: ['evaluation', 'budgets', 'l2'], at: 'key', message });
  }

  const model = value('model');
  const own = isMapping(model) ? ownNetworkSchema.safeParse(model).data : undefined;
  if (own) {
    problems.push(
      ...problemsOfNetwork(own, {
        data: isOneOf(data, DATA_NAMES) ? data : undefined,
        batch: typeof batch === 'number' ? batch : undefined,
      }),
    );
    if (value('published') !== undefined) {
      const message =
        'the paper has no row for a network of your own; if it is inherited, drop it with published: null';
      problems.push({ path: ['published'], at: 'key', message });
    }
  }
  const named = isOneOf(model, modelNames) ? model : own;
  if (named) {
    for (const key of ['beta', 'epsilon']) {
      problems.push(...problemsOfLayers(value('training', 'bang', key), key, named));
    }
  }
  if (isOneOf(model, modelNames)) {
    if (isOneOf(data, DATA_NAMES) && !fits(model, data)) {
      const fitting = DATA_NAMES.filter((name) => fits(model, name));
      wrong(
        ['data'],
        `expected ${inWords(fitting)}, as ${model} takes images of ` +
          `${shapeText(NETWORKS[model].input)}, found ${inBrief(data)}`,
      );
    }
    const table = value('published', 'table');
    const row = value('published', 'row');
    if (table === 1 || table === 2) {
      if (table !== tableOf[model]) {
        const message = `expected ${tableOf[model]}, the table of ${model}, found ${table}`;
        wrong(['published', 'table'], message);
      } else if (typeof row === 'string' && !publishedRow(table, row)) {
        const names = publishedRowNames(table);
        const near = rowLike(row, names);
        wrong(
          ['published', 'row'],
          `expected a row of table ${table}: ${inWords(names)}, found ${inBrief(row)}` +
            (near === undefined ? '' : `, did you mean ${near}?`),
        );
      }
    }
  }
  return problems;
}

/** Names of two characters are all alike: only case and what is around letters and digits may differ. */
function rowLike(row: string, names: readonly string[]): string | undefined {
  const plain = row.toUpperCase().replace(/[^A-Z0-9]/g, '');
  return names.find((name) => name === plain.replace(/^(ROW|TABLE[12]|LENET|CIFAR10)+/, ''));
}

function problemsOfLayers(value: unknown, key: string, model: ModelName | OwnNetwork): Problem[] {
  if (!isMapping(value)) return [];
  const path = ['training', 'bang', key];
  const layers = weightedLayersOf(layersOf(model));
  const title = isOwn(model) ? 'the network' : model;
  const unknown = Object.keys(value).filter((name) => !isOneOf(name, layers));
  const missing = layers.filter((name) => !Object.hasOwn(value, name));
  return [
    ...unknown.map((name): Problem => {
      const near = nearest(name, layers);
      const hint = near ? `did you mean ${near}?` : `expected ${inWords(layers)}`;
      return { path: [...path, name], at: 'key', message: `${title} has no such layer, ${hint}` };
    }),
    ...missing.map((name): Problem => {
      const message = `missing, expected a number for each layer of ${title}: ${layers.join(', ')}`;
      return { path: [...path, name], at: 'missing', message };
    }),
  ];
}
