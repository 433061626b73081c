import { tf } from '../base/tf.js';
import type { Batch } from '../data/batch.js';
import { logOddsGradient } from '../engine/ops/loss.js';
import { type Network, pixelGradient, trace, type Weights } from '../model/network.js';
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
  const [lowest, highest] = [-epsilon, epsilon].map((change) =>
    tf.clipByValue(tf.add(pixels, change), 0, 255),
  );
  const within = (x: tf.Tensor4D): tf.Tensor4D => tf.minimum(tf.maximum(x, lowest), highest);
  let x =
    steps === 1 ? pixels : within(tf.add(pixels, randomChange(pixels.shape, epsilon, seed, t)));
  for (let i = 0; i < steps; i++) {
    const from = x;
    x = tf.tidy(() => {
      const forward = trace(network, weights, from);
      const vector = logOddsGradient(forward.logits, labels);
      const direction = tf.sign(pixelGradient(network, weights, forward, vector));
      return within(tf.add(from, tf.mul(direction, step)));
    });
    if (from !== pixels) from.dispose();
  }
  return { pixels: x, labels };
}

/** Uniform in ±ε, other numbers for each iteration. */
function randomChange(
  shape: [number, number, number, number],
  epsilon: number,
  seed: number,
  t: number,
): tf.Tensor4D {
  const random = makeRandom(seed, 'adversarial', t);
  const values = Float32Array.from(
    { length: tf.util.sizeFromShape(shape) },
    () => epsilon * (2 * random.uniform() - 1),
  );
  return tf.tensor4d(values, shape);
}
