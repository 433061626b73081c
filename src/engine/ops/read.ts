import * as tf from '@tensorflow/tfjs-core';

/**
 * Computes in a tidy and reads the result. A tidy that returned the values would search each of them for
 * tensors.
 */
export function read(compute: () => tf.Tensor): Float32Array | Int32Array | Uint8Array {
  const tensor = tf.tidy(compute);
  const values = tensor.dataSync();
  tensor.dispose();
  return values;
}
