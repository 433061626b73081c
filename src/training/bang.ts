import { tf } from '../base/tf.js';
import { multiply, times } from '../engine/ops/elementwise.js';
import { fusedEta } from '../engine/ops/norms.js';

/** ε in one layer; `adaptive` is the share of the batch that is classified correctly in this forward pass. */
export type Epsilon = number | 'adaptive';

/** BANG's parameters; β and ε are either one value for all layers or values by layer name. */
export interface Bang {
  beta: number | Record<string, number>;
  epsilon: Epsilon | Record<string, number>;
  /** Factor on ε for misclassified batch elements. */
  ratio: number;
}

/**
 * The factors on the batch elements in BANG's weight gradient of one layer: equations 3 to 6 of the
 * paper, arXiv 1612.00138. The regular gradient is Σᵢ κᵢ·∂yᵢ/∂w, where κᵢ is the gradient of the
 * loss with respect to the layer's output yᵢ; BANG's is
 *
 *     β · Σᵢ ηᵢ · κᵢ·∂yᵢ/∂w        ηᵢ = (m / ‖κᵢ‖) ^ (ε̂ᵢ · (1 − ‖κᵢ‖ / m))        m = maxᵢ ‖κᵢ‖
 *
 * The layer below receives κ unscaled; β does not affect weight decay.
 *
 * @param norm [N] ‖κᵢ‖, accumulated in float32
 * @param epsilonHat [N] from `epsilonHat`
 * @returns β·η and η, [N] each
 */
export function balance(
  norm: tf.Tensor1D,
  epsilonHat: tf.Tensor1D,
  beta: number,
): { scale: tf.Tensor1D; eta: tf.Tensor1D } {
  const balanced = eta(norm, epsilonHat);
  return { scale: beta === 1 ? balanced : times(balanced, beta), eta: balanced };
}

/**
 * ηᵢ [N] = (m / nᵢ) ^ (ε̂ᵢ · (1 − nᵢ / m)), and 1 where nᵢ = 0. The largest gradient is unchanged, since
 * its exponent is 0.
 *
 * @param norm [N] nᵢ = ‖κᵢ‖, accumulated in float32; 0 if its square underflows
 */
export function eta(norm: tf.Tensor1D, epsilonHat: tf.Tensor1D): tf.Tensor1D {
  const kernel = fusedEta(norm, epsilonHat);
  if (kernel) return kernel;
  const m = tf.max(norm);
  const exponent = tf.mul(epsilonHat, tf.sub(1, tf.div(norm, m)));
  return tf.where(tf.greater(norm, 0), tf.pow(tf.div(m, norm), exponent), tf.onesLike(norm));
}

/** ε̂ᵢ [N]: ε for elements classified correctly in this forward pass (1 in `correct`), ε·ratio for others. */
export function epsilonHat(correct: tf.Tensor1D, epsilon: Epsilon, ratio: number): tf.Tensor1D {
  const count = correct.shape[0];
  if (epsilon === 'adaptive') {
    // As a matrix product, which every engine has, the share stays where it is computed.
    const mean = tf.tensor2d(new Float32Array(count ** 2).fill(1 / count), [count, count]);
    const share = tf.reshape<tf.Rank.R1>(tf.matMul(tf.reshape(correct, [1, count]), mean), [count]);
    return ratio === 1 ? share : multiply(share, epsilonHat(correct, 1, ratio));
  }
  return ratio === 1
    ? tf.tensor1d(new Float32Array(count).fill(epsilon))
    : tf.add(tf.mul(correct, epsilon * (1 - ratio)), epsilon * ratio);
}

/** The value of β or ε in one layer. */
export function inLayer<T extends number | string>(
  value: T | Record<string, number>,
  layer: string,
): T | number {
  return typeof value === 'object' ? value[layer] : value;
}
