import * as tf from '@tensorflow/tfjs-core';
import type { Block } from '../engine/block.js';
import { forwardPass } from '../engine/ops/forward.js';
import { normalize } from '../engine/ops/elementwise.js';
import {
  isWeighted,
  type Layer,
  makeLayer,
  type Parameters,
  type Pass,
  pooledConv,
  type Shape,
  type WeightedLayer,
} from './layers.js';
import type { NetworkSpec } from './networks.js';

/** A network's layers, fitted to each other. Its parameters are elsewhere: it is only structure. */
export interface Network {
  spec: NetworkSpec;
  layers: Layer[];
  weighted: WeightedLayer[];
  /** The mean training image [H,W,C], if the network subtracts it: found in the data, not trained. */
  mean?: tf.Tensor3D;
}

/** A network's parameters; or as much of something else: their gradients, their velocities. */
export interface Weights {
  /** All of them, in two groups: the layers' weights, then their biases. */
  block: Block;
  /** Those of each layer, by its name. */
  layers: ReadonlyMap<string, Parameters>;
}

/** One forward pass, kept for the way back. */
export interface Trace {
  /** Layer by layer. */
  passes: Pass[];
  logits: tf.Tensor2D;
}

/** Dropout's factors for the layers that want them, by position. */
export type Masks = Map<number, tf.Tensor>;

/** @throws Misfit if the layers do not fit each other */
export function makeNetwork(spec: NetworkSpec): Network {
  const layers: Layer[] = [];
  let shape: Shape = spec.input;
  for (let i = 0; i < spec.layers.length; i++) {
    const layer = makeLayer(spec.layers[i], shape);
    const fused = pooledConv(layer, spec.layers[i + 1]);
    if (fused) i++;
    layers.push(fused ?? layer);
    shape = layers[layers.length - 1].output;
  }
  return { spec, layers, weighted: layers.filter(isWeighted) };
}

/** Pixels [N,H,W,C] as the network wants them. */
export function prepare(network: Network, pixels: tf.Tensor4D): tf.Tensor4D {
  return normalize(pixels, meanOf(network), network.spec.scale);
}

function meanOf({ spec, mean }: Network): tf.Tensor3D | undefined {
  if (spec.subtractMean && !mean) throw new Error(`${spec.name} needs the mean training image`);
  return mean;
}

/** The forward pass from pixels [N,H,W,C], all of its values kept. */
export function trace(
  network: Network,
  weights: Weights,
  pixels: tf.Tensor4D,
  masks?: Masks,
): Trace {
  const passes: Pass[] = [];
  let x: tf.Tensor = prepare(network, pixels);
  network.layers.forEach((layer, i) => {
    const extra = { parameters: parametersOf(layer, weights), mask: masks?.get(i) };
    const pass = layer.forward(x, extra);
    passes.push(pass);
    x = pass.y;
  });
  return { passes, logits: x as tf.Tensor2D };
}

/** Logits [N,classes] for pixels [N,H,W,C]: those of `trace`, bit for bit, in half of the time. */
export function logitsOf(network: Network, weights: Weights, pixels: tf.Tensor4D): tf.Tensor2D {
  const steps = network.layers.flatMap((layer) => layer.steps(parametersOf(layer, weights)));
  return (
    forwardPass(pixels, meanOf(network), network.spec.scale, steps) ??
    tf.tidy(() => trace(network, weights, pixels).logits)
  );
}

/**
 * The way back: kappa begins as the gradient with respect to the logits and is handed down, layer by layer, to
 * the output of the first, whose gradient is returned, as its `backward` takes it.
 *
 * @param visit called for each layer with weights, last layer first, with its kappa (the gradient
 *   with respect to its output) and its pass
 */
export function backward(
  network: Network,
  weights: Weights,
  { passes }: Trace,
  logitsGradient: tf.Tensor2D,
  visit: (layer: WeightedLayer, kappa: tf.Tensor, pass: Pass) => void,
  masks?: Masks,
): tf.Tensor {
  let kappa: tf.Tensor = logitsGradient;
  for (let i = network.layers.length - 1; i >= 0; i--) {
    const layer = network.layers[i];
    if (isWeighted(layer)) {
      kappa = layer.receive?.(kappa, passes[i]) ?? kappa;
      visit(layer, kappa, passes[i]);
    }
    if (i === 0) break;
    const extra = { parameters: parametersOf(layer, weights), mask: masks?.get(i) };
    kappa = layer.backward(kappa, passes[i], extra);
  }
  return kappa;
}

/** The gradient with respect to the pixels [N,H,W,C], but for the positive factor `spec.scale`. */
export function pixelGradient(
  network: Network,
  weights: Weights,
  whole: Trace,
  logitsGradient: tf.Tensor2D,
): tf.Tensor4D {
  const first = network.layers[0];
  const kappa = backward(network, weights, whole, logitsGradient, () => undefined);
  const extra = { parameters: parametersOf(first, weights) };
  return first.backward(kappa, whole.passes[0], extra) as tf.Tensor4D;
}

function parametersOf(layer: Layer, weights: Weights): Parameters | undefined {
  return isWeighted(layer) ? weights.layers.get(layer.name) : undefined;
}
