import { tf } from '../../base/tf.js';
import { fused, run } from './kernel.js';

/** max(0, x) */
export function relu<T extends tf.Tensor>(x: T): T {
  return run(tf.Relu, { x }) as T;
}

/** kappa where y = relu(x) is positive, otherwise 0. */
export function reluGradient<T extends tf.Tensor>(y: T, kappa: T): T {
  const own = fused('BangReluGradient', { y, dy: kappa });
  return (own ? own[0] : tf.mul(kappa, tf.step(y))) as T;
}

/** a · b of equal shapes. */
export function multiply<T extends tf.Tensor>(a: T, b: T): T {
  return run(tf.Multiply, { a, b }) as T;
}

/** a + b of equal shapes. */
export function add<T extends tf.Tensor>(a: T, b: T): T {
  const [x, negative] = [tf.reshape(a, [1, -1]), times(tf.reshape(b, [1, -1]), -1)];
  const own = fused('BangNormalize', { x, mean: negative }, { factor: 1 });
  return own ? (tf.reshape(own[0], a.shape) as T) : tf.add<T>(a, b);
}

/** (x − mean) · factor, for x [N,…] and mean […], zero if omitted. */
export function normalize<T extends tf.Tensor>(
  x: T,
  mean: tf.Tensor | undefined,
  factor: number,
): T {
  const own = fused('BangNormalize', { x, mean }, { factor });
  if (own) return own[0] as T;
  return tf.mul<T>(mean ? tf.sub(x, mean) : x, factor);
}

/** x · factor */
export function times<T extends tf.Tensor>(x: T, factor: number): T {
  return normalize(x, undefined, factor);
}
