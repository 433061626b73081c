import type { PublishedRow } from './published.js';

/** What the rows of a table share: the network, its data and its training, without BANG. */
const SHARED = {
  1: {
    model: 'lenet',
    data: 'mnist',
    training: {
      trainOn: '50k',
      split: 'random',
      iterations: 10_000,
      batch: 64,
      learningRate: { policy: 'inv', base: 0.01, gamma: 0.0001, power: 0.75 },
      momentum: 0.9,
      weightDecay: 0.0005,
      shuffle: 'once',
    },
  },
  2: {
    model: 'cifar10-quick',
    data: 'cifar10',
    training: {
      trainOn: '50k',
      split: 'first',
      iterations: 20_000,
      batch: 100,
      learningRate: { policy: 'step', base: 0.001, factor: 0.1, at: [18_000, 19_000] },
      momentum: 0.9,
      weightDecay: 0.004,
      shuffle: false,
    },
  },
} as const;

/** The factor on ε for misclassified images. */
const RATIO = { 1: 1, 2: 0.5 } as const;

/** The keys of a config on which the network of a published row depends, as `bang config` prints them. */
export function trainingOf({ table, beta, epsilon }: PublishedRow): Record<string, unknown> {
  const { training, ...rest } = SHARED[table];
  if (beta === null) return { ...rest, training };
  return { ...rest, training: { ...training, bang: { beta, epsilon, ratio: RATIO[table] } } };
}
