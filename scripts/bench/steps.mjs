// Training steps: `NETWORK.step.regular` and `NETWORK.step.bang`.
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { packageRoot } from '#bang/base/files.js';
import { consoleProgress } from '#bang/cli/consoleProgress.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { batchOf } from '#bang/engine/ops/batch.js';
import { stepsAhead } from '#bang/engine/ops/read.js';
import { loadData } from '#bang/data/load.js';
import { networkFor } from '#bang/experiment/training.js';
import { disposeWeights, zeroWeights } from '#bang/model/parameters.js';
import { multiplications } from '#bang/setup/speed.js';
import { addBatch, valuesOf } from '#bang/training/log.js';
import { trainingOrder } from '#bang/training/order.js';
import { learningRateAt } from '#bang/training/schedule.js';
import { applyGradients, computeGradients, dropoutMasks } from '#bang/training/step.js';
import { initialState, train } from '#bang/training/train.js';
import { entryOf, QUICK, rounded, timed } from './timing.mjs';

/** The rows whose training gives the steps. */
const ROWS = { lenet: 'lenet-b1', 'cifar10-quick': 'cifar10-b0' };
/** So far into training, how many values are zero is as it remains. */
const INTO_TRAINING = 500;

/**
 * Regular and BANG training steps in turns, on the same weights, some way into the training of a row of
 * the paper's tables: how many values are zero is then the same for both, and as it is in training.
 */
export async function steps(name, options) {
  const { config } = await loadConfig(path.join(packageRoot, 'configs', `${ROWS[name]}.yaml`));
  const { training: settings, seed } = config;
  const data = await loadData(config.data, { progress: consoleProgress() });
  const network = networkFor(config, data);
  const state = initialState(network, seed);
  const until = options.quick ? QUICK.into : INTO_TRAINING;
  await train(network, settings, seed, data, state, { until });
  const gradients = zeroWeights(network);
  const order = trainingOrder(data.train.count, settings.batch, settings.shuffle, seed);
  const begun = [];
  const settle = (most) => {
    while (begun.length > most) addBatch(state.interval, begun.shift()());
  };
  // What an iteration of `training/train.ts` does. On a GPU it waits for a step an even number before, of its own kind.
  const stepWith = (bang) => () => {
    tf.tidy(() => {
      const { iteration, weights, velocities } = state;
      const masks = dropoutMasks(network, settings.batch, seed, iteration);
      const images = batchOf(data.train, order(iteration));
      const metrics = computeGradients(network, weights, gradients, images, { bang, masks });
      const rate = learningRateAt(settings.learningRate, iteration);
      applyGradients(weights, velocities, gradients, { ...settings, rate });
      begun.push(valuesOf(metrics));
    });
    settle(stepsAhead());
    state.iteration++;
  };
  const times = await timed([stepWith(undefined), stepWith(settings.bang)], options);
  settle(0);
  for (const some of [state.weights, state.velocities, gradients]) disposeWeights(some);
  network.mean?.dispose();
  const { batch } = settings;
  const flops = stepFlops(network, batch);
  const entries = ['regular', 'bang'].map((kind, i) =>
    entryOf(`${name}.step.${kind}`, times[i], flops, { batch }),
  );
  entries[1].ratioToRegular = rounded(entries[1].ms / entries[0].ms);
  return entries;
}

/** Forward, the gradient with respect to all weights, and that with respect to all inputs but the first. */
function stepFlops(network, batch) {
  const forward = multiplications(network);
  const first = multiplications({ weighted: network.weighted.slice(0, 1) });
  return 2 * batch * (3 * forward - first);
}
