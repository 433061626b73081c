import * as tf from '@tensorflow/tfjs-core';
import type { Dataset } from '../data/dataset.js';
import { batchOf } from '../data/batch.js';
import { perturb } from '../engine/ops.js';
import { breathe } from '../interrupt.js';
import { logitsOf, pixelGradient, trace, type Network, type Weights } from '../model/network.js';
import { EVALUATION_BATCH } from '../model/predict.js';
import type { AttackName, LineAttack, Protocol } from './attack.js';
import { fgs } from './fgs.js';
import { fgsUnmasked } from './fgsUnmasked.js';
import { hc1 } from './hc1.js';
import { bisection, scan, type Probe, type SearchOptions } from './search.js';

export const ATTACKS: Record<AttackName, LineAttack> = {
  fgs,
  'fgs-unmasked': fgsUnmasked,
  hc1,
};

/** What an attack found, for each of the images it was given. */
export interface AttackResult {
  /** Largest change of a pixel, in pixel units; NaN where the attack failed. */
  linf: Float32Array;
  /** The perturbed images, N×H×W×C, integers; those of failed attacks are as they were. */
  adversarials: Uint8Array;
}

/**
 * Attacks the images at these positions, which the network classifies correctly.
 *
 * @throws Interrupted if the signal aborts
 */
export async function attackImages(
  attack: LineAttack,
  network: Network,
  weights: Weights,
  data: Dataset,
  positions: Uint32Array,
  { search, channels }: Protocol,
  { done, signal }: Pick<SearchOptions, 'done' | 'signal'> = {},
): Promise<AttackResult> {
  const shape = [data.height, data.width, data.channels] as const;
  const size = shape[0] * shape[1] * shape[2];
  const directions = await directionsOf(
    attack,
    network,
    weights,
    data,
    positions,
    channels === 'reversed' && attack.published,
    signal,
  );

  const moved = (images: Uint32Array, scales: Float32Array): tf.Tensor4D => {
    const along = new Float32Array(images.length * size);
    images.forEach((image, j) => {
      along.set(directions.subarray(image * size, (image + 1) * size), j * size);
    });
    const { pixels } = batchOf(
      data,
      Uint32Array.from(images, (image) => positions[image]),
    );
    const direction = tf.tensor4d(along, [images.length, ...shape]);
    return perturb(pixels, direction, tf.tensor1d(scales));
  };
  const probe: Probe = (images, scales) =>
    tf.tidy(() => {
      const logits = logitsOf(network, weights, moved(images, scales));
      const predicted = tf.argMax(logits, 1).dataSync();
      return Uint8Array.from(images, (image, j) =>
        predicted[j] === data.labels[positions[image]] ? 0 : 1,
      );
    });
  const options: SearchOptions = { batch: EVALUATION_BATCH, signal, ...(done && { done }) };
  const found =
    search === 'scan'
      ? await scan(positions.length, attack.scan, probe, options)
      : await bisection(positions.length, attack.bisection, probe, options);

  const linf = new Float32Array(positions.length).fill(NaN);
  const adversarials = new Uint8Array(positions.length * size);
  for (let start = 0; start < positions.length; start += EVALUATION_BATCH) {
    const count = Math.min(EVALUATION_BATCH, positions.length - start);
    const images = Uint32Array.from({ length: count }, (_, i) => start + i);
    const scales = Float32Array.from(images, (image) => found[image] || 0); // NaN: unmoved
    const pixels = tf.tidy(() => moved(images, scales).dataSync());
    adversarials.set(pixels, start * size);
    for (const image of images) {
      if (Number.isNaN(found[image])) continue;
      const original = positions[image] * size;
      let largest = 0;
      for (let p = 0; p < size; p++) {
        const change = adversarials[image * size + p] - data.images[original + p];
        largest = Math.max(largest, Math.abs(change));
      }
      linf[image] = largest;
    }
    await breathe(signal);
  }
  return { linf, adversarials };
}

/** The direction of each image, N×H×W×C. */
async function directionsOf(
  attack: LineAttack,
  network: Network,
  weights: Weights,
  data: Dataset,
  positions: Uint32Array,
  reversed: boolean,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const size = data.height * data.width * data.channels;
  const directions = new Float32Array(positions.length * size);
  for (let start = 0; start < positions.length; start += EVALUATION_BATCH) {
    const chosen = positions.subarray(start, start + EVALUATION_BATCH);
    const values = tf.tidy(() => {
      const { pixels, labels } = batchOf(data, chosen);
      const pass = trace(network, weights, pixels);
      const fromLogits = attack.logitsGradient(pass.logits, labels);
      const direction = attack.direction(pixelGradient(network, weights, pass, fromLogits));
      return (reversed ? tf.reverse(direction, 3) : direction).dataSync();
    });
    directions.set(values, start * size);
    await breathe(signal);
  }
  return directions;
}
