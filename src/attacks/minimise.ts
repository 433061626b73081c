import type { Adversarials, Attempts } from './attack.js';
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
    async (which, budgets) => {
      const fooled = await attempt(which, budgets, found.images);
      which.forEach((image, j) => {
        if (fooled[j]) found.fooled[image] = 1;
      });
      return fooled;
    };
  const enough = await bisection(count, BUDGETS, probeOf(quick), halfOf(options, 0));
  const rest = halfOf(options, count);
  if (lowersBudget) {
    const budgets = enough.map((epsilon) => Math.min(LARGEST, epsilon || LARGEST));
    await once(count, budgets, probeOf(thorough), rest);
  } else {
    const above = enough.map((epsilon) => (Number.isNaN(epsilon) ? LARGEST + 1 : epsilon));
    await descent(count, above, probeOf(thorough), rest);
  }
  return found;
}
