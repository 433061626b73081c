import { extentOf, sumOf } from '../base/sums.js';
import { tf } from '../base/tf.js';
import { times } from '../engine/ops/elementwise.js';
import { fusedEta } from '../engine/ops/norms.js';

/** ε in one layer; `adaptive` is chosen for each batch by `adaptiveEpsilon`. */
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

/**
 * The ε, from 0 to 1, that brings the correct elements of a batch half of the way, in the logarithm, to the weight of the
 * misclassified ones: if Σ nᵢ of the correct ones is r times that of the others, Σ ηᵢ·nᵢ is √r times as much. All of
 * the way, training would diverge: the smaller the gradients of correct elements became, the more they would be scaled
 * up. If all are correct, the largest gradient stands for the misclassified ones. Where even 1 brings them less far, it
 * is 1.
 *
 * @param norm [N] nᵢ
 * @param correct [N] 1 for elements classified correctly in this forward pass, else 0
 * @param ratio factor on ε for misclassified elements
 */
export function adaptiveEpsilon(
  norm: ArrayLike<number>,
  correct: ArrayLike<number>,
  ratio: number,
): number {
  const norms = Array.from(norm);
  const [, m] = extentOf(norms);
  const isWrong = norms.map((_, i) => correct[i] !== 1);
  if (!isWrong.includes(true)) isWrong[norms.indexOf(m)] = true;
  /** Of the weight of the correct elements to that of the others. */
  const share = (epsilon: number): number => {
    const weights = norms.map((n, i) => {
      const hat = isWrong[i] ? epsilon * ratio : epsilon;
      return n === 0 ? 0 : n * (m / n) ** (hat * (1 - n / m));
    });
    const of = (wrong: boolean): number => sumOf(weights.filter((_, i) => isWrong[i] === wrong));
    return of(false) / of(true);
  };
  const wanted = Math.sqrt(share(0));
  if (!(wanted > 0 && wanted < 1)) return 0;
  let [low, high] = [0, 1];
  // To the precision of a float32.
  for (let i = 0; i < 24; i++) {
    const middle = (low + high) / 2;
    if (share(middle) < wanted) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** ε̂ᵢ [N]: ε for elements classified correctly in this forward pass (1 in `correct`), ε·ratio for others. */
export function epsilonHat(correct: tf.Tensor1D, epsilon: number, ratio: number): tf.Tensor1D {
  return ratio === 1
    ? tf.tensor1d(new Float32Array(correct.shape[0]).fill(epsilon))
    : tf.add(tf.mul(correct, epsilon * (1 - ratio)), epsilon * ratio);
}

/** The value of β or ε in one layer. */
export function inLayer<T extends number | string>(
  value: T | Record<string, number>,
  layer: string,
): T | number {
  return typeof value === 'object' ? value[layer] : value;
}
