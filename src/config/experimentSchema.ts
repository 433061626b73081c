import { z } from 'zod';
import {
  ATTACK_CHOICES,
  CHANNELS,
  DEFAULT_ATTACKS,
  EFFORT,
  PROTOCOLS,
  SEARCHES,
} from '../attacks/attack.js';
import { DATA_NAMES } from '../data/sources.js';
import { BUDGET_RULE, FRACTION } from './budgets.js';
import { SPLITS, TRAIN_ON } from '../data/split.js';
import { type NetworkName, NETWORKS } from '../model/networks.js';
import { expectSchema } from './expect.js';
import {
  betweenZeroAndOne,
  copies,
  engine,
  fromZeroToBelowOne,
  integer,
  logitScale,
  mapping,
  notNegative,
  oneOf,
  positive,
  runName,
  seed,
  text,
  trueOrFalse,
} from './fields.js';
import { ownNetworkSchema } from './ownNetwork.js';
import { inWords } from '../base/text.js';

export const modelNames = Object.keys(NETWORKS) as [NetworkName, ...NetworkName[]];

const PER_LAYER = 'a number, 0 or more, or a mapping with one for each weighted layer';

/** One number for all layers, or a mapping with a number for each weighted layer. */
const perLayer = z.union([notNegative(), z.record(z.string(), notNegative())], {
  error: PER_LAYER,
});

const learningRateSchema = z
  .discriminatedUnion(
    'policy',
    [
      mapping({
        policy: z.literal('inv').describe('Decays smoothly: base · (1 + gamma·t)^−power.'),
        base: positive().describe('The learning rate at iteration 0.'),
        gamma: notNegative().describe(
          'The decay per iteration: larger values lower the learning rate sooner.',
        ),
        power: notNegative().describe(
          'The exponent of the decay: larger values lower the learning rate faster.',
        ),
      }),
      mapping({
        policy: z
          .literal('step')
          .describe('Changes in steps: multiplied by factor at each iteration listed in at.'),
        base: positive().describe('The learning rate at iteration 0.'),
        factor: positive().describe('Factor on the learning rate at each step.'),
        at: z
          .array(integer(0), { error: 'a list of iterations' })
          .describe('The iterations from which each step holds.'),
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
  beta: perLayer.describe(
    'β, the factor on the gradient of the weights: 0 or more, or one for each weighted layer. 0 everywhere: regular training.',
  ),
  epsilon: z
    .union([...perLayer.options, z.literal('adaptive')], { error: `${PER_LAYER}, or adaptive` })
    .describe(
      'ε, how far small gradients in a batch are balanced towards the largest: 0 or more, or one for each weighted layer; or adaptive, which brings correct images half of the way to the weight of the misclassified ones.',
    ),
  ratio: z
    .number({ error: 'a number from 0 to 1' })
    .min(0, { error: 'a number from 0 to 1' })
    .max(1, { error: 'a number from 0 to 1' })
    .default(1)
    .describe('Factor on epsilon for images that are misclassified in the forward pass: 0 to 1.'),
});

/** As a run's folder keeps it: with the hash, so that other weights at the same path are noticed. */
const pinnedWeights = mapping({
  weights: text.describe('The file of weights, or the folder of a run.'),
  sha256: z
    .string({ error: 'a sha256 of 64 hexadecimal digits' })
    .regex(/^[0-9a-f]{64}$/, { error: 'a sha256 of 64 hexadecimal digits' })
    .describe('The hash of its tensors: other weights at this path are refused.'),
});

const UP_TO_255 = 'a number above 0, at most 255';

const trainingSchema = mapping({
  from: z
    .union([text.min(1, { error: 'a path' }), pinnedWeights], {
      error: 'the path of a file of weights, or a mapping with weights and sha256',
    })
    .optional()
    .describe(
      'Weights to begin with instead of random ones: a file, relative to this one, or the folder of a run. A run notes their hash.',
    ),
  trainOn: oneOf(TRAIN_ON)
    .default('50k')
    .describe('The training images: 50k (the rest is for validation), or all 60k of mnist.'),
  split: oneOf(SPLITS)
    .optional()
    .describe(
      'Which 50k are trained on: the first of the files (left out: these), or a random choice that depends on the seed, as in the rows of Table 1.',
    ),
  iterations: integer(1).describe('How many batches to train on.'),
  batch: integer(1).describe('How many images a batch has.'),
  learningRate: learningRateSchema,
  momentum: fromZeroToBelowOne().describe('Momentum of SGD: 0 to below 1.'),
  weightDecay: notNegative().describe('L2 decay of weights and biases: 0 or more.'),
  shuffle: z
    .union([z.boolean(), z.literal('once')], { error: 'true, false or once' })
    .default(false)
    .describe(
      'The order of the training images: false, that of the files; once, a random one that all epochs share; true, a new random one for every epoch. The rows of Table 1 have once, those of Table 2 false.',
    ),
  augment: mapping({
    noise: positive().describe(
      'The standard deviation of Gaussian noise, in grey levels, rounded and clipped to 0 to 255: above 0.',
    ),
  })
    .optional()
    .describe(
      'How training images are changed, anew each time they are used; left out: not at all.',
    ),
  adversarial: mapping({
    epsilon: z
      .number({ error: UP_TO_255 })
      .gt(0, { error: UP_TO_255 })
      .max(255, { error: UP_TO_255 })
      .describe('The largest change of a pixel, in grey levels: above 0, at most 255.'),
    steps: integer(1)
      .default(1)
      .describe(
        'Steps along the sign of the gradient: 1 is FGS, more are PGD from a random start.',
      ),
  })
    .optional()
    .describe(
      'Trains on adversarial images, found on the network as it is at each iteration, in place of the others; left out: not at all.',
    ),
  labelSmoothing: betweenZeroAndOne()
    .optional()
    .describe(
      'The share of each label that is spread evenly over all classes: between 0 and 1; left out: none.',
    ),
  logEvery: integer(1).default(500).describe('Iterations between two lines of the training log.'),
  checkpointEvery: integer(1)
    .default(1000)
    .describe('Iterations between two checkpoints, from which a stopped run continues.'),
  snapshots: integer(1)
    .optional()
    .describe('Iterations between two snapshots of the network, which are kept; left out: none.'),
  bang: bangSchema
    .optional()
    .describe('Batch Adjusted Network Gradients; left out: regular training.'),
});

const budgetWords = 'a number above 0, or a fraction such as 8/255';

/** Budgets in one norm, as they are written; `budgets.ts` says what they are in grey levels. */
function budgetList() {
  const one = z.union([positive(), z.string().regex(FRACTION, { error: budgetWords })], {
    error: budgetWords,
  });
  return z
    .array(one, { error: 'a list of budgets, such as [8/255, 0.3, 16]' })
    .min(1, { error: 'a list of one budget or more' });
}

const budgetsSchema = z
  .union(
    [
      budgetList(),
      mapping({
        linf: budgetList().optional().describe('Budgets in L∞: the largest change of a pixel.'),
        l2: budgetList()
          .optional()
          .describe('Budgets in L2: the root of the sum of the squared changes.'),
      }),
    ],
    { error: 'a list of budgets in L∞, or a mapping with linf, l2 or both' },
  )
  .describe(
    `The budgets at which robust accuracy is told: a list in L∞, or {linf: [...], l2: [...]}. ${BUDGET_RULE} In L∞ they are rounded down to whole grey levels. Left out: 8 to 77 grey levels in L∞ for grey images, 1 to 16 for coloured ones.`,
  );

const evaluationSchema = mapping({
  images: z
    .union([z.literal('all'), integer(1)], { error: 'all or an integer, 1 or more' })
    .default('all')
    .describe('The test images to evaluate: all, or a number of images from the start.'),
  attacks: z
    .array(oneOf(ATTACK_CHOICES), { error: 'a list of attacks' })
    // In a fixed order, so that equal experiments have equal hashes.
    .overwrite((chosen) => ATTACK_CHOICES.filter((name) => chosen.includes(name)))
    .default([...DEFAULT_ATTACKS])
    .describe(
      'fgs and hc1 as in the paper; fgs-unmasked follows a gradient that never underflows to zero; apgd (the strongest), deepfool-l2, deepfool-linf and square (which sees no gradients) are slower and stronger; each looks for the smallest perturbation of each image. auto tells the accuracy within budgets that the strongest of them leave together. pgd is weaker than apgd, and there for older configurations.',
    )
    .meta({ uniqueItems: true }),
  budgets: budgetsSchema.optional(),
  pgd: mapping({
    steps: integer(1).default(EFFORT.pgd.steps).describe('Gradient steps from each start.'),
    restarts: integer(1)
      .default(EFFORT.pgd.restarts)
      .describe(
        'Starts for each of the two losses: the first is the image itself, the others are random.',
      ),
  })
    .optional()
    .describe('How hard pgd tries.'),
  apgd: mapping({
    steps: integer(1).default(EFFORT.apgd.steps).describe('Gradient steps of each run.'),
    restarts: integer(0)
      .default(EFFORT.apgd.restarts)
      .describe(
        'Random starts after the run from the image, each with the log-odds and towards other classes: the first towards up to nine, the others towards the leading three, from three points each.',
      ),
  })
    .optional()
    .describe('How hard apgd tries, and auto with it.'),
  square: mapping({
    queries: integer(1).default(EFFORT.square.queries).describe('Forward passes for each image.'),
  })
    .optional()
    .describe('How hard square tries, and auto with it.'),
  protocol: oneOf(PROTOCOLS)
    .default('paper')
    .describe(
      'Sets search and channels where they are left out: paper (bisection, reversed), as for the published rows, or corrected (scan, kept). Channels of networks other than lenet and cifar10-quick are kept in either.',
    ),
  channels: oneOf(CHANNELS)
    .optional()
    .describe(
      'Whether fgs and hc1 are applied with colour channels reversed, as in the published rows of CIFAR-10, or kept. Makes no difference for grey images.',
    ),
  search: oneOf(SEARCHES)
    .optional()
    .describe('Line search: bisection as in the paper, or scan, which tries every step (slow).'),
  noise: mapping({
    sigma: positive().describe('The standard deviation of the noise, in grey levels.'),
    copies: copies.default(100).describe('Noisy copies of each image.'),
  })
    .optional()
    .describe(
      'Also counts how many copies of the correctly classified images with Gaussian noise, rounded and clipped, are misclassified; left out: none.',
    ),
  logitScale: logitScale()
    .optional()
    .describe(
      'Multiplies the weights of the last layer, which must make the logits alone, before anything is measured: 0.000001 to 1000000. No prediction changes, but the loss gradient of a surer network underflows. Left out: 1.',
    ),
  pass: trueOrFalse
    .default(true)
    .describe(
      'Whether to compute PASS, the perceptual similarity of adversarial and original images.',
    ),
});

const publishedSchema = mapping({
  table: z
    .literal([1, 2], { error: '1 or 2' })
    .describe('The table of the paper: 1 for LeNet, 2 for CIFAR-10 quick.'),
  row: text.describe('The row of the table: R0, R1, B0 … B5.'),
});

/** The shape of an experiment. `parseConfig` also checks what involves more than one key. */
export const configSchema = mapping({
  name: runName
    .default('unnamed')
    .describe("Names the run and its folder; left out: the file's name without its extension."),
  description: text.optional().describe('A sentence for readers, which the program only repeats.'),
  model: z
    .union([oneOf(modelNames), ownNetworkSchema], {
      error: `${modelNames.join(', ')} or a mapping with the layers of a network of your own`,
    })
    .describe(`The network: ${inWords(modelNames)}, or the layers of one of your own.`),
  data: oneOf(DATA_NAMES).describe(`The images: ${inWords(DATA_NAMES)}.`),
  seed: seed
    .default(1)
    .describe(
      'Seeds all that is random: initial weights, dropout, split and order. An integer from 0 to 4294967295.',
    ),
  seeds: z
    .array(seed, { error: 'a list of seeds' })
    .min(1, { error: 'a list of one seed or more' })
    .optional()
    .describe(
      'Several seeds instead of one: a run in a separate folder for each, and a table of their means.',
    )
    .meta({ uniqueItems: true }),
  engine,
  training: trainingSchema.describe('How the network is trained.'),
  evaluation: evaluationSchema.prefault({}).describe('What is measured afterwards.'),
  published: publishedSchema
    .optional()
    .describe('The row of the paper to print beside the result; left out: none.'),
  expect: expectSchema
    .optional()
    .describe('The bands that bang check holds the numbers to, by name; bang run ignores them.'),
});

export type Parsed = z.output<typeof configSchema>;
