import { tf } from '../../base/tf.js';
import { copyRows } from '../../base/rows.js';
import type { Dataset } from '../../data/dataset.js';
import { filled, fused } from './kernel.js';

/** Float32 pixels [N,H,W,C], 0 to 255, and int32 labels [N]. */
export interface Batch {
  pixels: tf.Tensor4D;
  labels: tf.Tensor1D;
}

/**
 * The images at these positions of the data set; the caller disposes of the tensors. A GPU keeps data sets in its
 * memory, so that only positions are sent to it: their images are not to be changed afterwards.
 */
export function batchOf(data: Dataset, positions: ArrayLike<number>): Batch {
  const labels = Int32Array.from(positions, (position) => data.labels[position]);
  return { pixels: pixelsOf(data, positions), labels: tf.tensor1d(labels, 'int32') };
}

function pixelsOf(
  { images, height, width, channels }: Dataset,
  positions: ArrayLike<number>,
): tf.Tensor4D {
  const shape = [positions.length, height, width, channels];
  const own = fused('BangImages', {}, { images, positions, shape });
  if (own) return own[0] as tf.Tensor4D;
  const size = height * width * channels;
  return filled(shape, (pixels) => {
    copyRows(pixels, images, positions, size);
  }) as tf.Tensor4D;
}
