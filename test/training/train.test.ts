import { createHash } from 'node:crypto';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { batchOf } from '#bang/engine/ops/batch.js';
import type { Dataset } from '#bang/data/dataset.js';
import { noisyCopies, roundedNormal } from '#bang/engine/noise.js';
import { adversarialBatch } from '#bang/training/adversarial.js';
import { augmentation } from '#bang/training/augment.js';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import type { KernelBackend } from '#bang/engine/kernels/backend.js';
import { softmaxCrossEntropy } from '#bang/engine/ops/loss.js';
import { logitsOf, makeNetwork } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import type { NamedArray } from '#bang/model/tensors.js';
import { disposeWeights, exportWeights, importWeights } from '#bang/model/parameters.js';
import { makeRandom } from '#bang/base/random.js';
import { type Shuffle, trainingOrder } from '#bang/training/order.js';
import { learningRateAt } from '#bang/training/schedule.js';
import { dropoutMasks } from '#bang/training/step.js';
import { initialState, train, type TrainingSettings } from '#bang/training/train.js';
import { ENGINE } from '../engine.js';
import { between } from '../random.js';
import { poke } from '../tensors.js';

const settings: TrainingSettings = {
  iterations: 12,
  batch: 16,
  learningRate: { policy: 'inv', base: 0.01, gamma: 0.0001, power: 0.75 },
  momentum: 0.9,
  weightDecay: 0.0005,
  shuffle: false,
  logEvery: 5,
  checkpointEvery: 4,
  bang: { beta: 1, epsilon: 0.8, ratio: 1 },
};

const network = makeNetwork(NETWORKS.lenet);

/** 40 images of stripes whose place is the class, with noise. */
const data: Dataset = (() => {
  const random = makeRandom(1, 'stripes');
  const images = Uint8Array.from({ length: 40 * 784 }, (_, i) => {
    const [image, row] = [Math.floor(i / 784), Math.floor((i % 784) / 28)];
    return (row >> 1 === image % 10 ? 200 : 0) + 50 * random.uniform();
  });
  const labels = Uint8Array.from({ length: 40 }, (_, i) => i % 10);
  return { height: 28, width: 28, channels: 1, classes: 10, count: 40, images, labels };
})();

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
});

/** The bits of all tensors, by name: to compare them value by value takes longer than to train. */
function bitsOf(tensors: Map<string, NamedArray>): Record<string, string> {
  const digest = ({ shape, data }: NamedArray) =>
    createHash('sha256').update(shape.join()).update(data).digest('hex');
  return Object.fromEntries([...tensors].map(([name, tensor]) => [name, digest(tensor)]));
}

function isGlibc(): boolean {
  const { header } = process.report.getReport() as unknown as { header: object };
  return 'glibcVersionRuntime' in header;
}

async function weightsAfter(changed: Partial<TrainingSettings> = {}, seed = 1) {
  const state = initialState(network, seed);
  await train(network, { ...settings, ...changed }, seed, { train: data }, state);
  return { weights: bitsOf(exportWeights(network, state.weights)), rows: state.rows };
}

describe('training', () => {
  it('gives the same weights bit for bit, whatever the number of threads', async () => {
    const first = await weightsAfter();
    for (const threads of [1, 3]) {
      kernelBinding()!.setThreads(threads);
      expect(await weightsAfter()).toEqual(first);
    }
    kernelBinding()!.setThreads(2);
  });

  // What results/ promises: the digits of any processor with fused multiply-add, where the exponential and the power
  // are those of the C library; and those of WebAssembly, which has its own, on any.
  it.runIf(ENGINE === 'wasm' || (ENGINE === 'native' && process.platform === 'linux' && isGlibc()))(
    'gives the same weights bit for bit, whatever the processor',
    async ({ skip }) => {
      const binding = kernelBinding()!;
      const levels = binding
        .levels()
        .filter((level) => level !== 'baseline' || process.arch !== 'x64');
      if (levels.length === 0) skip('this processor has no fused multiply-add');
      for (const level of levels) {
        binding.setLevel(level);
        const { weights } = await weightsAfter({ iterations: 60 });
        expect(createHash('sha256').update(Object.values(weights).join()).digest('hex')).toBe(
          level === 'wasm'
            ? 'bdccc61472309c5c828c769ef6e32fdf204b34a34431bda0bb840bd5d620cac7'
            : 'cb175ffb04b6ca6e656fd036e486118bf1577c8e0dcf52bd8bffa5436b7789cf',
        );
      }
      binding.setLevel(binding.levels()[0]);
    },
  );

  it('depends on the seed, on the order and on BANG', async () => {
    const weights = [
      await weightsAfter(),
      await weightsAfter({}, 2),
      await weightsAfter({ shuffle: true }),
      await weightsAfter({ shuffle: 'once' }),
      await weightsAfter({ bang: undefined }),
    ].map((run) => run.weights['conv1.weight']);
    expect(new Set(weights).size).toBe(5);
  });

  it('learns: the loss falls and the images are told apart', async () => {
    const { rows } = await weightsAfter({ iterations: 120, logEvery: 20 });
    expect(rows.at(-1)!.loss).toBeLessThan(rows[0].loss / 3);
    expect(rows.at(-1)!.trainAccuracy).toBeGreaterThan(90);
    expect(rows.map((row) => row.iteration)).toEqual([20, 40, 60, 80, 100, 120]);
    for (const row of rows) {
      expect(Object.keys(row.eta).sort()).toEqual(['conv1', 'conv2', 'ip1', 'ip2']);
      for (const { mean, max } of Object.values(row.eta)) {
        expect(mean).toBeGreaterThan(1);
        expect(max).toBeGreaterThan(mean);
      }
    }
  });

  it('holds its memory flat: tensors, pooled blocks and scratch', async () => {
    const state = initialState(network, 1);
    const seen: unknown[] = [];
    const measure = () => {
      const backend = tf.backend() as unknown as KernelBackend;
      const { used, free, floats } = backend.poolSize();
      const scratch = kernelBinding()!.scratchBytes();
      seen.push({ tensors: tf.memory().numTensors, used, free, floats, scratch });
    };
    await train(
      network,
      { ...settings, iterations: 60, checkpointEvery: 10 },
      1,
      { train: data },
      state,
      {
        checkpoint: measure,
      },
    );
    expect(seen.length).toBe(5);
    for (const later of seen.slice(1)) expect(later).toEqual(seen[0]);
  });

  it('frees all memory of weights and velocities, read from a file too', () => {
    const measure = () => {
      const { numTensors, numDataBuffers, numBytes } = tf.memory();
      return { numTensors, numDataBuffers, numBytes };
    };
    const before = measure();
    const { weights, velocities } = initialState(network, 1);
    const tensors = exportWeights(network, weights);
    const back = importWeights(network, { tensors }, 'a file');
    // Four layers, weight and bias of each; and all weights, all biases.
    expect(measure().numTensors).toBe(before.numTensors + 3 * 10);
    for (const some of [weights, velocities, back]) disposeWeights(some);
    expect(measure()).toEqual(before);
  });

  it('stops with a sentence when the loss is no longer a number, or stays at chance', async () => {
    const fast = { learningRate: { policy: 'fixed', base: 1e6 }, iterations: 50 } as const;
    await expect(weightsAfter({ ...fast, logEvery: 2 })).rejects.toThrow(
      /far above that of guessing \(2\.30\)/,
    );
    await expect(weightsAfter({ ...fast, logEvery: 50 })).rejects.toThrow(
      /no longer finite at iteration \d+/,
    );
    // Whose weights become NaN while ReLU could still hide it.
    const dead = {
      learningRate: { policy: 'fixed', base: 1 },
      iterations: 50,
      logEvery: 50,
    } as const;
    await expect(weightsAfter(dead)).rejects.toThrow(/no longer finite at iteration \d+/);
    // Weights that become NaN in a step whose loss is still a number.
    const state = initialState(network, 1);
    poke(state.velocities.layers.get('ip2')!.bias, 9, NaN);
    const one = train(network, { ...settings, iterations: 1 }, 1, { train: data }, state);
    await expect(one).rejects.toThrow(/^a weight is no longer finite at iteration 1: lower/);
    // A snapshot or checkpoint between two lines of the log is not written with such weights.
    for (const early of [{ snapshots: 1 }, { checkpointEvery: 1 }]) {
      const begun = initialState(network, 1);
      poke(begun.velocities.layers.get('ip2')!.bias, 9, NaN);
      const hooks = { snapshot: vi.fn(), checkpoint: vi.fn() };
      const two = { ...settings, iterations: 2, logEvery: 2, ...early };
      await expect(train(network, two, 1, { train: data }, begun, hooks)).rejects.toThrow(
        /^a weight is no longer finite at iteration 1: lower/,
      );
      expect(hooks.snapshot).not.toHaveBeenCalled();
      expect(hooks.checkpoint).not.toHaveBeenCalled();
    }
    const still = { learningRate: { policy: 'fixed', base: 1e-12 }, bang: undefined } as const;
    const long = { iterations: 1000, batch: 2, logEvery: 500 };
    await expect(weightsAfter({ ...still, ...long })).rejects.toThrow(/still at chance/);
  });
});

describe('the order of training', () => {
  it('is the order of the data, with batches across the end of an epoch', () => {
    const order = trainingOrder(10, 4, false, 1);
    expect([0, 1, 2, 3, 4].map((t) => [...order(t)])).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9, 0, 1],
      [2, 3, 4, 5],
      [6, 7, 8, 9],
    ]);
  });

  it('takes each image once an epoch when shuffled, and any iteration can be the first', () => {
    const order = trainingOrder(50, 7, true, 3);
    const all = Array.from({ length: 50 }, (_, t) => [...order(t)]).flat();
    for (let epoch = 0; epoch < 7; epoch++) {
      const images = all.slice(50 * epoch, 50 * (epoch + 1));
      expect(new Set(images).size).toBe(50);
    }
    expect(all.slice(0, 50)).not.toEqual(all.slice(50, 100));
    expect([...trainingOrder(50, 7, true, 3)(31)]).toEqual(all.slice(217, 224));
  });

  it('is one random order with once, and each epoch has every image once in any order', () => {
    const random = makeRandom(5, 'orders');
    for (let trial = 0; trial < 300; trial++) {
      const count = between(random, 2, 90);
      const batch = between(random, 1, count);
      const seed = between(random, 0, 2 ** 32 - 1);
      const epochs = 3;
      const iterations = Math.ceil((epochs * count) / batch);
      const read = (shuffle: Shuffle): number[][] => {
        const order = trainingOrder(count, batch, shuffle, seed);
        const all = Array.from({ length: iterations }, (_, t) => [...order(t)]).flat();
        return Array.from({ length: epochs }, (_, e) => all.slice(e * count, (e + 1) * count));
      };
      const sorted = Array.from({ length: count }, (_, i) => i);
      const [file, once, each] = [read(false), read('once'), read(true)];
      for (const epoch of [...file, ...once, ...each]) {
        expect([...epoch].sort((a, b) => a - b)).toEqual(sorted);
      }
      expect(file).toEqual(Array(epochs).fill(sorted));
      expect(once).toEqual(Array(epochs).fill(once[0]));
      // The first epoch is the same, so that what differs is only whether the order is kept.
      expect(each[0]).toEqual(once[0]);
      if (count < 20) continue;
      expect(once[0]).not.toEqual(sorted);
      expect(each[1]).not.toEqual(each[0]);
      const other = trainingOrder(count, count, 'once', seed === 0 ? 1 : seed - 1);
      expect([...other(0)]).not.toEqual(once[0]);
      // Any iteration can be the first, as when a run is resumed.
      const t = between(random, 0, iterations - 1);
      expect([...trainingOrder(count, batch, 'once', seed)(t)]).toEqual(
        Array.from({ length: batch }, (_, i) => once[0][(t * batch + i) % count]),
      );
    }
  });
});

describe('noise on training images', () => {
  it('is rounded, clipped, new at each use, and that of the reference, whatever the batch', () => {
    const random = makeRandom(8, 'augment');
    for (let trial = 0; trial < 40; trial++) {
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

  it('changes training, not with the number of threads, and continues where it stopped', async () => {
    const augment = { noise: 30 };
    const whole = await weightsAfter({ augment });
    expect(whole.weights).not.toEqual((await weightsAfter()).weights);
    expect(whole.weights).not.toEqual((await weightsAfter({ augment: { noise: 31 } })).weights);
    kernelBinding()!.setThreads(3);
    expect(await weightsAfter({ augment })).toEqual(whole);
    kernelBinding()!.setThreads(2);
    const state = initialState(network, 1);
    for (const until of [5, 12]) {
      await train(network, { ...settings, augment }, 1, { train: data }, state, { until });
    }
    expect(bitsOf(exportWeights(network, state.weights))).toEqual(whole.weights);
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
    for (let trial = 0; trial < 5; trial++) {
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

  it('changes training, not with the number of threads, and continues where it stopped', async () => {
    const adversarial = { epsilon: 20, steps: 2 };
    const whole = await weightsAfter({ adversarial });
    expect(whole.weights).not.toEqual((await weightsAfter()).weights);
    kernelBinding()!.setThreads(3);
    expect(await weightsAfter({ adversarial })).toEqual(whole);
    kernelBinding()!.setThreads(2);
    const state = initialState(network, 1);
    for (const until of [5, 12]) {
      await train(network, { ...settings, adversarial }, 1, { train: data }, state, { until });
    }
    expect(bitsOf(exportWeights(network, state.weights))).toEqual(whole.weights);
  });

  it('makes a network that withstands FGS better', async () => {
    const loss = async (changed: Partial<TrainingSettings>) => {
      const state = initialState(network, 1);
      const longer = { ...settings, iterations: 100, bang: undefined, ...changed };
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

describe('the learning rate', () => {
  it("follows Caffe's policies", () => {
    const inv = { policy: 'inv', base: 0.01, gamma: 0.0001, power: 0.75 } as const;
    expect(learningRateAt(inv, 0)).toBe(0.01);
    // As Caffe's log of its MNIST example prints them, in six digits.
    const logged = [
      [100, 0.00992565],
      [9800, 0.00599102],
      [9900, 0.00596843],
    ];
    for (const [t, rate] of logged) {
      expect(Number(learningRateAt(inv, t).toPrecision(6))).toBe(rate);
    }
    // Where 1 + γt is 16, its power −¾ is an eighth.
    expect(learningRateAt(inv, 150_000)).toBeCloseTo(0.00125, 12);
    expect(learningRateAt({ policy: 'fixed', base: 0.02 }, 12_345)).toBe(0.02);
    const step = { policy: 'step', base: 0.001, factor: 0.1, at: [18_000, 19_000] } as const;
    const rates = [0, 17_999, 18_000, 19_000].map((t) =>
      learningRateAt({ ...step, at: [...step.at] }, t),
    );
    [0.001, 0.001, 0.0001, 0.00001].forEach((rate, i) => {
      expect(rates[i]).toBeCloseTo(rate, 12);
    });
  });
});

describe('dropout', () => {
  it('keeps half of the values at twice their size, others each iteration', () => {
    const masks = [0, 1].map((t) =>
      [...dropoutMasks(network, 64, 1, t).values()][0].dataSync<'float32'>(),
    );
    for (const mask of masks) {
      expect(new Set(mask)).toEqual(new Set([0, 2]));
      // 32 000 draws: five standard deviations.
      expect(Math.abs(mask.reduce((sum, v) => sum + v, 0) / mask.length - 1)).toBeLessThan(0.028);
    }
    expect(masks[0]).not.toEqual(masks[1]);
  });

  it('drops as many values as its rate says, and makes the others larger for that', () => {
    const { layers } = NETWORKS.lenet;
    const rated = layers.map((layer) =>
      layer.kind === 'dropout' ? { ...layer, rate: 0.3 } : layer,
    );
    const thirty = makeNetwork({ ...NETWORKS.lenet, layers: rated });
    const masks = [0, 1].map((t) =>
      [...dropoutMasks(thirty, 64, 1, t).values()][0].dataSync<'float32'>(),
    );
    for (const mask of masks) {
      expect(new Set(mask)).toEqual(new Set([0, Math.fround(1 / 0.7)]));
      // 32 000 draws: five standard deviations, of the share of zeros and of the mean.
      const dropped = mask.filter((v) => v === 0).length / mask.length;
      expect(Math.abs(dropped - 0.3)).toBeLessThan(0.0129);
      expect(Math.abs(mask.reduce((sum, v) => sum + v, 0) / mask.length - 1)).toBeLessThan(0.0184);
    }
    expect(masks[0]).not.toEqual(masks[1]);
  });
});
