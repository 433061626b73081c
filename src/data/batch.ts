import { tf } from '../base/tf.js';
import type { Dataset } from './dataset.js';

/** Float32 pixels [N,H,W,C], 0 to 255, and int32 labels [N]. */
export interface Batch {
  pixels: tf.Tensor4D;
  labels: tf.Tensor1D;
}

/** The images at these positions of the data set; the caller disposes of the tensors. */
export function batchOf(data: Dataset, positions: ArrayLike<number>): Batch {
  const size = data.height * data.width * data.channels;
  const count = positions.length;
  const pixels = new Float32Array(count * size);
  const labels = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const position = positions[i];
    pixels.set(data.images.subarray(position * size, (position + 1) * size), i * size);
    labels[i] = data.labels[position]!;
  }
  return {
    pixels: tf.tensor4d(pixels, [count, data.height, data.width, data.channels]),
    labels: tf.tensor1d(labels, 'int32'),
  };
}
