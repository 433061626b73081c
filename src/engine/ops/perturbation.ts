import { tf } from '../../base/tf.js';
import { countersOf, noisyCopies, type NoiseSource, type RoundedNormal } from '../noise.js';
import { fused } from './kernel.js';

/**
 * Points on the lines that attacks search: clip(round(x + scale · direction), 0, 255), in grey levels, for
 * the images in `rows`.
 *
 * @param x images [M,H,W,C]
 * @param direction [M,H,W,C]
 * @param rows int32 [N], each below M
 * @param scale [N]
 * @returns [N,H,W,C]
 */
export function perturb(
  x: tf.Tensor4D,
  direction: tf.Tensor4D,
  rows: tf.Tensor1D,
  scale: tf.Tensor1D,
): tf.Tensor4D {
  const own = fused('BangPerturb', { x, direction, rows, scale });
  if (own) return own[0] as tf.Tensor4D;
  const along = tf.mul(tf.gather(direction, rows), tf.reshape(scale, [-1, 1, 1, 1]));
  return tf.clipByValue(tf.round(tf.add(tf.gather(x, rows), along)), 0, 255);
}

/** Each image of x [N,H,W,C] divided by its largest absolute value; an image of zeros is unchanged. */
export function overLargest(x: tf.Tensor4D): tf.Tensor4D {
  const own = fused('BangOverLargest', { x });
  if (own) return own[0] as tf.Tensor4D;
  return tf.divNoNan(x, tf.max(tf.abs(x), [1, 2, 3], true));
}

/**
 * Noisy copies of an image: clip(x + round(z), 0, 255), z normal; the same on every engine.
 *
 * @param x an image [H,W,C] of integers from 0 to 255
 * @returns [copies,H,W,C]
 */
export function addNoise(
  x: tf.Tensor3D,
  copies: number,
  source: NoiseSource,
  distribution: RoundedNormal,
): tf.Tensor4D {
  const { sigma, thresholds, depth } = distribution;
  const attributes = { copies, counters: countersOf(source, sigma), thresholds, depth };
  const own = fused('BangNoise', { x }, attributes);
  if (own) return own[0] as tf.Tensor4D;
  const values = noisyCopies(x.dataSync(), copies, source, distribution);
  return tf.tensor4d(values, [copies, ...x.shape]);
}
