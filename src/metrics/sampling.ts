import { meanOf, sampleVariance } from './statistics.js';

/** What is drawn at random in a share of flipped copies, and how far it moves the share. */
export interface Rate {
  /** In percent of all copies of all images. */
  rate: number;
  /** Standard error in percent over images: other images, and other noise. Null if not known. */
  overImages: number | null;
  /** Standard error in percent over copies alone: the same images, other noise. */
  overCopies: number | null;
}

/**
 * A share over images that were drawn class by class, as many of each, and over copies of each.
 *
 * The unit of sampling is the image. Copies of one image are alike: counting all copies as drawn
 * independently (the binomial error) would make the figure look far surer than it is. As the classes
 * are given and not drawn, what varies is the images within each: the stratified estimator
 * Σ_c s_c² / n_c over the square of the number of classes, s_c² the sample variance of the images'
 * shares. The noise's part is in it. That part alone is Σ_i r_i (1 − r_i) / (copies − 1) over the
 * square of the number of images: what more copies would make smaller.
 *
 * @param flips of `copies`, for each image
 * @param labels of the images; each class has as many
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
 * Standard error in percent of the mean over images drawn class by class, as many of each; null where
 * a class has a single image.
 */
export function stratifiedError(
  values: readonly number[],
  labels: ArrayLike<number>,
): number | null {
  const classes = new Map<number, number[]>();
  values.forEach((value, i) => {
    classes.set(labels[i], [...(classes.get(labels[i]) ?? []), value]);
  });
  let sum = 0;
  for (const members of classes.values()) {
    const variance = sampleVariance(members);
    if (variance === null) return null;
    sum += variance / members.length;
  }
  return (100 * Math.sqrt(sum)) / classes.size;
}
