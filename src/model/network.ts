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

/** The structure of a network; its parameters are stored separately, in `Weights`. */
export interface Network {
  spec: NetworkSpec;
  layers: Layer[];
  weighted: WeightedLayer[];
  /** The mean training image [H,W,C] in grey levels, if the network subtracts it. */
  mean?: tf.Tensor3D;
}

/** A network's parameters, or values of the same shapes: their gradients or velocities. */
export interface Weights {
  /** All values, in two groups: the layers' weights, then their biases. */
  block: Block;
  /** The values of each layer, by its name. */
  layers: ReadonlyMap<string, Parameters>;
}

/** The results of a forward pass, for the backward pass. */
export interface Trace {
  /** By layer. */
  activations: Activations[];
  logits: tf.Tensor2D;
}

/** Factors of the dropout layers, by position in the network. */
export type Masks = Map<number, tf.Tensor>;

/**
 * Makes a network; a convolution and the max pooling after it become one layer.
 *
 * @throws ShapeError if the layers do not fit each other
 */
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

/** Subtracts the mean image from pixels [N,H,W,C], if the network does so, and scales them. */
export function prepare(network: Network, pixels: tf.Tensor4D): tf.Tensor4D {
  return normalize(pixels, meanOf(network), network.spec.scale);
}

function meanOf({ spec, mean }: Network): tf.Tensor3D | undefined {
  if (spec.subtractMean && !mean) throw new Error(`${spec.name} needs the mean training image`);
  return mean;
}

/** The forward pass from pixels [N,H,W,C], with all intermediate values. */
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

/** Logits [N,classes] for pixels [N,H,W,C]: bit-identical to those of `trace`, in half the time. */
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
 * The backward pass: propagates kappa, at first the gradient with respect to the logits, from the last layer
 * to the first.
 *
 * @param visit called with kappa for each layer with weights, the last first
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

/** The gradient with respect to the pixels [N,H,W,C], without the positive factor `spec.scale`. */
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
