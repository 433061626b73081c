import { tf } from '../base/tf.js';
import { breathe } from '../base/interrupt.js';
import { makeRandom } from '../base/random.js';
import { floatRows } from '../base/rows.js';
import { classOf } from '../model/predict.js';
import type {
  BudgetAttack,
  Effort,
  Norm,
  AttackPart,
  Target,
  Trial,
  WithinBudgets,
} from './attack.js';
import { type Ball, BALLS, type Generator } from './ball.js';

/**
 * A loss that a run increases, of the logits z of one image with label y. Writes its gradient with respect
 * to z, times any positive factor, and returns its value.
 *
 * @param target the class that a targeted loss leads to; others ignore it
 */
export type LossOf = (
  z: ArrayLike<number>,
  y: number,
  target: number,
  gradient: Float32Array,
) => number;

/** One run of Auto-PGD. */
export interface ApgdRun {
  /** What tables and files call it. */
  name: AttackPart;
  loss: LossOf;
  steps: number;
  /**
   * For a targeted loss, the ranks of the classes to lead to, one for each climb of an image: their places among the
   * classes other than the label, by the logits at the image itself; 0 leads. Most of these climbs are given up on
   * the way.
   */
  ranks?: readonly number[];
  /**
   * The generator for a random start of each climb of an image: in L∞ drawn uniformly from the budget's box, in L2
   * from the budget's sphere. Without it, the run starts from what a larger budget has found, brought within this
   * one, or from the image itself.
   */
  random?: (image: number, budget: number, climb: number) => Generator;
}

/**
 * Auto-PGD in L∞ (Croce, Hein, 2020, arXiv 2003.01690): steps along the sign of the gradient, with momentum,
 * whose length begins at 2 ε and is halved wherever the loss no longer rises. There the run returns to the
 * best point so far. In L2, steps are along the gradient itself.
 *
 * The first run uses the log-odds of the wrong classes. The cross entropy is log(1 + e^log-odds): it rises
 * and falls with them and its gradient has the same signs, so the path is that of the cross entropy, but
 * nothing can underflow. Images that it leaves are attacked again, from random points: with the
 * difference-of-logits ratio towards each of nine other classes, and with the log-odds. Whether an image that is left
 * then falls depends on the starting point more than on the class, and it falls to one of the leading classes; so
 * each further restart leads to the first three, from three points each. Only the climbs that are the furthest after
 * 41 and 57 % of the steps are carried on (`RACE`), as others hardly ever overtake them.
 *
 * An iterate that fools is rounded and tried again, as is the best point of each run, and the first rounded one
 * that fools ends the attack on an image. The smallest integer ε is found by bisection with the first run only.
 * From there ε is reduced by 1 at a time with all runs, until none of them fools.
 */
export const apgd: BudgetAttack = {
  kind: 'budget',
  name: 'apgd',
  title: 'APGD',
  published: false,
  // Half of about nine trials fail and take all steps; then each run fails once.
  passes: ({ apgd: { steps, restarts } }) => 3 * steps * (6 + STEPS_OF_RESTART * restarts),
  attempts(target, effort, signal) {
    const [first, ...others] = apgdRuns(target, effort.apgd);
    const by =
      (runs: readonly ApgdRun[]): WithinBudgets =>
      (trial) =>
        apgdAt(target, trial, runs, { signal });
    return { quick: by([first]), thorough: by([first, ...others]), lowersBudget: false };
  },
};

/** At most as many classes are led to, as in AutoAttack. */
const MOST_TARGETS = 9;
/** To these classes, one for each climb, a restart leads after the first one. */
const LEADING = [0, 0, 0, 1, 1, 1, 2, 2, 2];

/** The runs of Auto-PGD, in the order in which they attack what the ones before left. */
export function apgdRuns(
  { classifier: { classes }, originals: { positions } }: Target,
  { steps, restarts }: Effort['apgd'],
): ApgdRun[] {
  const all = Array.from({ length: Math.min(MOST_TARGETS, classes - 1) }, (_, rank) => rank);
  const leading = LEADING.filter((rank) => rank < classes - 1);
  const starts = Array.from({ length: restarts }, (_, start) => start);
  return [
    { name: 'apgd-log-odds', loss: logOdds, steps },
    ...starts.flatMap((start): ApgdRun[] => [
      {
        name: 'apgd-targeted',
        loss: targetedRatio,
        steps,
        ranks: start === 0 ? all : leading,
        random: (image, budget, climb) =>
          makeRandom(start, `apgd class ${climb} ${budget}`, positions[image]),
      },
      {
        name: 'apgd-log-odds',
        loss: logOdds,
        steps,
        random: (image, budget) => makeRandom(start, `apgd log-odds ${budget}`, positions[image]),
      },
    ]),
  ];
}

/**
 * Runs Auto-PGD until one of the runs fools.
 *
 * @param norm in which the budgets are: L∞ by default
 * @returns for each of the images, 1 if it was fooled, else 0
 * @throws Interrupted if the signal aborts
 */
export async function apgdAt(
  target: Target,
  { images, budgets, adversarials }: Trial,
  runs: readonly ApgdRun[],
  { norm = 'linf', signal }: { norm?: Norm; signal?: AbortSignal | undefined } = {},
): Promise<Uint8Array> {
  const fooled = new Uint8Array(images.length);
  for (const run of runs) {
    // So many that the climbs of a batch are as many as the engine likes.
    const most = Math.max(1, Math.floor(target.classifier.batch / (run.ranks?.length ?? 1)));
    const left = [...images.keys()].filter((j) => !fooled[j]);
    for (let start = 0; start < left.length; start += most) {
      const some = left.slice(start, start + most);
      const trial = {
        images: Uint32Array.from(some, (j) => images[j]),
        budgets: Float32Array.from(some, (j) => budgets[j]),
        adversarials,
      };
      const found = await runOnce(target, trial, run, BALLS[norm], signal);
      some.forEach((j, i) => (fooled[j] = found[i]));
    }
  }
  return fooled;
}

/** The state of one climb of a run. */
interface Climb {
  /** Of `images` of the run. */
  image: number;
  label: number;
  target: number;
  budget: number;
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

/**
 * How many climbs of an image go on after the checkpoints at 22, 41 and 57 % of the steps: those with the best losses
 * so far, at equal ones those of the leading classes. At 22 %, with the first length of steps, losses say little.
 */
const RACE = [Infinity, 3, 1];
/** How many times the steps of a run all climbs of a restart take, 9 until 41 % and 3 until 57 %, and the log-odds. */
export const STEPS_OF_RESTART = 5.6;

/** One run; returns 1 for the images that it fools. */
async function runOnce(
  attacked: Target,
  { images, budgets, adversarials }: Trial,
  run: ApgdRun,
  ball: Ball,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { classifier, originals } = attacked;
  const { size, labels, images: pixels } = originals;
  const { classes } = classifier;
  const { loss, steps, ranks = [0] } = run;
  const fooled = new Uint8Array(images.length);
  const targets = run.ranks && targetsOf(attacked, images);
  const climbs = [...images.keys()].flatMap((image) =>
    ranks.map((rank): Climb => {
      const label = labels[images[image]];
      const target = targets?.[image][rank] ?? NaN;
      const budget = budgets[image];
      const nothing = { loss: NaN, best: -Infinity, rises: 0, bestBefore: NaN, halved: true };
      return { image, label, target, budget, step: 2 * budget, ...nothing };
    }),
  );
  const originalOf = ({ image }: Climb): Uint8Array =>
    pixels.subarray(images[image] * size, (images[image] + 1) * size);
  // The points of climb j begin at j · size in each of these.
  const points = new Float32Array(climbs.length * size);
  climbs.forEach((climb, j) => {
    const start = points.subarray(j * size, (j + 1) * size);
    const { budget } = climb;
    const image = images[climb.image];
    const generator = run.random?.(image, budget, j % ranks.length);
    if (generator) {
      ball.draw(start, originalOf(climb), budget, generator);
    } else {
      start.set(adversarials.subarray(image * size, (image + 1) * size));
      ball.project(start, originalOf(climb), budget);
    }
  });
  const last = points.slice();
  const best = points.slice();
  const gradients = new Float32Array(points.length);
  const bestGradients = new Float32Array(points.length);
  const checkpoints = checkpointsOf(steps);
  const race = [...RACE];
  let checkpoint = 0;
  let active = [...climbs.keys()];
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
    const logits = classifier.gradients(floatRows(points, active, size), vectors, (gradient) => {
      active.forEach((j, row) => {
        gradients.set(gradient.subarray(row * size, (row + 1) * size), j * size);
      });
    });
    tryRounded(
      points,
      active.filter((j, row) => classOf(logits, row * classes, classes) !== climbs[j].label),
    );
    active = active.filter((j) => !fooled[climbs[j].image]);
    for (const j of active) {
      const climb = climbs[j];
      const own = [j * size, (j + 1) * size] as const;
      if (climb.loss > climb.best) {
        climb.best = climb.loss;
        best.set(points.subarray(...own), j * size);
        bestGradients.set(gradients.subarray(...own), j * size);
      }
      if (step === 0) climb.bestBefore = climb.best;
      if (checkpoints.has(step) && isStuck(climb, step - checkpoint)) {
        climb.step /= 2;
        points.set(best.subarray(...own), j * size);
        gradients.set(bestGradients.subarray(...own), j * size);
      }
      if (step === steps) continue;
      const here = points.subarray(...own);
      const before = last.subarray(...own);
      const momentum = step === 0 ? 0 : MOMENTUM;
      const gradient = gradients.subarray(...own);
      ball.step(here, before, gradient, originalOf(climb), climb.budget, climb.step, momentum);
    }
    if (checkpoints.has(step)) {
      checkpoint = step;
      const most = race.shift();
      if (most !== undefined) active = leadersOf(climbs, active, most);
    }
    await breathe(signal);
  }
  tryRounded(best, active);
  return fooled;

  /** Rounds the points of these climbs, and keeps those that fool. */
  function tryRounded(from: Float32Array, which: number[]): void {
    if (which.length === 0) return;
    const rounded = floatRows(from, which, size);
    which.forEach((j, row) => {
      const climb = climbs[j];
      ball.round(rounded.subarray(row * size, (row + 1) * size), originalOf(climb), climb.budget);
    });
    const logits = classifier.logits(rounded);
    which.forEach((j, row) => {
      const { image, label } = climbs[j];
      if (fooled[image] || classOf(logits, row * classes, classes) === label) return;
      fooled[image] = 1;
      adversarials.set(rounded.subarray(row * size, (row + 1) * size), images[image] * size);
    });
  }
}

/** Of the climbs with the indices `active`, the best of each image. */
function leadersOf(climbs: readonly Climb[], active: readonly number[], most: number): number[] {
  const place = new Map<number, number>();
  const leaders = active
    .toSorted((a, b) => climbs[b].best - climbs[a].best || a - b)
    .filter((j) => {
      const before = place.get(climbs[j].image) ?? 0;
      place.set(climbs[j].image, before + 1);
      return before < most;
    });
  return leaders.sort((a, b) => a - b);
}

/** Whether the step length has to be halved after `steps` steps since the last checkpoint; begins anew. */
function isStuck(climb: Climb, steps: number): boolean {
  const { rises, best, bestBefore, halved } = climb;
  climb.halved = rises <= RISING * steps || (!halved && best <= bestBefore);
  climb.bestBefore = best;
  climb.rises = 0;
  return climb.halved;
}

/** For each image, the classes other than the label by their logits at the image, the largest first. */
function targetsOf(
  { classifier, originals: { images: originals, labels, size } }: Target,
  images: Uint32Array,
): number[][] {
  const { classes } = classifier;
  const all = classifier.logits(floatRows(originals, images, size));
  return Array.from(images, (image, row) =>
    rankedOf(all.subarray(row * classes, (row + 1) * classes)).filter((k) => k !== labels[image]),
  );
}

/** log(Σ_{j≠y} e^{z_j}) − z_y. */
export const logOdds: LossOf = (z, y, _, gradient) => {
  let largest = -Infinity;
  for (let k = 0; k < z.length; k++) if (k !== y) largest = Math.max(largest, z[k]);
  let sum = 0;
  for (let k = 0; k < z.length; k++) if (k !== y) sum += Math.exp(z[k] - largest);
  for (let k = 0; k < z.length; k++) gradient[k] = k === y ? -1 : Math.exp(z[k] - largest) / sum;
  return largest + Math.log(sum) - z[y];
};

/**
 * The difference-of-logits ratio (z_t − z_y) / (z_1 − (z_3 + z_4) / 2) for a target t, where z_1 ≥ z_2 ≥ … are all
 * logits; with three classes z_4 is z_3. With two the ratio would be 1 or −1, so it is the difference z_t − z_y. Its
 * gradient is multiplied by the denominator.
 */
export const targetedRatio: LossOf = (z, y, target, gradient) => {
  gradient.fill(0);
  gradient[target] += 1;
  gradient[y] -= 1;
  if (z.length < 3) return z[target] - z[y];
  const ranked = rankedOf(z);
  const [first] = ranked;
  const lower = [2, 3].map((place) => ranked[Math.min(place, ranked.length - 1)]);
  const width = z[first] - (z[lower[0]] + z[lower[1]]) / 2;
  // If these logits are equal, so that the width is 0, the difference is too unless the target is far below.
  const ratio = width === 0 ? 0 : (z[target] - z[y]) / width;
  gradient[first] -= ratio;
  for (const k of lower) gradient[k] += ratio / 2;
  return ratio;
};

/** The classes in descending order of their logits; of equal ones, the first. */
function rankedOf(z: ArrayLike<number>): number[] {
  return Array.from(z, (_, k) => k).sort((a, b) => z[b] - z[a]);
}
