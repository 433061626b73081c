import * as tf from '@tensorflow/tfjs-core';
import { fused } from './kernel.js';

/**
 * One step of SGD as Caffe does it, in place: v ← momentum·v + rate·(g + decay·w), w ← w − v.
 * Tensors that share the variables' memory (clones) change with them.
 */
export function sgdStep(
  weight: tf.Variable,
  velocity: tf.Variable,
  gradient: tf.Tensor,
  { rate, momentum, decay }: { rate: number; momentum: number; decay: number },
): void {
  if (fused('BangSgd', { weight, velocity, gradient }, { rate, momentum, decay })) return;
  tf.tidy(() => {
    const push = tf.mul(tf.add(gradient, tf.mul(weight, decay)), rate);
    velocity.assign(tf.add(tf.mul(velocity, momentum), push));
    weight.assign(tf.sub(weight, velocity));
  });
}
