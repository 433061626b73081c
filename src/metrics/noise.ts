import type { Rate } from './sampling.js';

/** The two networks of a noise study, in the order of all tables. */
export const PAIR = ['regular', 'bang'] as const;
export type OfPair<T> = Record<(typeof PAIR)[number], T>;

/** What `of` gives for each of the two networks. */
export function ofPair<T>(of: (key: (typeof PAIR)[number]) => T): OfPair<T> {
  return { regular: of('regular'), bang: of('bang') };
}

/** The networks at one stage of their training. */
export interface NoiseStage {
  /** 1, 2, … */
  stage: number;
  iteration: number;
  /** Percent of all test images. */
  accuracy: OfPair<number>;
  /** sha256 of the weights. */
  weights: OfPair<string>;
}

/** How many copies of each image are flipped by noise of one σ. */
export interface NoiseFlips extends OfPair<number[]> {
  /** In grey levels. */
  sigma: number;
}

/** The results for one σ at one stage. */
export interface NoiseRow {
  stage: number;
  iteration: number;
  /** In grey levels. */
  sigma: number;
  images: number;
  /** Number of distortions per image. */
  copies: number;
  networks: OfPair<Rate & { flips: number }>;
  /** BANG's rate minus the regular one, in percentage points, for the same images and the same noise. */
  difference: { value: number; overImages: number | null };
}
