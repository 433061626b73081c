import type * as tf from '@tensorflow/tfjs-core';
import { fused } from './kernel.js';

/**
 * The class with the largest of the logits [N,classes], of equal ones the first, or −1 if one is not finite: [N];
 * undefined on engines whose logits lie in the program's memory.
 */
export function fusedClasses(logits: tf.Tensor2D): tf.Tensor1D | undefined {
  return fused('BangClasses', { logits })?.[0] as tf.Tensor1D | undefined;
}
