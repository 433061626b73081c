import { tf } from '../../base/tf.js';
import { fused } from './kernel.js';

/** L2 norm of each batch element of x [N,…], accumulated in float32: [N]. */
export function rowNorms(x: tf.Tensor): tf.Tensor1D {
  const own = fused('BangRowNorms', { x });
  if (own) return own[0] as tf.Tensor1D;
  return tf.sqrt(tf.sum(tf.square(tf.reshape(x, [x.shape[0], -1])), 1));
}

/** The kernel for η, which `training/bang.ts` defines; undefined on engines without one. */
export function fusedEta(norm: tf.Tensor1D, epsilonHat: tf.Tensor1D): tf.Tensor1D | undefined {
  return fused('BangEta', { norm, epsilonHat })?.[0] as tf.Tensor1D | undefined;
}
