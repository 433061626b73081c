import { breathe } from '../base/interrupt.js';
import type { Adversarials, Attempts, Stage, AttackPart } from './attack.js';
import type { Originals } from './classifier.js';
import { bisection, descent, halfOf, once, type Probe, type SearchOptions } from './search.js';

/** Bisection begins with the limit, because successful attempts take less time than failures. */
const BUDGETS = { limit: 256, width: 1, first: 256 };
/** The largest possible change of a pixel, in grey levels. */
const LARGEST = 255;

/**
 * Finds, for each image, the smallest integer L∞ budget ε within which the attack fools: first by bisection
 * with quick attempts, then from there downwards with thorough ones. If no quick attempt fools, the
 * thorough ones begin at 255.
 */
export async function minimiseBudget(
  { quick, thorough, lowersBudget }: Attempts,
  { count, images }: Originals,
  options: SearchOptions,
): Promise<Adversarials> {
  const found = { images: images.slice(), fooled: new Uint8Array(count) };
  // Each success is with a smaller budget than the one before, so the last is the smallest.
  const probeOf =
    (attempt: Attempts['quick']): Probe =>
    async (images, budgets) => {
      const fooled = await attempt({ images, budgets, adversarials: found.images });
      images.forEach((image, j) => {
        if (fooled[j]) found.fooled[image] = 1;
      });
      return fooled;
    };
  const enough = await bisection(count, BUDGETS, probeOf(quick), halfOf(options, 0));
  const rest = halfOf(options, count);
  if (lowersBudget) {
    const budgets = enough.map((budget) => Math.min(LARGEST, budget || LARGEST));
    await once(count, budgets, probeOf(thorough), rest);
  } else {
    const above = enough.map((budget) => (Number.isNaN(budget) ? LARGEST + 1 : budget));
    await descent(count, above, probeOf(thorough), rest);
  }
  return found;
}

/** What attacks within one budget found. */
export interface FoundWithin extends Adversarials {
  /** For each image, the stage that fooled it; undefined for those that are left. */
  by: (AttackPart | undefined)[];
}

/**
 * Attacks each image within one budget: each stage only those that the stages before it left.
 *
 * @param budget in grey levels
 * @throws Interrupted if the signal aborts
 */
export async function withinBudget(
  stages: readonly Stage[],
  { count, images }: Originals,
  budget: number,
  { batch, done, signal }: SearchOptions,
): Promise<FoundWithin> {
  const found = images.slice();
  const by = Array<AttackPart | undefined>(count).fill(undefined);
  let left = Uint32Array.from({ length: count }, (_, i) => i);
  for (const [at, { name, attempt }] of stages.entries()) {
    for (let start = 0; start < left.length; start += batch) {
      const some = left.subarray(start, start + batch);
      const budgets = new Float32Array(some.length).fill(budget);
      const fooled = await attempt({ images: some, budgets, adversarials: found });
      some.forEach((image, j) => {
        if (fooled[j]) by[image] = name;
      });
      await breathe(signal);
      // An image that is left counts as the share of the stages that it has behind it.
      const rest = left.length * (1 - (at + (start + some.length) / left.length) / stages.length);
      done?.(Math.floor(count - rest));
    }
    left = left.filter((image) => by[image] === undefined);
  }
  done?.(count);
  return { images: found, fooled: Uint8Array.from(by, (name) => +(name !== undefined)), by };
}
