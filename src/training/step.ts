import * as tf from '@tensorflow/tfjs-core';
import type { Batch } from '../data/batch.js';
import type { WeightGradient } from '../engine/ops/convolution.js';
import { softmaxCrossEntropy } from '../engine/ops/loss.js';
import { sgdStep } from '../engine/ops/sgd.js';
import type { Pass, WeightedLayer } from '../model/layers.js';
import {
  backward,
  trace,
  type Masks,
  type Network,
  type Trace,
  type Weights,
} from '../model/network.js';
import { variableOf } from '../model/parameters.js';
import { makeRandom } from '../base/random.js';
import { balance, epsilonHat, inLayer, type Bang } from './bang.js';

/** What SGD needs to know, as Caffe does it. */
export interface Sgd {
  rate: number;
  momentum: number;
  weightDecay: number;
}

/** The gradient of a batch's mean loss, layer by layer, BANG's if asked. */
export interface Gradients {
  /** Loss of each element [N]. */
  loss: tf.Tensor1D;
  correct: tf.Tensor1D;
  layers: Map<string, WeightGradient & { eta?: tf.Tensor1D }>;
}

/**
 * One forward and one backward pass. The caller tidies.
 *
 * @param bang β, ε and ratio; undefined for regular training, whose gradient costs nothing more
 */
export function gradientsOf(
  network: Network,
  weights: Weights,
  batch: Batch,
  bang?: Bang,
  masks?: Masks,
): Gradients {
  const count = batch.labels.shape[0];
  const pass = trace(network, weights, batch.pixels, masks);
  const { loss, gradient, correct } = softmaxCrossEntropy(pass.logits, batch.labels, 1 / count);
  const layers = layerGradients(network, weights, pass, gradient, { bang, correct, masks });
  return { loss, correct, layers };
}

/**
 * The way back from the logits: each layer's weight gradient, BANG's if asked.
 *
 * @param logitsGradient [N,C] gradient of the batch's mean loss by the logits
 * @param options.seen called with each layer's kappa, for those who want to look
 */
export function layerGradients(
  network: Network,
  weights: Weights,
  whole: Trace,
  logitsGradient: tf.Tensor2D,
  options: {
    bang?: Bang | undefined;
    correct: tf.Tensor1D;
    masks?: Masks | undefined;
    seen?: (layer: WeightedLayer, kappa: tf.Tensor, pass: Pass) => void;
  },
): Gradients['layers'] {
  const { bang, correct, masks, seen } = options;
  const layers: Gradients['layers'] = new Map();
  const hats = new Map<number, tf.Tensor1D>();
  const visit = (layer: WeightedLayer, kappa: tf.Tensor, pass: Pass): void => {
    seen?.(layer, kappa, pass);
    if (!bang) {
      layers.set(layer.name, layer.gradient(kappa, pass));
      return;
    }
    const epsilon = inLayer(bang.epsilon, layer.name);
    const hat = hats.get(epsilon) ?? epsilonHat(correct, epsilon, bang.ratio);
    hats.set(epsilon, hat);
    const { scale, eta } = balance(layer.norms(kappa, pass), hat, inLayer(bang.beta, layer.name));
    layers.set(layer.name, { ...layer.gradient(kappa, pass, scale), eta });
  };
  backward(network, weights, whole, logitsGradient, visit, masks);
  return layers;
}

/** Velocities of SGD: zeros in the shapes of the weights. */
export function initialVelocities(weights: Weights): Weights {
  const velocities: Weights = new Map();
  for (const [name, { weight, bias }] of weights) {
    velocities.set(name, {
      weight: variableOf(new Float32Array(weight.size), weight.shape),
      bias: variableOf<tf.Rank.R1>(new Float32Array(bias.size), bias.shape),
    });
  }
  return velocities;
}

/** Caffe's bias multipliers: learning rate ×2, decay ×1. */
const BIAS_RATE = 2;

/** Moves weights and velocities, in place, by one step of SGD. */
export function applyGradients(
  weights: Weights,
  velocities: Weights,
  gradients: Gradients['layers'],
  { rate, momentum, weightDecay: decay }: Sgd,
): void {
  for (const [name, gradient] of gradients) {
    const { weight, bias } = weights.get(name)!;
    const velocity = velocities.get(name)!;
    sgdStep(weight, velocity.weight, gradient.weight, { rate, momentum, decay });
    const biasRate = rate * BIAS_RATE;
    sgdStep(bias, velocity.bias, gradient.bias, { rate: biasRate, momentum, decay });
  }
}

/**
 * Inverted dropout's factors for one iteration: 0 with probability `rate`, else 1 / (1 − rate). One
 * generator an iteration, so that a resumed run draws what the whole one drew.
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
    const mask = new Float32Array(batch * input.reduce((product, extent) => product * extent, 1));
    const kept = 1 / (1 - spec.rate);
    if (spec.rate === 0.5) {
      // One random bit decides: a number is enough for 32 elements.
      const asBits = new Uint32Array(mask.buffer);
      const [two] = new Uint32Array(Float32Array.of(kept).buffer);
      for (let begin = 0; begin < asBits.length; begin += 32) {
        const end = Math.min(begin + 32, asBits.length);
        let bits = random.bits();
        for (let i = begin; i < end; i++, bits >>>= 1) asBits[i] = -(bits & 1) & two;
      }
    } else {
      const threshold = spec.rate * 2 ** 32;
      for (let i = 0; i < mask.length; i++) mask[i] = random.bits() < threshold ? 0 : kept;
    }
    masks.set(position, tf.tensor(mask, [batch, ...input]));
  });
  return masks;
}
