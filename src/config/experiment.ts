import type { Protocol } from '../attacks/attack.js';
import { SHAPES } from '../data/shapes.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import type { LayerSpec } from '../model/layers.js';
import { NETWORKS, type NetworkSpec } from '../model/networks.js';
import type { OwnNetwork } from './ownNetwork.js';
import type { ModelName, Parsed } from './experimentSchema.js';

export type { DataName };

/** The table of the paper that has each model's rows. */
export const tableOf: Record<ModelName, 1 | 2> = { lenet: 1, 'cifar10-quick': 2 };

/** A checked experiment: plain data, keys in one fixed order, every default filled in. */
export type Config = Omit<Parsed, 'evaluation' | 'seeds' | 'expect'> & {
  evaluation: Parsed['evaluation'] & Protocol;
};

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

/** Whether a network takes the images of a data set and tells as many classes apart. */
export function fits(model: ModelName, data: DataName): boolean {
  const { input, classes } = NETWORKS[model];
  const shape = SHAPES[data];
  const { height, width, channels } = shape;
  return input.join() === [height, width, channels].join() && classes === shape.classes;
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

export function layersOf(model: Config['model']): LayerSpec[] {
  return isOwn(model) ? model.layers : NETWORKS[model].layers;
}

/** The data set that a network is made for. */
export function dataOf(model: ModelName): DataName {
  return DATA_NAMES.find((name) => fits(model, name))!;
}
