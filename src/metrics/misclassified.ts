import { sumOf } from '../base/sums.js';

/** How many images of a part of a data set a network misclassifies. */
export interface ErrorCount {
  /** Which images, in words. */
  part: string;
  images: number;
  errors: number;
  /** How many of the images the network was trained on; undefined if that is not known. */
  trainedOn?: number;
}

/**
 * Errors on the first 50 000 training images and on the others, as MNIST's usual split has them.
 *
 * @param wrong for each image 1 if it is misclassified, else 0
 * @param members for each image 1 if the network was trained on it, else 0; undefined if that is not known
 */
export function errorsByRange(wrong: Uint8Array, members?: Uint8Array): ErrorCount[] {
  const images = wrong.length;
  const middle = Math.min(50_000, images);
  const whole = [{ part: `all ${images}`, begin: 0, end: images }];
  const halves = [
    { part: `the first ${middle}`, begin: 0, end: middle },
    { part: `the last ${images - middle}`, begin: middle, end: images },
  ];
  return (middle < images ? [...halves, ...whole] : whole).map(({ part, begin, end }) => ({
    part,
    images: end - begin,
    errors: sumOf(wrong.subarray(begin, end)),
    trainedOn: members && sumOf(members.subarray(begin, end)),
  }));
}

/** Errors on the images that the network was trained on, and on those that it was not; without empty parts. */
export function errorsByMembership(wrong: Uint8Array, members: Uint8Array): ErrorCount[] {
  return [
    { part: 'trained on', member: 1 },
    { part: 'held out', member: 0 },
  ]
    .map(({ part, member }): ErrorCount => {
      const errors = wrong.filter((_, i) => members[i] === member);
      return {
        part,
        images: errors.length,
        errors: sumOf(errors),
        trainedOn: member * errors.length,
      };
    })
    .filter(({ images }) => images > 0);
}
