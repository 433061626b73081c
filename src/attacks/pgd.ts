import { tf } from '../base/tf.js';
import { clip } from '../base/clip.js';
import { breathe } from '../base/interrupt.js';
import { makeRandom, type Random } from '../base/random.js';
import { floatRows } from '../base/rows.js';
import type { BudgetAttack, Target, Trial, WithinBudgets } from './attack.js';
import { BALLS } from './ball.js';
import { logOddsGradient, otherLogits } from '../engine/ops/loss.js';
import type { Originals } from './classifier.js';
import { classOf } from '../model/predict.js';

/** The gradient [N,C] with respect to the logits of the loss that a run maximises; labels int32 [N]. */
export type LossGradient = (logits: tf.Tensor2D, labels: tf.Tensor1D) => tf.Tensor2D;

/** The steps of a run cover this many times the budget, so that they can cross the box and correct themselves. */
const REACH = 2.5;

/** One run of PGD. */
export interface PgdRun {
  loss: LossGradient;
  steps: number;
  /** The generator for a start drawn uniformly from the budget's box; without it, the image itself. */
  random?: (image: number, budget: number) => Random;
}

/**
 * Projected gradient descent in L∞ (Madry, Makelov, Schmidt, Tsipras, Vladu, 2018, arXiv 1706.06083):
 * steps of 2.5 ε / steps along the sign of the gradient, each followed by projection onto the box of
 * radius ε around the image and onto 0 … 255. The first start is the image itself; further ones are
 * random. Each start is run with two losses, neither of which can underflow: the log-odds, and the
 * difference-of-logits ratio (Croce, Hein, 2020, arXiv 2003.01690).
 *
 * Iterates are real numbers, as published, but perturbed pixels are integers. So an iterate that fools is
 * rounded and tried again, as is the last iterate of each run. The first rounded iterate that fools ends
 * the attack on an image. ε is an integer, so rounding does not exceed it.
 *
 * The smallest integer ε is found by bisection with the first run only, which uses the log-odds and starts
 * at the image. From there ε is reduced by 1 at a time with all further runs, until none of them fools.
 */
export const pgd: BudgetAttack = {
  kind: 'budget',
  name: 'pgd',
  title: 'PGD',
  published: false,
  // Half of about nine trials fail and take all steps; then each further run fails once.
  passes: ({ pgd: { steps, restarts } }) => 3 * steps * (4 + 2 * restarts),
  attempts(target, { pgd: { steps, restarts } }, signal) {
    const by =
      (runs: readonly PgdRun[]): WithinBudgets =>
      (trial) =>
        pgdAt(target, trial, runs, signal);
    const [first, ...further] = runsOf(steps, restarts, target.originals);
    return { quick: by([first]), thorough: by(further), lowersBudget: false };
  },
};

function runsOf(steps: number, restarts: number, { positions }: Originals): PgdRun[] {
  const losses = { 'log-odds': logOddsGradient, dlr: ratioGradient };
  const starts = Array.from({ length: restarts }, (_, start) => start);
  return starts.flatMap((start) =>
    Object.entries(losses).map(([name, loss]): PgdRun => {
      const run = { loss, steps };
      if (start === 0) return run;
      const random = (image: number, budget: number) =>
        makeRandom(start, `pgd ${name} ${budget}`, positions[image]);
      return { ...run, random };
    }),
  );
}

/**
 * Runs PGD until one of the runs fools.
 *
 * @returns for each of the images, 1 if it was fooled, else 0
 * @throws Interrupted if the signal aborts
 */
export async function pgdAt(
  target: Target,
  trial: Trial,
  runs: readonly PgdRun[],
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const { images } = trial;
  const fooled = new Uint8Array(images.length);
  for (const run of runs) {
    const left = [...images.keys()].filter((j) => !fooled[j]);
    if (left.length === 0) break;
    const done = await runOnce(target, trial, run, left, signal);
    for (const j of done) fooled[j] = 1;
  }
  return fooled;
}

/** One run on `left`, positions in the images of the trial; returns those that it fools. */
async function runOnce(
  { classifier, originals: { images: originals, labels, size } }: Target,
  { images, budgets, adversarials }: Trial,
  { loss, steps, random }: PgdRun,
  left: number[],
  signal: AbortSignal | undefined,
): Promise<Set<number>> {
  // The iterate of images[j] begins at j · size.
  const iterates = floatRows(originals, images, size);
  for (const j of left) {
    const image = images[j];
    const generator = random?.(image, budgets[j]);
    if (!generator) continue;
    const original = originals.subarray(image * size, (image + 1) * size);
    BALLS.linf.draw(iterates.subarray(j * size, (j + 1) * size), original, budgets[j], generator);
  }
  const done = new Set<number>();
  let active = left;
  for (let step = 0; active.length > 0; step++) {
    let gradient: Float32Array = new Float32Array();
    let worthTrying = active;
    if (step < steps) {
      const y = Int32Array.from(active, (j) => labels[images[j]]);
      const vectors = (z: tf.Tensor2D) => [loss(z, tf.tensor1d(y, 'int32'))];
      const logits = classifier.gradients(floatRows(iterates, active, size), vectors, (found) => {
        gradient = found;
      });
      worthTrying = active.filter((_, row) => classAt(logits, row) !== y[row]);
    }
    if (worthTrying.length > 0) {
      const tried = floatRows(iterates, worthTrying, size).map((value) => Math.round(value));
      const logits = classifier.logits(tried);
      worthTrying.forEach((j, row) => {
        const image = images[j];
        if (classAt(logits, row) === labels[image]) return;
        done.add(j);
        adversarials.set(tried.subarray(row * size, (row + 1) * size), image * size);
      });
    }
    active = active.filter((j, row) => {
      if (step === steps || done.has(j)) return false;
      const budget = budgets[j];
      for (let p = 0; p < size; p++) {
        const pixel = originals[images[j] * size + p];
        const low = Math.max(0, pixel - budget);
        const high = Math.min(255, pixel + budget);
        const stepped = (REACH / steps) * budget * Math.sign(gradient[row * size + p]);
        iterates[j * size + p] = clip(iterates[j * size + p] + stepped, low, high);
      }
      return true;
    });
    await breathe(signal);
  }
  return done;

  function classAt(logits: Float32Array, row: number): number {
    return classOf(logits, row * classifier.classes, classifier.classes);
  }
}

/**
 * The gradient [N,C] of the difference-of-logits ratio (z_t − z_y) / (z_1 − z_3) with respect to the logits,
 * times the denominator, which is positive and does not change signs. t is the best class other than the
 * label y; z_1 and z_3 are the largest and third largest logits. Of two classes it is that of the difference alone.
 */
export function ratioGradient(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor2D {
  const classes = logits.shape[1];
  const hot = (which: tf.Tensor1D): tf.Tensor2D =>
    tf.reshape<tf.Rank.R2>(tf.oneHot(which, classes, 1, 0, 'float32'), logits.shape);
  const { label, others } = otherLogits(logits, labels);
  const best = hot(tf.argMax<tf.Tensor1D>(others, 1));
  const towards = tf.sub<tf.Tensor2D>(best, label);
  if (classes < 3) return towards;
  const { values, indices } = tf.topk(logits, 3);
  const [first, , third] = tf
    .split(indices, 3, 1)
    .map((one) => hot(tf.reshape<tf.Rank.R1>(one, [-1])));
  const [largest, , smaller] = tf.split(values, 3, 1);
  const difference = tf.sum(tf.mul(logits, towards), 1, true);
  // If the three largest logits are equal, the denominator and the difference are 0.
  const ratio = tf.divNoNan(difference, tf.sub(largest, smaller));
  return tf.sub(towards, tf.mul(ratio, tf.sub<tf.Tensor2D>(first, third)));
}
