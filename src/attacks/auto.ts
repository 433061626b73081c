import { apgdAt, apgdRuns, STEPS_OF_RESTART } from './apgd.js';
import type { Budgets, Effort, Norm, Stage, Target } from './attack.js';
import { squareAt } from './square.js';

/**
 * The strongest attacks within a budget, in the order in which they are made: Auto-PGD from the image, from random
 * points towards other classes and away from the label, and, in L∞, Square, which a network cannot mislead by its
 * gradients.
 */
export function strongest(
  target: Target,
  norm: Norm,
  { apgd, square: { queries } }: Pick<Effort, 'apgd' | 'square'>,
  signal: AbortSignal | undefined,
): Stage[] {
  const stages = apgdRuns(target, apgd).map((run): Stage => ({
    name: run.name,
    attempt: (trial) => apgdAt(target, trial, [run], { norm, signal }),
  }));
  if (norm === 'l2') return stages;
  const blind: Stage = {
    name: 'square',
    attempt: (trial) => squareAt(target, trial, { queries, signal }),
  };
  return [...stages, blind];
}

/**
 * About how many forward passes an image takes, whatever the number of budgets: all attacks fail at one of them, and
 * within larger ones the first succeeds soon. A pass forward and back counts as three.
 */
export function passesOfAuto({ apgd: { steps, restarts }, square: { queries } }: Effort): number {
  return 3 * steps * (1 + STEPS_OF_RESTART * restarts) + queries;
}

/**
 * The usual budgets of the literature and some around them, in L∞: up to 0.3 of the range for grey images such as
 * MNIST's, and 8 of 255 for coloured ones such as CIFAR-10's.
 */
export function usualBudgets(channels: number): Required<Pick<Budgets, 'linf'>> {
  return { linf: channels === 1 ? [8, 16, 32, 64, 77] : [1, 2, 4, 8, 16] };
}
