import * as tf from '@tensorflow/tfjs-core';
import { fused, run } from './kernel.js';
import { slidingAttributes, type Sliding } from './sliding.js';

/** x [N,H,W,I] * filter [h,w,I,O] + bias [O], as [N,oH,oW,O]. */
export function conv2d(
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  bias: tf.Tensor1D,
  sliding: Sliding,
): tf.Tensor4D {
  return run(tf.FusedConv2D, { x, filter, bias }, slidingAttributes(sliding)) as tf.Tensor4D;
}

/** The gradient with respect to x of a convolution whose output has the gradient kappa. */
export function conv2dInputGradient(
  inputShape: number[],
  kappa: tf.Tensor4D,
  filter: tf.Tensor4D,
  sliding: Sliding,
): tf.Tensor4D {
  const attributes = { ...slidingAttributes(sliding), inputShape };
  return run(tf.Conv2DBackpropInput, { dy: kappa, filter }, attributes) as tf.Tensor4D;
}

/** The gradients with respect to a layer's weight and bias, in their shapes. */
export interface WeightGradient {
  weight: tf.Tensor;
  bias: tf.Tensor1D;
}

/**
 * Weight and bias gradient of a convolution: Σᵢ scaleᵢ · (gradient of batch element i), where kappa
 * [N,oH,oW,O] is the gradient with respect to its output. Without scale [N], all factors are 1.
 */
export function conv2dWeightGradient(
  x: tf.Tensor4D,
  kappa: tf.Tensor4D,
  filterShape: number[],
  sliding: Sliding,
  scale?: tf.Tensor1D,
): WeightGradient {
  const attributes = { ...slidingAttributes(sliding), filterShape };
  const both = fused('BangConvWeightGradient', { x, kappa, scale }, attributes);
  if (both) return { weight: both[0], bias: both[1] as tf.Tensor1D };
  const scaled = scale ? tf.mul(kappa, tf.reshape(scale, [-1, 1, 1, 1])) : kappa;
  return {
    weight: run(tf.Conv2DBackpropFilter, { x, dy: scaled }, attributes),
    bias: tf.sum(scaled, [0, 1, 2]),
  };
}
