import type * as tf from '@tensorflow/tfjs-core';
import { sha256Of } from '../base/digest.js';
import { type Dataset, type DataSplits, refuseNoTraining } from '../data/dataset.js';
import { splitImages, trainedOn } from '../data/split.js';
import type { Engine } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { makeNetwork, type Network, type Weights } from '../model/network.js';
import { meanImageOf } from '../model/mean.js';
import { disposeWeights, exportNetwork, importWeights } from '../model/parameters.js';
import { encodeSafetensors, sealed } from '../model/files/safetensors.js';
import { readWeights } from '../model/files/weights.js';
import type { Progress } from '../base/progress.js';
import { trainingCsv } from '../store/csv.js';
import { startOf } from './firstWeights.js';
import { train, type TrainingSettings, type TrainingState } from '../training/train.js';
import { encodeCheckpoint, type Origin, readCheckpoint } from '../store/checkpoint.js';
import { problemsOfTrained } from '../config/acrossKeys.js';
import { type Config, isBang, networkOf, snapshotIterations } from '../config/experiment.js';
import { pathText } from '../config/problems.js';
import { ConfigError } from '../config/yamlFiles.js';
import type { ResultFolder } from '../store/resultFolder.js';
import { version } from '../base/version.js';
import { refuseOtherData } from '../store/provenance.js';
import type { DataSource } from '../store/result.js';
import { encodeSnapshot, isSnapshot, snapshotName } from '../store/snapshots.js';

/** What an experiment works with. */
export interface Subject {
  engine: Engine;
  network: Network;
  data: DataSplits;
  source: DataSource;
}

export interface TrainingOptions {
  progress: Progress;
  signal?: AbortSignal;
}

/** The network that a config trains, with the mean training image if the network subtracts it. */
export function networkFor(config: Config, data: DataSplits): Network {
  const bare = makeNetwork(networkOf(config));
  if (!bare.spec.subtractMean) return bare;
  const { train: images } = splitImages(data.train, config.training, config.seed);
  return withMean(bare, undefined, images);
}

/** @throws ConfigError if there are too few images for a training, which the name of the data does not always tell */
export function refuseTooFew({ data, training }: Config, images: Dataset): void {
  refuseNoTraining(images);
  const { count } = images;
  const { batch, split } = training;
  // The paper's configs split at random, and may be tried on fewer images than those of their data.
  const given = { batch, ...(data === 'idx' && { split }) };
  const problems = problemsOfTrained(given, data, trainedOn(count, training), count);
  if (problems.length === 0) return;
  throw new ConfigError(problems.map(({ path, message }) => `${pathText(path)}: ${message}`));
}

/**
 * The trained weights of a config: from the folder if it has them, else by training from its checkpoint
 * or from the beginning. Missing or damaged snapshots are made by training again up to the last of them,
 * which is the same training, since the seed is the same.
 *
 * @returns also the seconds of training; null if the folder had the weights
 * @throws UserError if the folder holds another training or other data; Interrupted if the signal aborts
 */
export async function trainedWeights(
  subject: Subject,
  config: Config,
  folder: ResultFolder,
  options: TrainingOptions,
): Promise<{ weights: Weights; seconds: number | null }> {
  const { engine, network, source } = subject;
  if (folder.has('weights')) {
    const { weights, data } = await finishedWeights(subject, config, folder.file('weights'));
    refuseOtherData(folder, data ?? source.sha256, source.sha256);
    await repairSnapshots(subject, config, folder, options);
    return { weights, seconds: null };
  }
  const begun = performance.now();
  const state = await trainedState(subject, config, folder, options);
  disposeWeights(state.velocities);
  const metadata = {
    config: JSON.stringify(config),
    data: source.sha256,
    engine: engine.description,
    bang: version(),
  };
  const tensors = exportNetwork({ network, weights: state.weights });
  folder.write('weights', encodeSafetensors(tensors, sealed(tensors, metadata)));
  folder.remove('checkpoint');
  return { weights: state.weights, seconds: (performance.now() - begun) / 1000 };
}

async function repairSnapshots(
  subject: Subject,
  config: Config,
  folder: ResultFolder,
  options: TrainingOptions,
): Promise<void> {
  const missing = missingSnapshots(config, folder, originOf(config, subject.source));
  const last = missing.at(-1);
  if (last === undefined) return;
  const what = missing.length === 1 ? 'a snapshot is' : `${missing.length} snapshots are`;
  options.progress.note(`${folder.path}: ${what} missing; training again up to iteration ${last}`);
  const { weights, velocities } = await trainedState(subject, config, folder, options, last);
  disposeWeights(weights);
  disposeWeights(velocities);
  folder.remove('checkpoint');
}

/** How a config trains: `bang` is left out where its β is 0, which is regular training. */
export function trainingSettings(config: Config): TrainingSettings {
  return { ...config.training, bang: isBang(config) ? config.training.bang : undefined };
}

/** Trains from the checkpoint in the folder or from the beginning, to the end or to `until`. */
export async function trainedState(
  { network, data, source }: Subject,
  config: Config,
  folder: ResultFolder,
  { progress, signal }: TrainingOptions,
  until?: number,
): Promise<TrainingState> {
  const { seed, training } = config;
  const settings = trainingSettings(config);
  const origin = originOf(config, source);
  const missing = missingSnapshots(config, folder, origin);
  const state =
    resumedState(network, folder, origin, missing, progress) ??
    (await startOf(network, config, folder.path));
  const isRepeated = folder.has('weights');
  const split = splitImages(data.train, training, seed);
  const note = splitNote(data.train, split, config);
  if (note !== undefined) progress.note(note);
  await train(network, settings, seed, split, state, {
    until,
    snapshot: ({ iteration, weights }) => {
      if (!missing.includes(iteration)) return;
      const bytes = encodeSnapshot(network, weights, iteration, config, origin);
      folder.write('snapshots', bytes, snapshotName(iteration));
    },
    checkpoint: (now) => {
      folder.write('checkpoint', encodeCheckpoint(network, now, origin));
    },
    log: (rows) => {
      if (!isRepeated) folder.write('training', trainingCsv(rows));
    },
    progress,
    signal,
  });
  return state;
}

/** The keys of a training on which its weights depend; others are undefined, which JSON leaves out. */
export function decisive(training: Config['training']): object {
  const { from } = training;
  const start = typeof from === 'object' ? { ...from, weights: undefined } : from;
  return {
    ...training,
    ...(start !== undefined && { from: start }),
    checkpointEvery: undefined,
    snapshots: undefined,
  };
}

/** The training to which a state or a snapshot of this config belongs. */
function originOf({ model, seed, training }: Config, source: Pick<DataSource, 'sha256'>): Origin {
  return {
    settings: sha256Of(JSON.stringify({ model, seed, training: decisive(training) })),
    data: source.sha256,
  };
}

/** Whether a folder has all the snapshots that the config asks for. */
export function hasSnapshots(config: Config, folder: ResultFolder, source: DataSource): boolean {
  return missingSnapshots(config, folder, originOf(config, source)).length === 0;
}

/** The iterations of missing or damaged snapshots, in ascending order. */
function missingSnapshots({ training }: Config, folder: ResultFolder, origin: Origin): number[] {
  return snapshotIterations(training).filter(
    (iteration) =>
      !isSnapshot(folder.file('snapshots', snapshotName(iteration)), iteration, origin),
  );
}

/** The state of a stopped training, unless a snapshot before it is missing. */
function resumedState(
  network: Network,
  folder: ResultFolder,
  origin: Origin,
  missing: readonly number[],
  progress: Progress,
): TrainingState | undefined {
  const checkpoint = readCheckpoint(network, folder.file('checkpoint'), origin.settings);
  if (!checkpoint) {
    if (folder.has('checkpoint')) {
      progress.note(`note: ${folder.file('checkpoint')} is damaged; training starts over`);
    }
    return undefined;
  }
  refuseOtherData(folder, checkpoint.data, origin.data);
  const { state } = checkpoint;
  const lost = missing.find((iteration) => iteration <= state.iteration);
  if (lost !== undefined) {
    progress.note(
      `note: ${folder.file('snapshots', snapshotName(lost))} is missing; training starts over`,
    );
    disposeWeights(state.weights);
    disposeWeights(state.velocities);
    return undefined;
  }
  progress.note(`training continues at iteration ${state.iteration}`);
  return state;
}

/** @throws UserError with a remedy if the weights are damaged or of another training */
async function finishedWeights(
  { network, source }: Subject,
  config: Config,
  name: string,
): Promise<{ weights: Weights; data: string | undefined }> {
  try {
    const file = await readWeights(name);
    const { config: trained, data } = file.metadata;
    // Two processes may have worked in the same folder.
    if (trained !== undefined && !isOfTraining(trained, originOf(config, source))) {
      throw new UserError(`${name} is from another training`);
    }
    return { weights: importWeights(network, file, name), data };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`${error.message}; --force trains again`);
  }
}

/** Whether the config in a weight file's metadata is of this training. */
function isOfTraining(text: string, { settings, data }: Origin): boolean {
  try {
    return originOf(JSON.parse(text) as Config, { sha256: data }).settings === settings;
  } catch {
    return false;
  }
}

/** The network with the mean image that it subtracts: the given one, or the mean of the images. */
export function withMean(
  network: Network,
  mean: tf.Tensor3D | undefined,
  images: Dataset | undefined,
): Network {
  if (!network.spec.subtractMean) return network;
  if (!mean && images) refuseNoTraining(images);
  return { ...network, mean: mean ?? (images && meanImageOf(images)) };
}

/** How data other than the published ones are split; undefined for these, where it goes without saying. */
function splitNote(
  all: Dataset,
  { train, validation }: ReturnType<typeof splitImages>,
  { data, training: { split } }: Pick<Config, 'data' | 'training'>,
): string | undefined {
  const isUsual = all.count <= 50_000 || all.count === 60_000;
  if (isUsual && data !== 'idx') return undefined;
  const rest = validation
    ? `${split === 'random' ? 'a random' : 'the first'} ${train.count} train and the other ${validation.count} validate`
    : 'all of them train and none validate';
  return `note: the data have ${all.count} training images: ${rest}`;
}
