import type * as tf from '@tensorflow/tfjs-core';
import type { BisectionRange } from './search.js';

/**
 * An attack that moves an image along one fixed direction: which direction, and how far. The search
 * for the smallest perturbation on that line is the same for all (`search.ts`).
 */
export interface LineAttack {
  name: AttackName;
  /** As tables have it. */
  title: string;
  /**
   * What is propagated back from the logits to the image.
   *
   * @param logits [N,C] of correctly classified images
   * @param labels int32 [N]
   */
  logitsGradient(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor2D;
  /** The direction, from the gradient with respect to the image; zero where the attack fails. */
  direction(gradient: tf.Tensor4D): tf.Tensor4D;
  /** Whether the published rows have it, and with them the paper's treatment of colour channels. */
  published: boolean;
  bisection: BisectionRange;
  /** The scales that the exhaustive search tries, ascending. */
  scan: Float32Array;
}

export const ATTACK_NAMES = ['fgs', 'fgs-unmasked', 'hc1'] as const;
export type AttackName = (typeof ATTACK_NAMES)[number];

export const SEARCHES = ['bisection', 'scan'] as const;
export const CHANNELS = ['reversed', 'kept'] as const;
export const PROTOCOLS = ['paper', 'corrected'] as const;

/** How an attack goes along its line. */
export interface Protocol {
  /** Doubling and bisection, or the exhaustive scan. */
  search: (typeof SEARCHES)[number];
  /**
   * Whether the direction of a published attack is applied with its colour channels reversed, as in
   * the published rows of CIFAR-10 (RGB direction onto BGR), or kept.
   */
  channels: (typeof CHANNELS)[number];
}

/** What the published rows did, and what an attack means to do. */
export const PROTOCOL: Record<(typeof PROTOCOLS)[number], Protocol> = {
  paper: { search: 'bisection', channels: 'reversed' },
  corrected: { search: 'scan', channels: 'kept' },
};

/** Perturbed pixels are integers: a direction of signs has 255 scales. */
export const WHOLE_SCALES = Float32Array.from({ length: 255 }, (_, i) => i + 1);
