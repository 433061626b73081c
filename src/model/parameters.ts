import * as tf from '@tensorflow/tfjs-core';
import { read } from '../engine/ops/read.js';
import { UserError } from '../base/errors.js';
import { makeRandom } from '../base/random.js';
import type { Shape, WeightedLayer } from './layers.js';
import { quoted } from '../base/text.js';
import type { Network, Weights } from './network.js';
import type { NamedArray, WeightFile } from './tensors.js';

/** Fresh parameters by the layers' fillers, as variables; biases are zero. */
export function initialWeights(network: Network, seed: number): Weights {
  const weights: Weights = new Map();
  for (const layer of network.weighted) {
    const random = makeRandom(seed, `weights/${layer.name}`);
    const values = new Float32Array(tf.util.sizeFromShape(layer.weightShape));
    const { filler } = layer;
    const limit = Math.sqrt(3 / layer.fanIn);
    for (let i = 0; i < values.length; i++) {
      values[i] =
        filler.kind === 'xavier'
          ? limit * (2 * random.uniform() - 1)
          : filler.std * random.gaussian();
    }
    const outputs = layer.weightShape.at(-1)!;
    weights.set(layer.name, {
      weight: variableOf(values, layer.weightShape),
      bias: variableOf<tf.Rank.R1>(new Float32Array(outputs), [outputs]),
    });
  }
  return weights;
}

/**
 * A variable that is all there is of it: `tf.variable` shares the memory of the tensor that it is made
 * of, which keeps it when the variable is disposed of.
 */
export function variableOf<R extends tf.Rank>(
  values: Float32Array,
  shape: tf.ShapeMap[R],
): tf.Variable<R> {
  const initial = tf.tensor<R>(values, shape);
  const variable = tf.variable(initial);
  initial.dispose();
  return variable;
}

export function disposeWeights(weights: Weights): void {
  for (const { weight, bias } of weights.values()) tf.dispose([weight, bias]);
}

/** Disposes of all that makes a network: its parameters and, if it has one, its mean image. */
export function disposeNetwork({ mean }: Network, weights: Weights): void {
  disposeWeights(weights);
  mean?.dispose();
}

/** The name of the mean image in a file, where it lies in Caffe's layout, C×H×W. */
export const MEAN = 'mean';

/** All that makes a network, as files hold it: its parameters and, if it has one, its mean image. */
export function exportNetwork(network: Network, weights: Weights): Map<string, NamedArray> {
  const tensors = exportWeights(network, weights);
  if (network.mean) {
    const planar = read(() => tf.transpose(network.mean!, [2, 0, 1])) as Float32Array;
    const [height, width, channels] = network.spec.input;
    tensors.set(MEAN, { shape: [channels, height, width], data: planar });
  }
  return tensors;
}

/**
 * The mean image in a file, [H,W,C]; undefined if there is none.
 *
 * @throws UserError if it has another shape than the network's images
 */
export function importMean(
  network: Network,
  file: Pick<WeightFile, 'tensors'>,
  name: string,
): tf.Tensor3D | undefined {
  const found = file.tensors.get(MEAN);
  if (!found) return undefined;
  const [height, width, channels] = network.spec.input;
  const shape: [number, number, number] = [channels, height, width];
  if (!tf.util.arraysEqual(found.shape, shape))
    throw new UserError(misshapen(network, name, MEAN, found.shape, shape));
  return tf.tidy(() => tf.transpose(tf.tensor3d(found.data, shape), [1, 2, 0]));
}

function misshapen(
  network: Network,
  file: string,
  tensor: string,
  has: number[],
  needs: number[],
): string {
  return `${file}: tensor ${tensor} has shape [${has.join(', ')}], the network ${network.spec.name} needs [${needs.join(', ')}]`;
}

/** The parameters as files hold them: Caffe's layout, `conv1.weight` and so on. */
export function exportWeights(network: Network, weights: Weights): Map<string, NamedArray> {
  const tensors = new Map<string, NamedArray>();
  for (const layer of network.weighted) {
    const { weight, bias } = weights.get(layer.name)!;
    const order = caffeOrder(layer);
    const inner = weight.dataSync() as Float32Array;
    const outer = new Float32Array(inner.length);
    for (let i = 0; i < outer.length; i++) outer[i] = inner[order[i]]!;
    tensors.set(`${layer.name}.weight`, { shape: caffeShape(layer), data: outer });
    tensors.set(`${layer.name}.bias`, {
      shape: bias.shape,
      data: (bias.dataSync() as Float32Array).slice(),
    });
  }
  return tensors;
}

/**
 * Parameters from a file, as variables.
 *
 * @throws UserError if a tensor is missing, has another shape, or does not belong to the network
 */
export function importWeights(network: Network, file: WeightFile, name: string): Weights {
  const known = new Set(network.weighted.flatMap((l) => [`${l.name}.weight`, `${l.name}.bias`]));
  if (network.spec.subtractMean) known.add(MEAN);
  const stranger = [...file.tensors.keys()].find((key) => !known.has(key));
  if (stranger !== undefined) {
    throw new UserError(
      `${name}: tensor ${quoted(stranger)} does not belong to the network ${network.spec.name}, which has ${[...known].join(', ')}`,
    );
  }
  const find = (key: string, shape: number[]): Float32Array => {
    const found = file.tensors.get(key);
    if (!found)
      throw new UserError(`${name}: tensor ${key} of the network ${network.spec.name} is missing`);
    if (!tf.util.arraysEqual(found.shape, shape)) {
      throw new UserError(misshapen(network, name, key, found.shape, shape));
    }
    return found.data;
  };
  // All of them are looked at before the first is made, so that a bad file leaves nothing behind.
  const arrays = network.weighted.map((layer) => ({
    layer,
    outer: find(`${layer.name}.weight`, caffeShape(layer)),
    bias: find(`${layer.name}.bias`, [layer.weightShape.at(-1)!]),
  }));
  const weights: Weights = new Map();
  for (const { layer, outer, bias } of arrays) {
    const order = caffeOrder(layer);
    const inner = new Float32Array(outer.length);
    for (let i = 0; i < outer.length; i++) inner[order[i]] = outer[i]!;
    weights.set(layer.name, {
      weight: variableOf(inner, layer.weightShape),
      bias: variableOf<tf.Rank.R1>(bias.slice(), [bias.length]),
    });
  }
  return weights;
}

/** Shape in Caffe's layout: conv O×I×h×w, inner product out×in. */
export function caffeShape(layer: WeightedLayer): number[] {
  const shape = layer.weightShape;
  return shape.length === 4 ? [shape[3], shape[2], shape[0], shape[1]] : [shape[1], shape[0]];
}

/** For each value in Caffe's layout, its position in ours (h×w×I×O; in×out over H×W×C). */
export function caffeOrder(layer: WeightedLayer): Uint32Array {
  const { weightShape, input } = layer;
  const outputs = weightShape.at(-1)!;
  // An inner product reads its input flattened, in Caffe as C×H×W: like a filter as large as it.
  const [height, width, channels] =
    weightShape.length === 4 ? (weightShape as [number, number, number]) : extents(input);
  const order = new Uint32Array(outputs * height * width * channels);
  let at = 0;
  for (let o = 0; o < outputs; o++)
    for (let c = 0; c < channels; c++)
      for (let h = 0; h < height; h++)
        for (let w = 0; w < width; w++)
          order[at++] = ((h * width + w) * channels + c) * outputs + o;
  return order;
}

function extents(shape: Shape): [number, number, number] {
  return shape.length === 3 ? shape : [1, 1, shape[0]];
}
