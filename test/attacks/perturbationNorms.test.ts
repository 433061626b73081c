import { describe, expect, it } from 'vitest';
import type { Originals } from '#bang/attacks/classifier.js';
import { perturbationNorms } from '#bang/attacks/perturbationNorms.js';
import { makeRandom } from '#bang/base/random.js';
import { between } from '../random.js';

/** Images of one row each, as attacks have them. */
function originalsOf(rows: number[][]): Originals {
  const [count, size] = [rows.length, rows[0].length];
  return {
    ...{ count, size, shape: [1, size, 1], images: Uint8Array.from(rows.flat()) },
    labels: new Uint8Array(count),
    positions: Uint32Array.from(rows.keys()),
  };
}

function normsOf(before: number[][], after: number[][], fooled = before.map(() => 1)) {
  const found = { images: Uint8Array.from(after.flat()), fooled: Uint8Array.from(fooled) };
  return perturbationNorms(originalsOf(before), found);
}

describe('the norms of perturbations', () => {
  it('are those of the changes, upwards and downwards, of each image alone', () => {
    const before = [
      [10, 10, 10, 10],
      [0, 255, 0, 7],
      [255, 255, 255, 255],
      [1, 2, 3, 4],
    ];
    const after = [
      [13, 6, 10, 10], // 3, −4
      [2, 253, 1, 7], // 2, −2, 1
      [0, 0, 0, 0], // −255 four times
      [1, 2, 3, 4],
    ];
    const { linf, l2 } = normsOf(before, after);
    expect([...linf]).toEqual([4, 2, 255, 0]);
    expect([...l2]).toEqual([5, 3, 510, 0]);
  });

  it('are NaN where the attack failed, whatever it left there', () => {
    const { linf, l2 } = normsOf([[1], [1], [1]], [[9], [9], [1]], [0, 1, 0]);
    expect([...linf]).toEqual([NaN, 8, NaN]);
    expect([...l2]).toEqual([NaN, 8, NaN]);
  });

  it('are empty without images', () => {
    const none = { ...originalsOf([[0]]), count: 0, images: new Uint8Array() };
    const { linf, l2 } = perturbationNorms(none, {
      images: new Uint8Array(),
      fooled: new Uint8Array(),
    });
    expect([linf.length, l2.length]).toEqual([0, 0]);
  });

  // Squares of whole numbers add up exactly in float64: what is left is one root, rounded to float32.
  it('are those of a loop in float64, over many sizes', () => {
    const random = makeRandom(1, 'norms');
    for (let round = 0; round < 200; round++) {
      const [count, size] = [between(random, 1, 6), between(random, 1, 3072)];
      const draw = () => Array.from({ length: size }, () => between(random, 0, 255));
      const before = Array.from({ length: count }, draw);
      const most = between(random, 0, 255);
      const after = before.map((row) =>
        row.map((pixel) => Math.min(255, Math.max(0, pixel + between(random, -most, most)))),
      );
      const fooled = before.map(() => between(random, 0, 1));
      const { linf, l2 } = normsOf(before, after, fooled);
      before.forEach((row, i) => {
        if (!fooled[i]) {
          expect([linf[i], l2[i]]).toEqual([NaN, NaN]);
          return;
        }
        const changes = row.map((pixel, p) => after[i][p] - pixel);
        expect(linf[i]).toBe(changes.reduce((largest, one) => Math.max(largest, one, -one), 0));
        const length = Math.sqrt(changes.reduce((sum, one) => sum + one * one, 0));
        expect(l2[i]).toBe(Math.fround(length));
      });
    }
  });
});
