import { tf } from '../base/tf.js';
import type { Dataset } from '../data/dataset.js';

/** The mean of a data set's images: [H,W,C], in grey levels. */
export function meanImageOf({ count, height, width, channels, images }: Dataset): tf.Tensor3D {
  const size = height * width * channels;
  // Sums of bytes are exact in double precision.
  const sums = new Float64Array(size);
  let i = 0;
  // Eight images at once take less than half the time: a sum is read and written once for all of them.
  for (; i + 8 <= count; i += 8) {
    for (let p = 0; p < size; p++) {
      let at = i * size + p;
      let sum = images[at];
      for (let other = 1; other < 8; other++) sum += images[(at += size)];
      sums[p] += sum;
    }
  }
  for (; i < count; i++) {
    const begin = i * size;
    for (let p = 0; p < size; p++) sums[p] += images[begin + p];
  }
  const mean = Float32Array.from(sums, (sum) => sum / count);
  return tf.tensor3d(mean, [height, width, channels]);
}
