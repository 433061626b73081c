import { tf } from '../../base/tf.js';
import type { Kernels, Values } from './binding.js';

export type Attributes = Record<string, unknown>;
/** By name; optional inputs are read as `Partial<Inputs>`. */
export type Inputs = Record<string, tf.TensorInfo>;

/** What a kernel needs of its engine: the kernels of `native/` or their likes, and the arrays that they take. */
export interface Computing {
  readonly binding: Kernels<Values, Values, Values>;
  /** A new float32 tensor, uninitialised. */
  output(shape: readonly number[]): { info: tf.TensorInfo; values: Values };
  /** A new tensor of bytes (tfjs's type bool), uninitialised. */
  outputBytes(shape: readonly number[]): { info: tf.TensorInfo; values: Values };
  /** The values of a float32 tensor, not a copy, because kernels write to the tensors of a block. */
  floats(tensor: tf.TensorInfo): Values;
  /** The values of a tensor of another type. */
  values(tensor: tf.TensorInfo): Values;
}

/** The arguments that tfjs passes to a kernel. */
export interface Call {
  inputs: Inputs;
  attrs: Attributes;
  backend: Computing;
}

/** A kernel; it returns undefined for calls that it leaves to the CPU kernel. */
export type Kernel = (call: Call) => tf.TensorInfo | tf.TensorInfo[] | undefined;

export function allFloat(...tensors: (tf.TensorInfo | undefined)[]): boolean {
  return tensors.every((tensor) => tensor === undefined || tensor.dtype === 'float32');
}

export function floatsOrNull(backend: Computing, tensor?: tf.TensorInfo): Values | null {
  return tensor ? backend.floats(tensor) : null;
}

/** The `geometry` of `Kernels`, or undefined if the kernels do not support it. */
function geometryOf(info: tf.backend_util.Conv2DInfo): Int32Array | undefined {
  const usual =
    info.dataFormat === 'channelsLast' &&
    info.dilationHeight === 1 &&
    info.dilationWidth === 1 &&
    info.outHeight > 0 &&
    info.outWidth > 0 &&
    info.padInfo.top >= 0 &&
    info.padInfo.left >= 0 &&
    info.padInfo.top < info.filterHeight &&
    info.padInfo.left < info.filterWidth;
  if (!usual) return undefined;
  return Int32Array.of(
    info.batchSize,
    info.inHeight,
    info.inWidth,
    info.inChannels,
    info.outHeight,
    info.outWidth,
    info.outChannels,
    info.filterHeight,
    info.filterWidth,
    info.strideHeight,
    info.strideWidth,
    info.padInfo.top,
    info.padInfo.left,
  );
}

type ConvAttributes = Pick<tf.FusedConv2DAttrs, 'strides' | 'pad' | 'dimRoundingMode'> & {
  dataFormat?: 'NHWC' | 'NCHW';
  dilations?: [number, number] | number;
};

/** The geometry of a convolution of x, [N, H, W, C], with a filter, [kH, kW, C, outC]. */
export function convGeometry(
  xShape: readonly number[],
  filterShape: readonly number[],
  attributes: Attributes,
): Int32Array | undefined {
  const attrs = attributes as unknown as ConvAttributes;
  const info = tf.backend_util.computeConv2DInfo(
    xShape as [number, number, number, number],
    filterShape as [number, number, number, number],
    attrs.strides,
    attrs.dilations ?? 1,
    attrs.pad,
    attrs.dimRoundingMode,
    false,
    tf.backend_util.convertConv2DDataFormat(attrs.dataFormat ?? 'NHWC'),
  );
  return geometryOf(info);
}

/** The geometry of a pooling of an input of this shape, [N, H, W, C]. */
export function poolGeometry(shape: number[], attrs: Attributes): Int32Array | undefined {
  const { filterSize, strides, pad, dimRoundingMode } = attrs as unknown as tf.MaxPoolAttrs;
  const info = tf.backend_util.computePool2DInfo(
    shape as [number, number, number, number],
    filterSize,
    strides,
    1,
    pad,
    dimRoundingMode,
  );
  const geometry = geometryOf(info);
  // Explicit padding can leave a window entirely outside the image.
  const inside =
    (info.outHeight - 1) * info.strideHeight - info.padInfo.top < info.inHeight &&
    (info.outWidth - 1) * info.strideWidth - info.padInfo.left < info.inWidth;
  return inside ? geometry : undefined;
}

/** The geometry of the max pooling after a convolution of this geometry. */
export function poolingOf(geometry: Int32Array, attrs: Attributes): Int32Array {
  return poolGeometry(outputShape(geometry), (attrs as { pooling: Attributes }).pooling)!;
}

/** The shape of the output: [N, outH, outW, outC]. */
export function outputShape(geometry: Int32Array): number[] {
  return [geometry[0], geometry[4], geometry[5], geometry[6]];
}
