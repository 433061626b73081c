import path from 'node:path';
import { UserError } from '../base/errors.js';
import type { Config } from '../config/experiment.js';
import type { Network } from '../model/network.js';
import { importWeights } from '../model/parameters.js';
import { digestOfTensors } from '../store/provenance.js';
import { initialState, type TrainingState } from '../training/train.js';
import { readWeightsIn } from './weightFile.js';

/**
 * A config with the hash of the weights that its training begins from, so that its identity is that of its
 * numbers.
 *
 * @param folder where the config is kept: the path of the weights is relative to it, as in any config file
 * @throws UserError if the weights cannot be read
 */
export async function pinned(config: Config, folder = '.'): Promise<Config> {
  const { from } = config.training;
  if (from === undefined) return config;
  const { weights, sha256 } = typeof from === 'string' ? await hashed(from) : from;
  const kept = { weights: path.relative(folder, weights), sha256 };
  return { ...config, training: { ...config.training, from: kept } };
}

async function hashed(given: string): Promise<{ weights: string; sha256: string }> {
  const { name, file } = await readWeightsIn(given);
  return { weights: name, sha256: digestOfTensors(file) };
}

/**
 * The state in which a pinned config's training begins: random weights, or those that it names. The velocities are
 * 0 in either case.
 *
 * @throws UserError if the weights cannot be read, have changed or do not fit the network
 */
export async function startOf(
  network: Network,
  { seed, training }: Config,
  folder = '.',
): Promise<TrainingState> {
  const { from } = training;
  if (from === undefined) return initialState(network, seed);
  if (typeof from === 'string') throw new Error('the config is not pinned');
  const { name, file } = await readWeightsIn(
    path.relative('.', path.resolve(folder, from.weights)),
  );
  const sha256 = digestOfTensors(file);
  if (sha256 !== from.sha256) {
    throw new UserError(
      `training.from: ${name} has the hash ${sha256.slice(0, 12)}…, not ${from.sha256.slice(0, 12)}…: give the weights that the training is to begin from, or the path alone to take these`,
    );
  }
  return initialState(network, seed, importWeights(network, file, name));
}
