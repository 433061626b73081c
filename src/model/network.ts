import * as tf from '@tensorflow/tfjs-core';
import type { Block } from '../engine/block.js';
import { forwardPass } from '../engine/ops/forward.js';
import { normalize } from '../engine/ops/elementwise.js';
import {
  type Activations,
  isWeighted,
  type Layer,
  makeLayer,
  type Parameters,
  type Shape,
  type WeightedLayer,
} from './layers.js';
import type { NetworkSpec } from './networks.js';
import { pooledConv } from './pooledConv.js';

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

/** One forward pass, kept for the backward pass. */
export interface Trace {
  /** Of each layer. */
  activations: Activations[];
  logits: tf.Tensor2D;
}

/** Dropout's factors for the layers that want them, by position. */
export type Masks = Map<number, tf.Tensor>;

/** @throws ShapeError if the layers do not fit each other */
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
  const activations: Activations[] = [];
  let x: tf.Tensor = prepare(network, pixels);
  network.layers.forEach((layer, i) => {
    activations[i] = layer.forward(x, parametersOf(layer, weights), masks?.get(i));
    x = activations[i].y;
  });
  return { activations, logits: x as tf.Tensor2D };
}

/** Logits [N,classes] for pixels [N,H,W,C]: those of `trace`, bit for bit, in half of the time. */
export function logitsOf(network: Network, weights: Weights, pixels: tf.Tensor4D): tf.Tensor2D {
  const operations = network.layers.flatMap((layer) =>
    layer.operations(parametersOf(layer, weights)),
  );
  return (
    forwardPass(pixels, meanOf(network), network.spec.scale, operations) ??
    tf.tidy(() => trace(network, weights, pixels).logits)
  );
}

/**
 * The backward pass: kappa, the gradient with respect to the logits, is handed down from layer to layer.
 *
 * @param visit called for each layer with weights, the last first, with its kappa
 * @returns kappa of the first layer
 */
export function backward(
  network: Network,
  weights: Weights,
  { activations }: Trace,
  logitsGradient: tf.Tensor2D,
  visit: (layer: WeightedLayer, kappa: tf.Tensor, activations: Activations) => void,
  masks?: Masks,
): tf.Tensor {
  let kappa: tf.Tensor = logitsGradient;
  for (let i = network.layers.length - 1; i >= 0; i--) {
    const layer = network.layers[i];
    if (isWeighted(layer)) visit(layer, kappa, activations[i]);
    if (i === 0) break;
    kappa = layer.backward(kappa, activations[i], parametersOf(layer, weights), masks?.get(i));
  }
  return kappa;
}

/** The gradient with respect to the pixels [N,H,W,C], but for the positive factor `spec.scale`. */
export function pixelGradient(
  network: Network,
  weights: Weights,
  forward: Trace,
  logitsGradient: tf.Tensor2D,
): tf.Tensor4D {
  const first = network.layers[0];
  const kappa = backward(network, weights, forward, logitsGradient, () => undefined);
  const parameters = parametersOf(first, weights);
  return first.backward(kappa, forward.activations[0], parameters) as tf.Tensor4D;
}

function parametersOf(layer: Layer, weights: Weights): Parameters | undefined {
  return isWeighted(layer) ? weights.layers.get(layer.name) : undefined;
}
