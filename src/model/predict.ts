import { tf } from '../base/tf.js';
import { batchOf } from '../engine/ops/batch.js';
import type { Dataset } from '../data/dataset.js';
import { usesGpu } from '../engine/engine.js';
import { fusedClasses } from '../engine/ops/classes.js';
import { softmaxCrossEntropy } from '../engine/ops/loss.js';
import { ExperimentError } from '../base/errors.js';
import { breathe } from '../base/interrupt.js';
import { logitsOf, type Model, type Network } from './network.js';

/** Images per batch on a CPU: large enough to be efficient, small enough for the caches. */
const CPU_BATCH = 512;
/** Values of all layers in a batch on a CPU: a gigabyte with their gradients. */
const CPU_VALUES = 2 ** 26;
/** On a GPU each pass costs a round trip, so batches are as large as this memory in bytes allows. */
const GPU_MEMORY = 2 ** 30;
/** The largest batch on a GPU. */
const MOST_IMAGES = 8192;

/** The batch size for evaluation on the engine in use. */
export function evaluationBatch({ spec, layers }: Network, gpu = usesGpu()): number {
  const shapes = [spec.input, ...layers.map(({ output }) => output)];
  const values = shapes.reduce((sum, shape) => sum + tf.util.sizeFromShape([...shape]), 0);
  if (!gpu)
    return Math.min(CPU_BATCH, Math.max(16, 2 ** Math.floor(Math.log2(CPU_VALUES / values))));
  // A pass stores all values, including those inside fused layers, and as many gradients.
  const images = GPU_MEMORY / (4 * 4 * values);
  return Math.min(Math.max(2 ** Math.floor(Math.log2(images)), CPU_BATCH), MOST_IMAGES);
}

/** The network's results for each image. */
export interface Predictions {
  /** The class with the largest logit; the first of equal ones. */
  predicted: Uint8Array;
  /** 1 where the float32 loss is exactly zero, so that its gradient is blank. */
  blank: Uint8Array;
  correct: number;
}

/**
 * Logits [N,classes] as numbers.
 *
 * @throws ExperimentError if one is not finite: then no class, loss or attack means anything
 */
export function readLogits(logits: tf.Tensor2D): Float32Array {
  const values = logits.dataSync<'float32'>();
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) {
    throw new ExperimentError(
      `the network gives a logit of ${values[wrong]}: its weights are too large or damaged, so it cannot be evaluated`,
    );
  }
  return values;
}

/** The class with the largest of the `classes` logits from `begin` on; of equal ones the first. */
export function classOf(logits: Float32Array, begin: number, classes: number): number {
  let best = 0;
  for (let k = 1; k < classes; k++) if (logits[begin + k] > logits[begin + best]) best = k;
  return best;
}

/** The class of each image, from logits [N,classes]. */
export function classesOf(logits: Float32Array, classes: number): Uint8Array {
  return Uint8Array.from({ length: logits.length / classes }, (_, i) =>
    classOf(logits, i * classes, classes),
  );
}

/**
 * The class of each image, from logits [N,classes] that need not be read for it on a GPU.
 *
 * @throws ExperimentError if one of the logits is not finite
 */
export function readClasses(logits: tf.Tensor2D): Uint8Array {
  const found = fusedClasses(logits)?.dataSync();
  if (!found || found.includes(-1)) return classesOf(readLogits(logits), logits.shape[1]);
  return Uint8Array.from(found);
}

/**
 * Classifies all images of a data set.
 *
 * @throws ExperimentError if a logit is not finite
 * @throws Interrupted if the signal aborts
 */
export async function predict(
  { network, weights }: Model,
  data: Dataset,
  { done, signal }: { done?: (images: number) => void; signal?: AbortSignal } = {},
): Promise<Predictions> {
  const predicted = new Uint8Array(data.count);
  const blank = new Uint8Array(data.count);
  let correct = 0;
  const batch = evaluationBatch(network);
  for (let start = 0; start < data.count; start += batch) {
    const count = Math.min(batch, data.count - start);
    const positions = Uint32Array.from({ length: count }, (_, i) => start + i);
    tf.tidy(() => {
      const { pixels, labels } = batchOf(data, positions);
      const logits = logitsOf(network, weights, pixels);
      predicted.set(readClasses(logits), start);
      const loss = softmaxCrossEntropy(logits, labels, 1).loss.dataSync();
      for (let i = 0; i < count; i++) blank[start + i] = loss[i] === 0 ? 1 : 0;
    });
    for (let i = start; i < start + count; i++) correct += +(predicted[i] === data.labels[i]);
    await breathe(signal);
    done?.(start + count);
  }
  return { predicted, blank, correct };
}
