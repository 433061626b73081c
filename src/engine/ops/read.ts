import { tf } from '../../base/tf.js';
import { WebgpuBackend } from '../webgpu/backend.js';

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

/**
 * Begins to read tensors, which may be disposed of at once. The function returned gives their values, for which it
 * waits on engines that compute beside the program.
 */
export function readLater(tensors: readonly tf.Tensor[]): () => tf.TypedArray[] {
  const backend = tf.backend();
  if (backend instanceof WebgpuBackend) return backend.readLater(tensors);
  const values = tensors.map((tensor) => tensor.dataSync());
  return () => values;
}

/**
 * How many steps of training can be on their way before the results of the first are looked at: on a GPU some, since
 * it would else have nothing to do meanwhile.
 */
export function stepsAhead(): number {
  return tf.backend() instanceof WebgpuBackend ? 8 : 0;
}
