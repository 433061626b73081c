import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { batchOf } from '#bang/engine/ops/batch.js';
import type { Dataset } from '#bang/data/dataset.js';
import { noisyCopies, roundedNormal } from '#bang/engine/noise.js';
import { adversarialBatch } from '#bang/training/adversarial.js';
import { augmentation } from '#bang/training/augment.js';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import { softmaxCrossEntropy } from '#bang/engine/ops/loss.js';
import { logitsOf } from '#bang/model/network.js';
import { exportWeights } from '#bang/model/parameters.js';
import { makeRandom } from '#bang/base/random.js';
import { initialState, train, type TrainingSettings } from '#bang/training/train.js';
import { ENGINE } from '../engine.js';
import { between } from '../random.js';
import { bitsOf, data, network, settings, weightsAfter } from './short.js';

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
});

describe('noise on training images', () => {
  it('is rounded, clipped, new at each use, and that of the reference, whatever the batch', () => {
    const random = makeRandom(8, 'augment');
    for (let trial = 0; trial < 20; trial++) {
      const shape = [between(random, 1, 9), between(random, 1, 9), between(random, 1, 3)] as const;
      const [size, count] = [shape[0] * shape[1] * shape[2], between(random, 1, 12)];
      const bytes = (n: number) => Uint8Array.from({ length: n }, () => between(random, 0, 255));
      const [height, width, channels] = shape;
      const labels = new Uint8Array(count);
      const images = bytes(count * size);
      const some: Dataset = { height, width, channels, classes: 10, count, images, labels };
      const noise = 1 + 60 * random.uniform();
      const seed = between(random, 0, 2 ** 32 - 1);
      const t = between(random, 0, 100_000);
      const batch = between(random, 1, 12);
      const positions = Uint32Array.from({ length: batch }, () => between(random, 0, count - 1));
      const noisy = (given: Uint32Array, at: number) =>
        tf.tidy(() => {
          const changed = augmentation({ noise }, seed)(batchOf(some, given), given, at);
          expect(changed.pixels.shape).toEqual([given.length, ...shape]);
          return [...changed.pixels.dataSync()];
        });
      const found = noisy(positions, t);
      expect(noisy(positions, t)).toEqual(found);
      expect(found.every((v) => Number.isInteger(v) && v >= 0 && v <= 255)).toBe(true);
      const key = makeRandom(seed, 'augment/noise').bits();
      positions.forEach((image, i) => {
        const source = { seed: key, image, firstCopy: t * batch + i };
        const one = images.subarray(image * size, (image + 1) * size);
        const expected = [...noisyCopies(one, 1, source, roundedNormal(noise))];
        expect(found.slice(i * size, (i + 1) * size)).toEqual(expected);
      });
      if (size * noise > 500) expect(noisy(positions, t + 1)).not.toEqual(found);
    }
  });

  it('has mean 0 and the given deviation, and no image twice in one iteration is the same', () => {
    const images = new Uint8Array(40 * 784).fill(128);
    const grey: Dataset = { ...data, images };
    const positions = Uint32Array.from({ length: 40 }, (_, i) => i >> 1);
    const values = tf.tidy(() => [
      ...augmentation({ noise: 20 }, 1)(batchOf(grey, positions), positions, 3).pixels.dataSync(),
    ]);
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
    // Five standard errors, of the mean and of the variance; rounding adds 1/12.
    expect(Math.abs(mean - 128)).toBeLessThan((5 * 20) / Math.sqrt(values.length));
    expect(Math.abs(variance - 400 - 1 / 12)).toBeLessThan(5 * 400 * Math.sqrt(2 / values.length));
    expect(values.slice(0, 784)).not.toEqual(values.slice(784, 1568));
  });
});

describe('adversarial training', () => {
  const positions = Uint32Array.from({ length: 40 }, (_, i) => i);
  let weights: ReturnType<typeof initialState>['weights'];
  beforeAll(async () => {
    const state = initialState(network, 3);
    await train(network, { ...settings, iterations: 20 }, 3, { train: data }, state);
    ({ weights } = state);
  });
  /** The mean of log(Σ_{j≠y} e^{z_j}) − z_y, which is never rounded to zero as the loss is. */
  const logOdds = (pixels: tf.Tensor4D, labels: tf.Tensor1D): number => {
    const logits = logitsOf(network, weights, pixels).arraySync();
    const odds = [...labels.dataSync()].map((label, i) => {
      const others = logits[i].filter((_, k) => k !== label);
      const most = Math.max(...others);
      const sum = others.reduce((total, z) => total + Math.exp(z - most), 0);
      return most + Math.log(sum) - logits[i][label];
    });
    return odds.reduce((sum, one) => sum + one, 0) / odds.length;
  };

  it('trains on images within ε and 0 … 255, of which several steps find worse ones', () => {
    const random = makeRandom(5, 'adversarial');
    for (let trial = 0; trial < 3; trial++) {
      const epsilon = 2 + 60 * random.uniform();
      const seed = between(random, 0, 2 ** 32 - 1);
      const odds = [0, 1, 10].map((steps) =>
        tf.tidy(() => {
          const batch = batchOf(data, positions);
          const found = (t: number) =>
            adversarialBatch({ epsilon, steps }, network, weights, batch, seed, t).pixels;
          const pixels = steps === 0 ? batch.pixels : found(7);
          const [x, was] = [pixels, batch.pixels].map((some) => [...some.dataSync()]);
          expect(x.every((v) => v >= 0 && v <= 255)).toBe(true);
          // One rounding of 255 + ε.
          expect(x.every((v, i) => Math.abs(v - was[i]) <= epsilon + 2e-5)).toBe(true);
          if (steps === 1) {
            // A pixel that is not at a border moves by ε, unless its gradient is zero, as where no weight sees it.
            const inside = was.map((v) => Number(v >= epsilon && v <= 255 - epsilon));
            const full = x.filter((v, i) => inside[i] && Math.abs(v - was[i]) > epsilon - 2e-5);
            expect(full.length).toBeGreaterThanOrEqual(
              0.9 * inside.reduce((sum, one) => sum + one, 0),
            );
          }
          if (steps > 0) expect([...found(7).dataSync()]).toEqual(x);
          if (steps > 1) expect([...found(8).dataSync()]).not.toEqual(x);
          return logOdds(pixels, batch.labels);
        }),
      );
      expect(odds[1]).toBeGreaterThan(odds[0]);
      expect(odds[2] - odds[0]).toBeGreaterThan(0.9 * (odds[1] - odds[0]));
    }
  });

  it('leaves no tensors behind', () => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const batch = batchOf(data, positions);
      adversarialBatch({ epsilon: 8, steps: 3 }, network, weights, batch, 1, 1);
      // The batch, the limits, the result.
      expect(tf.memory().numTensors - before).toBeLessThan(12);
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('makes a network that withstands FGS better', async () => {
    const loss = async (changed: Partial<TrainingSettings>) => {
      const state = initialState(network, 1);
      const longer = { ...settings, iterations: 40, bang: undefined, ...changed };
      await train(network, longer, 1, { train: data }, state);
      return tf.tidy(() => {
        const batch = batchOf(data, positions);
        const one = { epsilon: 40, steps: 1 };
        const { pixels, labels } = adversarialBatch(one, network, state.weights, batch, 1, 1);
        const { loss } = softmaxCrossEntropy(logitsOf(network, state.weights, pixels), labels, 1);
        return tf.mean(loss).dataSync()[0];
      });
    };
    const adversarial = { epsilon: 40, steps: 1 };
    expect(await loss({ adversarial })).toBeLessThan(0.7 * (await loss({})));
  });
});

it.each([
  ['noise', { augment: { noise: 30 } }, { augment: { noise: 31 } }],
  [
    'adversarial',
    { adversarial: { epsilon: 20, steps: 2 } },
    { adversarial: { epsilon: 20, steps: 3 } },
  ],
])(
  '%s changes training, not with the number of threads, and continues where it stopped',
  async (_, images, other) => {
    const whole = await weightsAfter(images);
    expect(whole.weights).not.toEqual((await weightsAfter()).weights);
    expect(whole.weights).not.toEqual((await weightsAfter(other)).weights);
    kernelBinding()!.setThreads(3);
    expect(await weightsAfter(images)).toEqual(whole);
    kernelBinding()!.setThreads(2);
    const state = initialState(network, 1);
    for (const until of [5, 12]) {
      await train(network, { ...settings, ...images }, 1, { train: data }, state, { until });
    }
    expect(bitsOf(exportWeights(network, state.weights))).toEqual(whole.weights);
  },
);
