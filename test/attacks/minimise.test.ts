import { describe, expect, it } from 'vitest';
import type { Adversarials, WithinBudgets } from '#bang/attacks/attack.js';
import type { Originals } from '#bang/attacks/classifier.js';
import { minimiseBudget } from '#bang/attacks/minimise.js';
import { Interrupted } from '#bang/base/errors.js';
import { makeRandom, type Random } from '#bang/base/random.js';
import { between } from '../random.js';

/**
 * A linear classifier on images in whole numbers: an image is right while w·x + b ≥ 0. All is exact, and
 * no attack within ε is stronger than each pixel moved by ε against the sign of its weight.
 */
interface Linear {
  size: number;
  weights: number[];
  bias: number;
}

function marginOf({ weights, bias }: Linear, image: ArrayLike<number>): number {
  return weights.reduce((sum, weight, p) => sum + weight * image[p], bias);
}

interface Range {
  low: number;
  high: number;
  /** The margins of images are up to this. */
  margin: number;
}

/** A classifier for each image, which is right with a random margin. */
function subjectsOf(random: Random, count: number, size: number, { low, high, margin }: Range) {
  const images = new Uint8Array(count * size).map(() => between(random, low, high));
  const classifiers = Array.from({ length: count }, (_, i): Linear => {
    const weights = Array.from({ length: size }, () => between(random, -3, 3));
    const score = marginOf({ size, weights, bias: 0 }, images.subarray(i * size, (i + 1) * size));
    return { size, weights, bias: between(random, 0, margin) - score };
  });
  const originals: Originals = {
    ...{ count, size, shape: [1, size, 1], images },
    labels: new Uint8Array(count),
    positions: Uint32Array.from({ length: count }, (_, i) => i),
  };
  return { originals, classifiers };
}

type Subjects = ReturnType<typeof subjectsOf>;

const imageOf = ({ originals: { size, images } }: Subjects, i: number): Uint8Array =>
  images.subarray(i * size, (i + 1) * size);

/** Each pixel moved by ε against its weight, in 0 … 255. */
function moved(image: Uint8Array, { weights }: Linear, epsilon: number): Uint8Array {
  return image.map((pixel, p) =>
    Math.min(255, Math.max(0, pixel - epsilon * Math.sign(weights[p]))),
  );
}

interface Call {
  images: number[];
  budgets: number[];
}

/** An attack that uses of each budget what `used` leaves of it; its calls. */
function attackBy(subjects: Subjects, used: (epsilon: number) => number) {
  const calls: Call[] = [];
  const attempt: WithinBudgets = ({ images, budgets, adversarials }) => {
    calls.push({ images: [...images], budgets: [...budgets] });
    const fooled = Uint8Array.from(images, (i, j) => {
      const classifier = subjects.classifiers[i];
      const found = moved(imageOf(subjects, i), classifier, used(budgets[j]));
      if (marginOf(classifier, found) >= 0) return 0;
      adversarials.set(found, i * found.length);
      return 1;
    });
    return Promise.resolve(fooled);
  };
  return { attempt, calls };
}

const whole = (epsilon: number): number => epsilon;
const half = (epsilon: number): number => Math.floor(epsilon / 2);
const never = (): number => 0;

/** By trying them all: the smallest budget that fools, NaN if none does. */
function smallest(subjects: Subjects, i: number): number {
  for (let epsilon = 1; epsilon <= 255; epsilon++) {
    const found = moved(imageOf(subjects, i), subjects.classifiers[i], epsilon);
    if (marginOf(subjects.classifiers[i], found) < 0) return epsilon;
  }
  return NaN;
}

/** The largest change of what was found for an image; NaN if it is said that nothing was. */
function changeOf(subjects: Subjects, { images, fooled }: Adversarials, i: number): number {
  const before = imageOf(subjects, i);
  const after = images.subarray(i * before.length, (i + 1) * before.length);
  const largest = before.reduce((most, pixel, p) => Math.max(most, Math.abs(after[p] - pixel)), 0);
  if (fooled[i]) expect(marginOf(subjects.classifiers[i], after)).toBeLessThan(0);
  else expect(largest, 'an image that is not fooled stays as it was').toBe(0);
  return fooled[i] ? largest : NaN;
}

function changesOf(subjects: Subjects, found: Adversarials): number[] {
  return Array.from({ length: subjects.originals.count }, (_, i) => changeOf(subjects, found, i));
}

/** Of images anywhere in 0 … 255: many reach its ends, and some cannot be fooled at all. */
const ANYWHERE: Range = { low: 0, high: 255, margin: 3000 };

describe('the smallest budget', () => {
  // No pixel reaches 0 or 255, so a budget of ε takes ε·‖w‖₁ of the margin: the smallest that makes it
  // negative is ⌊margin / ‖w‖₁⌋ + 1.
  it('is margin over ‖w‖₁ on linear classifiers', async () => {
    const random = makeRandom(1, 'linear');
    const subjects = subjectsOf(random, 1000, 12, { low: 101, high: 154, margin: 600 });
    const expected = subjects.classifiers.map((classifier, i) => {
      const norm = classifier.weights.reduce((sum, weight) => sum + Math.abs(weight), 0);
      return Math.floor(marginOf(classifier, imageOf(subjects, i)) / norm) + 1;
    });
    // Those that would reach the ends after all are for the next test.
    const kept = expected.map((epsilon) => epsilon <= 100);
    expect(kept.filter(Boolean).length).toBeGreaterThan(950);
    const { attempt } = attackBy(subjects, whole);
    const attempts = { quick: attempt, thorough: attempt, lowersBudget: false };
    const found = await minimiseBudget(attempts, subjects.originals, { batch: 64 });
    expect(changesOf(subjects, found).filter((_, i) => kept[i])).toEqual(
      expected.filter((_, i) => kept[i]),
    );
  });

  it.each<[string, (epsilon: number) => number, (epsilon: number) => number]>([
    ['is found by the quick attempts if they are as strong', whole, whole],
    ['is found by thorough attempts where quick ones need twice of it', half, whole],
    ['is found by thorough attempts where no quick one fools', never, whole],
    ['is that of the quick attempts where the thorough ones are weaker', whole, half],
  ])('%s', async (_, quickly, thoroughly) => {
    const subjects = subjectsOf(makeRandom(2, 'clipped'), 400, 12, ANYWHERE);
    const expected = Array.from({ length: 400 }, (_, i) => smallest(subjects, i));
    expect(expected.filter(Number.isNaN).length).toBeGreaterThan(20);
    expect(expected.filter((epsilon) => epsilon > 128).length).toBeGreaterThan(20);
    const attempts = {
      quick: attackBy(subjects, quickly).attempt,
      thorough: attackBy(subjects, thoroughly).attempt,
      lowersBudget: false,
    };
    const found = await minimiseBudget(attempts, subjects.originals, { batch: 50 });
    expect(changesOf(subjects, found)).toEqual(expected);
  });

  // One pixel of 255 with weight 1: of a margin of ε − 1 the smallest budget is ε, and there is none for 255.
  it.each([
    ['quick', whole],
    ['thorough', never],
  ])('can be any from 1 to 255, by %s attempts', async (_, quickly) => {
    const epsilons = Array.from({ length: 256 }, (_, i) => i + 1);
    const subjects: Subjects = {
      originals: {
        ...{ count: 256, size: 1, shape: [1, 1, 1], images: new Uint8Array(256).fill(255) },
        ...{ labels: new Uint8Array(256), positions: Uint32Array.from(epsilons.keys()) },
      },
      classifiers: epsilons.map((epsilon) => ({ size: 1, weights: [1], bias: epsilon - 256 })),
    };
    const attempts = {
      quick: attackBy(subjects, quickly).attempt,
      thorough: attackBy(subjects, whole).attempt,
      lowersBudget: false,
    };
    const found = await minimiseBudget(attempts, subjects.originals, { batch: 100 });
    expect(changesOf(subjects, found)).toEqual([...epsilons.slice(0, 255), NaN]);
  });

  it('is left to a thorough attempt that lowers it by itself, made once at what was found', async () => {
    const subjects = subjectsOf(makeRandom(3, 'lowered'), 200, 12, ANYWHERE);
    const quick = attackBy(subjects, half);
    const asked = new Map<number, number>();
    const thorough: WithinBudgets = ({ images, budgets, adversarials }) => {
      const fooled = Uint8Array.from(images, (i, j) => {
        expect(asked.has(i)).toBe(false);
        asked.set(i, budgets[j]);
        const epsilon = smallest(subjects, i);
        if (!(epsilon <= budgets[j])) return 0;
        const image = moved(imageOf(subjects, i), subjects.classifiers[i], epsilon);
        adversarials.set(image, i * image.length);
        return 1;
      });
      return Promise.resolve(fooled);
    };
    const attempts = { quick: quick.attempt, thorough, lowersBudget: true };
    const found = await minimiseBudget(attempts, subjects.originals, { batch: 30 });
    const expected = Array.from({ length: 200 }, (_, i) => smallest(subjects, i));
    expect(changesOf(subjects, found)).toEqual(expected);
    // Half of the budget fools at twice the smallest; 255 where that is beyond.
    expected.forEach((epsilon, i) => {
      expect(asked.get(i)).toBe(2 * epsilon <= 255 ? 2 * epsilon : 255);
    });
  });

  it('is asked for in whole numbers, thoroughly up to 255, in batches that are not too large', async () => {
    const subjects = subjectsOf(makeRandom(4, 'calls'), 100, 12, ANYWHERE);
    const [quick, thorough] = [attackBy(subjects, half), attackBy(subjects, whole)];
    const attempts = { quick: quick.attempt, thorough: thorough.attempt, lowersBudget: false };
    const progress: number[] = [];
    await minimiseBudget(attempts, subjects.originals, {
      batch: 32,
      done: (images) => progress.push(images),
    });
    for (const [{ calls }, limit] of [
      [quick, 256],
      [thorough, 255],
    ] as const) {
      for (const { images, budgets } of calls) {
        expect(images.length).toBeLessThanOrEqual(32);
        expect(new Set(images).size).toBe(images.length);
        for (const epsilon of budgets) {
          expect(Number.isInteger(epsilon)).toBe(true);
          expect(epsilon).toBeGreaterThanOrEqual(1);
          expect(epsilon).toBeLessThanOrEqual(limit);
        }
      }
    }
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBe(100);
  });

  it('leaves the originals alone, and can be stopped', async () => {
    const subjects = subjectsOf(makeRandom(5, 'stopped'), 20, 12, ANYWHERE);
    const before = subjects.originals.images.slice();
    const { attempt, calls } = attackBy(subjects, whole);
    const attempts = { quick: attempt, thorough: attempt, lowersBudget: false };
    const stopped = { batch: 5, signal: AbortSignal.abort() };
    await expect(minimiseBudget(attempts, subjects.originals, stopped)).rejects.toThrow(
      Interrupted,
    );
    expect(calls.length).toBe(1);
    await minimiseBudget(attempts, subjects.originals, { batch: 5 });
    expect(subjects.originals.images).toEqual(before);
  });
});
