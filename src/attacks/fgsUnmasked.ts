import { tf } from '../base/tf.js';
import { logOddsGradient } from '../engine/ops/loss.js';
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
  title: 'unmasked FGS',
  logitsGradient: logOddsGradient,
  direction: (gradient) => tf.sign(gradient),
  published: false,
  bisection: { limit: 256, width: 1 },
  scan: WHOLE_SCALES,
};
