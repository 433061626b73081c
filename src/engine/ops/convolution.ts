import { tf } from '../../base/tf.js';
import { assign } from '../block.js';
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

/** The gradient [N,H,W,I] with respect to x, from kappa [N,oH,oW,O], that with respect to the output. */
export function conv2dInputGradient(
  inputShape: number[],
  kappa: tf.Tensor4D,
  filter: tf.Tensor4D,
  sliding: Sliding,
): tf.Tensor4D {
  const attributes = { ...slidingAttributes(sliding), inputShape };
  return run(tf.Conv2DBackpropInput, { dy: kappa, filter }, attributes) as tf.Tensor4D;
}

/** Receives the gradients of a layer's weight and bias: tensors of a block, of the same shapes. */
export interface WeightGradient {
  weight: tf.Tensor;
  bias: tf.Tensor1D;
}

/**
 * Weight and bias gradient of a convolution: into ← Σᵢ scaleᵢ · (gradient of batch element i), where kappa
 * [N,oH,oW,O] is the gradient with respect to its output. Without scale [N], all factors are 1.
 */
export function conv2dWeightGradient(
  x: tf.Tensor4D,
  kappa: tf.Tensor4D,
  sliding: Sliding,
  into: WeightGradient,
  scale?: tf.Tensor1D,
): void {
  const attributes = slidingAttributes(sliding);
  if (fused('BangConvWeightGradient', { x, kappa, scale, ...into }, attributes)) return;
  const scaled = scale ? tf.mul(kappa, tf.reshape(scale, [-1, 1, 1, 1])) : kappa;
  const filterShape = into.weight.shape;
  const inputs = { x, dy: scaled };
  assign(into.weight, run(tf.Conv2DBackpropFilter, inputs, { ...attributes, filterShape }));
  assign(into.bias, tf.sum(scaled, [0, 1, 2]));
}
