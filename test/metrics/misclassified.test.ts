import { describe, expect, it } from 'vitest';
import { makeRandom } from '#bang/base/random.js';
import { type ErrorCount, errorsByMembership, errorsByRange } from '#bang/metrics/misclassified.js';
import { between } from '../random.js';

const total = (counts: readonly ErrorCount[], key: 'images' | 'errors' | 'trainedOn') =>
  counts.reduce((sum, count) => sum + count[key]!, 0);

describe('errors on parts of the training images', () => {
  it('add up to those on all, however the images are divided', () => {
    const random = makeRandom(21, 'errors');
    for (let trial = 0; trial < 80; trial++) {
      const images = trial % 2 === 0 ? between(random, 1, 300) : between(random, 49_999, 50_300);
      const share = random.uniform();
      const draw = () => Uint8Array.from({ length: images }, () => +(random.uniform() < share));
      const [wrong, members] = [draw(), draw()];
      const errors = wrong.filter((one) => one === 1).length;
      const trainedOn = members.filter((one) => one === 1).length;

      const ranges = errorsByRange(wrong, members);
      const all = ranges.at(-1)!;
      expect(all).toEqual({ part: `all ${images}`, images, errors, trainedOn });
      if (images <= 50_000) expect(ranges).toHaveLength(1);
      else {
        const parts = ranges.slice(0, 2);
        expect(parts.map((one) => one.images)).toEqual([50_000, images - 50_000]);
        expect(total(parts, 'errors')).toBe(errors);
        expect(total(parts, 'trainedOn')).toBe(trainedOn);
        expect(parts[1].errors).toBe([...wrong].slice(50_000).filter(Boolean).length);
      }
      expect(errorsByRange(wrong).every((one) => one.trainedOn === undefined)).toBe(true);

      const byMembership = errorsByMembership(wrong, members);
      expect(total(byMembership, 'images')).toBe(images);
      expect(total(byMembership, 'errors')).toBe(errors);
      for (const { part, images: n, errors: e, trainedOn: t } of byMembership) {
        expect(t).toBe(part === 'trained on' ? n : 0);
        expect(n).toBeGreaterThan(0);
        expect(e).toBeLessThanOrEqual(n);
      }
    }
  });

  it('are counted on each side of the border', () => {
    const wrong = new Uint8Array(50_002);
    wrong[49_999] = 1;
    expect(errorsByRange(wrong).map(({ errors }) => errors)).toEqual([1, 0, 1]);
    wrong[50_000] = 1;
    expect(errorsByRange(wrong).map(({ errors }) => errors)).toEqual([1, 1, 2]);
    const members = Uint8Array.of(1, 0, 1);
    expect(errorsByMembership(Uint8Array.of(0, 1, 1), members)).toEqual([
      { part: 'trained on', images: 2, errors: 1, trainedOn: 2 },
      { part: 'held out', images: 1, errors: 1, trainedOn: 0 },
    ]);
  });
});
