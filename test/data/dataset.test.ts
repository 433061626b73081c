import { describe, expect, it } from 'vitest';
import { UserError } from '#bang/base/errors.js';
import { type Dataset, firstImages, slice } from '#bang/data/dataset.js';

const images = Uint8Array.from({ length: 20 }, (_, i) => i);
const labels = Uint8Array.from({ length: 10 }, (_, i) => i);
const data: Dataset = { height: 1, width: 2, channels: 1, classes: 10, count: 10, images, labels };

describe('a part of a data set', () => {
  it('has as many images as it says', () => {
    for (let begin = 0; begin <= 10; begin++) {
      for (let end = begin; end <= 10; end++) {
        const part = slice(data, begin, end);
        expect(part.count).toBe(end - begin);
        expect(part.images).toEqual(images.slice(2 * begin, 2 * end));
        expect(part.labels).toEqual(labels.slice(begin, end));
      }
    }
    expect(firstImages(data, 3)).toEqual(slice(data, 0, 3));
    for (const count of [10, 11, 'all'] as const) expect(firstImages(data, count)).toBe(data);
  });

  it.each([
    [5, 11],
    [10, 5],
    [-1, 5],
    [0.5, 2],
    [0, 1.5],
    [NaN, 5],
    [0, NaN],
    [11, 12],
  ])('is refused from %d to %d, which the data set has not', (begin, end) => {
    expect(() => slice(data, begin, end)).toThrow(UserError);
    expect(() => slice(data, begin, end)).toThrow(
      `there are no images from ${begin} to ${end} in a data set of 10: give whole numbers, 0 ≤ begin ≤ end ≤ 10`,
    );
  });

  it.each([-1, 1.5, NaN])('is refused as the first %d images', (count) => {
    expect(() => firstImages(data, count)).toThrow(UserError);
  });
});
