import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import type { Binding } from '#bang/engine/kernels/binding.js';
import {
  countersOf,
  noisyCopies,
  philox,
  roundedNormal,
  type RoundedNormal,
  upperTail,
} from '#bang/engine/noise.js';
import { addNoise } from '#bang/engine/ops/perturbation.js';
import { makeRandom } from '#bang/base/random.js';
import { ENGINE } from '../engine.js';

let binding: Binding;

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
  binding = kernelBinding()!;
});

afterAll(() => {
  binding.setLevel(binding.levels()[0]);
  binding.setThreads(2);
});

const words = (text: string): number[] => text.split(' ').map((word) => parseInt(word, 16));

/** The vectors that come with the paper's own library, Random123, in its file kat_vectors. */
const KNOWN = [
  ['00000000 00000000 00000000 00000000', '00000000 00000000'],
  ['ffffffff ffffffff ffffffff ffffffff', 'ffffffff ffffffff'],
  ['243f6a88 85a308d3 13198a2e 03707344', 'a4093822 299f31d0'],
].map(([counter, key]) => ({ counter: words(counter), key: words(key) }));
const ANSWERS = [
  '6627e8d5 e169c58d bc57ac4c 9b00dbd8',
  '408f276d 41c83b0e a20bc7c6 6d5451fd',
  'd16cfe09 94fdcceb 5001e420 24126ea1',
].map(words);

/** A distribution of which the noise is the leading byte of each word. */
const BYTES: RoundedNormal = {
  sigma: 0,
  thresholds: Uint32Array.from({ length: 256 }, (_, i) => (i + 1) * 2 ** 24 - 1),
  depth: 0,
};

/** Noise of the native kernel on an image of zeros. */
function nativeNoise(
  copies: number,
  pixels: number,
  counters: Uint32Array,
  { thresholds, depth }: RoundedNormal,
  x = new Float32Array(pixels),
): Float32Array {
  const y = new Float32Array(copies * pixels);
  binding.addNoise(copies, pixels, x, counters, thresholds, depth, y);
  return y;
}

/** round(z) of native noise on a grey that lies in the middle, of so many pixels. */
function noise(sigma: number, count: number, { seed = 1, image = 0, firstCopy = 0 } = {}) {
  const grey = new Float32Array(count).fill(127);
  const counters = countersOf({ seed, image, firstCopy }, sigma);
  return nativeNoise(1, count, counters, roundedNormal(sigma), grey).map((value) => value - 127);
}

describe('the generator', () => {
  it('gives the known answers of its paper', () => {
    KNOWN.forEach(({ counter, key }, i) => {
      const [a, b, c, d] = counter;
      expect(philox([a, b, c, d], [key[0], key[1]])).toEqual(ANSWERS[i]);
    });
  });

  it('gives them in the kernels of every level, too', () => {
    for (const level of binding.levels()) {
      binding.setLevel(level);
      const bytes = nativeNoise(1, 4, new Uint32Array(5), BYTES);
      expect([...bytes]).toEqual(ANSWERS[0].map((word) => word >>> 24));
    }
  });
});

describe('the rounded normal distribution', () => {
  it('has the tails of the normal one', () => {
    // From the C library's erfc: an implementation of another kind.
    const known = [
      [0, 0.5],
      [0.005, 0.49800529690925915],
      [0.125, 0.4502617751698871],
      [1, 0.15865525393145707],
      [2, 0.02275013194817922],
      [3, 0.0013498980316300957],
      [4, 3.1671241833119965e-5],
      [6, 9.865876450377012e-10],
    ];
    for (const [x, tail] of known) expect(Math.abs(upperTail(x) - tail)).toBeLessThan(2e-16);
    expect(upperTail(9)).toBe(0);
  });

  it.each([0.3, 4, 40, 100, 1000])('is symmetric and ends where it is rarer: σ = %d', (sigma) => {
    const { thresholds, depth } = roundedNormal(sigma);
    expect(thresholds.length).toBe(2 * depth + 1);
    expect(thresholds.at(-1)).toBe(2 ** 32 - 1);
    // P(≤ −j) = (t + 1) / 2³², P(≥ j) = 1 − (t + 1) / 2³².
    for (let j = 1; j <= depth; j++) {
      const [below, above] = [thresholds[depth - j] + 1, thresholds[depth + j - 1] + 1];
      expect(below + above).toBe(2 ** 32);
    }
    expect(depth).toBeLessThanOrEqual(255);
  });

  // From mpmath with 40 digits: nint(2**32 * erfc((j - mpf(1)/2) / sigma / sqrt(2)) / 2), and the last j
  // up to 255 for which that is not 0.
  it.each<[number, number, [number, number][]]>([
    [
      0.3,
      2,
      [
        [1, 205258000],
        [2, 1231],
      ],
    ],
    [
      4,
      25,
      [
        [1, 1933859599],
        [2, 1519689280],
        [4, 819423723],
        [8, 130551380],
        [16, 228975],
        [24, 9],
      ],
    ],
    [
      40,
      254,
      [
        [1, 2126066155],
        [2, 2083244553],
        [40, 694491021],
        [80, 100646150],
        [240, 5],
      ],
    ],
    [
      100,
      255,
      [
        [1, 2138916463],
        [50, 1332728611],
        [100, 686628399],
        [200, 98876332],
        [255, 23467216],
      ],
    ],
  ])('has as many of 2³² words at j or more as mpmath says: σ = %d', (sigma, last, known) => {
    const { thresholds, depth } = roundedNormal(sigma);
    expect(depth).toBe(last);
    for (const [j, count] of known) {
      expect(2 ** 32 - (thresholds[depth + j - 1] + 1)).toBe(count);
      expect(thresholds[depth - j] + 1).toBe(count);
    }
  });
});

describe('noise in the native kernel', () => {
  it('equals that in TypeScript, on every level and with any number of threads', () => {
    const random = makeRandom(1, 'noise');
    for (let trial = 0; trial < 30; trial++) {
      const size = 1 + Math.floor(random.uniform() * (trial % 3 ? 50 : 800));
      const copies = trial === 0 ? 0 : 1 + Math.floor(random.uniform() * 6);
      const x = Float32Array.from({ length: size }, () => Math.floor(random.uniform() * 256));
      const source = {
        seed: random.bits(),
        image: random.bits() >>> 12,
        // Copies are counted modulo 2³².
        firstCopy: trial === 1 ? 2 ** 32 - 2 : random.bits() >>> 20,
      };
      const distribution = roundedNormal(100 * random.uniform() + 0.1);
      const expected = noisyCopies(x, copies, source, distribution);
      const counters = countersOf(source, distribution.sigma);
      for (const level of binding.levels()) {
        binding.setLevel(level);
        binding.setThreads(1 + (trial % 4));
        expect(nativeNoise(copies, size, counters, distribution, x)).toEqual(expected);
      }
    }
    binding.setThreads(2);
  });

  it('is the same whatever the batch: copies can be made alone', () => {
    const distribution = roundedNormal(30);
    const counters = (firstCopy: number) => countersOf({ seed: 5, image: 7, firstCopy }, 30);
    // Enough work for several threads.
    const whole = nativeNoise(40, 784, counters(0), distribution);
    for (const [first, count] of [
      [0, 1],
      [13, 9],
      [39, 1],
    ]) {
      const part = nativeNoise(count, 784, counters(first), distribution);
      expect(part).toEqual(whole.slice(first * 784, (first + count) * 784));
    }
  });

  it('has mean, variance and kurtosis of a normal number that is rounded', () => {
    const n = 400_000;
    for (const sigma of [4, 20]) {
      const z = noise(sigma, n);
      const moment = (k: number) => z.reduce((sum, value) => sum + value ** k, 0) / n;
      // Sheppard: rounding adds the variance of a uniform number in ±½. Five standard errors each.
      const variance = sigma ** 2 + 1 / 12;
      expect(Math.abs(moment(1))).toBeLessThan(5 * Math.sqrt(variance / n));
      expect(Math.abs(moment(2) / variance - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
      expect(Math.abs(moment(3) / variance ** 1.5)).toBeLessThan(5 * Math.sqrt(15 / n));
      expect(Math.abs(moment(4) / variance ** 2 - 3)).toBeLessThan(5 * Math.sqrt(96 / n) + 0.001);
    }
  });

  it('has the tails', () => {
    const n = 1_000_000;
    const sigma = 25;
    const z = noise(sigma, n);
    for (const deviations of [1, 2, 3, 4]) {
      const j = deviations * sigma;
      const expected = n * upperTail((j - 0.5) / sigma);
      for (const side of [-1, 1]) {
        const found = z.reduce((count, value) => count + +(side * value >= j), 0);
        expect(Math.abs(found - expected)).toBeLessThan(5 * Math.sqrt(expected));
      }
    }
  });

  it('is independent over pixels, copies, images, σ and seeds', () => {
    const n = 200_000;
    const sigma = 20;
    const all = {
      itself: noise(sigma, n),
      copy: noise(sigma, n, { firstCopy: 1 }),
      image: noise(sigma, n, { image: 1 }),
      seed: noise(sigma, n, { seed: 2 }),
      sigma: noise(sigma + 1e-5, n),
    };
    const correlation = (a: Float32Array, b: Float32Array): number =>
      a.reduce((sum, value, i) => sum + (i < b.length ? value * b[i] : 0), 0) / n / sigma ** 2;
    const entries = Object.values(all);
    entries.forEach((a, i) => {
      for (const b of entries.slice(i + 1)) {
        expect(Math.abs(correlation(a, b))).toBeLessThan(5 / Math.sqrt(n));
      }
    });
    for (const lag of [1, 2, 3, 4, 28]) {
      const later = all.itself.subarray(lag);
      expect(Math.abs(correlation(all.itself, later))).toBeLessThan(5 / Math.sqrt(n));
    }
  });

  it('clips', () => {
    const ends = Float32Array.from({ length: 400 }, (_, i) => (i % 2) * 255);
    const counters = countersOf({ seed: 1, image: 0, firstCopy: 0 }, 100);
    const y = nativeNoise(1, 400, counters, roundedNormal(100), ends);
    for (const value of y) expect(Number.isInteger(value) && value >= 0 && value <= 255).toBe(true);
    expect(Math.min(...y)).toBe(0);
    expect(Math.max(...y)).toBe(255);
  });

  it('refuses wrong arguments and never crashes', () => {
    const { thresholds, depth } = roundedNormal(3);
    const loose = binding as unknown as Record<string, (...args: unknown[]) => unknown>;
    const counters = new Uint32Array(5);
    const [x, y] = [new Float32Array(3), new Float32Array(6)];
    loose.addNoise(2, 3, x, counters, thresholds, depth, y);
    const wrong: unknown[][] = [
      [],
      [2, 3, x, counters, thresholds, depth, new Float32Array(5)],
      [2, 4, x, counters, thresholds, depth, y],
      [2, 3, x, counters.subarray(1), thresholds, depth, y],
      [2, 3, x, [...counters], thresholds, depth, y],
      [2, 3, x, counters, thresholds.subarray(0, -1), depth, y],
      [2, 3, x, counters, new Uint32Array(0), depth, y],
      [2, 3, x, counters, new Uint32Array(2 ** 16 + 1).fill(2 ** 32 - 1), depth, y],
      [2, 3, x, counters, new Int32Array(thresholds), depth, y],
      [2, 3, x, counters, thresholds, -depth, y],
      [2, 3, x, counters, thresholds, NaN, y],
    ];
    for (const args of wrong) expect(() => loose.addNoise(...args)).toThrow(TypeError);
    // Not ascending: senseless, but no reason to read beyond the end.
    const random = makeRandom(2, 'thresholds');
    const chaos = Uint32Array.from({ length: 100 }, () => random.bits());
    chaos[99] = 2 ** 32 - 1;
    loose.addNoise(2, 3, x.fill(NaN), counters, chaos, 2 ** 31 - 2 ** 16, y);
  });
});

it('noise as an operation is the same on both engines', async () => {
  const pixels = Array.from({ length: 75 }, (_, i) => (i * 37) % 256);
  const outputs: unknown[] = [];
  for (const engine of ['cpu', ENGINE] as const) {
    await startEngine({ engine, threads: 2 });
    const source = { seed: 3, image: 11, firstCopy: 4 };
    const y = tf.tidy(() =>
      addNoise(tf.tensor3d(pixels, [5, 5, 3]), 6, source, roundedNormal(40)).arraySync(),
    );
    outputs.push(y);
  }
  expect(outputs[0]).toEqual(outputs[1]);
});
