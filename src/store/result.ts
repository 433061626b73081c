import { z } from 'zod';
import { ATTACK_NAMES, CHANNELS, NORMS, SEARCHES } from '../attacks/attack.js';
import type { Row } from '../metrics/row.js';
import { CONTENTS, DATA_NAMES, type DataName } from '../data/sources.js';
import type { Config } from '../config/experiment.js';

/** `result.json`: the numbers of an experiment and where they come from. */
export interface Result {
  format: 1;
  name: string;
  config: Partial<Config>;
  row: Row;
  /** The sha256 of the weights as a safetensors file without metadata. */
  weights: string;
  data: DataSource;
  /** Results of another program may lack it. */
  provenance?: Provenance;
}

/** A data set: the published package, or a folder of the user's; with a hash of its contents. */
export interface DataSource {
  name: DataName;
  folder: string | null;
  sha256: string;
  /** The names of the classes, in the order of the labels, if its files tell them. */
  classes?: string[];
}

/** Whether images are not MNIST's or CIFAR-10's, though in files of their format. */
export function isOtherData({ name, sha256 }: Pick<DataSource, 'name' | 'sha256'>): boolean {
  return Object.hasOwn(CONTENTS, name) && sha256 !== CONTENTS[name as keyof typeof CONTENTS];
}

export interface Provenance {
  bang: string;
  node: string;
  platform: string;
  cpu: string;
  engine: string;
  threads: number;
  finished: string;
  seconds: { training: number | null; total: number };
}

const count = z.int().min(0);
const percent = z.number().min(0).max(100);
/** A mean and a standard deviation of values in a range; damaged files may have any number. */
const spread = (least: number, most: number) =>
  z
    .object({
      mean: z.number().min(least).max(most),
      std: z
        .number()
        .min(0)
        .max(most - least)
        .nullable(),
    })
    .nullable();
const linf = spread(0, 255);
const attack = z
  .object({
    attacked: count,
    succeeded: count,
    rate: percent,
    linf,
    l2: spread(0, 1e6).optional(),
    pass: spread(-1, 1),
    aligned: count.nullable().optional(),
  })
  .optional();
const robustness = z
  .object({
    budgets: z.array(z.number().min(0).max(255)).min(1),
    attacks: z.record(
      z.string(),
      z.object({
        accuracy: z.array(percent),
        medianLinf: z.number().min(0).max(255).nullable().optional(),
      }),
    ),
  })
  .refine(({ budgets, attacks }) =>
    Object.values(attacks).every(({ accuracy }) => accuracy.length === budgets.length),
  );
const atBudgets = z.array(
  z.object({
    norm: z.enum(NORMS),
    budget: z.number().min(0).max(1e6),
    left: count,
    accuracy: percent,
    taken: z.record(z.string(), count),
  }),
);
const masking = z.object({
  attacked: count,
  blank: count,
  fgsFails: count,
  attacks: z.record(
    z.string(),
    z.object({
      fooled: count,
      fgsFails: count,
      belowFgs: count,
      belowPgd: count.nullable(),
      belowApgd: count.nullable().optional(),
    }),
  ),
  conclusion: z.string(),
});
const noise = z.object({
  sigma: z.number().min(0),
  copies: count.min(1),
  seed: count,
  images: count,
  flips: count,
  rate: percent.nullable(),
  overImages: percent.nullable(),
});
const seconds = z.number().min(0).max(1e12);

const perLayer = z.union([z.number(), z.record(z.string(), z.number())]);
const perLayerOrAdaptive = z.union([perLayer, z.literal('adaptive')]);

/** The parts of a result that are read back. */
const resultSchema = z.object({
  format: z.literal(1),
  name: z.string().min(1),
  config: z.object({
    seed: count.optional(),
    evaluation: z
      .object({
        pgd: z.object({ steps: count.min(1), restarts: count.min(1) }).optional(),
        apgd: z.object({ steps: count.min(1), restarts: count }).optional(),
        square: z.object({ queries: count.min(1) }).optional(),
        logitScale: z.number().optional(),
      })
      .optional(),
    published: z.object({ table: z.literal([1, 2]), row: z.string() }).optional(),
    training: z
      .object({ bang: z.object({ beta: perLayer, epsilon: perLayerOrAdaptive }).optional() })
      .optional(),
  }),
  row: z.object({
    images: count.min(1),
    accuracy: percent,
    correct: count,
    blank: count,
    protocol: z.object({ search: z.enum(SEARCHES), channels: z.enum(CHANNELS) }),
    // Attacks of later versions are passed over.
    attacks: z.object(Object.fromEntries(ATTACK_NAMES.map((name) => [name, attack]))),
    robustness: robustness.optional(),
    noise: noise.optional(),
    atBudgets: atBudgets.optional(),
    masking: masking.optional(),
  }),
  weights: z.string(),
  provenance: z
    .object({
      bang: z.string(),
      node: z.string(),
      platform: z.string(),
      cpu: z.string(),
      engine: z.string(),
      threads: count,
      finished: z.string(),
      seconds: z.object({ training: seconds.nullable(), total: seconds }),
    })
    .optional(),
  data: z.object({ name: z.enum(DATA_NAMES), folder: z.string().nullable(), sha256: z.string() }),
});

/** Whether a value is a result. Checks only the parts that are read back. */
export function isResult(value: unknown): value is Result {
  return resultSchema.safeParse(value).success;
}
