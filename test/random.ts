import type { Random } from '#bang/base/random.js';

/** A whole number from `low` to `high`, both included. */
export function between(random: Random, low: number, high: number): number {
  return low + Math.floor(random.uniform() * (high - low + 1));
}
