import * as tf from '@tensorflow/tfjs-core';
import { assign } from '#bang/engine/block.js';
import type { Random } from '#bang/base/random.js';

/**
 * Central differences of a float32 loss in random places of a tensor, beside the gradient there.
 *
 * @param lossAt computes the loss with the tensor as it is
 * @param step in the tensor's units
 * @returns the largest difference over the places around which the loss is smooth, and how many these are: kinks of
 *   ReLU and max pooling have no derivative to agree with
 */
export function againstDifferences(
  tensor: tf.Tensor,
  gradient: ArrayLike<number>,
  lossAt: () => number,
  { step, probes, random }: { step: number; probes: number; random: Random },
): { worst: number; smooth: number } {
  const before = tensor.dataSync().slice();
  const lossWith = (at: number, by: number): number => {
    const moved = before.slice();
    moved[at] += by;
    give(tensor, moved);
    return lossAt();
  };
  let worst = 0;
  let smooth = 0;
  for (let probe = 0; probe < probes; probe++) {
    const at = Math.floor(random.uniform() * before.length);
    const [below, here, above] = [-step, 0, step].map((by) => lossWith(at, by));
    if (Math.abs(above - 2 * here + below) > 5e-7) continue;
    smooth++;
    worst = Math.max(worst, Math.abs((above - below) / (2 * step) - gradient[at]));
  }
  give(tensor, before);
  return { worst, smooth };
}

function give(tensor: tf.Tensor, values: tf.TypedArray): void {
  tf.tidy(() => {
    assign(tensor, tf.tensor(values, tensor.shape));
  });
}
