import { describe, expect, it } from 'vitest';
import { bisection, descent, scan, type Probe } from '#bang/attacks/search.js';
import { makeRandom } from '#bang/base/random.js';

/** Images, each misclassified on a set of intervals of the scale; the probe counts its calls. */
function images(intervals: [number, number][][]) {
  const sizes: number[] = [];
  const probe: Probe = (which, scales) => {
    sizes.push(which.length);
    return Uint8Array.from(
      which,
      (image, j) => +intervals[image].some(([from, to]) => scales[j] >= from && scales[j] < to),
    );
  };
  return { probe, sizes };
}

const beyond = (threshold: number): [number, number][] => [[threshold, Infinity]];

describe('bisection', () => {
  it('finds the smallest scale, to its width, of images with one threshold', async () => {
    const random = makeRandom(1, 'thresholds');
    const thresholds = Array.from({ length: 500 }, () => 300 * random.uniform() ** 2);
    const { probe, sizes } = images(thresholds.map(beyond));
    for (const [limit, width] of [
      [256, 1],
      [2 ** 17, 1 / 16],
    ]) {
      const found = await bisection(500, { limit, width }, probe, { batch: 64 });
      thresholds.forEach((threshold, i) => {
        if (threshold > limit) {
          expect(found[i]).toBeNaN();
        } else {
          expect(found[i]).toBeGreaterThanOrEqual(threshold);
          expect(found[i]).toBeLessThan(Math.max(threshold, 0) + width + 1e-9);
          expect(found[i] % width).toBe(0);
        }
      });
    }
    expect(Math.max(...sizes)).toBe(64);
  });

  it('tries the limit itself and nothing beyond', async () => {
    const { probe } = images([beyond(256), beyond(256.5)]);
    const found = await bisection(2, { limit: 256, width: 1 }, probe, { batch: 8 });
    expect([...found]).toEqual([256, NaN]);
  });

  it('keeps the misclassified end where an image is right again in between', async () => {
    // 1, 2, 4, 8 are right, 16 is wrong; then 12 right, 14 wrong, 13 right. 5 … 6 is never seen.
    const { probe } = images([
      [
        [5, 6.5],
        [13.5, 20],
      ],
    ]);
    const found = await bisection(1, { limit: 256, width: 1 }, probe, { batch: 8 });
    expect(found[0]).toBe(14);
    const all = Float32Array.from({ length: 255 }, (_, i) => i + 1);
    expect((await scan(1, all, probe, { batch: 8 }))[0]).toBe(5);
  });
});

describe('progress', () => {
  const random = makeRandom(3, 'progress');
  const thresholds = Array.from({ length: 640 }, () => 2 ** (9 * random.uniform()));
  const all = Float32Array.from({ length: 255 }, (_, i) => i + 1);

  it.each([
    ['bisection', { limit: 256, width: 1 }],
    ['bisection', { limit: 2 ** 17, width: 1 / 16 }],
    ['scan', all],
  ] as const)('of a %s moves in every round, and never back', async (_name, range) => {
    const { probe, sizes } = images(thresholds.map(beyond));
    const done: number[] = [];
    const options = { batch: 64, done: (n: number) => done.push(n) };
    const found =
      'width' in range
        ? await bisection(640, range, probe, options)
        : await scan(640, range, probe, options);
    expect(found.some(Number.isNaN)).toBe(!('width' in range) || range.limit === 256);
    expect(done).toEqual([...done].sort((a, b) => a - b));
    expect(done.at(-1)).toBe(640);
    // Ten batches are the first round: every image has been tried once, and all of them know it.
    const rounds = 'width' in range ? 40 : 255;
    expect(done[9]).toBeGreaterThanOrEqual(Math.floor(640 / rounds));
    // Half of the probes are not nearly all of the work, nor nothing.
    const tried = sizes.reduce((a, b) => a + b, 0);
    let sum = 0;
    const half = sizes.findIndex((size) => (sum += size) >= tried / 2);
    expect(done[half]).toBeGreaterThan(0.2 * 640);
    expect(done[half]).toBeLessThan(0.8 * 640);
  });
});

describe('bisection from above', () => {
  it('finds the same of images with one threshold, and nothing beyond the limit', async () => {
    const random = makeRandom(3, 'thresholds');
    const thresholds = Array.from({ length: 300 }, () => 300 * random.uniform());
    const { probe } = images(thresholds.map(beyond));
    const range = { limit: 256, width: 1 };
    const below = await bisection(300, range, probe, { batch: 64 });
    const above = await bisection(300, { ...range, first: 256 }, probe, { batch: 64 });
    expect(above).toEqual(below);
  });
});

describe('descent', () => {
  it('goes down by 1 as long as it fools, and never to 0', async () => {
    // From 9: 8 and 7 fool, 6 does not. From 3: 2 does not. From 4: 3, 2, 1 do. From 1: nothing below.
    const { probe, sizes } = images([[[6.5, 20]], [[2.5, 20]], [[0, 20]], [[0, 20]]]);
    const tried: number[][] = [[], [], [], []];
    const seen: Probe = (which, scales) => {
      which.forEach((image, j) => tried[image].push(scales[j]));
      return probe(which, scales);
    };
    await descent(4, Float32Array.of(9, 3, 4, 1), seen, { batch: 8 });
    expect(tried).toEqual([[8, 7, 6], [2], [3, 2, 1], []]);
    expect(sizes).toEqual([3, 2, 2]);
  });
});

describe('scan', () => {
  it('finds the first of the scales that fools, or nothing', async () => {
    const random = makeRandom(2, 'scan');
    const scales = Float32Array.from({ length: 40 }, (_, i) => 1.3 ** i);
    const intervals = Array.from({ length: 300 }, () => {
      const from = 1.3 ** (60 * random.uniform()) - 0.5;
      return [[from, from * 1.5]] as [number, number][];
    });
    const { probe } = images(intervals);
    const done: number[] = [];
    const found = await scan(300, scales, probe, { batch: 32, done: (n) => done.push(n) });
    intervals.forEach(([[from, to]], i) => {
      const expected = scales.find((scale) => scale >= from && scale < to);
      expect(found[i]).toBe(expected ?? NaN);
    });
    expect(done.at(-1)).toBe(300);
    expect(done).toEqual([...done].sort((a, b) => a - b));
  });

  it('does nothing for no images, and stops when told to', async () => {
    const { probe } = images([beyond(5)]);
    expect(await scan(0, Float32Array.of(1), probe, { batch: 8 })).toHaveLength(0);
    const controller = new AbortController();
    controller.abort();
    await expect(
      bisection(1, { limit: 256, width: 1 }, probe, { batch: 8, signal: controller.signal }),
    ).rejects.toThrow('stopped');
  });
});
