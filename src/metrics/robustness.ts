import { ATTACK_NAMES, STRONGER_ATTACKS, type AttackName } from '../attacks/attack.js';
import type { DataName } from '../data/sources.js';
import type { Evaluation } from './evaluation.js';

/** An attack, or `worst`: for each image, the attack with the smallest L∞. */
export type Attacker = AttackName | 'worst';

/** Robust accuracy at several budgets; only for evaluations with a stronger attack. */
export interface Robustness {
  /** L∞ in grey levels, ascending. */
  budgets: number[];
  attacks: Partial<Record<Attacker, Robust>>;
}

export interface Robust {
  /** Percentage of all images that are classified correctly and not fooled, for each budget. */
  accuracy: number[];
  /** Median L∞ over the correctly classified images; null if at least half of them are not fooled. */
  medianLinf: number | null;
}

/** Include the usual budgets of the literature: 0.3 of the range for MNIST, 8 of 255 for CIFAR-10. */
export const BUDGETS: Record<DataName, number[]> = {
  mnist: [8, 16, 32, 64, 77],
  cifar10: [1, 2, 4, 8, 16],
  cifar100: [1, 2, 4, 8, 16],
  idx: [8, 16, 32, 64, 77],
};

/** Whether an evaluation includes an attack stronger than the paper's. */
export function tellsRobustness({ attacks }: Evaluation): boolean {
  return STRONGER_ATTACKS.some((name) => attacks.has(name));
}

export function robustnessOf(evaluation: Evaluation, budgets: readonly number[]): Robustness {
  const { images, labels, predicted, attacks } = evaluation;
  const right = [...predicted.keys()].filter((i) => predicted[i] === labels[i]);
  const judge = (linf: (image: number) => number): Robust => {
    const found = Float32Array.from(right, linf).sort();
    const half = found.at(Math.floor(found.length / 2)) ?? Infinity;
    const accuracy = budgets.map((budget) => {
      const standing = found.filter((value) => value > budget).length;
      return (100 * standing) / images;
    });
    return { accuracy, medianLinf: half === Infinity ? null : half };
  };
  const each = [...attacks].map(([name, { linf }]): [AttackName, (image: number) => number] => [
    name,
    (image) => (Number.isNaN(linf[image]) ? Infinity : linf[image]),
  ]);
  const worst = (image: number): number => Math.min(...each.map(([, linf]) => linf(image)));
  return {
    budgets: [...budgets],
    attacks: {
      ...Object.fromEntries(each.map(([name, linf]) => [name, judge(linf)])),
      worst: judge(worst),
    },
  };
}

/** The attacks that a robustness was measured with, in the usual order; the last is `worst`. */
export function attackersOf(robustness: Robustness | undefined): Attacker[] {
  const all = [...ATTACK_NAMES, 'worst'] as const;
  return all.filter((name) => robustness?.attacks[name]);
}
