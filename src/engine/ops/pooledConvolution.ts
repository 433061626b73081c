import { tf } from '../../base/tf.js';
import {
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  type WeightGradient,
} from './convolution.js';
import { fused, run } from './kernel.js';
import { rowNorms } from './norms.js';
import { maxPoolGradient, pool } from './pooling.js';
import { poolingAttributes, slidingAttributes, type MaxPooling, type Sliding } from './sliding.js';

/**
 * Convolution fused with max pooling. The native kernels never store the full-size output of the
 * convolution; other engines run the two operations in sequence.
 */

/** The result of a convolution followed by max pooling. */
export interface Pooled {
  /** [N,pH,pW,O] */
  y: tf.Tensor4D;
  /** For the backward pass: the position of each window's maximum, or the convolution's whole output. */
  saved: tf.Tensor4D;
}

/** The largest pooling window, in pixels, that the kernels support: a byte stores the maximum's position. */
const MOST_PIXELS = 256;

/** Whether the kernels support a pooling window of this size. */
export function isPoolable({ size }: Pick<MaxPooling, 'size'>): boolean {
  return size ** 2 <= MOST_PIXELS;
}

/** Whether `saved` contains positions of maxima, for the kernels that take kappa of the pooled output. */
function hasWinners({ saved }: Pooled): boolean {
  return saved.dtype === 'bool';
}

/** `conv2d` followed by max pooling. */
export function conv2dMaxPool(
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  bias: tf.Tensor1D,
  sliding: Sliding,
  pooling: MaxPooling,
): Pooled {
  const attributes = { ...slidingAttributes(sliding), pooling: poolingAttributes(pooling) };
  const own = fused('BangConvMaxPool', { x, filter, bias }, attributes);
  if (own) return { y: own[0] as tf.Tensor4D, saved: own[1] as tf.Tensor4D };
  const whole = conv2d(x, filter, bias, sliding);
  return { y: pool('maxPool', whole, pooling.size, pooling.sliding), saved: whole };
}

/** The gradient with respect to the convolution's output; kappa is that with respect to the pooled output. */
function outputGradient(
  { y, saved }: Pooled,
  kappa: tf.Tensor4D,
  { size, sliding }: MaxPooling,
): tf.Tensor4D {
  return maxPoolGradient(saved, y, kappa, size, sliding);
}

/** L2 norm [N] of each batch element's gradient with respect to the convolution's output [N,oH,oW,O]. */
export function pooledNorms(
  outputShape: number[],
  pooled: Pooled,
  kappa: tf.Tensor4D,
  pooling: MaxPooling,
): tf.Tensor1D {
  if (!hasWinners(pooled)) return rowNorms(outputGradient(pooled, kappa, pooling));
  const attributes = { shape: outputShape, pooling: poolingAttributes(pooling) };
  return run('BangPooledNorms', { kappa, winner: pooled.saved }, attributes) as tf.Tensor1D;
}

/** The gradient with respect to x. */
export function conv2dMaxPoolInputGradient(
  inputShape: number[],
  pooled: Pooled,
  kappa: tf.Tensor4D,
  filter: tf.Tensor4D,
  sliding: Sliding,
  pooling: MaxPooling,
): tf.Tensor4D {
  if (!hasWinners(pooled)) {
    const gradient = outputGradient(pooled, kappa, pooling);
    return conv2dInputGradient(inputShape, gradient, filter, sliding);
  }
  return run(
    'BangConvMaxPoolInputGradient',
    { kappa, winner: pooled.saved, filter },
    { ...slidingAttributes(sliding), inputShape, pooling: poolingAttributes(pooling) },
  ) as tf.Tensor4D;
}

/** Weight and bias gradient; into and scale as in `conv2dWeightGradient`. */
export function conv2dMaxPoolWeightGradient(
  x: tf.Tensor4D,
  pooled: Pooled,
  kappa: tf.Tensor4D,
  sliding: Sliding,
  pooling: MaxPooling,
  into: WeightGradient,
  scale?: tf.Tensor1D,
): void {
  if (!hasWinners(pooled)) {
    conv2dWeightGradient(x, outputGradient(pooled, kappa, pooling), sliding, into, scale);
    return;
  }
  fused(
    'BangConvWeightGradient',
    { x, kappa, scale, winner: pooled.saved, ...into },
    { ...slidingAttributes(sliding), pooling: poolingAttributes(pooling) },
  );
}
