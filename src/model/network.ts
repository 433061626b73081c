import * as tf from '@tensorflow/tfjs';
import { normalize } from '../engine/ops.js';
import {
  isWeighted,
  makeLayer,
  type Layer,
  type Parameters,
  type Shape,
  type WeightedLayer,
} from './layers.js';
import type { NetworkSpec } from './networks.js';

/** A network's layers, fitted to each other. Its parameters are elsewhere: it is only structure. */
export interface Network {
  spec: NetworkSpec;
  layers: Layer[];
  weighted: WeightedLayer[];
}

/** Parameters by layer name. */
export type Weights = Map<string, Parameters>;

/** One forward pass, kept for the way back. */
export interface Trace {
  /** The input of each layer, and last the logits: values[i + 1] is the output of layer i. */
  values: tf.Tensor[];
  logits: tf.Tensor2D;
}

/** Dropout's factors for the layers that want them, by position. */
export type Masks = Map<number, tf.Tensor>;

export function makeNetwork(spec: NetworkSpec): Network {
  const layers: Layer[] = [];
  let shape: Shape = spec.input;
  for (const layer of spec.layers) {
    const made = makeLayer(layer, shape);
    layers.push(made);
    shape = made.output;
  }
  return { spec, layers, weighted: layers.filter(isWeighted) };
}

/** Pixels [N,H,W,C] as the network wants them. */
export function prepare(network: Network, pixels: tf.Tensor4D): tf.Tensor4D {
  return normalize(pixels, undefined, network.spec.scale);
}

/** The forward pass from pixels [N,H,W,C], all of its values kept. */
export function trace(
  network: Network,
  weights: Weights,
  pixels: tf.Tensor4D,
  masks?: Masks,
): Trace {
  const values: tf.Tensor[] = [prepare(network, pixels)];
  network.layers.forEach((layer, i) => {
    const extra = { parameters: parametersOf(layer, weights), mask: masks?.get(i) };
    values.push(layer.forward(values[i], extra));
  });
  return { values, logits: values[values.length - 1] as tf.Tensor2D };
}

/** Logits [N,classes] for pixels [N,H,W,C]. */
export function logitsOf(network: Network, weights: Weights, pixels: tf.Tensor4D): tf.Tensor2D {
  return tf.tidy(() => trace(network, weights, pixels).logits);
}

/**
 * The way back: kappa begins as the gradient by the logits and is handed down, layer by layer, to
 * the output of the first, whose gradient is returned.
 *
 * @param visit called for each layer with weights, last layer first, with its kappa (the gradient
 *   with respect to its output) and its input
 */
export function backward(
  network: Network,
  weights: Weights,
  { values }: Trace,
  logitsGradient: tf.Tensor2D,
  visit: (layer: WeightedLayer, kappa: tf.Tensor, x: tf.Tensor) => void,
  masks?: Masks,
): tf.Tensor {
  let kappa: tf.Tensor = logitsGradient;
  for (let i = network.layers.length - 1; i >= 0; i--) {
    const layer = network.layers[i];
    if (isWeighted(layer)) visit(layer, kappa, values[i]);
    if (i === 0) break;
    const extra = { parameters: parametersOf(layer, weights), mask: masks?.get(i) };
    kappa = layer.backward(kappa, values[i], values[i + 1], extra);
  }
  return kappa;
}

/** The gradient with respect to the pixels [N,H,W,C], but for the positive factor `spec.scale`. */
export function pixelGradient(
  network: Network,
  weights: Weights,
  pass: Trace,
  logitsGradient: tf.Tensor2D,
): tf.Tensor4D {
  const first = network.layers[0];
  const kappa = backward(network, weights, pass, logitsGradient, () => undefined);
  const extra = { parameters: parametersOf(first, weights) };
  return first.backward(kappa, pass.values[0], pass.values[1], extra) as tf.Tensor4D;
}

function parametersOf(layer: Layer, weights: Weights): Parameters | undefined {
  return isWeighted(layer) ? weights.get(layer.name) : undefined;
}
