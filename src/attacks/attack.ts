import type * as tf from '@tensorflow/tfjs-core';
import type { BisectionRange, SearchOptions } from './search.js';
import type { Target, Victims } from './target.js';

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

/**
 * An attack that takes steps of its own, wherever they lead. Images are attacked together, and those
 * that are done leave; what is found for an image depends on it alone, not on its company.
 */
export interface StepAttack {
  name: AttackName;
  title: string;
  published: false;
  /** The norm that is kept small, if it is not L∞; it is measured as well. */
  norm?: 'l2';
  /** About how many forward passes an image takes; a pass forward and back counts as three. */
  passes(effort: Effort): number;
  /**
   * Attacks correctly classified images and keeps for each the smallest perturbation that it finds.
   *
   * @returns the adversarial images, integers from 0 to 255, and which images have one
   */
  find(
    target: Target,
    victims: Victims,
    effort: Effort,
    options: Omit<SearchOptions, 'batch'>,
  ): Promise<Found>;
}

/** Images N×H×W×C and 1 or 0 for each: adversarial, or as it was because the attack failed. */
export interface Found {
  adversarials: Uint8Array;
  fooled: Uint8Array;
}

export type Attack = LineAttack | StepAttack;

/** Attacks that are made unless others are asked for: the paper's two and FGS without its flaw. */
export const DEFAULT_ATTACKS = ['fgs', 'fgs-unmasked', 'hc1'] as const;
/** Attacks that take steps: slower and stronger. */
export const STEP_ATTACKS = ['pgd', 'deepfool-l2', 'deepfool-linf', 'square'] as const;
export const ATTACK_NAMES = [...DEFAULT_ATTACKS, ...STEP_ATTACKS] as const;
export type AttackName = (typeof ATTACK_NAMES)[number];

/** How hard the attacks that take steps try. */
export interface Effort {
  /** Gradient steps of each start, and starts for each of the two losses. */
  pgd: { steps: number; restarts: number };
  /** Forward passes for each image. */
  square: { queries: number };
}

/** As a config has it: that of attacks that are not made is left out. */
export type GivenEffort = { [Key in keyof Effort]?: Effort[Key] | undefined };

export const EFFORT: Effort = { pgd: { steps: 40, restarts: 2 }, square: { queries: 1000 } };

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
