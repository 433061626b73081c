import { tf } from '../../base/tf.js';
import { assign } from '../block.js';
import type { WeightGradient } from './convolution.js';
import { fused, run } from './kernel.js';

/** x [N,I] · weight [I,O] + bias [O], as [N,O]. */
export function dense(x: tf.Tensor2D, weight: tf.Tensor2D, bias: tf.Tensor1D): tf.Tensor2D {
  const attributes = { transposeA: false, transposeB: false, activation: 'linear' };
  return run(tf._FusedMatMul, { a: x, b: weight, bias }, attributes) as tf.Tensor2D;
}

/** The gradient [N,I] with respect to x, from kappa [N,O], that with respect to the output. */
export function denseInputGradient(kappa: tf.Tensor2D, weight: tf.Tensor2D): tf.Tensor2D {
  const attributes = { transposeA: false, transposeB: true };
  return run(tf.BatchMatMul, { a: kappa, b: weight }, attributes) as tf.Tensor2D;
}

/**
 * Weight [I,O] and bias gradient of a dense layer, x [N,I], kappa [N,O]; into and scale as in
 * `conv2dWeightGradient`.
 */
export function denseWeightGradient(
  x: tf.Tensor2D,
  kappa: tf.Tensor2D,
  into: WeightGradient,
  scale?: tf.Tensor1D,
): void {
  if (fused('BangDenseWeightGradient', { x, kappa, scale, ...into })) return;
  const scaled = scale ? tf.mul(kappa, tf.reshape(scale, [-1, 1])) : kappa;
  assign(into.weight, tf.matMul(x, scaled, true));
  assign(into.bias, tf.sum(scaled, 0));
}
