import { beforeAll, describe, expect, it } from 'vitest';
import { startEngine } from '#bang/engine/engine.js';
import { makeNetwork } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import { makeRandom } from '#bang/base/random.js';
import { type Shuffle, trainingOrder } from '#bang/training/order.js';
import { learningRateAt } from '#bang/training/schedule.js';
import { dropoutMasks } from '#bang/training/step.js';
import { ENGINE } from '../engine.js';
import { between } from '../random.js';
import { network } from './short.js';

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
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
