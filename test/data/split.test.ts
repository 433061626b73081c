import { describe, expect, it } from 'vitest';
import { makeRandom } from '#bang/base/random.js';
import type { Dataset } from '#bang/data/dataset.js';
import { splitImages } from '#bang/data/split.js';
import { between } from '../random.js';

/** Images of three bytes that say their position. */
function numbered(count: number): Dataset {
  const images = new Uint8Array(3 * count);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    images.set([i & 255, (i >> 8) & 255, i >> 16], 3 * i);
    labels[i] = i % 7;
  }
  return { height: 1, width: 1, channels: 3, classes: 7, count, images, labels };
}

/** The positions of images in the data that they were taken from. */
function positionsOf({ count, images, labels }: Dataset): Uint32Array {
  expect([images.length, labels.length]).toEqual([3 * count, count]);
  const positions = Uint32Array.from({ length: count }, (_, i) => {
    const [low, middle, high] = images.subarray(3 * i, 3 * i + 3);
    return low + 256 * middle + 65_536 * high;
  });
  expect(positions.every((position, i) => labels[i] === position % 7)).toBe(true);
  return positions;
}

const ascends = (values: Uint32Array) =>
  values.every((value, i) => i === 0 || values[i - 1] < value);

describe('the split of the training images', () => {
  it('takes a random 50 000 that depend on the seed alone, and leaves the others', () => {
    const random = makeRandom(11, 'splits');
    for (let trial = 0; trial < 8; trial++) {
      const count = between(random, 50_001, 70_000);
      const seed = between(random, 0, 2 ** 32 - 1);
      const all = numbered(count);
      const split = (given: number) => {
        const parts = splitImages(all, { trainOn: '50k', split: 'random' }, given);
        return { train: positionsOf(parts.train), validation: positionsOf(parts.validation!) };
      };
      const { train, validation } = split(seed);
      expect([train.length, validation.length]).toEqual([50_000, count - 50_000]);
      expect(ascends(train) && ascends(validation)).toBe(true);
      expect(new Set([...train, ...validation]).size).toBe(count);
      expect(split(seed).train).toEqual(train);
      expect(split(seed === 0 ? 1 : seed - 1).validation).not.toEqual(validation);
      // Both halves of the data lose as many as chance says: six standard deviations of the hypergeometric.
      const half = Math.floor(count / 2);
      const out = validation.filter((position) => position < half).length;
      const share = half / count;
      const left = count - 50_000;
      const deviation = Math.sqrt(left * share * (1 - share) * (50_000 / (count - 1)));
      expect(Math.abs(out - left * share)).toBeLessThan(6 * deviation + 1);
    }
  });

  it('otherwise takes the first 50 000, or all, whatever the seed', () => {
    const random = makeRandom(12, 'splits');
    for (let trial = 0; trial < 8; trial++) {
      const all = numbered(between(random, 1, 70_000));
      const seed = between(random, 0, 2 ** 32 - 1);
      const whole = splitImages(all, { trainOn: '60k' }, seed);
      expect(whole).toEqual({ train: all });
      for (const split of [undefined, 'first'] as const) {
        const { train, validation } = splitImages(all, { trainOn: '50k', split }, seed);
        const count = Math.min(50_000, all.count);
        expect(positionsOf(train)).toEqual(Uint32Array.from({ length: count }, (_, i) => i));
        expect(validation?.count ?? 0).toBe(all.count - count);
        if (validation) expect(positionsOf(validation)[0]).toBe(50_000);
      }
      if (all.count > 50_000) continue;
      expect(splitImages(all, { trainOn: '50k', split: 'random' }, seed)).toEqual({ train: all });
    }
  });
});
