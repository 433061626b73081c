import { omit } from '../base/omit.js';
import { type Budgets, PROTOCOL, type Protocol } from '../attacks/attack.js';
import { shapeOf } from '../data/shapes.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import type { LayerSpec } from '../model/layers.js';
import { type NetworkName, NETWORKS, type NetworkSpec } from '../model/networks.js';
import { imagesOf, type OwnNetwork } from './ownNetwork.js';
import type { Parsed } from './experimentSchema.js';

/** The table of the paper with each model's rows. */
export const tableOf: Record<NetworkName, 1 | 2> = { lenet: 1, 'cifar10-quick': 2 };

/** A checked experiment: plain data, keys in a fixed order, all defaults filled in. */
export type Config = Omit<Parsed, 'evaluation' | 'seeds' | 'expect'> & {
  evaluation: Omit<Parsed['evaluation'], 'budgets'> & { budgets?: Budgets | undefined } & Protocol;
};

/**
 * The values of keys of `training` that a config leaves out where they are these. Configs had no such keys at
 * first, and the hash of a training must not change with the version of the program.
 */
const LEFT_OUT = { split: 'first' } as const;

/** A training without the keys that have their defaults and are left out for that. */
export function briefTraining(training: Config['training']): Config['training'] {
  const defaults: Record<string, unknown> = LEFT_OUT;
  const given = Object.entries(training).filter(([key, value]) => defaults[key] !== value);
  return Object.fromEntries(given) as Config['training'];
}

/** A training with every default. */
export function fullTraining(training: Config['training']): Config['training'] {
  return { ...LEFT_OUT, ...training };
}

/** Whether training uses BANG: β = 0 everywhere is regular training, as is no `bang` block. */
export function isBang({ training }: { training: Partial<Config['training']> }): boolean {
  const beta = training.bang?.beta ?? 0;
  return typeof beta === 'number' ? beta > 0 : Object.values(beta).some((value) => value > 0);
}

/** What a training does that regular training does not. */
function waysOf(training: Partial<Config['training']>): string[] {
  const { augment, adversarial, labelSmoothing } = training;
  const attack = adversarial?.steps === 1 ? 'FGS' : `PGD of ${adversarial?.steps} steps`;
  return [
    ...(isBang({ training }) ? ['BANG'] : []),
    ...(augment ? [`noise of σ ${augment.noise}`] : []),
    ...(adversarial ? [`adversarial images (${attack}, L∞ ≤ ${adversarial.epsilon})`] : []),
    ...(labelSmoothing === undefined ? [] : [`label smoothing of ${labelSmoothing}`]),
  ];
}

/**
 * A training in words: `BANG`, or `noise of σ 50, label smoothing of 0.1`.
 *
 * @param regular what regular training is called
 */
export function trainingInWords(
  training: Partial<Config['training']>,
  regular = 'regular',
): string {
  return waysOf(training).join(', ') || regular;
}

/** The iterations at which a run keeps snapshots, without the last one, whose network is the result. */
export function snapshotIterations({
  iterations,
  snapshots,
}: Pick<Config['training'], 'iterations' | 'snapshots'>): number[] {
  if (snapshots === undefined) return [];
  const count = Math.ceil(iterations / snapshots) - 1;
  return Array.from({ length: count }, (_, i) => (i + 1) * snapshots);
}

/** Whether a network has the image shape and the number of classes of a data set. */
export function fits(model: NetworkName, data: DataName): boolean {
  const { input, classes } = NETWORKS[model];
  const shape = shapeOf(data);
  if (!shape) return false;
  const { height, width, channels } = shape;
  return input.join() === [height, width, channels].join() && classes === shape.classes;
}

/** Whether a model is a network of the user's own rather than a named one. */
export function isOwn(model: Config['model']): model is OwnNetwork {
  return typeof model !== 'string';
}

/**
 * The channels of FGS's and HC1's directions where a config leaves them out. The paper's reversed ones are a mistake of
 * its experiments with CIFAR-10 quick, which nobody means who brings another network.
 */
export function channelsFor(
  model: Config['model'],
  protocol: keyof typeof PROTOCOL,
): Protocol['channels'] {
  return isOwn(model) ? 'kept' : PROTOCOL[protocol].channels;
}

/** How to evaluate a network that is yet to be read: without `channels`, they are as it has them. */
export type AnyEvaluation = Omit<Config['evaluation'], 'channels'> &
  Partial<Pick<Protocol, 'channels'>>;

/** @param models those that it evaluates: channels are kept if one of them is the user's own */
export function evaluationOf(
  evaluation: AnyEvaluation,
  ...models: Config['model'][]
): Config['evaluation'] {
  const { protocol, channels } = evaluation;
  const model = models.find(isOwn) ?? models[0];
  return { ...evaluation, channels: channels ?? channelsFor(model, protocol) };
}

/** The network that an experiment trains. */
export function networkOf({
  name,
  model,
  data,
}: Pick<Config, 'name' | 'model' | 'data'>): NetworkSpec {
  if (!isOwn(model)) return NETWORKS[model];
  const { height, width, channels, classes } = imagesOf(model, data)!;
  return { ...omit(model, 'image'), name, input: [height, width, channels], classes };
}

export function layersOf(model: Config['model']): LayerSpec[] {
  return isOwn(model) ? model.layers : NETWORKS[model].layers;
}

/** The data set that a network is made for. */
export function dataOf(model: NetworkName): DataName {
  return DATA_NAMES.find((name) => fits(model, name))!;
}
