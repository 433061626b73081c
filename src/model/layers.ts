import { tf } from '../base/tf.js';
import { shapeText } from '../base/text.js';
import { conv2d, conv2dInputGradient, conv2dWeightGradient } from '../engine/ops/convolution.js';
import { dense, denseInputGradient, denseWeightGradient } from '../engine/ops/dense.js';
import { add, multiply, relu, reluGradient } from '../engine/ops/elementwise.js';
import type { ForwardOperation } from '../engine/ops/forward.js';
import { rowNorms } from '../engine/ops/norms.js';
import { padding, type Sliding } from '../engine/ops/sliding.js';
import { pool as poolImages, avgPoolGradient, maxPoolGradient } from '../engine/ops/pooling.js';

/**
 * How a layer's weights are initialised. `xavier`: uniform ±sqrt(3 / fan-in); `gaussian`: N(0, std²); `he`:
 * N(0, factor² · 2 / fan-in), He et al., arXiv 1502.01852; `zero`: zeros.
 */
export type Filler =
  | { kind: 'xavier' }
  | { kind: 'gaussian'; std: number }
  | { kind: 'he'; factor?: number }
  | { kind: 'zero' };

/** Pixels around an image: on all sides, or above, to the left, below and to the right of it. */
export type Pad = number | readonly [top: number, left: number, bottom: number, right: number];

/** The windows of a pooling. */
export interface PoolSpec {
  size: number;
  stride: number;
  pad?: Pad;
  /** Whether a last window that is not whole counts, as in Caffe, or not, as in PyTorch; left out: up. */
  rounding?: 'up' | 'down';
}

/**
 * The specification of a layer, in Caffe's terms. Biases are initialised to zero. A layer takes the output of
 * the one before it, or of the one that `from` names.
 */
export type LayerSpec = (
  | {
      kind: 'conv';
      name: string;
      filters: number;
      size: number;
      stride?: number;
      pad?: Pad;
      filler: Filler;
    }
  | { kind: 'innerProduct'; name: string; outputs: number; filler: Filler }
  | ({ kind: 'maxPool' } & PoolSpec)
  /** `countPad`: padding counts as zeros in the means; left out: windows are clipped to the image. */
  | ({ kind: 'avgPool'; countPad?: boolean } & PoolSpec)
  | { kind: 'globalAvgPool' }
  /** Adds the output of the layer that `with` names. */
  | { kind: 'add'; with: string }
  | { kind: 'relu' }
  | { kind: 'dropout'; rate: number }
  /** Only in files of weights, where `fold.ts` makes it a part of the layer before it. */
  | { kind: 'batchNorm'; name: string; epsilon?: number }
) & {
  /** Names its output. */
  name?: string;
  /** Names the layer whose output it takes. */
  from?: string;
  /** What its tensors are called in a file of another program, before `.weight` and `.bias`. */
  weights?: string;
};

/** Batch normalization of weights from elsewhere as a layer that changes nothing, which has the same shapes. */
export function withoutBatchNorm(layer: LayerSpec): LayerSpec {
  return layer.kind === 'batchNorm' ? { kind: 'dropout', rate: 0, name: layer.name } : layer;
}

/** Why a network with batch normalisation is not trained, as what follows its place. */
const NO_BATCH_NORM =
  'a network with batch normalization is not trained here: in a batch, the gradient of each image would depend on all the others, but BANG balances the gradients of single images; leave it out, and begin the last layer of each residual branch with filler: {kind: zero}, the others with {kind: he}';

/** In `from` and `with`, the image as the first layer gets it. */
export const IMAGE = 'image';

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
 * weighted; `operand`, in the shape of x, is what `add` adds, or dropout's factors (0 or 1 / (1 − rate)), which
 * there are only during training.
 */
export interface Layer {
  spec: LayerSpec;
  input: Shape;
  output: Shape;
  forward(x: tf.Tensor, parameters?: Parameters, operand?: tf.Tensor): Activations;
  /** The gradient with respect to x. */
  backward(
    kappa: tf.Tensor,
    activations: Activations,
    parameters?: Parameters,
    operand?: tf.Tensor,
  ): tf.Tensor;
  /** The operations of `forward` outside training, for a kernel that runs a whole network; undefined if it has none. */
  operations(parameters?: Parameters): ForwardOperation[] | undefined;
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
    case 'globalAvgPool': {
      const [height, width] = image(input, spec.kind);
      // One window that covers the image, to which it is clipped.
      const size = Math.max(height, width);
      return { ...pool({ kind: 'avgPool', size, stride: size }, image(input, spec.kind)), spec };
    }
    case 'batchNorm':
      throw new ShapeError('kind', NO_BATCH_NORM);
    case 'add':
      return {
        spec,
        input,
        output: input,
        forward: (x, _parameters, operand) => ({ x, y: add(x, operand!) }),
        backward: (kappa) => kappa,
        operations: () => undefined,
      };
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
  const { size, stride = 1 } = spec;
  const [top, left, bottom, right] = sidesOf(spec.pad);
  const largest = Math.min(height + top + bottom, width + left + right);
  if (size > largest) throw tooLarge('filter', size, input, largest);
  const sliding = slidingOf(spec);
  const weightShape = [size, size, channels, spec.filters];
  const rows = Math.floor((height + top + bottom - size) / stride) + 1;
  const columns = Math.floor((width + left + right - size) / stride) + 1;
  const output: [number, number, number] = [rows, columns, spec.filters];
  return {
    spec,
    name: spec.name,
    input,
    output,
    weightShape,
    windows: rows * columns,
    fanIn: size * size * channels,
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
      { kind: 'conv', input, output, size, stride, pad: [top, left], parameters: parameters! },
    ],
  };
}

/** How a convolution's filter moves. */
export function slidingOf({ size, stride = 1, pad = 0 }: Spec<'conv'>): Sliding {
  refuseWide(pad, size);
  if (typeof pad === 'number') return { stride, pad };
  return { stride, pad: padding(pad) };
}

/** Padding above, to the left, below and to the right. */
export function sidesOf(pad: Pad = 0): readonly [number, number, number, number] {
  return typeof pad === 'number' ? [pad, pad, pad, pad] : pad;
}

/** Otherwise some windows would contain only padding, which the kernels do not support. */
function refuseWide(pad: Pad, size: number): void {
  if (sidesOf(pad).some((side) => side >= size)) {
    throw new ShapeError('pad', `expected less than the size, ${size}`);
  }
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
        pad: [0, 0],
        parameters: parameters!,
      },
    ],
  };
}

export function pool(
  spec: Spec<'maxPool'> | Spec<'avgPool'>,
  input: [number, number, number],
): Layer {
  const { kind, size, stride, pad = 0, rounding = 'up' } = spec;
  refuseWide(pad, size);
  if (kind === 'avgPool' && spec.countPad && rounding === 'up') {
    throw new ShapeError('countPad', 'it goes only with rounding: down, where no window is cut');
  }
  const [height, width, channels] = input;
  const [top, left, bottom, right] = sidesOf(pad);
  const extent = Math.min(height + top + bottom, width + left + right);
  const largest = rounding === 'up' ? extent + stride - 1 : extent;
  if (size > largest) throw tooLarge('window', size, input, largest);
  const { rows, columns, sliding, beyond } = clipping(spec, input);
  const output: Shape = [rows, columns, channels];
  const shares =
    kind === 'avgPool' && spec.countPad && pad !== 0 ? coveredShares(spec, input) : undefined;
  const weigh = (y: tf.Tensor4D): tf.Tensor4D =>
    shares ? tf.mul(y, tf.tensor4d(shares, [1, rows, columns, 1])) : y;
  return {
    spec,
    input,
    output,
    forward: (x) => ({ x, y: weigh(poolImages(kind, x as tf.Tensor4D, size, sliding)) }),
    backward: (kappa, { x, y }) =>
      kind === 'maxPool'
        ? maxPoolGradient(x as tf.Tensor4D, y as tf.Tensor4D, kappa as tf.Tensor4D, size, sliding)
        : avgPoolGradient(x as tf.Tensor4D, weigh(kappa as tf.Tensor4D), size, sliding, beyond),
    operations: () =>
      shares ? undefined : [{ kind, input, output, size, stride, pad: [top, left] }],
  };
}

/** How a pooling's windows move, and how far the last ones extend past the image, where they are clipped. */
export function clipping(
  spec: PoolSpec,
  [height, width]: [number, number, number],
): { rows: number; columns: number; sliding: Sliding; beyond: [number, number] } {
  const { size, stride } = spec;
  const [top, left, bottom, right] = sidesOf(spec.pad);
  const rows = windowsAlong(height, top, bottom, spec);
  const columns = windowsAlong(width, left, right, spec);
  const past = (count: number, before: number, extent: number): number =>
    Math.max(0, (count - 1) * stride + size - before - extent);
  const beyond: [number, number] = [past(rows, top, height), past(columns, left, width)];
  const isInside = [top, left, ...beyond].every((side) => side === 0);
  const pad = isInside ? 'valid' : padding([top, left, ...beyond]);
  return { rows, columns, sliding: { stride, pad }, beyond };
}

/**
 * The number of windows along an extent with padding: rounded up to cover all of it, but, as in Caffe, without
 * a last window that would begin past its end, which can happen if the stride exceeds the window; or only those
 * that lie inside.
 */
function windowsAlong(
  extent: number,
  before: number,
  after: number,
  { size, stride, rounding = 'up' }: PoolSpec,
): number {
  const steps = (extent + before + after - size) / stride;
  if (rounding === 'down') return Math.floor(steps) + 1;
  const count = Math.ceil(steps) + 1;
  return (count - 1) * stride < extent + before ? count : count - 1;
}

/** The share of each window of size × size that lies in the image [rows × columns]. */
function coveredShares(
  spec: Spec<'avgPool'>,
  input: [number, number, number],
): Float32Array<ArrayBuffer> {
  const { size, stride } = spec;
  const [top, left] = sidesOf(spec.pad);
  const { rows, columns } = clipping(spec, input);
  const covered = (at: number, before: number, extent: number): number =>
    Math.min(at * stride - before + size, extent) - Math.max(at * stride - before, 0);
  return Float32Array.from(
    { length: rows * columns },
    (_, i) =>
      (covered(Math.floor(i / columns), top, input[0]) * covered(i % columns, left, input[1])) /
      size ** 2,
  );
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
