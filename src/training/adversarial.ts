import { tf } from '../base/tf.js';
import type { Batch } from '../engine/ops/batch.js';
import { logOddsGradient } from '../engine/ops/loss.js';
import { type Network, pixelGradient, trace, type Weights } from '../model/network.js';
import { clip } from '../base/clip.js';
import { makeRandom } from '../base/random.js';

/** Adversarial training: each image of a batch gives way to one that an attack finds on the network as it is then. */
export interface Adversarial {
  /** The largest change of a pixel, in grey levels. */
  epsilon: number;
  /** Steps along the sign of the gradient; several begin at a random point. */
  steps: number;
}

/** Several steps cover this many times ε, so that they can cross the box and correct themselves. */
const REACH = 2.5;

/**
 * The batch of iteration t with adversarial images: with one step those of FGS (Goodfellow, Shlens, Szegedy 2014), with
 * several those of PGD (Madry et al. 2017), but along the gradient of the log-odds, which has the sign of the loss
 * gradient and does not underflow. Attacked is the network without dropout.
 *
 * @param batch pixels [N,H,W,C] in grey levels
 */
export function adversarialBatch(
  { epsilon, steps }: Adversarial,
  network: Network,
  weights: Weights,
  batch: Batch,
  seed: number,
  t: number,
): Batch {
  const { pixels, labels } = batch;
  const step = steps === 1 ? epsilon : (REACH * epsilon) / steps;
  const original = pixels.dataSync();
  const change = steps === 1 ? undefined : makeRandom(seed, 'adversarial', t);
  const x = Float32Array.from(original, (value) =>
    change ? clip(value + epsilon * (2 * change.uniform() - 1), 0, 255) : value,
  );
  for (let i = 0; i < steps; i++) {
    // Not returned by tidy, which would look for tensors among its elements.
    let gradient: Float32Array = new Float32Array();
    tf.tidy(() => {
      const forward = trace(network, weights, tf.tensor4d(x.slice(), pixels.shape));
      const vector = logOddsGradient(forward.logits, labels);
      gradient = pixelGradient(network, weights, forward, vector).dataSync() as Float32Array;
    });
    for (let j = 0; j < x.length; j++) {
      const lowest = Math.max(0, original[j] - epsilon);
      const highest = Math.min(255, original[j] + epsilon);
      x[j] = clip(x[j] + step * Math.sign(gradient[j]), lowest, highest);
    }
  }
  return { pixels: tf.tensor4d(x, pixels.shape), labels };
}
