import path from 'node:path';
import { UserError } from '../base/errors.js';
import { refuseMoreImages } from '../data/dataset.js';
import { loadData } from '../data/load.js';
import { silent } from '../base/progress.js';
import { threadCount } from '../engine/engine.js';
import { readWeights } from '../model/files/weights.js';
import { disposeWeights } from '../model/parameters.js';
import { type Config } from '../config/experiment.js';
import { discardLeft, openFolder, type ResultFolder } from '../store/resultFolder.js';
import { digestOfWeights, provenance, sourceOf } from '../store/provenance.js';
import { differenceOf, INCIDENTAL } from '../store/identity.js';
import type { Result } from '../store/result.js';
import {
  hasSnapshots,
  networkFor,
  refuseTooFew,
  type Subject,
  trainedState,
  trainedWeights,
} from './training.js';
import { pinned } from './firstWeights.js';
import { refuseOtherImages } from './weightFile.js';
import { announceEngine, type RunOptions } from './runOptions.js';
import { evaluateInto, finish, finishedResult } from './resultIn.js';

/**
 * Loads data, trains, evaluates and writes the result. Skips steps whose results the folder has.
 *
 * @throws UserError, ExperimentError or Interrupted from its steps
 */
export async function runExperiment(unpinned: Config, options: RunOptions): Promise<Result> {
  threadCount(options.threads);
  const config = await pinned(unpinned, options.out);
  const { force, patience } = options;
  const { from } = config.training;
  const begins = typeof from === 'object' ? [path.resolve(options.out, from.weights)] : [];
  const inputs = [...(options.inputs ?? []), ...begins];
  const given = { ignored: INCIDENTAL, force, inputs, patience };
  const folder = openFolder(options.out, config, given);
  const known = async ({ progress }: Pick<RunOptions, 'progress'>): Promise<Result | undefined> => {
    const isOf = (result: Result) => differenceOf(config, result.config, INCIDENTAL);
    const result = await finishedResult(folder, config.data, isOf, { ...options, progress });
    // What is printed beside the numbers is the current config's.
    return result && { ...result, name: config.name, config };
  };
  const before = await known(options);
  if (before && hasSnapshots(config, folder, before.data)) {
    await discardLeft(folder);
    await noticeLostWeights(folder, options);
    return before;
  }

  const begun = performance.now();
  const subject = await subjectOf(config, options);
  try {
    return await folder.hold(async () => {
      // Another process may have finished it since.
      const meanwhile = await known({ progress: silent });
      return runInto(folder, subject, config, meanwhile, begun, options);
    });
  } finally {
    subject.network.mean?.dispose();
  }
}

/** Numbers of a finished run are shown without its weights, whose loss would come to light when they are needed. */
async function noticeLostWeights(
  folder: ResultFolder,
  { progress }: Pick<RunOptions, 'progress'>,
): Promise<void> {
  const file = folder.file('weights');
  try {
    if (!folder.has('weights')) throw new UserError(`${file} is missing`);
    await readWeights(file);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    progress.note(`note: ${error.message}; --force trains again`);
  }
}

async function runInto(
  folder: ResultFolder,
  subject: Subject,
  config: Config,
  known: Result | undefined,
  begun: number,
  options: RunOptions,
): Promise<Result> {
  const { engine, network, data, source } = subject;
  const trained = await trainedWeights(subject, config, folder, options);
  try {
    if (known) {
      folder.discard();
      return known;
    }
    const model = { network, weights: trained.weights };
    const of = { weights: digestOfWeights(model), data: source };
    const measured = await evaluateInto(folder, model, data.test, config.evaluation, of, options);
    const { name } = config;
    const made = provenance(engine, begun, trained.seconds);
    return finish(folder, { name, config, ...measured, provenance: made });
  } finally {
    disposeWeights(trained.weights);
  }
}

/**
 * Trains up to an iteration and leaves a checkpoint there, from which `runExperiment` continues to the
 * same result as without a stop. A finished training stays as it is.
 *
 * @throws UserError, ExperimentError or Interrupted from its steps
 */
export async function trainUntil(
  unpinned: Config,
  iteration: number,
  options: RunOptions,
): Promise<void> {
  const config = await pinned(unpinned, options.out);
  const { patience } = options;
  const folder = openFolder(options.out, config, { ignored: INCIDENTAL, patience });
  if (folder.has('result') || folder.has('weights')) return;
  const subject = await subjectOf(config, options);
  try {
    const state = await folder.hold(() =>
      trainedState(subject, config, folder, options, iteration),
    );
    disposeWeights(state.weights);
    disposeWeights(state.velocities);
  } finally {
    subject.network.mean?.dispose();
  }
}

/** Starts the engine, loads the data and makes the network. The caller disposes of its mean image. */
async function subjectOf(config: Config, options: RunOptions): Promise<Subject> {
  const { dataDir, progress, signal } = options;
  const engine = await announceEngine(config.engine, options);
  options.begins?.(engine);
  const data = await loadData(config.data, { dataDir, progress, signal });
  const source = sourceOf(config.data, data, dataDir);
  refuseMoreImages(data.test, config.evaluation.images);
  const network = networkFor(config, data);
  refuseOtherImages(network.spec, data.train, dataDir);
  refuseOtherImages(network.spec, data.test, dataDir);
  refuseTooFew(config, data.train);
  const [outputs, { classes }] = [network.spec.classes, data.train];
  if (classes < outputs) {
    progress.note(
      `note: ${dataDir ?? 'the data set'} has ${classes} classes, but ${config.name} tells ${outputs} apart`,
    );
  }
  return { engine, network, data, source };
}
