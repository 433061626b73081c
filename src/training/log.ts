import { readLater } from '../engine/ops/read.js';
import type { BatchMetrics } from './step.js';

/** The values of `BatchMetrics`. */
export interface BatchValues {
  loss: Float32Array;
  correct: Float32Array;
  eta: Map<string, Float32Array>;
}

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

/** Begins to read the metrics of a batch, whose tensors may be disposed of; the function waits for them. */
export function valuesOf({ loss, correct, eta }: BatchMetrics): () => BatchValues {
  const values = readLater([loss, correct, ...eta.values()]);
  const layers = [...eta.keys()];
  return () => {
    const [losses, hits, ...etas] = values() as Float32Array[];
    const byLayer = layers.map((layer, i) => [layer, etas[i]] as const);
    return { loss: losses, correct: hits, eta: new Map(byLayer) };
  };
}

/** Adds a batch and returns its mean loss. */
export function addBatch(
  interval: Interval,
  { loss: losses, correct, eta: etas }: BatchValues,
): number {
  const loss = losses.reduce((sum, one) => sum + one, 0) / losses.length;
  interval.batches++;
  interval.loss += loss;
  for (const one of correct) interval.correct += one;
  interval.images += correct.length;
  for (const [layer, eta] of etas) {
    const sums = (interval.eta[layer] ??= { sum: 0, count: 0, max: 0 });
    for (const value of eta) {
      sums.sum += value;
      sums.count++;
      sums.max = Math.max(sums.max, value);
    }
  }
  return loss;
}

/**
 * The line of the log for an interval.
 *
 * @param iteration its last one
 * @param validationAccuracy percent; null if it was not measured
 */
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
