import { tf } from '../base/tf.js';
import { softmaxCrossEntropy } from '../engine/ops/loss.js';
import { WHOLE_SCALES, type LineAttack } from './attack.js';

/**
 * Fast gradient sign (Goodfellow, Shlens, Szegedy, 2014): along the sign of the loss gradient.
 *
 * An image whose float32 loss is exactly zero has a blank gradient. The attack fails on it even if a small
 * change would fool the network. `fgsUnmasked` avoids this.
 */
export const fgs: LineAttack = {
  kind: 'line',
  name: 'fgs',
  title: 'FGS',
  logitsGradient(logits, labels) {
    const { loss, gradient } = softmaxCrossEntropy(logits, labels, 1);
    // Other classes may have nonzero probabilities when the label's is 1.0f; the gradient is blank all the same.
    return tf.where(tf.equal(tf.expandDims(loss, 1), 0), tf.zerosLike(gradient), gradient);
  },
  direction: (gradient) => tf.sign(gradient),
  published: true,
  bisection: { limit: 256, width: 1 },
  scan: WHOLE_SCALES,
};
