import * as tf from '@tensorflow/tfjs-core';
import { assign } from '#bang/engine/block.js';

/** Sets one value of a tensor of a block. */
export function poke(parameter: tf.Tensor, at: number, value: number): void {
  const values = parameter.dataSync<'float32'>().slice();
  values[at] = value;
  tf.tidy(() => {
    assign(parameter, tf.tensor(values, parameter.shape));
  });
}
