import * as tf from '@tensorflow/tfjs-core';
import { breathe } from '../base/interrupt.js';
import { makeRandom, type Random } from '../base/random.js';
import { classOf } from '../model/predict.js';
import type { BudgetAttack, WithinBudgets } from './attack.js';
import type { Classifier, Originals } from './classifier.js';

/**
 * A loss that a run increases, of the logits z of one image with label y. Writes its gradient with respect
 * to z, times any positive factor, and returns its value.
 *
 * @param target the class that a targeted loss leads to; others ignore it
 */
export type Loss = (
  z: ArrayLike<number>,
  y: number,
  target: number,
  gradient: Float32Array,
) => number;

/** One run of Auto-PGD. */
export interface ApgdRun {
  loss: Loss;
  steps: number;
  /** The target is the class with this rank at the image itself, of those other than the label; 0 leads. */
  rank?: number;
  /**
   * The generator for a start drawn uniformly from the budget's box. Without it, the run starts from what a
   * larger budget has found, clipped to the box, or from the image itself.
   */
  random?: (image: number, epsilon: number) => Pick<Random, 'uniform'>;
}

/**
 * Auto-PGD in L∞ (Croce, Hein, 2020, arXiv 2003.01690): steps along the sign of the gradient, with momentum,
 * whose length begins at 2 ε and is halved wherever the loss no longer rises. There the run returns to the
 * best point so far.
 *
 * The first run uses the log-odds of the wrong classes. The cross entropy is log(1 + e^log-odds): it rises
 * and falls with them and its gradient has the same signs, so the path is that of the cross entropy, but
 * nothing can underflow. Images that it leaves are attacked again: with the log-odds from random points, with
 * the difference-of-logits ratio, and from random points towards each of the other classes.
 *
 * As with PGD, an iterate that fools is rounded and tried again, as is the best point of each run, and the
 * first rounded one that fools ends the attack on an image. The smallest integer ε is found by bisection
 * with the first run only. From there ε is reduced by 1 at a time with all runs, until none of them fools.
 */
export const apgd: BudgetAttack = {
  kind: 'budget',
  name: 'apgd',
  title: 'APGD',
  published: false,
  // Half of about nine trials fail and take all steps; then each run fails once, ten of them for each start.
  passes: ({ apgd: { steps, restarts } }) => 3 * steps * (6 + 10 * restarts),
  attempts(classifier, originals, { apgd: { steps, restarts } }, signal) {
    const by =
      (runs: readonly ApgdRun[]): WithinBudgets =>
      (images, budgets, adversarials) =>
        apgdAt(classifier, originals, images, budgets, runs, adversarials, signal);
    const runs = runsOf(steps, restarts, originals, classifier.classes);
    return { quick: by(runs.slice(0, 1)), thorough: by(runs), lowersBudget: false };
  },
};

function runsOf(
  steps: number,
  restarts: number,
  { positions }: Originals,
  classes: number,
): ApgdRun[] {
  const starts = Array.from({ length: restarts }, (_, start) => start);
  const ranks = Array.from({ length: classes - 1 }, (_, rank) => rank);
  const drawn = (name: string, start: number) => (image: number, epsilon: number) =>
    makeRandom(start, `apgd ${name} ${epsilon}`, positions[image]);
  return [
    { loss: logOdds, steps },
    { loss: logitRatio, steps },
    ...starts.flatMap((start): ApgdRun[] => [
      { loss: logOdds, steps, random: drawn('log-odds', start) },
      ...ranks.map((rank) => {
        const random = drawn(`class ${rank}`, start);
        return { loss: targetedRatio, steps, rank, random };
      }),
    ]),
  ];
}

/**
 * Runs Auto-PGD on the originals with the indices `images`, each within its budget in grey levels, until
 * one of the runs fools.
 *
 * @param adversarials N×H×W×C, for all originals; receives the perturbed images that fool
 * @returns for each of `images`, 1 if it was fooled, else 0
 * @throws Interrupted if the signal aborts
 */
export async function apgdAt(
  classifier: Classifier,
  originals: Originals,
  images: Uint32Array,
  budgets: Float32Array,
  runs: readonly ApgdRun[],
  adversarials: Uint8Array,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const fooled = new Uint8Array(images.length);
  for (const run of runs) {
    const left = images.filter((_, j) => !fooled[j]);
    if (left.length === 0) break;
    const within = budgets.filter((_, j) => !fooled[j]);
    const found = await runOnce(classifier, originals, left, within, run, adversarials, signal);
    let i = 0;
    for (let j = 0; j < images.length; j++) {
      if (!fooled[j]) fooled[j] = found[i++];
    }
  }
  return fooled;
}

/** The state of the run on one image. */
interface Climb {
  label: number;
  target: number;
  epsilon: number;
  /** Step length in grey levels. */
  step: number;
  loss: number;
  best: number;
  /** Steps since the last checkpoint that increased the loss. */
  rises: number;
  /** The best loss at the last checkpoint, and whether the step length was halved there. */
  bestBefore: number;
  halved: boolean;
}

/** The share of the last step in the next. */
const MOMENTUM = 0.25;
/** The step length is halved unless more than this share of the steps since the checkpoint before increased the loss. */
const RISING = 0.75;

/** The numbers of steps after which the step length may be halved: 22, 41, 57, 70, 80, 87, 93, 99 of 100. */
export function checkpointsOf(steps: number): Set<number> {
  const checkpoints = new Set<number>();
  // In percent of the steps, since sums of 0.03 and 0.06 would be rounded up past whole steps.
  for (let [at, width] = [22, 22]; at <= 100; at += width) {
    checkpoints.add(Math.ceil((at * steps) / 100));
    width = Math.max(width - 3, 6);
  }
  return checkpoints;
}

/** One run on `images`, each within its budget; returns 1 for those that it fools. */
async function runOnce(
  classifier: Classifier,
  originals: Originals,
  images: Uint32Array,
  budgets: Float32Array,
  run: ApgdRun,
  adversarials: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { size, labels } = originals;
  const { classes } = classifier;
  const { loss, steps, rank } = run;
  const fooled = new Uint8Array(images.length);
  const targets = rank === undefined ? [] : targetsOf(classifier, originals, images, rank);
  const climbs = Array.from(images, (image, j): Climb => {
    const [label, target, epsilon] = [labels[image], targets[j] ?? NaN, budgets[j]];
    const nothing = { loss: NaN, best: -Infinity, rises: 0, bestBefore: NaN, halved: true };
    return { label, target, epsilon, step: 2 * epsilon, ...nothing };
  });
  // The points of image j begin at j · size in each of these.
  const points = startsOf(originals, images, budgets, run, adversarials);
  const last = points.slice();
  const best = points.slice();
  const gradients = new Float32Array(points.length);
  const bestGradients = new Float32Array(points.length);
  const checkpoints = checkpointsOf(steps);
  let checkpoint = 0;
  let active = [...images.keys()];
  for (let step = 0; step <= steps && active.length > 0; step++) {
    const vectors = (logits: tf.Tensor2D) => {
      const z = logits.dataSync<'float32'>();
      const found = new Float32Array(z.length);
      active.forEach((j, row) => {
        const climb = climbs[j];
        const own = [row * classes, (row + 1) * classes] as const;
        const { label, target } = climb;
        const now = loss(z.subarray(...own), label, target, found.subarray(...own));
        if (now > climb.loss) climb.rises++;
        climb.loss = now;
      });
      return [tf.tensor2d(found, logits.shape)];
    };
    const logits = classifier.gradients(gather(points, active, size), vectors, (gradient) => {
      active.forEach((j, row) => {
        gradients.set(gradient.subarray(row * size, (row + 1) * size), j * size);
      });
    });
    tryRounded(
      points,
      active.filter((j, row) => classOf(logits, row * classes, classes) !== climbs[j].label),
    );
    active = active.filter((j) => !fooled[j]);
    for (const j of active) {
      const climb = climbs[j];
      const [begin, end] = [j * size, (j + 1) * size];
      if (climb.loss > climb.best) {
        climb.best = climb.loss;
        best.set(points.subarray(begin, end), begin);
        bestGradients.set(gradients.subarray(begin, end), begin);
      }
      if (step === 0) climb.bestBefore = climb.best;
      if (checkpoints.has(step) && isStuck(climb, step - checkpoint)) {
        climb.step /= 2;
        points.set(best.subarray(begin, end), begin);
        gradients.set(bestGradients.subarray(begin, end), begin);
      }
      if (step === steps) continue;
      const momentum = step === 0 ? 0 : MOMENTUM;
      const own = originals.images.subarray(images[j] * size, (images[j] + 1) * size);
      for (let p = 0; p < size; p++) {
        const at = begin + p;
        const low = Math.max(0, own[p] - climb.epsilon);
        const high = Math.min(255, own[p] + climb.epsilon);
        const here = points[at];
        const stepped = clip(here + climb.step * Math.sign(gradients[at]), low, high);
        const moved = (1 - momentum) * (stepped - here) + momentum * (here - last[at]);
        points[at] = clip(here + moved, low, high);
        last[at] = here;
      }
    }
    if (checkpoints.has(step)) checkpoint = step;
    await breathe(signal);
  }
  tryRounded(best, active);
  return fooled;

  /** Rounds the points of these images, and keeps those that fool. */
  function tryRounded(from: Float32Array, which: number[]): void {
    if (which.length === 0) return;
    const rounded = gather(from, which, size).map(Math.round);
    const logits = classifier.logits(rounded);
    which.forEach((j, row) => {
      if (classOf(logits, row * classes, classes) === climbs[j].label) return;
      fooled[j] = 1;
      adversarials.set(rounded.subarray(row * size, (row + 1) * size), images[j] * size);
    });
  }
}

/** Whether the step length has to be halved after `steps` steps since the last checkpoint; begins anew. */
function isStuck(climb: Climb, steps: number): boolean {
  const { rises, best, bestBefore, halved } = climb;
  climb.halved = rises <= RISING * steps || (!halved && best <= bestBefore);
  climb.bestBefore = best;
  climb.rises = 0;
  return climb.halved;
}

function startsOf(
  { images: originals, size }: Originals,
  images: Uint32Array,
  budgets: Float32Array,
  { random }: ApgdRun,
  adversarials: Uint8Array,
): Float32Array {
  const starts = new Float32Array(images.length * size);
  images.forEach((image, j) => {
    const epsilon = budgets[j];
    const generator = random?.(image, epsilon);
    for (let p = 0; p < size; p++) {
      const pixel = originals[image * size + p];
      const found = generator
        ? pixel + epsilon * (2 * generator.uniform() - 1)
        : clip(adversarials[image * size + p], pixel - epsilon, pixel + epsilon);
      starts[j * size + p] = clip(found, 0, 255);
    }
  });
  return starts;
}

/** For each image, the class with this rank by its logit among those other than the label. */
function targetsOf(
  classifier: Classifier,
  { images: originals, labels, size }: Originals,
  images: Uint32Array,
  rank: number,
): number[] {
  const { classes } = classifier;
  const all = classifier.logits(gather(originals, [...images], size));
  return Array.from(images, (image, row) => {
    const z = all.subarray(row * classes, (row + 1) * classes);
    const others = [...z.keys()].filter((k) => k !== labels[image]);
    return others.sort((a, b) => z[b] - z[a])[rank];
  });
}

/** The rows of a matrix with these indices. */
function gather(
  from: ArrayLike<number> & (Float32Array | Uint8Array),
  rows: number[],
  size: number,
): Float32Array {
  const gathered = new Float32Array(rows.length * size);
  rows.forEach((row, i) => {
    gathered.set(from.subarray(row * size, (row + 1) * size), i * size);
  });
  return gathered;
}

function clip(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

/** log(Σ_{j≠y} e^{z_j}) − z_y. */
export const logOdds: Loss = (z, y, _, gradient) => {
  let largest = -Infinity;
  for (let k = 0; k < z.length; k++) if (k !== y) largest = Math.max(largest, z[k]);
  let sum = 0;
  for (let k = 0; k < z.length; k++) if (k !== y) sum += Math.exp(z[k] - largest);
  for (let k = 0; k < z.length; k++) gradient[k] = k === y ? -1 : Math.exp(z[k] - largest) / sum;
  return largest + Math.log(sum) - z[y];
};

/** The difference-of-logits ratio (z_t − z_y) / (z_1 − z_3); t is the best class other than y, z_1 ≥ z_2 ≥ …. */
export const logitRatio: Loss = (z, y, _, gradient) => {
  const ranked = rankedOf(z);
  const best = ranked[0] === y ? ranked[1] : ranked[0];
  return ratioOf(z, y, best, [ranked[2]], gradient);
};

/** The ratio (z_t − z_y) / (z_1 − (z_3 + z_4) / 2) for a target t. */
export const targetedRatio: Loss = (z, y, target, gradient) =>
  ratioOf(z, y, target, rankedOf(z).slice(2, 4), gradient);

/** (z_t − z_y) / (z_1 − mean of the logits of `lower`); its gradient is multiplied by the denominator. */
function ratioOf(
  z: ArrayLike<number>,
  y: number,
  target: number,
  lower: number[],
  gradient: Float32Array,
): number {
  const first = rankedOf(z)[0];
  const width = z[first] - lower.reduce((sum, k) => sum + z[k], 0) / lower.length;
  // If these logits are equal, so that the width is 0, the difference is too unless the target is far below.
  const ratio = width === 0 ? 0 : (z[target] - z[y]) / width;
  gradient.fill(0);
  gradient[target] += 1;
  gradient[y] -= 1;
  gradient[first] -= ratio;
  for (const k of lower) gradient[k] += ratio / lower.length;
  return ratio;
}

/** The classes in descending order of their logits; of equal ones, the first. */
function rankedOf(z: ArrayLike<number>): number[] {
  return Array.from(z, (_, k) => k).sort((a, b) => z[b] - z[a]);
}
