import { z } from 'zod';
import {
  ATTACK_NAMES,
  CHANNELS,
  DEFAULT_ATTACKS,
  EFFORT,
  PROTOCOL,
  type Protocol,
  PROTOCOLS,
  SEARCHES,
} from '../attacks/attack.js';
import { SHAPES } from '../data/shapes.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import { UserError } from '../base/errors.js';
import type { LayerSpec } from '../model/layers.js';
import { type NetworkName, NETWORKS, type NetworkSpec } from '../model/networks.js';
import { publishedRow, publishedRowNames } from '../paper/published.js';
import {
  type Expectation,
  expectationOf,
  expectSchema,
  problemsOfExpect,
  unknownFigure,
} from './expect.js';
import {
  engine,
  integer,
  mapping,
  notNegative,
  oneOf,
  positive,
  runName,
  seed,
  text,
  trueOrFalse,
} from './fields.js';
import {
  type OwnNetwork,
  ownNetworkSchema,
  problemsOfNetwork,
  weightedLayersOf,
} from './ownNetwork.js';
import {
  inBrief,
  isMapping,
  type KeyPath,
  keysOf,
  pathText,
  type Problem,
  problemsOf,
  valueAt,
} from './problems.js';
import { inWords, nearest } from '../base/text.js';

const TRAIN_ON = ['50k', '60k'] as const;

interface ImageCounts {
  /** By what `trainOn` may be. */
  train: Partial<Record<(typeof TRAIN_ON)[number], number>>;
  test: number;
}

/** How many images each data set has. */
const images: Record<DataName, ImageCounts> = {
  mnist: { train: { '50k': 50_000, '60k': 60_000 }, test: 10_000 },
  cifar10: { train: { '50k': 50_000 }, test: 10_000 },
};

export type ModelName = NetworkName;
export type { DataName };

const modelNames = Object.keys(NETWORKS) as [ModelName, ...ModelName[]];

/** The table of the paper that has each model's rows. */
export const tableOf: Record<ModelName, 1 | 2> = { lenet: 1, 'cifar10-quick': 2 };

/** A number for every layer, or a mapping from each weighted layer to its own. */
function perLayer() {
  return z.union([notNegative(), z.record(z.string(), notNegative())], {
    error: 'a number, 0 or more, or a mapping with one for each weighted layer',
  });
}

const learningRateSchema = z
  .discriminatedUnion(
    'policy',
    [
      mapping({
        policy: z.literal('inv').describe('Decays smoothly: base · (1 + gamma·t)^−power.'),
        base: positive().describe('The learning rate at iteration 0.'),
        gamma: notNegative().describe('How soon the learning rate of policy inv falls.'),
        power: notNegative().describe('How steeply the learning rate of policy inv falls.'),
      }),
      mapping({
        policy: z.literal('step').describe('Is multiplied by factor at each of the iterations at.'),
        base: positive().describe('The learning rate at iteration 0.'),
        factor: positive().describe('What the learning rate is multiplied by at each step.'),
        at: z
          .array(integer(0), { error: 'a list of iterations' })
          .describe('The iterations from which each further step of policy step holds.'),
      }),
      mapping({
        policy: z.literal('fixed').describe('Stays at base.'),
        base: positive().describe('The learning rate.'),
      }),
    ],
    {
      error: (issue: z.core.$ZodRawIssue) =>
        issue.code === 'invalid_union' ? 'inv, step or fixed' : 'a mapping with a policy',
    },
  )
  .describe('The learning rate at iteration t = 0, 1, …; biases learn at twice this rate.');

const bangSchema = mapping({
  beta: perLayer().describe(
    'β, the factor on the gradient of the weights: 0 or more, or one for each weighted layer. 0 everywhere: regular training.',
  ),
  epsilon: perLayer().describe(
    'ε, how far small gradients in a batch are balanced towards the largest: 0 or more, or one for each weighted layer.',
  ),
  ratio: z
    .number({ error: 'a number from 0 to 1' })
    .min(0, { error: 'a number from 0 to 1' })
    .max(1, { error: 'a number from 0 to 1' })
    .default(1)
    .describe('Factor on epsilon for images that are misclassified in the forward pass: 0 to 1.'),
});

const trainingSchema = mapping({
  trainOn: oneOf(TRAIN_ON)
    .default('50k')
    .describe(
      'The training images: the first 50k (the rest is for validation), or all 60k of mnist.',
    ),
  iterations: integer(1).describe('How many batches to train on.'),
  batch: integer(1).describe('How many images a batch has.'),
  learningRate: learningRateSchema,
  momentum: z
    .number({ error: 'a number from 0 to below 1' })
    .min(0, { error: 'a number from 0 to below 1' })
    .lt(1, { error: 'a number from 0 to below 1' })
    .describe('Momentum of SGD: 0 to below 1.'),
  weightDecay: notNegative().describe('L2 decay of weights and biases: 0 or more.'),
  shuffle: trueOrFalse
    .default(false)
    .describe('Whether every epoch has an order of its own; the paper keeps one fixed order.'),
  logEvery: integer(1).default(500).describe('Iterations between two lines of the training log.'),
  checkpointEvery: integer(1)
    .default(1000)
    .describe('Iterations between two checkpoints, from which a stopped run goes on.'),
  snapshots: integer(1)
    .optional()
    .describe('Iterations between two snapshots of the network, which stay; left out: none.'),
  bang: bangSchema
    .optional()
    .describe('Batch Adjusted Network Gradients; left out: regular training.'),
});

const evaluationSchema = mapping({
  images: z
    .union([z.literal('all'), integer(1)], { error: 'all or an integer, 1 or more' })
    .default('all')
    .describe('The test images to evaluate: all, or the first so many.'),
  attacks: z
    .array(oneOf(ATTACK_NAMES), { error: 'a list of attacks' })
    // One order, so that equal experiments have equal hashes.
    .overwrite((chosen) => ATTACK_NAMES.filter((name) => chosen.includes(name)))
    .default([...DEFAULT_ATTACKS])
    .describe(
      'fgs and hc1 as in the paper; fgs-unmasked follows a gradient that never underflows to zero; pgd, deepfool-l2, deepfool-linf and square (which sees no gradients) are slower and stronger.',
    )
    .meta({ uniqueItems: true }),
  pgd: mapping({
    steps: integer(1).default(EFFORT.pgd.steps).describe('Gradient steps from each start.'),
    restarts: integer(1)
      .default(EFFORT.pgd.restarts)
      .describe('Starts for each of the two losses: the image itself, further ones random.'),
  })
    .optional()
    .describe('How hard pgd tries.'),
  square: mapping({
    queries: integer(1).default(EFFORT.square.queries).describe('Forward passes for each image.'),
  })
    .optional()
    .describe('How hard square tries.'),
  protocol: oneOf(PROTOCOLS)
    .default('paper')
    .describe(
      'What search and channels are where they are left out: paper, as the published rows were made (bisection, reversed), or corrected (scan, kept).',
    ),
  channels: oneOf(CHANNELS)
    .optional()
    .describe(
      'Whether fgs and hc1 are applied with their colour channels reversed, as in the published rows of CIFAR-10, or kept. No matter for grey images.',
    ),
  search: oneOf(SEARCHES)
    .optional()
    .describe('Line search: bisection as in the paper, or scan, which tries every step (slow).'),
  pass: trueOrFalse
    .default(true)
    .describe('Whether to compute PASS, the perceptual similarity of adversarial and original.'),
});

const publishedSchema = mapping({
  table: z
    .literal([1, 2], { error: '1 or 2' })
    .describe('The table of the paper: 1 for LeNet, 2 for CIFAR-10 quick.'),
  row: text.describe('The row of the table: R0, R1, B0 … B5.'),
});

/** The shape of an experiment. `parseConfig` checks further what it takes two keys to tell. */
export const configSchema = mapping({
  name: runName
    .default('unnamed')
    .describe("Names the run and its folder; left out: the file's name without its ending."),
  description: text.optional().describe('A sentence for people; the program only repeats it.'),
  model: z
    .union([oneOf(modelNames), ownNetworkSchema], {
      error: `${modelNames.join(', ')} or a mapping with the layers of a network of your own`,
    })
    .describe(`The network: ${inWords(modelNames)}, or the layers of one of your own.`),
  data: oneOf(DATA_NAMES).describe(`The images: ${inWords(DATA_NAMES)}.`),
  seed: seed
    .default(1)
    .describe('Seeds initial weights, dropout and order: an integer from 0 to 4294967295.'),
  seeds: z
    .array(seed, { error: 'a list of seeds' })
    .min(1, { error: 'a list of one seed or more' })
    .optional()
    .describe(
      'Several seeds instead of one: a run for each, in a folder of its own, and a table of their means.',
    )
    .meta({ uniqueItems: true }),
  engine,
  training: trainingSchema.describe('How the network is trained.'),
  evaluation: evaluationSchema.prefault({}).describe('What is measured afterwards.'),
  published: publishedSchema
    .optional()
    .describe("The paper's row that is printed beside the result; left out: none."),
  expect: expectSchema
    .optional()
    .describe('What bang check demands of the figures, by name; bang run takes no notice of it.'),
});

type Parsed = z.output<typeof configSchema>;

/** A checked experiment: plain data, keys in one fixed order, every default filled in. */
export type Config = Omit<Parsed, 'evaluation' | 'seeds' | 'expect'> & {
  evaluation: Parsed['evaluation'] & Protocol;
};

/** A config, and what is said beside it: no figure depends on that. */
export interface Checked {
  config: Config;
  /** The seeds for which it is to be run, if there is a list: `config` has the first. */
  seeds?: number[];
  expect?: Expectation;
}

/**
 * Checks an experiment that a program made.
 *
 * @throws UserError with a line `training.bang.betta: …` for each problem
 */
export function parseConfig(value: unknown): Config {
  const checked = checkConfig(value);
  if ('config' in checked) {
    if (checked.seeds) throw new UserError('seeds: expected one seed, found a list');
    return checked.config;
  }
  const lines = checked.problems.map(({ path, message }) =>
    path.length === 0 ? message : `${pathText(path)}: ${message}`,
  );
  throw new UserError(lines.join('\n'));
}

/**
 * Checks an experiment and says everything that is wrong with it.
 *
 * @param removed paths that a file sets to null, to drop what it inherits: they must be real keys
 */
export function checkConfig(
  value: unknown,
  removed: readonly KeyPath[] = [],
): Checked | { problems: Problem[] } {
  const problems = [
    ...problemsOf(configSchema, value, removed).map(namingFigures),
    ...problemsAcross(value),
    ...problemsOfExpect(value),
  ];
  if (problems.length > 0) return { problems };
  const { seeds, expect, ...parsed } = configSchema.parse(value);
  const config = orderLayers(fillProtocol(parsed));
  return {
    config: seeds ? { ...config, seed: seeds[0] } : config,
    seeds,
    expect: expect && expectationOf(expect),
  };
}

/** A key of `expect` that does not exist is a figure that does not. */
function namingFigures(problem: Problem): Problem {
  const [block, name] = problem.path;
  const isFigure = block === 'expect' && problem.path.length === 2;
  if (!isFigure || problem.at !== 'key') return problem;
  return { ...problem, message: unknownFigure(String(name)) };
}

/** Whether the training is BANG's: β = 0 is regular training, like no `bang` block at all. */
export function isBang({ training }: Pick<Config, 'training'>): boolean {
  const beta = training.bang?.beta ?? 0;
  return typeof beta === 'number' ? beta > 0 : Object.values(beta).some((value) => value > 0);
}

/** The iterations of which a run keeps snapshots; the network of the last is its weights. */
export function snapshotIterations({
  iterations,
  snapshots,
}: Pick<Config['training'], 'iterations' | 'snapshots'>): number[] {
  if (snapshots === undefined) return [];
  const count = Math.ceil(iterations / snapshots) - 1;
  return Array.from({ length: count }, (_, i) => (i + 1) * snapshots);
}

/** What is odd about a valid experiment, a sentence each: it runs, but maybe not as meant. */
export function configNotes(config: Config): string[] {
  const { learningRate, iterations } = config.training;
  if (learningRate.policy !== 'step') return [];
  const { at } = learningRate;
  const notes: string[] = [];
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

/** Every key there is, as `training.bang.beta`, parents before children. */
export function configKeys(): string[] {
  return keysOf(configSchema);
}

/** What can only be told from more than one key. Says nothing where the shape is wrong already. */
function problemsAcross(root: unknown): Problem[] {
  const value = (...path: string[]) => valueAt(root, path);
  const problems: Problem[] = [];
  const wrong = (path: KeyPath, message: string) => problems.push({ path, at: 'value', message });

  const data = value('data');
  const batch = value('training', 'batch');
  if (isOneOf(data, DATA_NAMES)) {
    const { train, test } = images[data];
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
    wrong(['seeds'], 'seed is given, too: leave out one of them');
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
      if (attacks.indexOf(attack) < i && isOneOf(attack, ATTACK_NAMES)) {
        wrong(['evaluation', 'attacks', i], `${attack} is in the list twice`);
      }
    });
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
        'the paper has no row of a network of your own; if it is inherited, drop it with published: null';
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
          `${NETWORKS[model].input.join('×')}, found ${inBrief(data)}`,
      );
    }
    const table = value('published', 'table');
    const row = value('published', 'row');
    if (table === 1 || table === 2) {
      if (table !== tableOf[model]) {
        const message = `expected ${tableOf[model]}, the table of ${model}, found ${table}`;
        wrong(['published', 'table'], message);
      } else if (typeof row === 'string' && !publishedRow(table, row)) {
        const names = inWords(publishedRowNames(table));
        wrong(
          ['published', 'row'],
          `expected a row of table ${table}: ${names}, found ${inBrief(row)}`,
        );
      }
    }
  }
  return problems;
}

/** Whether a network takes the images of a data set and tells as many classes apart. */
function fits(model: ModelName, data: DataName): boolean {
  const { input, classes } = NETWORKS[model];
  const shape = SHAPES[data];
  const { height, width, channels } = shape;
  return input.join() === [height, width, channels].join() && classes === shape.classes;
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

/**
 * What a protocol says of the line search holds where the config does not. How hard an attack tries
 * is there if the attack is made, and only then.
 */
function fillProtocol(parsed: Omit<Parsed, 'seeds' | 'expect'>): Config {
  const { images, attacks, pgd, square, protocol, pass } = parsed.evaluation;
  const { search = PROTOCOL[protocol].search, channels = PROTOCOL[protocol].channels } =
    parsed.evaluation;
  const effort = {
    ...(attacks.includes('pgd') && { pgd: pgd ?? EFFORT.pgd }),
    ...(attacks.includes('square') && { square: square ?? EFFORT.square }),
  };
  return {
    ...parsed,
    evaluation: { images, attacks, ...effort, protocol, search, channels, pass },
  };
}

/** Whether a model is a network of the user's own, and not one of those that have a name. */
export function isOwn(model: Config['model']): model is OwnNetwork {
  return typeof model !== 'string';
}

/** The network that an experiment is about. */
export function networkOf({
  name,
  model,
  data,
}: Pick<Config, 'name' | 'model' | 'data'>): NetworkSpec {
  if (!isOwn(model)) return NETWORKS[model];
  const { height, width, channels, classes } = SHAPES[data];
  return { name, input: [height, width, channels], classes, ...model };
}

function layersOf(model: Config['model']): LayerSpec[] {
  return isOwn(model) ? model.layers : NETWORKS[model].layers;
}

/** The data set that a network is made for. */
export function dataOf(model: ModelName): DataName {
  return DATA_NAMES.find((name) => fits(model, name))!;
}

/** The order in which layers are named says nothing, so it shall not show in a hash either. */
function orderLayers(config: Config): Config {
  const { bang } = config.training;
  if (!bang) return config;
  const layers = weightedLayersOf(layersOf(config.model));
  const ordered = (value: number | Record<string, number>) =>
    typeof value === 'number'
      ? value
      : Object.fromEntries(layers.map((name) => [name, value[name]]));
  const { beta, epsilon, ...rest } = bang;
  const training = {
    ...config.training,
    bang: { beta: ordered(beta), epsilon: ordered(epsilon), ...rest },
  };
  return { ...config, training };
}

function isOneOf<T extends string>(value: unknown, names: readonly T[]): value is T {
  return (names as readonly unknown[]).includes(value);
}
