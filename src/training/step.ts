import { tf } from '../base/tf.js';
import type { Batch } from '../engine/ops/batch.js';
import { dropoutFactors } from '../engine/ops/dropout.js';
import { sgdStep } from '../engine/ops/sgd.js';
import { smoothed, softmaxCrossEntropy } from '../engine/ops/loss.js';
import type { Activations, WeightedLayer } from '../model/layers.js';
import {
  backward,
  type Masks,
  type Network,
  type Trace,
  trace,
  type Weights,
} from '../model/network.js';
import { makeRandom, type Random } from '../base/random.js';
import { adaptiveEpsilon, balance, type Bang, epsilonHat, inLayer } from './bang.js';

/** Parameters of SGD, as defined by Caffe. */
export interface Sgd {
  rate: number;
  momentum: number;
  weightDecay: number;
}

/** Results for a batch other than its gradient. */
export interface BatchMetrics {
  /** Loss of each element [N]. */
  loss: tf.Tensor1D;
  /** 1 for elements classified correctly, else 0 [N]. */
  correct: tf.Tensor1D;
  /** BANG's η of each element [N], by layer; none in regular training. */
  eta: Map<string, tf.Tensor1D>;
}

export interface GradientOptions {
  bang?: Bang | undefined;
  masks?: Masks | undefined;
  labelSmoothing?: number | undefined;
}

/**
 * One forward and one backward pass: the gradient of a batch's mean loss, or BANG's gradient. The caller
 * disposes of the tensors with a tidy.
 *
 * @param gradients receives the gradient
 * @param options.bang β, ε and ratio; undefined for regular training
 * @param options.labelSmoothing α, from 0 to below 1
 */
export function computeGradients(
  network: Network,
  weights: Weights,
  gradients: Weights,
  { pixels, labels }: Batch,
  { bang, masks, labelSmoothing = 0 }: GradientOptions = {},
): BatchMetrics {
  const factor = 1 / labels.shape[0];
  const forward = trace(network, weights, pixels, masks);
  const hard = softmaxCrossEntropy(forward.logits, labels, factor);
  const { loss, gradient, correct } =
    labelSmoothing === 0 ? hard : smoothed(hard, forward.logits, labels, factor, labelSmoothing);
  const eta = layerGradients(network, weights, gradients, forward, gradient, {
    bang,
    correct,
    masks,
  });
  return { loss, correct, eta };
}

/**
 * The backward pass from the logits: the weight gradients of all layers, with BANG's factors if given.
 *
 * @param gradients receives them
 * @param logitsGradient [N,C] gradient of the batch's mean loss with respect to the logits
 * @param options.seen called with each weighted layer's kappa, for inspection
 * @returns BANG's η by layer
 */
export function layerGradients(
  network: Network,
  weights: Weights,
  gradients: Weights,
  forward: Trace,
  logitsGradient: tf.Tensor2D,
  options: {
    bang?: Bang | undefined;
    correct: tf.Tensor1D;
    masks?: Masks | undefined;
    seen?: (layer: WeightedLayer, kappa: tf.Tensor, activations: Activations) => void;
  },
): BatchMetrics['eta'] {
  const { bang, correct, masks, seen } = options;
  const etas: BatchMetrics['eta'] = new Map();
  const hats = new Map<number, tf.Tensor1D>();
  const visit = (layer: WeightedLayer, kappa: tf.Tensor, activations: Activations): void => {
    seen?.(layer, kappa, activations);
    const into = gradients.layers.get(layer.name)!;
    if (!bang) {
      layer.gradient(kappa, activations, into);
      return;
    }
    const norms = layer.norms(kappa, activations);
    const given = inLayer(bang.epsilon, layer.name);
    const epsilon =
      given === 'adaptive'
        ? adaptiveEpsilon(norms.dataSync(), correct.dataSync(), bang.ratio)
        : given;
    const hat = hats.get(epsilon) ?? epsilonHat(correct, epsilon, bang.ratio);
    hats.set(epsilon, hat);
    const { scale, eta } = balance(norms, hat, inLayer(bang.beta, layer.name));
    layer.gradient(kappa, activations, into, scale);
    etas.set(layer.name, eta);
  };
  backward(network, weights, forward, logitsGradient, visit, masks);
  return etas;
}

/** Caffe's learning rate multipliers for weights and biases; the decay multipliers are 1. */
const RATES = [1, 2];

/** One step of SGD; changes weights and velocities in place. */
export function applyGradients(
  weights: Weights,
  velocities: Weights,
  gradients: Weights,
  { rate, momentum, weightDecay: decay }: Sgd,
): void {
  const [w, v, g] = [weights, velocities, gradients].map(({ block }) => block.runs);
  RATES.forEach((multiplier, group) => {
    const step = { rate: rate * multiplier, momentum, decay };
    w[group].forEach((weight, i) => {
      sgdStep(weight, v[group][i], g[group][i], step);
    });
  });
}

/**
 * Inverted dropout's factors for one iteration: 0 with probability `rate`, else 1 / (1 − rate). They
 * depend only on seed, layer and iteration, so a resumed run draws the same ones.
 */
export function dropoutMasks(
  network: Network,
  batch: number,
  seed: number,
  iteration: number,
): Masks {
  const masks: Masks = new Map();
  network.layers.forEach(({ spec, input }, position) => {
    if (spec.kind !== 'dropout' || spec.rate === 0) return;
    const random = makeRandom(seed, `dropout/${masks.size}`, iteration);
    const shape = [batch, ...input];
    const bits = keptBits(random, tf.util.sizeFromShape(shape), spec.rate);
    masks.set(position, dropoutFactors(bits, 1 / (1 - spec.rate), shape));
  });
  return masks;
}

/** A bit for each of `count` values, 1 with probability 1 − rate, from the lowest of the first word on. */
function keptBits(random: Random, count: number, rate: number): Uint32Array {
  const words = new Uint32Array(Math.ceil(count / 32));
  // One random bit for each value, so one number serves 32 of them.
  if (rate === 0.5) return words.map(() => random.bits());
  const threshold = rate * 2 ** 32;
  for (let i = 0; i < count; i++) {
    if (random.bits() >= threshold) words[i >>> 5] |= 1 << (i & 31);
  }
  return words;
}
