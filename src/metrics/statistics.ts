import { meanOf } from '../base/sums.js';

/** Mean and population standard deviation, which is null for a single value: unknown. */
export interface Spread {
  mean: number;
  std: number | null;
}

/** Mean and standard deviation of the values that are not NaN; null if there are none. */
export function spreadOf(values: Iterable<number>): Spread | null {
  let count = 0;
  let sum = 0;
  let squares = 0;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    count++;
    sum += value;
    squares += value * value;
  }
  if (count === 0) return null;
  const mean = sum / count;
  const std = count === 1 ? null : Math.sqrt(Math.max(0, squares / count - mean * mean));
  return { mean, std };
}

/** The median of at least one number; the upper median if their number is even. */
export function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** The sample variance (n − 1); null for fewer than two numbers. */
export function sampleVariance(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const mean = meanOf(values);
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
}

/** The sample standard deviation (n − 1); null for fewer than two numbers. */
export function sampleDeviation(values: readonly number[]): number | null {
  const variance = sampleVariance(values);
  return variance === null ? null : Math.sqrt(variance);
}

/**
 * The probability that the absolute value of Student's t is `t` or more, for a whole number of degrees of freedom:
 * the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4.
 */
export function studentChance(t: number, degrees: number): number {
  const angle = Math.atan(t / Math.sqrt(degrees));
  const [sine, cosine] = [Math.sin(angle), Math.cos(angle)];
  const isOdd = degrees % 2 === 1;
  let term = isOdd ? cosine : 1;
  let sum = degrees === 1 ? 0 : term;
  for (let k = isOdd ? 3 : 2; k < degrees; k += 2) {
    term *= (cosine ** 2 * (k - 1)) / k;
    sum += term;
  }
  const inside = isOdd ? (2 / Math.PI) * (angle + sine * sum) : sine * sum;
  return Math.max(0, 1 - inside);
}
