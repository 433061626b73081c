import { groupedBy } from '../base/groups.js';
import { meanOf } from '../base/sums.js';
import { sampleVariance } from './statistics.js';

/** The share of flipped copies, with its standard errors. */
export interface Rate {
  /** In percent of all copies of all images. */
  rate: number;
  /** Standard error in percentage points for other images and other noise; null if unknown. */
  overImages: number | null;
  /** Standard error in percentage points for other noise on the same images; null for a single copy. */
  overCopies: number | null;
}

/**
 * The share of flipped copies, for images sampled class by class, the same number of each.
 *
 * The unit of sampling is the image. Copies of one image are correlated, so treating all copies as
 * independent (the binomial error) would greatly underestimate the error. The classes are fixed, so only
 * the images within each class vary. The squared error is given by the stratified estimator
 * Σ_c s_c² / n_c divided by the square of the number of classes, where s_c² is the sample variance of the
 * images' shares in class c. It includes the noise's part, which alone is
 * Σ_i r_i (1 − r_i) / (copies − 1) divided by the square of the number of images. More copies reduce only
 * that part.
 *
 * @param flips the number of flipped copies of each image, of `copies`
 * @param labels of the images; each class occurs equally often
 */
export function rateOf(flips: ArrayLike<number>, labels: ArrayLike<number>, copies: number): Rate {
  const shares = Array.from(flips, (count) => count / copies);
  const noise = shares.reduce((sum, share) => sum + share * (1 - share), 0) / (copies - 1);
  return {
    rate: 100 * meanOf(shares),
    overImages: stratifiedError(shares, labels),
    overCopies: copies > 1 ? (100 * Math.sqrt(noise)) / shares.length : null,
  };
}

/**
 * Standard error, times 100, of the mean over images sampled class by class, the same number of each;
 * null if a class has a single image.
 */
export function stratifiedError(
  values: readonly number[],
  labels: ArrayLike<number>,
): number | null {
  const classes = groupedBy(values, (_, i) => labels[i]);
  let sum = 0;
  for (const members of classes.values()) {
    const variance = sampleVariance(members);
    if (variance === null) return null;
    sum += variance / members.length;
  }
  return (100 * Math.sqrt(sum)) / classes.size;
}
