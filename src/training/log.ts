import type * as tf from '@tensorflow/tfjs-core';
import type { BatchMetrics } from './step.js';

/** One line of `training.csv`: statistics since the previous line. */
export interface LogRow {
  iteration: number;
  learningRate: number;
  /** Mean over the batches since the last row. */
  loss: number;
  /** Percentage of training images classified correctly in the forward passes of training. */
  trainAccuracy: number;
  /** In percent; null without validation images. */
  validationAccuracy: number | null;
  /** Mean and largest η by layer; empty in regular training. */
  eta: Record<string, { mean: number; max: number }>;
}

/** Sums since the last row, stored in checkpoints. */
export interface Interval {
  batches: number;
  images: number;
  loss: number;
  correct: number;
  eta: Record<string, { sum: number; count: number; max: number }>;
}

export function emptyInterval(): Interval {
  return { batches: 0, images: 0, loss: 0, correct: 0, eta: {} };
}

/** Adds a batch and returns its mean loss. */
export function addBatch(
  interval: Interval,
  { loss: each, correct, eta: etas }: BatchMetrics,
): number {
  const losses = floats(each);
  const loss = losses.reduce((sum, one) => sum + one, 0) / losses.length;
  interval.batches++;
  interval.loss += loss;
  for (const one of floats(correct)) interval.correct += one;
  interval.images += correct.shape[0];
  for (const [layer, eta] of etas) {
    const sums = (interval.eta[layer] ??= { sum: 0, count: 0, max: 0 });
    for (const value of floats(eta)) {
      sums.sum += value;
      sums.count++;
      sums.max = Math.max(sums.max, value);
    }
  }
  return loss;
}

export function rowOf(
  interval: Interval,
  iteration: number,
  learningRate: number,
  validationAccuracy: number | null,
): LogRow {
  const eta = Object.entries(interval.eta).map(
    ([layer, { sum, count, max }]) => [layer, { mean: sum / count, max }] as const,
  );
  return {
    iteration,
    learningRate,
    loss: interval.loss / interval.batches,
    trainAccuracy: (100 * interval.correct) / interval.images,
    validationAccuracy,
    eta: Object.fromEntries(eta),
  };
}

function floats(tensor: tf.Tensor): Float32Array {
  return tensor.dataSync() as Float32Array;
}
