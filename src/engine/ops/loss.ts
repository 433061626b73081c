import { tf } from '../../base/tf.js';
import { fused } from './kernel.js';

/** The loss of each element [N], its gradient with respect to the logits [N,C], and 1 if correct, else 0 [N]. */
export interface Loss {
  loss: tf.Tensor1D;
  gradient: tf.Tensor2D;
  correct: tf.Tensor1D;
}

/**
 * Softmax cross entropy. The gradient is factor · (softmax(logits) − one-hot(label)), where factor is 1/N for
 * the mean over a batch. In float32, loss and gradient are exactly zero where the probability of the label
 * is 1.0f.
 *
 * @param labels int32 [N], each below C
 */
export function softmaxCrossEntropy(
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  factor: number,
): Loss {
  const own = fused('BangSoftmaxCrossEntropy', { logits, labels }, { factor });
  if (own) {
    const [loss, gradient, correct] = own as [tf.Tensor1D, tf.Tensor2D, tf.Tensor1D];
    return { loss, gradient, correct };
  }
  const shifted = tf.sub(logits, tf.max(logits, 1, true));
  const exponentials = tf.exp(shifted);
  // In class order, which tf.sum does not guarantee. The order decides which losses are exactly zero.
  const columns = tf.unstack(exponentials, 1);
  const sums = tf.expandDims(
    columns.reduce((sum, column) => tf.add(sum, column)),
    1,
  );
  const hot = tf.cast(tf.oneHot(labels, logits.shape[1]), 'float32');
  return {
    loss: tf.sub(tf.reshape(tf.log(sums), [-1]), tf.sum(tf.mul(shifted, hot), 1)),
    gradient: tf.mul(tf.sub(tf.div(exponentials, sums), hot), factor),
    correct: tf.cast(tf.equal(tf.argMax(logits, 1), labels), 'float32'),
  };
}

/**
 * The gradient [N,C] of the log-odds, log(Σ_{j≠y} e^{z_j}) − z_y, with respect to the logits z [N,C]. It is that of the
 * cross entropy but for a positive factor for each element, and does not underflow.
 *
 * @param labels y, int32 [N], each below C
 */
export function logOddsGradient(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor2D {
  const { label, others } = otherLogits(logits, labels);
  return tf.sub(tf.softmax(others), label);
}

/** The labels one-hot [N,C], and the logits [N,C] of the other classes, with −∞ at the labels. */
export function otherLogits(
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
): { label: tf.Tensor2D; others: tf.Tensor2D } {
  const label = tf.oneHot(labels, logits.shape[1], 1, 0, 'float32') as tf.Tensor2D;
  const others = tf.where(
    tf.cast(label, 'bool'),
    tf.fill<tf.Rank.R2>(logits.shape, -Infinity),
    logits,
  );
  return { label, others };
}

/**
 * The cross entropy with smoothed labels (Szegedy et al. 2015, arXiv 1512.00567, section 7): 1 − α on the label and
 * α/C more on every class. Changes loss and gradient of the cross entropy; which elements are correct stays.
 *
 * @param factor that of `loss.gradient`
 */
export function smoothed(
  { loss, gradient, correct }: Loss,
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  factor: number,
  alpha: number,
): Loss {
  const classes = logits.shape[1];
  // How much more of the label's probability there is to explain than of the smoothed labels': α · (one-hot − 1/C).
  const less = tf.mul(tf.sub(tf.oneHot(labels, classes, 1, 0, 'float32'), 1 / classes), alpha);
  return {
    loss: tf.add(loss, tf.sum(tf.mul(less, logits), 1)),
    gradient: tf.add(gradient, tf.mul(less, factor)),
    correct,
  };
}
