import * as tf from '@tensorflow/tfjs-core';
import { WHOLE_SCALES, type LineAttack } from './attack.js';

/**
 * FGS along the gradient of the log-odds, log(Σ_{j≠y} e^{z_j}) − z_y, instead of the loss. The two gradients
 * differ only by a positive factor for each image, the probability of the other classes, which float32
 * rounds to zero for confident networks. So the signs are the same, but this gradient never vanishes. With
 * respect to the logits it is the softmax over the other classes, and −1 at the label.
 */
export const fgsUnmasked: LineAttack = {
  kind: 'line',
  name: 'fgs-unmasked',
  title: 'FGS unmasked',
  logitsGradient: logOddsGradient,
  direction: (gradient) => tf.sign(gradient),
  published: false,
  bisection: { limit: 256, width: 1 },
  scan: WHOLE_SCALES,
};

/** The gradient [N,C] of log(Σ_{j≠y} e^{z_j}) − z_y with respect to the logits z [N,C]; labels y int32 [N]. */
export function logOddsGradient(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor2D {
  const label = tf.oneHot(labels, logits.shape[1], 1, 0, 'float32');
  const others = tf.where(tf.cast(label, 'bool'), tf.fill(logits.shape, -Infinity), logits);
  return tf.sub(tf.softmax(others), label);
}
