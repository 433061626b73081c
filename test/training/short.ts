import { createHash } from 'node:crypto';
import type { Dataset } from '#bang/data/dataset.js';
import { makeNetwork } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import type { NamedArray } from '#bang/model/tensors.js';
import { exportWeights } from '#bang/model/parameters.js';
import { makeRandom } from '#bang/base/random.js';
import { initialState, train, type TrainingSettings } from '#bang/training/train.js';

/** A training of a moment. */
export const settings: TrainingSettings = {
  iterations: 12,
  batch: 16,
  learningRate: { policy: 'inv', base: 0.01, gamma: 0.0001, power: 0.75 },
  momentum: 0.9,
  weightDecay: 0.0005,
  shuffle: false,
  logEvery: 5,
  checkpointEvery: 4,
  bang: { beta: 1, epsilon: 0.8, ratio: 1 },
};

export const network = makeNetwork(NETWORKS.lenet);

/** 40 images of stripes whose place is the class, with noise. */
export const data: Dataset = (() => {
  const random = makeRandom(1, 'stripes');
  const images = Uint8Array.from({ length: 40 * 784 }, (_, i) => {
    const [image, row] = [Math.floor(i / 784), Math.floor((i % 784) / 28)];
    return (row >> 1 === image % 10 ? 200 : 0) + 50 * random.uniform();
  });
  const labels = Uint8Array.from({ length: 40 }, (_, i) => i % 10);
  return { height: 28, width: 28, channels: 1, classes: 10, count: 40, images, labels };
})();

/** The bits of all tensors, by name: to compare them value by value takes longer than to train. */
export function bitsOf(tensors: Map<string, NamedArray>): Record<string, string> {
  const digest = ({ shape, data }: NamedArray) =>
    createHash('sha256').update(shape.join()).update(data).digest('hex');
  return Object.fromEntries([...tensors].map(([name, tensor]) => [name, digest(tensor)]));
}

/** The weights, as hashes, and the log of a short training. */
export async function weightsAfter(changed: Partial<TrainingSettings> = {}, seed = 1) {
  const state = initialState(network, seed);
  await train(network, { ...settings, ...changed }, seed, { train: data }, state);
  return { weights: bitsOf(exportWeights(network, state.weights)), rows: state.rows };
}
