import { tf } from '../base/tf.js';
import { perturb } from '../engine/ops/perturbation.js';
import { read } from '../engine/ops/read.js';
import { breathe } from '../base/interrupt.js';
import { type Model, pixelGradient, trace } from '../model/network.js';
import type { Adversarials, LineAttack } from './attack.js';
import { type Classifier, type Originals, refuseNotFinite } from './classifier.js';
import type { Probe, SearchOptions } from './search.js';

/** Searches for the smallest scale of each image that fools; NaN if none does. */
export type LineSearch = (
  count: number,
  probe: Probe,
  options: SearchOptions,
) => Promise<Float32Array>;

/**
 * Moves each image along its direction, N×H×W×C, by the scale that the search finds.
 *
 * @throws Interrupted if the signal aborts
 */
export async function searchLines(
  classifier: Classifier,
  { count, size, shape, images: originals, labels }: Originals,
  directions: Float32Array,
  search: LineSearch,
  options: SearchOptions,
): Promise<Adversarials> {
  // The engine keeps these during the search.
  const pixels = tf.tensor4d(Float32Array.from(originals), [count, ...shape]);
  const direction = tf.tensor4d(directions, [count, ...shape]);
  const moved = (which: Uint32Array, scales: Float32Array): tf.Tensor4D =>
    perturb(pixels, direction, tf.tensor1d(Int32Array.from(which), 'int32'), tf.tensor1d(scales));
  const probe: Probe = (which, scales) => {
    const predicted = classifier.predict(() => moved(which, scales));
    return Uint8Array.from(which, (image, j) => (predicted[j] === labels[image] ? 0 : 1));
  };
  try {
    const scales = await search(count, probe, options);
    const images = new Uint8Array(count * size);
    for (let start = 0; start < count; start += options.batch) {
      const end = Math.min(start + options.batch, count);
      const which = Uint32Array.from({ length: end - start }, (_, i) => start + i);
      const own = Float32Array.from(which, (image) => scales[image] || 0); // NaN: unmoved
      images.set(
        read(() => moved(which, own)),
        start * size,
      );
      await breathe(options.signal);
    }
    return { images, fooled: Uint8Array.from(scales, (scale) => +!Number.isNaN(scale)) };
  } finally {
    tf.dispose([pixels, direction]);
  }
}

/**
 * The direction of each image, N×H×W×C.
 *
 * @param reversed whether the order of the colour channels is reversed
 */
export async function directionsOf(
  attack: LineAttack,
  { network, weights }: Model,
  { count, size, shape, images, labels }: Originals,
  {
    reversed,
    batch,
    signal,
  }: { reversed: boolean; batch: number; signal?: AbortSignal | undefined },
): Promise<Float32Array> {
  const directions = new Float32Array(count * size);
  for (let start = 0; start < count; start += batch) {
    const end = Math.min(start + batch, count);
    const values = read(() => {
      const chosen = Float32Array.from(images.subarray(start * size, end * size));
      const pixels = tf.tensor4d(chosen, [end - start, ...shape]);
      const forward = trace(network, weights, pixels);
      const y = tf.tensor1d(Int32Array.from(labels.subarray(start, end)), 'int32');
      const fromLogits = attack.logitsGradient(forward.logits, y);
      return attack.direction(pixelGradient(network, weights, forward, fromLogits));
    });
    refuseNotFinite(values as Float32Array);
    directions.set(values, start * size);
    await breathe(signal);
  }
  if (reversed) reverseChannels(directions, shape[2]);
  return directions;
}

/** In place; values [… , channels]. */
function reverseChannels(values: Float32Array, channels: number): void {
  for (let pixel = 0; pixel < values.length; pixel += channels) {
    values.subarray(pixel, pixel + channels).reverse();
  }
}
