import * as tf from '@tensorflow/tfjs-core';
import { batchOf } from '../data/batch.js';
import type { Dataset } from '../data/dataset.js';
import { softmaxCrossEntropy } from '../engine/ops.js';
import { breathe } from '../interrupt.js';
import { logitsOf, type Network, type Weights } from './network.js';

/** Images that one pass through the network takes in an evaluation: large enough to be efficient,
 *  small enough for the caches. */
export const EVALUATION_BATCH = 512;

/** What the network says of each image. */
export interface Predictions {
  /** The class with the first largest logit. */
  predicted: Uint8Array;
  /** 1 where the float32 loss is exactly zero, so that its gradient is blank. */
  blank: Uint8Array;
  correct: number;
}

/** Classifies all images of a data set. */
export async function predict(
  network: Network,
  weights: Weights,
  data: Dataset,
  { done, signal }: { done?: (images: number) => void; signal?: AbortSignal } = {},
): Promise<Predictions> {
  const predicted = new Uint8Array(data.count);
  const blank = new Uint8Array(data.count);
  let correct = 0;
  for (let start = 0; start < data.count; start += EVALUATION_BATCH) {
    const count = Math.min(EVALUATION_BATCH, data.count - start);
    const positions = Uint32Array.from({ length: count }, (_, i) => start + i);
    tf.tidy(() => {
      const { pixels, labels } = batchOf(data, positions);
      const logits = logitsOf(network, weights, pixels);
      predicted.set(tf.argMax(logits, 1).dataSync(), start);
      const loss = softmaxCrossEntropy(logits, labels, 1).loss.dataSync();
      for (let i = 0; i < count; i++) blank[start + i] = loss[i] === 0 ? 1 : 0;
    });
    for (let i = start; i < start + count; i++) correct += +(predicted[i] === data.labels[i]);
    await breathe(signal);
    done?.(start + count);
  }
  return { predicted, blank, correct };
}
