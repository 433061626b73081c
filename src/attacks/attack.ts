import type * as tf from '@tensorflow/tfjs-core';
import type { BisectionRange, SearchOptions } from './search.js';
import type { Classifier, Originals } from './classifier.js';

/**
 * An attack that moves an image along one fixed direction. The search for the smallest perturbation on
 * that line is the same for all (`search.ts`).
 */
export interface LineAttack {
  kind: 'line';
  name: AttackName;
  /** The name in tables. */
  title: string;
  /**
   * The vectors [N,C] to propagate back from the logits to the image.
   *
   * @param logits [N,C] of correctly classified images
   * @param labels int32 [N]
   */
  logitsGradient(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor2D;
  /** The direction [N,H,W,C], from the gradient with respect to the image; zero if the attack fails. */
  direction(gradient: tf.Tensor4D): tf.Tensor4D;
  /** Whether the paper reports it; only then is the paper's treatment of colour channels applied. */
  published: boolean;
  bisection: BisectionRange;
  /** The scales that the exhaustive search tries, ascending. */
  scan: Float32Array;
}

/** An attack that directly finds a small perturbation of each image. */
export interface MinimisationAttack {
  kind: 'minimisation';
  name: AttackName;
  title: string;
  published: false;
  /** The norm that is minimised; L∞ is measured in any case. */
  norm: Norm;
  /** About how many forward passes an image takes; a pass forward and back counts as three. */
  passes(effort: Effort): number;
  /**
   * Attacks correctly classified images. The result for an image does not depend on the others.
   */
  minimise(
    classifier: Classifier,
    originals: Originals,
    options: Omit<SearchOptions, 'batch'>,
  ): Promise<Adversarials>;
}

/**
 * An attack within a given L∞ budget ε. The search for the smallest sufficient ε is the same for all
 * (`minimise.ts`).
 */
export interface BudgetAttack {
  kind: 'budget';
  name: AttackName;
  title: string;
  published: false;
  /** About how many forward passes an image takes; a pass forward and back counts as three. */
  passes(effort: Effort): number;
  /**
   * Prepares to attack correctly classified images. The result for an image depends on its budget, but
   * not on the other images.
   */
  attempts(target: Target, effort: Effort, signal: AbortSignal | undefined): Attempts;
}

/** What is attacked. */
export interface Target {
  classifier: Classifier;
  originals: Originals;
}

/** Some of the originals, each to be attacked within a budget of its own. */
export interface Trial {
  /** The indices of the originals. */
  images: Uint32Array;
  /** In grey levels, for each of `images`. */
  budgets: Float32Array;
  /** N×H×W×C, for all originals; receives the perturbed images that fool. */
  adversarials: Uint8Array;
}

/** How a budget attack tries budgets: first quickly, to come close to the smallest, then thoroughly. */
export interface Attempts {
  /** Used by bisection to find a small budget. */
  quick: WithinBudgets;
  /** Used to reduce the budget that bisection has found. */
  thorough: WithinBudgets;
  /**
   * Whether a successful thorough attempt itself continues with smaller budgets. If so, it is made once,
   * with the budget that bisection found; otherwise repeatedly, with a budget smaller by 1 each time.
   */
  lowersBudget: boolean;
}

/**
 * Attacks within budgets, which are integers in L∞.
 *
 * @returns for each of `images`, 1 if it was fooled, else 0
 */
export type WithinBudgets = (trial: Trial) => Promise<Uint8Array>;

/** Integer images N×H×W×C, and for each 1 if it fools or 0 if the attack failed and it is unchanged. */
export interface Adversarials {
  images: Uint8Array;
  fooled: Uint8Array;
}

/** The norms in which a perturbation is minimised, or kept within a budget. */
export const NORMS = ['linf', 'l2'] as const;
export type Norm = (typeof NORMS)[number];
/** The norms in tables. */
export const NORM_TITLES: Record<Norm, string> = { linf: 'L∞', l2: 'L2' };

/** Budgets in grey levels, each list ascending. */
export type Budgets = Partial<Record<Norm, number[]>>;

/** One of the attacks that are made within a budget one after the other, and what results call it. */
export interface Stage {
  name: AttackPart;
  attempt: WithinBudgets;
}

export type Attack = LineAttack | MinimisationAttack | BudgetAttack;

/** The default attacks: the paper's two, and FGS without blank gradients. */
export const DEFAULT_ATTACKS = ['fgs', 'fgs-unmasked', 'hc1'] as const;
/** Attacks that are not limited to a line: slower and stronger than the paper's. */
export const STRONGER_ATTACKS = ['pgd', 'apgd', 'deepfool-l2', 'deepfool-linf', 'square'] as const;
export const ATTACK_NAMES = [...DEFAULT_ATTACKS, ...STRONGER_ATTACKS] as const;
export type AttackName = (typeof ATTACK_NAMES)[number];

/** The choice that is not one attack: accuracy within budgets, by a series of attacks (`auto.ts`). */
export const AUTO = 'auto';
export const ATTACK_CHOICES = [...ATTACK_NAMES, AUTO] as const;
export type AttackChoice = (typeof ATTACK_CHOICES)[number];

/** The attacks among choices. */
export function attacksIn(choices: readonly AttackChoice[]): AttackName[] {
  return choices.filter((name) => name !== AUTO);
}

/** Who fooled an image within a budget: an attack, or a part of Auto-PGD. */
export const ATTACK_PARTS = [...ATTACK_NAMES, 'apgd-log-odds', 'apgd-targeted'] as const;
export type AttackPart = (typeof ATTACK_PARTS)[number];

/** How hard the stronger attacks try. */
export interface Effort {
  /** Gradient steps per start, and starts per loss, of which there are two. */
  pgd: { steps: number; restarts: number };
  /** Gradient steps of each run, and how often the random starts are made, with the log-odds and towards classes. */
  apgd: { steps: number; restarts: number };
  /** Forward passes per image. */
  square: { queries: number };
}

/** The effort as given in a configuration, for the attacks that are run. */
export type GivenEffort = { [Key in keyof Effort]?: Effort[Key] | undefined };

export const EFFORT: Effort = {
  pgd: { steps: 40, restarts: 2 },
  apgd: { steps: 150, restarts: 2 },
  square: { queries: 1000 },
};

/** The effort as given, with the defaults where nothing is given. */
export function effortOf({ pgd, apgd, square }: GivenEffort): Effort {
  return {
    pgd: pgd ?? EFFORT.pgd,
    apgd: apgd ?? EFFORT.apgd,
    square: square ?? EFFORT.square,
  };
}

export const SEARCHES = ['bisection', 'scan'] as const;
export const CHANNELS = ['reversed', 'kept'] as const;
export const PROTOCOLS = ['paper', 'corrected'] as const;

/** How an attack searches along its line. */
export interface Protocol {
  /** Doubling and bisection, or the exhaustive scan. */
  search: (typeof SEARCHES)[number];
  /**
   * Whether the colour channels of a published attack's direction are reversed, as in the published rows
   * for CIFAR-10 (RGB direction applied to BGR images), or kept.
   */
  channels: (typeof CHANNELS)[number];
}

/** The protocol of the published rows, and the corrected one. */
export const PROTOCOL: Record<(typeof PROTOCOLS)[number], Protocol> = {
  paper: { search: 'bisection', channels: 'reversed' },
  corrected: { search: 'scan', channels: 'kept' },
};

/** The scales of a direction of signs: 1 to 255, since perturbed pixels are integers. */
export const WHOLE_SCALES = Float32Array.from({ length: 255 }, (_, i) => i + 1);
