import { tf } from '../base/tf.js';
import { disposeBlock, makeBlock } from '../engine/block.js';
import { read } from '../engine/ops/read.js';
import { UserError } from '../base/errors.js';
import { makeRandom, type Random } from '../base/random.js';
import type { LayerSpec, Shape, WeightedLayer } from './layers.js';
import { quoted } from '../base/text.js';
import type { Model, Network, Weights } from './network.js';
import { MEAN, type NamedArray, type WeightFile } from './tensors.js';

/** Parameters with these values, given for each weighted layer in order. */
export function makeWeights(
  { weighted }: Network,
  values: readonly { weight: Float32Array; bias: Float32Array }[],
): Weights {
  const block = makeBlock([
    values.map(({ weight }, i) => ({ shape: weighted[i].weightShape, data: weight })),
    values.map(({ bias }) => ({ shape: [bias.length], data: bias })),
  ]);
  const [weights, biases] = block.views;
  const layers = weighted.map(
    ({ name }, i) => [name, { weight: weights[i], bias: biases[i] as tf.Tensor1D }] as const,
  );
  return { block, layers: new Map(layers) };
}

/** Zeros in the shapes of a network's parameters. */
export function zeroWeights(network: Network): Weights {
  const zeros = network.weighted.map(({ weightShape }) => ({
    weight: new Float32Array(tf.util.sizeFromShape(weightShape)),
    bias: new Float32Array(weightShape.at(-1)!),
  }));
  return makeWeights(network, zeros);
}

/** Initial parameters, drawn by the layers' fillers; biases are zero. */
export function initialWeights(network: Network, seed: number): Weights {
  const weights = network.weighted.map((layer) => {
    const random = makeRandom(seed, `weights/${layer.name}`);
    const values = new Float32Array(tf.util.sizeFromShape(layer.weightShape));
    const draw = drawOf(layer, random);
    for (let i = 0; i < values.length; i++) values[i] = draw();
    return { weight: values, bias: new Float32Array(layer.weightShape.at(-1)!) };
  });
  return makeWeights(network, weights);
}

function drawOf({ filler, fanIn }: WeightedLayer, random: Random): () => number {
  switch (filler.kind) {
    case 'xavier': {
      const limit = Math.sqrt(3 / fanIn);
      return () => limit * (2 * random.uniform() - 1);
    }
    case 'gaussian':
      return () => filler.std * random.gaussian();
    case 'he': {
      const std = (filler.factor ?? 1) * Math.sqrt(2 / fanIn);
      return () => std * random.gaussian();
    }
    case 'zero':
      return () => 0;
  }
}

export function disposeWeights({ block }: Weights): void {
  disposeBlock(block);
}

/** Disposes of a network's parameters and, if it has one, its mean image. */
export function disposeNetwork({ network, weights }: Model): void {
  disposeWeights(weights);
  network.mean?.dispose();
}

/** The tensors of a network file: its parameters and, if it has one, its mean image, in Caffe's layout. */
export function exportNetwork({ network, weights }: Model): Map<string, NamedArray> {
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
 * @throws UserError if its shape is not that of the network's images
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

/** The parameters in Caffe's layout, by name (`conv1.weight`), as stored in files. */
export function exportWeights(network: Network, weights: Weights): Map<string, NamedArray> {
  const tensors = new Map<string, NamedArray>();
  for (const layer of network.weighted) {
    const { weight, bias } = weights.layers.get(layer.name)!;
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
 * Parameters from a file.
 *
 * @throws UserError if a tensor is missing, has another shape, or does not belong to the network
 */
export function importWeights(
  network: Network,
  file: Pick<WeightFile, 'tensors'>,
  name: string,
): Weights {
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
  // All tensors are checked before any is created, so that a bad file leaks none.
  const arrays = network.weighted.map((layer) => ({
    layer,
    outer: find(`${layer.name}.weight`, caffeShape(layer)),
    bias: find(`${layer.name}.bias`, [layer.weightShape.at(-1)!]),
  }));
  const weights = arrays.map(({ layer, outer, bias }) => {
    const order = caffeOrder(layer);
    const inner = new Float32Array(outer.length);
    for (let i = 0; i < outer.length; i++) inner[order[i]] = outer[i]!;
    return { weight: inner, bias };
  });
  return makeWeights(network, weights);
}

/**
 * A network that differs in one thing: its logits are `scale` times as large. The caller disposes of its weights; what
 * else it has is that of the network given.
 *
 * @param scale above 0; weights and bias of the last layer are multiplied by it
 * @throws UserError if that layer does not make the logits alone
 */
export function withScaledLogits({ network, weights }: Model, scale: number): Model {
  const name = logitsLayer(network.spec.layers);
  const tensors = exportWeights(network, weights);
  for (const key of [`${name}.weight`, `${name}.bias`]) {
    const { shape, data } = tensors.get(key)!;
    tensors.set(key, { shape, data: data.map((value) => value * scale) });
  }
  return { network, weights: importWeights(network, { tensors }, network.spec.name) };
}

/**
 * The name of the layer whose weights and bias scale the logits: no other adds to what it gives, and what comes after
 * it (pooling, ReLU, dropout) scales its output with its input.
 *
 * @param layers of a network whose layers fit each other
 * @throws UserError if there is no such layer
 */
export function logitsLayer(layers: readonly LayerSpec[]): string {
  const refusal = (obstacle: string): UserError =>
    new UserError(`one layer's weights scale the logits, but ${obstacle}: leave out logitScale`);
  let i = layers.length - 1;
  while (i >= 0) {
    const layer = layers[i];
    if (layer.kind === 'conv' || layer.kind === 'innerProduct') return layer.name;
    if (layer.kind === 'add') {
      const which = layer.name === undefined ? `layers[${i}]` : `the layer ${layer.name}`;
      throw refusal(`${which} adds ${layer.with} to them`);
    }
    const { from } = layer;
    i = from === undefined ? i - 1 : layers.findIndex(({ name }) => name === from);
  }
  throw refusal('no layer with weights makes them');
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
  // Caffe flattens the input of an inner product as C×H×W, so its weights are like a filter of that size.
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
