import { counted } from '../base/text.js';
import { tf } from '../base/tf.js';
import { type Batch, batchOf } from '../engine/ops/batch.js';
import type { Dataset } from '../data/dataset.js';
import { allFinite } from '../engine/block.js';
import { stepsAhead } from '../engine/ops/read.js';
import { ExperimentError, Interrupted } from '../base/errors.js';
import { breathe } from '../base/interrupt.js';
import type { Network, Weights } from '../model/network.js';
import { disposeWeights, initialWeights, zeroWeights } from '../model/parameters.js';
import { predict } from '../model/predict.js';
import { type Progress, silent } from '../base/progress.js';
import { type Adversarial, adversarialBatch } from './adversarial.js';
import { type Augment, augmentation } from './augment.js';
import type { Bang } from './bang.js';
import {
  addBatch,
  type BatchValues,
  emptyInterval,
  type Interval,
  type LogRow,
  rowOf,
  valuesOf,
} from './log.js';
import { type Shuffle, trainingOrder } from './order.js';
import { type LearningRate, learningRateAt } from './schedule.js';
import { applyGradients, type BatchMetrics, computeGradients, dropoutMasks } from './step.js';

/** The `training` block of a configuration. */
export interface TrainingSettings {
  iterations: number;
  batch: number;
  learningRate: LearningRate;
  momentum: number;
  weightDecay: number;
  shuffle: Shuffle;
  logEvery: number;
  checkpointEvery: number;
  /** Iterations between snapshots; undefined for none. */
  snapshots?: number;
  augment?: Augment;
  adversarial?: Adversarial;
  labelSmoothing?: number;
  bang?: Bang;
}

/** The content of a checkpoint: everything that training depends on besides settings, seed and data. */
export interface TrainingState {
  /** Number of completed iterations. */
  iteration: number;
  weights: Weights;
  velocities: Weights;
  interval: Interval;
  rows: LogRow[];
}

export interface TrainingHooks {
  /** The iteration at which to checkpoint and return; by default the last. */
  until?: number;
  /** Called every `snapshots` iterations, before a checkpoint of the same iteration. */
  snapshot?: (state: TrainingState) => void;
  /** Called every `checkpointEvery` iterations and when the run is interrupted. */
  checkpoint?: (state: TrainingState) => void;
  /** Called with all rows whenever one is added. */
  log?: (rows: LogRow[]) => void;
  progress?: Progress;
  signal?: AbortSignal;
}

/** @param weights instead of random ones; they are changed in place */
export function initialState(
  network: Network,
  seed: number,
  weights = initialWeights(network, seed),
): TrainingState {
  return {
    iteration: 0,
    weights,
    velocities: zeroWeights(network),
    interval: emptyInterval(),
    rows: [],
  };
}

/**
 * One iteration on a batch, of which adversarial images may be made first; changes weights and velocities in place. The
 * caller disposes of the tensors with a tidy.
 *
 * @param rate the learning rate
 * @param gradients room for the gradient
 */
export function trainingStep(
  network: Network,
  settings: TrainingSettings,
  seed: number,
  batch: Batch,
  { iteration: t, weights, velocities }: Omit<TrainingState, 'interval' | 'rows'>,
  { rate, gradients }: { rate: number; gradients: Weights },
): BatchMetrics {
  const { bang, adversarial, labelSmoothing, momentum, weightDecay } = settings;
  const masks = dropoutMasks(network, settings.batch, seed, t);
  const images = adversarial
    ? adversarialBatch(adversarial, network, weights, batch, seed, t)
    : batch;
  const options = { bang, masks, labelSmoothing };
  const metrics = computeGradients(network, weights, gradients, images, options);
  applyGradients(weights, velocities, gradients, { rate, momentum, weightDecay });
  return metrics;
}

/**
 * Trains according to section 1 of the protocol, starting from `state`, which is updated in place. On
 * one machine, the same settings, seed and data give bit-identical weights, regardless of the number of
 * threads and of interruptions.
 *
 * @throws ExperimentError if the loss or, when a log row is written, a weight is not finite, or if the
 *   loss diverges or stays at chance
 * @throws Interrupted if the signal aborts; the state has been checkpointed
 */
export async function train(
  network: Network,
  settings: TrainingSettings,
  seed: number,
  data: { train: Dataset; validation?: Dataset },
  state: TrainingState,
  hooks: TrainingHooks = {},
): Promise<void> {
  const { iterations, batch } = settings;
  const order = trainingOrder(data.train.count, batch, settings.shuffle, seed);
  const augment = augmentation(settings.augment, seed);
  const task = (hooks.progress ?? silent).start('training', iterations, 'iterations');
  task.update(state.iteration);
  const begun = { at: performance.now(), iteration: state.iteration };

  const end = Math.min(iterations, hooks.until ?? iterations);

  const gradients = zeroWeights(network);
  /** Steps that were begun, and whose results were not looked at. */
  const begunSteps: { t: number; values: () => BatchValues }[] = [];
  let loss: number | undefined;
  /** Looks at the results of steps, until no more than `most` are left. */
  const settle = (most: number): void => {
    while (begunSteps.length > most) {
      const { t, values } = begunSteps.shift()!;
      loss = addBatch(state.interval, values());
      if (!Number.isFinite(loss)) throw new ExperimentError(divergence('the loss', t, settings));
    }
  };
  const save = (): void => {
    refuseNotFinite(state, settings);
    hooks.checkpoint?.(state);
  };
  try {
    while (state.iteration < end) {
      const t = state.iteration;
      const rate = learningRateAt(settings.learningRate, t);
      tf.tidy(() => {
        const positions = order(t);
        const images = augment(batchOf(data.train, positions), positions, t);
        const metrics = trainingStep(network, settings, seed, images, state, { rate, gradients });
        begunSteps.push({ t, values: valuesOf(metrics) });
      });
      state.iteration = t + 1;
      const due = [settings.logEvery, settings.checkpointEvery, settings.snapshots ?? Infinity];
      const isDue = state.iteration === end || due.some((every) => state.iteration % every === 0);
      settle(isDue ? 0 : stepsAhead());

      if (state.iteration % settings.logEvery === 0 || state.iteration === iterations) {
        const { weights, interval } = state;
        refuseNotFinite(state, settings);
        const validation = data.validation && (await accuracy(network, weights, data.validation));
        const row = rowOf(interval, state.iteration, rate, validation ?? null);
        state.interval = emptyInterval();
        state.rows.push(row);
        hooks.log?.(state.rows);
        refuseDivergence(row, network.spec.classes, settings);
        refuseChance(row, network.spec.classes, settings);
      }
      if (settings.snapshots !== undefined && state.iteration % settings.snapshots === 0) {
        refuseNotFinite(state, settings);
        hooks.snapshot?.(state);
      }
      if (state.iteration % settings.checkpointEvery === 0 && state.iteration < iterations) {
        save();
      }
      const seconds = (performance.now() - begun.at) / 1000;
      const speed = ((state.iteration - begun.iteration) * batch) / seconds;
      task.update(state.iteration, loss === undefined ? '' : detail(state, loss, speed));
      try {
        await breathe(hooks.signal);
      } catch (error) {
        if (error instanceof Interrupted) {
          settle(0);
          save();
        }
        task.finish(`stopped at iteration ${state.iteration}`);
        throw error;
      }
    }
  } finally {
    disposeWeights(gradients);
  }
  if (state.iteration < iterations) {
    save();
    task.finish(`stopped at iteration ${state.iteration}`);
    return;
  }
  const last = state.rows.at(-1);
  task.finish(
    last &&
      `${counted(iterations, 'iteration')}, loss ${last.loss.toFixed(4)}${validationText(last)}`,
  );
}

/** Percent of a data set's images that are classified correctly. */
export async function accuracy(network: Network, weights: Weights, data: Dataset): Promise<number> {
  const { correct } = await predict({ network, weights }, data);
  return (100 * correct) / data.count;
}

function detail({ rows, interval }: TrainingState, loss: number, speed: number): string {
  const recent = interval.images > 0 ? (100 * interval.correct) / interval.images : undefined;
  const training = recent ?? rows.at(-1)?.trainAccuracy ?? 0;
  return `| loss ${loss.toFixed(4)} | training accuracy ${training.toFixed(2)} % | ${speed.toFixed(0)} images/s`;
}

function validationText({ validationAccuracy }: LogRow): string {
  return validationAccuracy === null
    ? ''
    : `, validation accuracy ${validationAccuracy.toFixed(2)} %`;
}

/** Before weights are evaluated or kept. The loss was computed before the last step, so it does not show this. */
function refuseNotFinite({ weights, iteration }: TrainingState, settings: TrainingSettings): void {
  if (allFinite(weights.block)) return;
  throw new ExperimentError(divergence('a weight', iteration - 1, settings));
}

function divergence(what: string, t: number, settings: TrainingSettings): string {
  return `${what} is no longer finite at iteration ${t + 1}: ${remedy(settings)}`;
}

function remedy({ learningRate, bang }: TrainingSettings): string {
  const keys = bang ? 'training.learningRate.base or training.bang' : 'training.learningRate.base';
  return `lower ${keys} (the base rate is ${learningRate.base})`;
}

/** At ten times the loss of random guessing, training has diverged. */
function refuseDivergence(row: LogRow, classes: number, settings: TrainingSettings): void {
  if (row.loss > 10 * Math.log(classes)) {
    throw new ExperimentError(
      `the mean loss at iteration ${row.iteration} is ${row.loss.toPrecision(3)}, far above that of guessing (${Math.log(classes).toFixed(2)}): ${remedy(settings)}`,
    );
  }
}

/** A network that has learnt nothing after a fifth of the iterations is not worth hours of training. */
function refuseChance(row: LogRow, classes: number, { iterations, bang }: TrainingSettings): void {
  const atChance = row.loss > 0.98 * Math.log(classes) && row.trainAccuracy < 150 / classes;
  if (!atChance || row.iteration < Math.max(1000, iterations / 5)) return;
  const remedy = bang ? 'training.learningRate or training.bang' : 'training.learningRate';
  throw new ExperimentError(
    `after ${row.iteration} iterations the loss is still at chance (${row.loss.toFixed(3)}, accuracy ${row.trainAccuracy.toFixed(1)} %): change ${remedy}`,
  );
}
