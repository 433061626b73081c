import { tf } from '../base/tf.js';
import type { Dataset } from '../data/dataset.js';
import { roundedNormal } from '../engine/noise.js';
import { addNoise } from '../engine/ops/perturbation.js';
import { breathe } from '../base/interrupt.js';
import { logitsOf, type Model } from '../model/network.js';
import { evaluationBatch, readClasses } from '../model/predict.js';

export interface NoiseSettings {
  /** The noise's standard deviation, in grey levels. */
  sigma: number;
  /** Number of distortions per image. */
  copies: number;
  seed: number;
}

/**
 * Random distortions: counts the noisy copies of each image that a network does not classify as its label.
 * A copy is clip(round(image + N(0, σ²)), 0, 255). All networks are given the same copies. The noise of an
 * image depends only on seed, σ, copy and the image's position in the data set.
 *
 * @param positions of the images in the data set
 * @returns for each network, the number of such copies of each image
 * @throws Interrupted if the signal aborts
 */
export async function flipsUnderNoise(
  networks: readonly Model[],
  data: Dataset,
  positions: ArrayLike<number>,
  { sigma, copies, seed }: NoiseSettings,
  { done, signal }: { done?: (copies: number) => void; signal?: AbortSignal | undefined } = {},
): Promise<Uint32Array[]> {
  const distribution = roundedNormal(sigma);
  const flips = networks.map(() => new Uint32Array(positions.length));
  const { height, width, channels } = data;
  const size = height * width * channels;
  // Batches of nearly equal size.
  const most = Math.min(...networks.map(({ network }) => evaluationBatch(network)));
  const batch = Math.ceil(copies / Math.ceil(copies / most));
  for (let i = 0; i < positions.length; i++) {
    const image = positions[i];
    const bytes = data.images.subarray(image * size, (image + 1) * size);
    for (let first = 0; first < copies; first += batch) {
      const count = Math.min(batch, copies - first);
      tf.tidy(() => {
        const x = tf.tensor3d(Float32Array.from(bytes), [height, width, channels]);
        const noisy = addNoise(x, count, { seed, image, firstCopy: first }, distribution);
        networks.forEach(({ network, weights }, k) => {
          const predicted = readClasses(logitsOf(network, weights, noisy));
          for (const label of predicted) flips[k][i] += +(label !== data.labels[image]);
        });
      });
      await breathe(signal);
      done?.(i * copies + first + count);
    }
  }
  return flips;
}
