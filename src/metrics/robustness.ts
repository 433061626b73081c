import {
  ATTACK_NAMES,
  AUTO,
  STRONGER_ATTACKS,
  type AttackName,
  type Norm,
} from '../attacks/attack.js';
import { type Evaluation, linfOrInfinity, rightOf } from './evaluation.js';
import type { Row } from './row.js';
import { medianOf } from './statistics.js';

/** An attack, `auto`, or `worst`: for each image, the attack with the smallest L∞. */
export type Attacker = AttackName | typeof AUTO | 'worst';

/** Robust accuracy at several budgets; only for evaluations with a stronger attack. */
export interface Robustness {
  /** L∞ in grey levels, ascending. */
  budgets: number[];
  attacks: Partial<Record<Attacker, Robust>>;
}

export interface Robust {
  /** Percentage of all images that are classified correctly and not fooled, for each budget. */
  accuracy: number[];
  /**
   * Median L∞ over the correctly classified images; null if at least half of them are not fooled. Absent if there are
   * none, or if attacks were made within budgets only, which does not tell the smallest L∞.
   */
  medianLinf?: number | null;
}

/** Whether an evaluation includes an attack stronger than the paper's. */
export function tellsRobustness({ attacks }: Evaluation): boolean {
  return STRONGER_ATTACKS.some((name) => attacks.has(name));
}

/**
 * Robust accuracy under each attack, and under all of them together, image by image.
 *
 * @param budgets in L∞, in grey levels, ascending
 */
export function robustnessOf(evaluation: Evaluation, budgets: readonly number[]): Robustness {
  const { images, attacks, atBudgets = [] } = evaluation;
  const right = [...rightOf(evaluation)];
  const accuracyOf = (linf: readonly number[]): number[] =>
    budgets.map((budget) => (100 * linf.filter((value) => value > budget).length) / images);
  const judge = (linf: readonly number[]): Robust => {
    const accuracy = accuracyOf(linf);
    if (linf.length === 0) return { accuracy };
    const half = medianOf(linf);
    return { accuracy, medianLinf: half === Infinity ? null : half };
  };
  const ofRight = (linf: Float32Array): number[] => {
    const all = linfOrInfinity(linf);
    return right.map((i) => all[i]);
  };
  const smallest = (each: readonly number[][]): number[] =>
    right.map((_, i) => Math.min(...each.map((linf) => linf[i])));
  const each = [...attacks].map(([name, { linf }]) => [name, ofRight(linf)] as const);
  // What attacks within budgets found includes what the attacks before them found.
  const within = atBudgets.filter(({ norm }) => norm === 'linf').map(({ size }) => ofRight(size));
  const auto = within.length === 0 ? undefined : smallest(within);
  const worst = smallest([...each.map(([, linf]) => linf), ...(auto ? [auto] : [])]);
  return {
    budgets: [...budgets],
    attacks: {
      ...Object.fromEntries(each.map(([name, linf]) => [name, judge(linf)])),
      ...(auto && { [AUTO]: { accuracy: accuracyOf(auto) } }),
      // Of what `auto` fools, only a size within a budget is known, not the smallest.
      worst: auto ? { accuracy: accuracyOf(worst) } : judge(worst),
    },
  };
}

/** The attackers that a robustness was measured with, in the usual order; the last is `worst`. */
export function attackersOf(robustness: Robustness | undefined): Attacker[] {
  const all = [...ATTACK_NAMES, AUTO, 'worst'] as const;
  return all.filter((name) => robustness?.attacks[name]);
}

/**
 * The median L∞ of an attacker, as `Robust` has it. Earlier versions took one of `worst` over the sizes that `auto` found
 * within budgets, which are not the smallest.
 */
export function medianLinf({ attacks }: Robustness, attacker: Attacker): number | null | undefined {
  return attacker === 'worst' && attacks[AUTO] ? undefined : attacks[attacker]?.medianLinf;
}

/**
 * The percentage of all images that no attack of a row fools within a budget in grey levels; undefined if the row has no
 * such budget.
 */
export function robustAccuracy(
  { robustness, atBudgets = [] }: Row,
  norm: Norm,
  budget: number,
): number | undefined {
  // In L∞ `worst` includes the attacks that were not made within budgets.
  const at = norm === 'linf' ? (robustness?.budgets.indexOf(budget) ?? -1) : -1;
  if (at >= 0) return robustness!.attacks.worst?.accuracy[at];
  return atBudgets.find((one) => one.norm === norm && one.budget === budget)?.accuracy;
}
