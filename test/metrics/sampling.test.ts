import { describe, expect, it } from 'vitest';
import { rateOf, stratifiedError } from '#bang/metrics/sampling.js';
import { makeRandom } from '#bang/base/random.js';

describe('the share of flipped copies', () => {
  it('has the errors of the formulae on a case done by hand', () => {
    // Shares 0.5, 0 | 1, 0.5 of two copies; classes 3 and 7.
    const { rate, overImages, overCopies } = rateOf([1, 0, 2, 1], [3, 3, 7, 7], 2);
    expect(rate).toBe(50);
    // Variances 0.125 each, of means of two: 0.0625 + 0.0625, over four.
    expect(overImages).toBeCloseTo(100 * Math.sqrt(0.125) * 0.5, 10);
    // Two images with r (1 − r) / (copies − 1) = 0.25, over 16.
    expect(overCopies).toBeCloseTo(100 * Math.sqrt(0.5 / 16), 10);
  });

  it('has none where nothing varies, and none where it cannot be known', () => {
    expect(rateOf([0, 0], [1, 1], 5)).toEqual({ rate: 0, overImages: 0, overCopies: 0 });
    expect(rateOf([1, 0], [1, 2], 1)).toEqual({ rate: 50, overImages: null, overCopies: null });
    expect(stratifiedError([0.1, 0.2, 0.3], [0, 0, 1])).toBeNull();
  });

  it('says how far other images and other noise would move it', () => {
    const random = makeRandom(1, 'sampling');
    const [classes, perClass, copies] = [5, 8, 10];
    const labels = Array.from({ length: classes * perClass }, (_, i) => i % classes);
    /** How often an image flips: rarely in class 0, often in class 4, and each in its own way. */
    const propensity = (label: number) => random.uniform() ** (6 - label);
    const flipsOf = (share: number) => {
      let count = 0;
      for (let i = 0; i < copies; i++) count += +(random.uniform() < share);
      return count;
    };
    const spread = (rates: number[]) => {
      const mean = rates.reduce((sum, value) => sum + value, 0) / rates.length;
      const squares = rates.reduce((sum, value) => sum + (value - mean) ** 2, 0);
      return Math.sqrt(squares / (rates.length - 1));
    };
    const meanSquare = (errors: (number | null)[]) =>
      Math.sqrt(errors.reduce<number>((sum, error) => sum + error! ** 2, 0) / errors.length);

    const studies = Array.from({ length: 2000 }, () =>
      rateOf(
        labels.map((label) => flipsOf(propensity(label))),
        labels,
        copies,
      ),
    );
    // The spread of 2000 is known to 1.6 %: four times that.
    const found = meanSquare(studies.map(({ overImages }) => overImages));
    expect(Math.abs(found / spread(studies.map(({ rate }) => rate)) - 1)).toBeLessThan(0.065);

    const fixed = labels.map(propensity);
    const noise = Array.from({ length: 2000 }, () => rateOf(fixed.map(flipsOf), labels, copies));
    const alone = meanSquare(noise.map(({ overCopies }) => overCopies));
    expect(Math.abs(alone / spread(noise.map(({ rate }) => rate)) - 1)).toBeLessThan(0.065);
    expect(alone).toBeLessThan(0.8 * found);
  });
});
