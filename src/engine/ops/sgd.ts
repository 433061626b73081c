import { tf } from '../../base/tf.js';
import { assign } from '../block.js';
import { fused } from './kernel.js';

/**
 * One step of SGD as Caffe does it, in place: v ← momentum·v + rate·(g + decay·w), w ← w − v.
 *
 * @param weight a tensor of a block, like `velocity`; tensors that share their memory change too
 */
export function sgdStep(
  weight: tf.Tensor,
  velocity: tf.Tensor,
  gradient: tf.Tensor,
  { rate, momentum, decay }: { rate: number; momentum: number; decay: number },
): void {
  if (fused('BangSgd', { weight, velocity, gradient }, { rate, momentum, decay })) return;
  tf.tidy(() => {
    const push = tf.mul(tf.add(gradient, tf.mul(weight, decay)), rate);
    assign(velocity, tf.add(tf.mul(velocity, momentum), push));
    assign(weight, tf.sub(weight, velocity));
  });
}
