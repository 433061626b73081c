import { tf } from '../base/tf.js';
import { otherLogits } from '../engine/ops/loss.js';
import { overLargest } from '../engine/ops/perturbation.js';
import { WHOLE_SCALES, type LineAttack } from './attack.js';

/**
 * Hot/cold with the closest class (Rozsa, Rudd, Boult, 2016). With t the highest-scoring other class, |z_t|
 * at t and −z_y at the label y are propagated back from the logits to the image. The direction is that
 * gradient divided by its largest magnitude.
 */
export const hc1: LineAttack = {
  kind: 'line',
  name: 'hc1',
  title: 'HC1',
  logitsGradient(logits, labels) {
    const { label, others } = otherLogits(logits, labels);
    const closest = tf.oneHot(tf.argMax(others, 1), logits.shape[1], 1, 0, 'float32');
    return tf.sub(tf.mul(tf.abs(logits), closest), tf.mul(logits, label));
  },
  direction: overLargest,
  published: true,
  // Small components still grow after the largest has saturated.
  bisection: { limit: 2 ** 17, width: 1 / 16 },
  scan: wholeThenGrowing(1.04, 1e5),
};

/** 1 … 255, then each `factor` times the last, up to `limit`. */
function wholeThenGrowing(factor: number, limit: number): Float32Array {
  const scales = [...WHOLE_SCALES];
  for (let scale = 255 * factor; scale <= limit; scale *= factor) scales.push(scale);
  return Float32Array.from(scales);
}
