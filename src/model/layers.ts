import * as tf from '@tensorflow/tfjs-core';
import { shapeText } from '../base/text.js';
import { conv2d, conv2dInputGradient, conv2dWeightGradient } from '../engine/ops/convolution.js';
import { dense, denseInputGradient, denseWeightGradient } from '../engine/ops/dense.js';
import { multiply, relu, reluGradient } from '../engine/ops/elementwise.js';
import type { ForwardOperation } from '../engine/ops/forward.js';
import { rowNorms } from '../engine/ops/norms.js';
import { clippedAt, type Sliding } from '../engine/ops/sliding.js';
import { pool as poolImages, avgPoolGradient, maxPoolGradient } from '../engine/ops/pooling.js';

/** How a layer's weights are initialised. `xavier`: uniform ±sqrt(3 / fan-in); `gaussian`: N(0, std²). */
export type Filler = { kind: 'xavier' } | { kind: 'gaussian'; std: number };

/** The specification of a layer, in Caffe's terms. Biases are initialised to zero. */
export type LayerSpec =
  | { kind: 'conv'; name: string; filters: number; size: number; pad?: number; filler: Filler }
  | { kind: 'innerProduct'; name: string; outputs: number; filler: Filler }
  | { kind: 'maxPool'; size: number; stride: number }
  | { kind: 'avgPool'; size: number; stride: number }
  | { kind: 'relu' }
  | { kind: 'dropout'; rate: number };

/** Height, width, channels; or the length of a vector. */
export type Shape = [number, number, number] | [number];

/** Weight and bias of one layer: conv [h,w,I,O] and [O], inner product [I,O] and [O]. */
export interface Parameters {
  weight: tf.Tensor;
  bias: tf.Tensor1D;
}

/** The results of a layer's forward pass: its input x [N, …input] and output y [N, …output]. */
export interface Activations {
  x: tf.Tensor;
  y: tf.Tensor;
  /** Further data for the backward functions, if the layer needs any. */
  saved?: tf.Tensor;
}

/**
 * A layer. kappa is the gradient of the loss with respect to its output; `parameters` are its own, if it is
 * weighted; `mask` contains dropout's factors (0 or 1 / (1 − rate)) in the shape of x, during training.
 */
export interface Layer {
  spec: LayerSpec;
  input: Shape;
  output: Shape;
  forward(x: tf.Tensor, parameters?: Parameters, mask?: tf.Tensor): Activations;
  /** The gradient with respect to x. */
  backward(
    kappa: tf.Tensor,
    activations: Activations,
    parameters?: Parameters,
    mask?: tf.Tensor,
  ): tf.Tensor;
  /** The operations of `forward` outside training, for a kernel that runs the whole network. */
  operations(parameters?: Parameters): ForwardOperation[];
}

/** A layer with trained parameters, to which BANG applies. */
export interface WeightedLayer extends Layer {
  name: string;
  weightShape: number[];
  /** How often the weights are applied per image: multiply-adds = windows · weights. */
  windows: number;
  /** The number of inputs to one output, for the xavier filler. */
  fanIn: number;
  filler: Filler;
  /** ‖κᵢ‖ [N]: the norm of element i's gradient with respect to this layer's output, before any pooling. */
  norms(kappa: tf.Tensor, activations: Activations): tf.Tensor1D;
  /** into ← Σᵢ scaleᵢ · (parameter gradient of batch element i); without scale [N], all factors are 1. */
  gradient(kappa: tf.Tensor, activations: Activations, into: Parameters, scale?: tf.Tensor1D): void;
}

export function isWeighted(layer: Layer): layer is WeightedLayer {
  return 'gradient' in layer;
}

/** The number of weights and biases. */
export function countParameters({ weightShape }: WeightedLayer): number {
  return tf.util.sizeFromShape(weightShape) + weightShape.at(-1)!;
}

/** A layer does not fit its input, because of `key` of its spec. */
export class ShapeError extends Error {
  constructor(
    readonly key: string,
    message: string,
  ) {
    super(message);
  }
}

/**
 * Makes the layer that `spec` describes, for inputs of this shape.
 *
 * @throws ShapeError if the layer does not fit its input
 */
export function makeLayer(spec: LayerSpec, input: Shape): Layer {
  switch (spec.kind) {
    case 'conv':
      return conv(spec, image(input, spec.kind));
    case 'innerProduct':
      return innerProduct(spec, input);
    case 'maxPool':
    case 'avgPool':
      return pool(spec, image(input, spec.kind));
    case 'relu':
      return {
        spec,
        input,
        output: input,
        forward: (x) => ({ x, y: relu(x) }),
        backward: (kappa, { y }) => reluGradient(y, kappa),
        operations: () => [{ kind: 'relu' }],
      };
    case 'dropout':
      return {
        spec,
        input,
        output: input,
        forward: (x, _parameters, mask) => ({ x, y: mask ? multiply(x, mask) : x }),
        backward: (kappa, _activations, _parameters, mask) =>
          mask ? multiply(kappa, mask) : kappa,
        operations: () => [],
      };
  }
}

export type Spec<K extends LayerSpec['kind']> = Extract<LayerSpec, { kind: K }>;

function conv(spec: Spec<'conv'>, input: [number, number, number]): WeightedLayer {
  const [height, width, channels] = input;
  const pad = spec.pad ?? 0;
  const largest = Math.min(height, width) + 2 * pad;
  if (spec.size > largest) throw tooLarge('filter', spec.size, input, largest);
  // Otherwise some windows would contain only padding, which the kernels do not support.
  if (pad >= spec.size) throw new ShapeError('pad', `expected less than the size, ${spec.size}`);
  const sliding: Sliding = { stride: 1, pad };
  const weightShape = [spec.size, spec.size, channels, spec.filters];
  const [rows, columns] = [height, width].map((extent) => extent + 2 * pad - spec.size + 1);
  const output: [number, number, number] = [rows, columns, spec.filters];
  return {
    spec,
    name: spec.name,
    input,
    output,
    weightShape,
    windows: rows * columns,
    fanIn: spec.size * spec.size * channels,
    filler: spec.filler,
    forward: (x, parameters) => ({
      x,
      y: conv2d(x as tf.Tensor4D, filterOf(parameters), parameters!.bias, sliding),
    }),
    norms: (kappa) => rowNorms(kappa),
    backward: (kappa, { x }, parameters) =>
      conv2dInputGradient(x.shape, kappa as tf.Tensor4D, filterOf(parameters), sliding),
    gradient: (kappa, { x }, into, scale) => {
      conv2dWeightGradient(x as tf.Tensor4D, kappa as tf.Tensor4D, sliding, into, scale);
    },
    operations: (parameters) => [
      { kind: 'conv', input, output, size: spec.size, stride: 1, pad, parameters: parameters! },
    ],
  };
}

export function filterOf(parameters: Parameters | undefined): tf.Tensor4D {
  return parameters!.weight as tf.Tensor4D;
}

function innerProduct(spec: Spec<'innerProduct'>, input: Shape): WeightedLayer {
  const inputs = tf.util.sizeFromShape(input);
  const flat = (x: tf.Tensor) => tf.reshape<tf.Rank.R2>(x, [-1, inputs]);
  return {
    spec,
    name: spec.name,
    input,
    output: [spec.outputs],
    weightShape: [inputs, spec.outputs],
    windows: 1,
    fanIn: inputs,
    filler: spec.filler,
    forward: (x, parameters) => {
      const { weight, bias } = parameters!;
      return { x, y: dense(flat(x), weight as tf.Tensor2D, bias) };
    },
    norms: (kappa) => rowNorms(kappa),
    backward: (kappa, { x }, parameters) =>
      tf.reshape(
        denseInputGradient(kappa as tf.Tensor2D, parameters!.weight as tf.Tensor2D),
        x.shape,
      ),
    gradient: (kappa, { x }, into, scale) => {
      denseWeightGradient(flat(x), kappa as tf.Tensor2D, into, scale);
    },
    operations: (parameters) => [
      {
        kind: 'innerProduct',
        input: input.length === 3 ? input : [1, 1, inputs],
        output: [1, 1, spec.outputs],
        size: 1,
        stride: 1,
        pad: 0,
        parameters: parameters!,
      },
    ],
  };
}

export function pool(
  spec: Spec<'maxPool'> | Spec<'avgPool'>,
  input: [number, number, number],
): Layer {
  const { kind, size, stride } = spec;
  const [height, width, channels] = input;
  const largest = Math.min(height, width) + stride - 1;
  if (size > largest) throw tooLarge('window', size, input, largest);
  const output: Shape = [
    windowsAlong(height, size, stride),
    windowsAlong(width, size, stride),
    channels,
  ];
  const { sliding, beyond } = clipping(spec, input);
  return {
    spec,
    input,
    output,
    forward: (x) => ({ x, y: poolImages(kind, x as tf.Tensor4D, size, sliding) }),
    backward: (kappa, { x, y }) =>
      kind === 'maxPool'
        ? maxPoolGradient(x as tf.Tensor4D, y as tf.Tensor4D, kappa as tf.Tensor4D, size, sliding)
        : avgPoolGradient(x as tf.Tensor4D, kappa as tf.Tensor4D, size, sliding, beyond),
    operations: () => [{ kind, input, output, size, stride, pad: 0 }],
  };
}

/** How a pooling's windows move, and how far the last ones extend past the image, where they are clipped. */
export function clipping(
  { size, stride }: Spec<'maxPool'> | Spec<'avgPool'>,
  [height, width]: [number, number, number],
): { sliding: Sliding; beyond: [number, number] } {
  const [below, right] = [height, width].map((extent) =>
    Math.max(0, (windowsAlong(extent, size, stride) - 1) * stride + size - extent),
  );
  const pad = below === 0 && right === 0 ? 'valid' : clippedAt(below, right);
  return { sliding: { stride, pad }, beyond: [below, right] };
}

/**
 * The number of windows that Caffe places along an extent: rounded up to cover all of it, but without a
 * last window that would begin past its end, which can happen if the stride exceeds the window.
 */
function windowsAlong(extent: number, size: number, stride: number): number {
  const count = Math.ceil((extent - size) / stride) + 1;
  return (count - 1) * stride < extent ? count : count - 1;
}

function tooLarge(what: string, size: number, input: Shape, largest: number): ShapeError {
  return new ShapeError(
    'size',
    `a ${what} of ${size} does not fit its input of ${shapeText(input)}, expected at most ${largest}`,
  );
}

function image(shape: Shape, kind: string): [number, number, number] {
  if (shape.length === 3) return shape;
  throw new ShapeError('kind', `${kind} needs an image, but what comes before gives a vector`);
}
