import type * as tf from '@tensorflow/tfjs-core';
import type { BisectionRange, SearchOptions } from './search.js';
import type { Classifier, Originals } from './classifier.js';

/**
 * An attack that moves an image along one fixed direction: which direction, and how far. The search
 * for the smallest perturbation on that line is the same for all (`search.ts`).
 */
export interface LineAttack {
  kind: 'line';
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

/** An attack that finds a small perturbation of each image by itself. */
export interface MinimisationAttack {
  kind: 'minimisation';
  name: AttackName;
  title: string;
  published: false;
  /** The norm that is kept small; L∞ is measured in any case. */
  norm: Norm;
  /** About how many forward passes an image takes; a pass forward and back counts as three. */
  passes(effort: Effort): number;
  /**
   * Attacks correctly classified images. What is found for an image depends on it alone, not on those
   * that are attacked along with it.
   */
  minimise(
    classifier: Classifier,
    originals: Originals,
    options: Omit<SearchOptions, 'batch'>,
  ): Promise<Adversarials>;
}

/**
 * An attack within a given L∞ budget ε. The search for the smallest ε that is enough is the same for
 * all (`minimise.ts`).
 */
export interface BudgetAttack {
  kind: 'budget';
  name: AttackName;
  title: string;
  published: false;
  /** About how many forward passes an image takes; a pass forward and back counts as three. */
  passes(effort: Effort): number;
  /**
   * Prepares to attack correctly classified images. What is found for an image depends on it and its
   * budget alone, not on those that are attacked along with it.
   */
  attempts(
    classifier: Classifier,
    originals: Originals,
    effort: Effort,
    signal: AbortSignal | undefined,
  ): Attempts;
}

/** How a budget attack tries budgets: quickly while they are far from the smallest, then thoroughly. */
export interface Attempts {
  /** By which bisection looks for the smallest budget. */
  quick: WithinBudgets;
  /** By which what bisection has found is made smaller. */
  thorough: WithinBudgets;
  /**
   * Whether a thorough attempt that has fooled goes on by itself with smaller budgets. It is then made
   * once, with the budget that was found; otherwise again and again, with one smaller by 1 each time.
   */
  lowersBudget: boolean;
}

/**
 * Attacks some of the images, integers as numbered by `images`, with a budget for each.
 *
 * @param adversarials N×H×W×C: those of images that are fooled are written here
 * @returns 1 or 0 for each of `images`: fooled
 */
export type WithinBudgets = (
  images: Uint32Array,
  budgets: Float32Array,
  adversarials: Uint8Array,
) => Promise<Uint8Array>;

/** Images N×H×W×C, integers, and 1 or 0 for each: fooled, or as it was because the attack failed. */
export interface Adversarials {
  images: Uint8Array;
  fooled: Uint8Array;
}

/** In which norm a perturbation is to be small. */
export type Norm = 'l2' | 'linf';

export type Attack = LineAttack | MinimisationAttack | BudgetAttack;

/** Attacks that are made unless others are asked for: the paper's two and FGS without its flaw. */
export const DEFAULT_ATTACKS = ['fgs', 'fgs-unmasked', 'hc1'] as const;
/** Attacks beyond the paper's that keep to no given line: slower and stronger. */
export const STRONGER_ATTACKS = ['pgd', 'deepfool-l2', 'deepfool-linf', 'square'] as const;
export const ATTACK_NAMES = [...DEFAULT_ATTACKS, ...STRONGER_ATTACKS] as const;
export type AttackName = (typeof ATTACK_NAMES)[number];

/** How hard the stronger attacks try. */
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
