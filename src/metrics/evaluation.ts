import type { NoiseSettings } from '../attacks/flips.js';
import type { AttackName, Budgets, Norm, Protocol, AttackPart } from '../attacks/attack.js';

/** The positions of the images that are classified correctly. */
export function rightOf({
  labels,
  predicted,
}: Pick<Evaluation, 'labels' | 'predicted'>): Uint32Array {
  return Uint32Array.from(labels.keys()).filter((i) => predicted[i] === labels[i]);
}

/** The L∞ that an attack needs for each image, infinite where it failed or was not tried. */
export function linfOrInfinity(linf: Float32Array): Float32Array {
  return linf.map((value) => (Number.isNaN(value) ? Infinity : value));
}

/** The results of one attack for each image; norms are NaN where it failed or was not tried. */
export interface AttackOutcome {
  /** Largest change of a pixel, in grey levels. */
  linf: Float32Array;
  /** L2 norm of the change in grey levels, for attacks in L2. */
  l2?: Float32Array;
  /** PASS, and 1 if the pair could be aligned, else 0; absent if not measured. */
  pass?: Float32Array;
  aligned?: Uint8Array;
  /** The adversarial examples, if they are kept. */
  examples?: AdversarialExamples;
  seconds: { attack: number; pass: number };
}

/** Perturbed images, N×H×W×C, and the positions in the data set of those that they were made of. */
export interface AdversarialExamples {
  positions: Uint32Array;
  images: Uint8Array;
}

/** What the strongest attacks found within one budget. */
export interface BudgetOutcome {
  norm: Norm;
  /** In grey levels. */
  budget: number;
  /** For each image who fooled it; undefined for one that is left, or that is misclassified without an attack. */
  by: (AttackPart | undefined)[];
  /** For each image the change, in the norm, in grey levels; NaN where none was found. */
  size: Float32Array;
  examples?: AdversarialExamples;
  seconds: number;
}

/** The results of an evaluation for each image. */
export interface Evaluation {
  images: number;
  /** Of the images: 1 or 3. */
  channels: number;
  labels: Uint8Array;
  predicted: Uint8Array;
  blank: Uint8Array;
  protocol: Protocol;
  attacks: Map<AttackName, AttackOutcome>;
  /** For each image how many noisy copies are misclassified; −1 if it is itself. Absent if not measured. */
  noise?: NoiseSettings & { flips: Int32Array };
  /** The budgets that were asked for, ascending; absent if none were. */
  budgets?: Budgets;
  /** L∞ first, in each norm with ascending budgets; absent if accuracy within budgets was not asked for. */
  atBudgets?: BudgetOutcome[];
}
