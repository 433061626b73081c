import { tf } from '../base/tf.js';
import type { Block } from '../engine/block.js';
import { shapeText } from '../base/text.js';
import { conv2d, conv2dInputGradient } from '../engine/ops/convolution.js';
import { add, normalize } from '../engine/ops/elementwise.js';
import { forwardPass, type ForwardOperation } from '../engine/ops/forward.js';
import {
  type Activations,
  IMAGE,
  isWeighted,
  type Layer,
  type LayerSpec,
  makeLayer,
  type Parameters,
  type Shape,
  ShapeError,
  type WeightedLayer,
} from './layers.js';
import type { NetworkSpec } from './networks.js';
import { pooledConv } from './pooledConv.js';

/** The structure of a network; its parameters are stored separately, in `Weights`. */
export interface Network {
  spec: NetworkSpec;
  layers: Layer[];
  /** For each layer the positions of those whose outputs it takes. */
  inputs: Inputs[];
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

/** A network and its parameters. */
export interface Model {
  network: Network;
  weights: Weights;
}

/** The results of a forward pass, for the backward pass. */
export interface Trace {
  /** By layer. */
  activations: Activations[];
  logits: tf.Tensor2D;
}

/** Factors of the dropout layers, by position in the network's layers. */
export type Masks = Map<number, tf.Tensor>;

/** The positions of the layers whose outputs a layer takes: x, then what it adds; −1 is the image. */
export type Inputs = readonly [x: number, added?: number];

/** A layer, and where its inputs come from. */
export interface Connected {
  layer: Layer;
  inputs: Inputs;
}

/**
 * The layers that specifications describe, one after the other, with their connections.
 *
 * @throws ShapeError if a layer does not fit its input, or names none that comes before it
 */
export function* connected(specs: readonly LayerSpec[], input: Shape): Generator<Connected> {
  const positions = new Map([[IMAGE, -1]]);
  const outputs: Shape[] = [];
  const position = (key: string, name: string): number => {
    const found = positions.get(name);
    if (found === undefined) throw new ShapeError(key, `no layer before it is named ${name}`);
    return found;
  };
  for (const [i, spec] of specs.entries()) {
    const from = spec.from === undefined ? i - 1 : position('from', spec.from);
    const other = spec.kind === 'add' ? position('with', spec.with) : undefined;
    const shape = from < 0 ? input : outputs[from];
    if (spec.kind === 'add') {
      const added = other! < 0 ? input : outputs[other!];
      if (added.join() !== shape.join()) {
        const [first, second] = [shape, added].map(shapeText);
        throw new ShapeError('with', `${spec.with} gives ${second}, to be added to ${first}`);
      }
    }
    const layer = makeLayer(spec, shape);
    outputs.push(layer.output);
    if (spec.name !== undefined) positions.set(spec.name, i);
    yield { layer, inputs: other === undefined ? [from] : [from, other] };
  }
}

/**
 * Makes a network; a convolution and the max pooling after it become one layer.
 *
 * @throws ShapeError if the layers do not fit each other
 */
export function makeNetwork(spec: NetworkSpec): Network {
  const all = [...connected(spec.layers, spec.input)];
  const takers = all.map((_, i) => all.filter(({ inputs }) => inputs.includes(i)));
  const layers: Layer[] = [];
  const inputs: Inputs[] = [];
  /** By position among the specifications: the position of the layer with this output. */
  const positions = new Map([[-1, -1]]);
  for (let i = 0; i < all.length; i++) {
    const { layer, inputs: from } = all[i];
    const next = all.at(i + 1);
    const feedsNext = next?.inputs[0] === i && takers[i].length === 1;
    const fused = feedsNext ? pooledConv(layer, next.layer.spec) : undefined;
    if (fused) i++;
    positions.set(i, layers.length);
    layers.push(fused ?? layer);
    inputs.push(from.map((position) => positions.get(position!)!) as unknown as Inputs);
  }
  return { spec, layers, inputs, weighted: layers.filter(isWeighted) };
}

/** Pixels [N,H,W,C] as the first layer takes them: without the mean image, scaled, then as each channel has it. */
export function prepare(network: Network, pixels: tf.Tensor4D): tf.Tensor4D {
  const { spec } = network;
  const mean = meanOf(network);
  if (!isByChannel(spec)) return normalize(pixels, mean, spec.scale);
  const { weight, bias } = byChannel(spec, spec.scale);
  const centred = mean ? normalize(pixels, mean, 1) : pixels;
  return conv2d(centred, weight, bias, { stride: 1, pad: 0 });
}

function isByChannel({ mean, std }: NetworkSpec): boolean {
  return mean !== undefined || std !== undefined;
}

/** (scale · pixel − mean) / std, by channel, as a convolution with a filter of one pixel. */
function byChannel(
  { mean, std, input }: NetworkSpec,
  scale: number,
): { weight: tf.Tensor4D; bias: tf.Tensor1D } {
  const channels = input[2];
  const weight = new Float32Array(channels ** 2);
  const bias = new Float32Array(channels);
  for (let c = 0; c < channels; c++) {
    weight[c * channels + c] = scale / (std?.[c] ?? 1);
    bias[c] = -(mean?.[c] ?? 0) / (std?.[c] ?? 1);
  }
  return { weight: tf.tensor4d(weight, [1, 1, channels, channels]), bias: tf.tensor1d(bias) };
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
  const image = prepare(network, pixels);
  const output = (position: number): tf.Tensor => (position < 0 ? image : activations[position].y);
  network.layers.forEach((layer, i) => {
    const [from, added] = network.inputs[i];
    const operand = added === undefined ? masks?.get(i) : output(added);
    activations[i] = layer.forward(output(from), parametersOf(layer, weights), operand);
  });
  return { activations, logits: asLogits(network, activations.at(-1)!.y) };
}

/** A last layer may give an image of one pixel, as that of a global pooling. */
function asLogits({ spec }: Network, y: tf.Tensor): tf.Tensor2D {
  return y.rank === 2 ? (y as tf.Tensor2D) : tf.reshape(y, [-1, spec.classes]);
}

/** Logits [N,classes] for pixels [N,H,W,C]: bit-identical to those of `trace`, in half the time. */
export function logitsOf(network: Network, weights: Weights, pixels: tf.Tensor4D): tf.Tensor2D {
  return wholePass(network, weights, pixels) ?? stepByStep(network, weights, pixels);
}

/** By the kernel that runs a chain of layers; undefined if the network is none or a layer has no operation. */
function wholePass(
  network: Network,
  weights: Weights,
  pixels: tf.Tensor4D,
): tf.Tensor2D | undefined {
  const { spec, layers, inputs } = network;
  if (!inputs.every(([from], i) => from === i - 1)) return undefined;
  const operations: ForwardOperation[] = [];
  for (const layer of layers) {
    const own = layer.operations(parametersOf(layer, weights));
    if (!own) return undefined;
    operations.push(...own);
  }
  const mean = meanOf(network);
  if (!isByChannel(spec)) return forwardPass(pixels, mean, spec.scale, operations);
  const first: ForwardOperation = {
    kind: 'conv',
    size: 1,
    stride: 1,
    pad: [0, 0],
    input: spec.input,
    output: spec.input,
    parameters: byChannel(spec, spec.scale),
  };
  const logits = forwardPass(pixels, mean, 1, [first, ...operations]);
  tf.dispose([first.parameters!.weight, first.parameters!.bias]);
  return logits;
}

/** Layer by layer; an output that is not needed any more is let go. */
function stepByStep(network: Network, weights: Weights, pixels: tf.Tensor4D): tf.Tensor2D {
  const { layers, inputs } = network;
  return tf.tidy(() => {
    const outputs = new Map<number, tf.Tensor>([[-1, prepare(network, pixels)]]);
    layers.forEach((layer, i) => {
      const kept = new Set([i, ...inputs.slice(i + 1).flat()]);
      const y = tf.tidy(() => {
        const [from, added] = inputs[i];
        const operand = added === undefined ? undefined : outputs.get(added);
        return layer.forward(outputs.get(from)!, parametersOf(layer, weights), operand).y;
      });
      outputs.set(i, y);
      for (const [position, output] of outputs) {
        if (kept.has(position)) continue;
        outputs.delete(position);
        // Dropout gives what it takes.
        if (![...outputs.values()].includes(output)) output.dispose();
      }
    });
    return asLogits(network, outputs.get(layers.length - 1)!);
  });
}

type Visit = (layer: WeightedLayer, kappa: tf.Tensor, activations: Activations) => void;

/**
 * The backward pass: propagates kappa, at first the gradient with respect to the logits, from the last layer
 * to the first. An output that several layers take has the sum of their gradients.
 *
 * @param visit called with kappa for each layer with weights, the last first
 */
export function backward(
  network: Network,
  weights: Weights,
  forward: Trace,
  logitsGradient: tf.Tensor2D,
  visit: Visit,
  masks?: Masks,
): void {
  propagate(network, weights, forward, logitsGradient, { visit, masks, toImage: false });
}

/** The gradient with respect to the pixels [N,H,W,C], without the positive factor `spec.scale`. */
export function pixelGradient(
  network: Network,
  weights: Weights,
  forward: Trace,
  logitsGradient: tf.Tensor2D,
): tf.Tensor4D {
  const { spec } = network;
  const gradient = propagate(network, weights, forward, logitsGradient, { toImage: true });
  if (!spec.std) return gradient as tf.Tensor4D;
  const { weight } = byChannel(spec, 1);
  return conv2dInputGradient(gradient.shape, gradient as tf.Tensor4D, weight, {
    stride: 1,
    pad: 0,
  });
}

/** @returns the gradient with respect to the prepared image; meaningless unless it is asked for with `toImage` */
function propagate(
  { layers, inputs }: Network,
  weights: Weights,
  { activations }: Trace,
  logitsGradient: tf.Tensor2D,
  { visit, masks, toImage }: { visit?: Visit; masks?: Masks | undefined; toImage: boolean },
): tf.Tensor {
  const kappas = new Map<number, tf.Tensor>();
  const give = (to: number, gradient: tf.Tensor): void => {
    const before = kappas.get(to);
    kappas.set(to, before ? add(before, gradient) : gradient);
  };
  const last = layers.length - 1;
  give(last, tf.reshape(logitsGradient, activations[last].y.shape));
  for (let i = last; i >= 0; i--) {
    const layer = layers[i];
    const kappa = kappas.get(i)!;
    kappas.delete(i);
    if (isWeighted(layer)) visit?.(layer, kappa, activations[i]);
    const [from, added] = inputs[i];
    if (added !== undefined && (toImage || added >= 0)) give(added, kappa);
    if (from < 0 && !toImage) continue;
    const parameters = parametersOf(layer, weights);
    give(from, layer.backward(kappa, activations[i], parameters, masks?.get(i)));
  }
  return kappas.get(-1)!;
}

function parametersOf(layer: Layer, weights: Weights): Parameters | undefined {
  return isWeighted(layer) ? weights.layers.get(layer.name) : undefined;
}
