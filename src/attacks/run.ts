import * as tf from '@tensorflow/tfjs-core';
import type { Dataset } from '../data/dataset.js';
import { batchOf } from '../data/batch.js';
import { perturb, read } from '../engine/ops.js';
import { breathe } from '../base/interrupt.js';
import { logitsOf, pixelGradient, trace, type Network, type Weights } from '../model/network.js';
import { evaluationBatch } from '../model/predict.js';
import {
  type Attack,
  type AttackName,
  EFFORT,
  type GivenEffort,
  type LineAttack,
  type Protocol,
  type StepAttack,
} from './attack.js';
import { deepfoolL2, deepfoolLinf } from './deepfool.js';
import { fgs } from './fgs.js';
import { fgsUnmasked } from './fgsUnmasked.js';
import { hc1 } from './hc1.js';
import { pgd } from './pgd.js';
import { bisection, scan, type Probe, type SearchOptions } from './search.js';
import { square } from './square.js';
import { targetOf, victimsOf } from './target.js';

export const ATTACKS: Record<AttackName, Attack> = {
  fgs,
  'fgs-unmasked': fgsUnmasked,
  hc1,
  pgd,
  'deepfool-l2': deepfoolL2,
  'deepfool-linf': deepfoolLinf,
  square,
};

/** What an attack found, for each of the images it was given. */
export interface AttackResult {
  /** Largest change of a pixel, in pixel units; NaN where the attack failed. */
  linf: Float32Array;
  /** The L2 norm of the change, where the attack is one in L2; NaN where it failed. */
  l2?: Float32Array;
  /** The perturbed images, N×H×W×C, integers; those of failed attacks are as they were. */
  adversarials: Uint8Array;
}

/**
 * Attacks the images at these positions, which the network classifies correctly.
 *
 * @throws Interrupted if the signal aborts
 */
export async function attackImages(
  attack: Attack,
  network: Network,
  weights: Weights,
  data: Dataset,
  positions: Uint32Array,
  settings: Protocol & GivenEffort,
  options: Pick<SearchOptions, 'done' | 'signal'> = {},
): Promise<AttackResult> {
  return 'find' in attack
    ? attackInSteps(attack, network, weights, data, positions, settings, options)
    : attackAlongLines(attack, network, weights, data, positions, settings, options);
}

async function attackInSteps(
  attack: StepAttack,
  network: Network,
  weights: Weights,
  data: Dataset,
  positions: Uint32Array,
  { pgd = EFFORT.pgd, square = EFFORT.square }: GivenEffort,
  options: Pick<SearchOptions, 'done' | 'signal'>,
): Promise<AttackResult> {
  const victims = victimsOf(data, positions);
  const target = targetOf(network, weights);
  const { adversarials, fooled } = await attack.find(target, victims, { pgd, square }, options);
  const { size, images, count } = victims;
  const [linf, l2] = [new Float32Array(count).fill(NaN), new Float32Array(count).fill(NaN)];
  fooled.forEach((success, image) => {
    if (!success) return;
    let [largest, squares] = [0, 0];
    for (let p = image * size; p < (image + 1) * size; p++) {
      const change = Math.abs(adversarials[p] - images[p]);
      largest = Math.max(largest, change);
      squares += change ** 2;
    }
    linf[image] = largest;
    l2[image] = Math.sqrt(squares);
  });
  return { linf, adversarials, ...(attack.norm === 'l2' && { l2 }) };
}

async function attackAlongLines(
  attack: LineAttack,
  network: Network,
  weights: Weights,
  data: Dataset,
  positions: Uint32Array,
  { search, channels }: Protocol,
  { done, signal }: Pick<SearchOptions, 'done' | 'signal'>,
): Promise<AttackResult> {
  const size = data.height * data.width * data.channels;
  const batch = evaluationBatch(network);
  const reversed = channels === 'reversed' && attack.published;
  const lines = await linesOf(attack, network, weights, data, positions, reversed, signal);
  const moved = (images: Uint32Array, scales: Float32Array): tf.Tensor4D =>
    perturb(lines.pixels, lines.directions, indices(images), tf.tensor1d(scales));
  const probe: Probe = (images, scales) => {
    const predicted = read(() => tf.argMax(logitsOf(network, weights, moved(images, scales)), 1));
    return Uint8Array.from(images, (image, j) =>
      predicted[j] === data.labels[positions[image]] ? 0 : 1,
    );
  };
  try {
    const options: SearchOptions = { batch, signal, ...(done && { done }) };
    const found =
      search === 'scan'
        ? await scan(positions.length, attack.scan, probe, options)
        : await bisection(positions.length, attack.bisection, probe, options);

    const linf = new Float32Array(positions.length).fill(NaN);
    const adversarials = new Uint8Array(positions.length * size);
    for (let start = 0; start < positions.length; start += batch) {
      const count = Math.min(batch, positions.length - start);
      const images = Uint32Array.from({ length: count }, (_, i) => start + i);
      const scales = Float32Array.from(images, (image) => found[image] || 0); // NaN: unmoved
      adversarials.set(
        read(() => moved(images, scales)),
        start * size,
      );
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
  } finally {
    tf.dispose([lines.pixels, lines.directions]);
  }
}

function indices(images: Uint32Array): tf.Tensor1D {
  return tf.tensor1d(Int32Array.from(images), 'int32');
}

/** The lines that the images move along, N×H×W×C each: kept by the engine during the search. */
interface Lines {
  pixels: tf.Tensor4D;
  directions: tf.Tensor4D;
}

async function linesOf(
  attack: LineAttack,
  network: Network,
  weights: Weights,
  data: Dataset,
  positions: Uint32Array,
  reversed: boolean,
  signal: AbortSignal | undefined,
): Promise<Lines> {
  const size = data.height * data.width * data.channels;
  const directions = new Float32Array(positions.length * size);
  const batch = evaluationBatch(network);
  for (let start = 0; start < positions.length; start += batch) {
    const chosen = positions.subarray(start, start + batch);
    const values = read(() => {
      const { pixels, labels } = batchOf(data, chosen);
      const pass = trace(network, weights, pixels);
      const fromLogits = attack.logitsGradient(pass.logits, labels);
      return attack.direction(pixelGradient(network, weights, pass, fromLogits));
    });
    directions.set(values, start * size);
    await breathe(signal);
  }
  if (reversed) reverseChannels(directions, data.channels);
  const { pixels, labels } = batchOf(data, positions);
  labels.dispose();
  return { pixels, directions: tf.tensor4d(directions, pixels.shape) };
}

/** In place; values [… , channels]. */
function reverseChannels(values: Float32Array, channels: number): void {
  for (let pixel = 0; pixel < values.length; pixel += channels) {
    values.subarray(pixel, pixel + channels).reverse();
  }
}
