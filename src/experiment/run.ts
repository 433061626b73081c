import path from 'node:path';
import { loadData } from '../data/load.js';
import type { Dataset } from '../data/dataset.js';
import { type Engine, startEngine, threadCount } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { makeNetwork, type Network, type Weights } from '../model/network.js';
import { type NetworkName, NETWORKS } from '../model/networks.js';
import { disposeNetwork, disposeWeights, importMean, importWeights } from '../model/parameters.js';
import { readWeights } from '../model/weights.js';
import type { WeightFile } from '../model/tensors.js';
import type { Progress } from '../base/progress.js';
import { maskingCsv, robustnessCsv, tableCsv } from '../store/csv.js';
import { perImageCsv } from '../store/perImage.js';
import { publishedRow, publishedRowNames } from '../paper/published.js';
import { type Row, summarise } from '../metrics/row.js';
import { type Config, dataOf, isOwn, networkOf, tableOf } from '../config/experiment.js';
import { parseConfig } from '../config/parse.js';
import { evaluate } from './evaluate.js';
import { openFolder, type ResultFolder } from '../store/resultFolder.js';
import { outcomesIn } from '../store/outcomes.js';
import {
  digestOfTensors,
  digestOfWeights,
  loadSource,
  provenance,
  refuseOtherData,
  sourceOf,
} from '../store/provenance.js';
import { type DataSource, entryOf, INCIDENTAL, isResult, type Result } from '../store/result.js';
import { refuseSeeds } from '../store/seeds.js';
import {
  hasSnapshots,
  networkFor,
  type Subject,
  trainedState,
  trainedWeights,
  withMean,
} from './training.js';

export type { Result } from '../store/result.js';

export interface RunOptions {
  /** The result folder. */
  out: string;
  /** Starts over in a folder that holds something already. */
  force?: boolean;
  /** The files that the experiment was read from, which starting over must not remove. */
  inputs?: readonly string[];
  /** The data set's own files, instead of the cache. */
  dataDir?: string;
  threads?: number;
  progress: Progress;
  signal?: AbortSignal;
}

/**
 * The one story: data → train → evaluate → report. What the folder already holds of this experiment
 * is not done again.
 *
 * @throws UserError, ExperimentError, Interrupted as their steps do
 */
export async function runExperiment(config: Config, options: RunOptions): Promise<Result> {
  threadCount(options.threads);
  const { force, inputs } = options;
  const folder = openFolder(options.out, config, { ignored: INCIDENTAL, force, inputs });
  const finished = await finishedResult(folder, config.data, options);
  // What is printed beside the figures is the current config's.
  const known = finished && { ...finished, name: config.name, config };
  if (known && hasSnapshots(config, folder, known.data)) return known;

  const begun = performance.now();
  const subject = await subjectIn(folder, config, options);
  const { engine, network, data, source } = subject;
  const trained = await trainedWeights(subject, config, folder, options);
  try {
    if (known) return known;
    const row = await evaluateInto(
      folder,
      network,
      trained.weights,
      data.test,
      config,
      source,
      options,
    );
    const result: Result = {
      format: 1,
      name: config.name,
      config,
      row,
      weights: digestOfWeights(network, trained.weights),
      data: source,
      provenance: provenance(engine, begun, trained.seconds),
    };
    finish(folder, result);
    return result;
  } finally {
    disposeNetwork(network, trained.weights);
  }
}

/**
 * Trains up to an iteration and leaves a checkpoint there, from which `runExperiment` goes on to the
 * result that it would have made without. What is trained further already stays as it is.
 *
 * @throws UserError, ExperimentError, Interrupted as their steps do
 */
export async function trainUntil(
  config: Config,
  iteration: number,
  options: RunOptions,
): Promise<void> {
  const folder = openFolder(options.out, config, { ignored: INCIDENTAL });
  if (folder.has('result') || folder.has('weights')) return;
  const subject = await subjectIn(folder, config, options);
  const { weights, velocities } = await trainedState(subject, config, folder, options, iteration);
  disposeNetwork(subject.network, weights);
  disposeWeights(velocities);
}

/** Prepares all that an experiment needs, and its folder. */
async function subjectIn(
  folder: ResultFolder,
  config: Config,
  options: RunOptions,
): Promise<Subject> {
  const { dataDir, progress, signal } = options;
  const engine = await announceEngine(config.engine, options);
  const data = await loadData(config.data, { dataDir, progress, signal });
  const source = sourceOf(config.data, data, dataDir);
  const network = networkFor(config, data);
  folder.begin();
  return { engine, network, data, source };
}

export interface EvalOptions extends RunOptions {
  model?: NetworkName;
  evaluation: Config['evaluation'];
  engine?: Config['engine'];
  /** The published row to compare with, by its name. */
  row?: string;
}

/**
 * Evaluates weights that exist already: ours, or Caffe's HDF5.
 *
 * @throws UserError if the file holds no weights of the network
 */
export async function evaluateWeights(file: string, options: EvalOptions): Promise<Result> {
  const { progress, signal, evaluation, force } = options;
  threadCount(options.threads);
  const weightFile = await readWeights(file);
  const trainedBy = configIn(weightFile);
  const subject = subjectOf(weightFile, file, options.model);
  const { name, model, data: dataName } = subject;
  const bare = makeNetwork(networkOf(subject));
  const config: Partial<Config> = {
    ...trainedBy,
    model,
    data: dataName,
    evaluation,
    ...(options.row !== undefined && { published: publishedIn(model, options.row) }),
  };
  const { training, seed } = config as Config;
  const digest = digestOfTensors(weightFile);
  const identity = {
    weights: digest,
    model,
    data: dataName,
    seed,
    training,
    evaluation,
  };
  refuseSeeds(options.out);
  const folder = openFolder(options.out, identity, { force, inputs: [file] });
  const finished = await finishedResult(folder, dataName, options);
  if (finished) return { ...finished, name, config };

  const begun = performance.now();
  const engine = await announceEngine(options.engine ?? 'auto', options);
  const weights = importWeights(bare, weightFile, file);
  const mean = importMean(bare, weightFile, file);
  try {
    const data = await loadData(dataName, { dataDir: options.dataDir, progress, signal });
    const source = sourceOf(dataName, data, options.dataDir);
    const network = withMean(bare, mean, data.train);
    folder.begin();
    const row = await evaluateInto(
      folder,
      network,
      weights,
      data.test,
      { evaluation },
      source,
      options,
    );
    const result: Result = {
      format: 1,
      name,
      config,
      row,
      weights: digest,
      data: source,
      provenance: provenance(engine, begun, null),
    };
    finish(folder, result);
    return result;
  } finally {
    disposeWeights(weights);
  }
}

/** What weights are of, as far as their file says so: all that `networkOf` needs to know. */
export function subjectOf(
  weightFile: WeightFile,
  file: string,
  chosen?: NetworkName,
): Pick<Config, 'name' | 'model' | 'data'> {
  const trainedBy = configIn(weightFile);
  const model = chosen ?? trainedBy?.model ?? modelOf(weightFile);
  // Only a config describes a network of the user's own, and it names the data, too.
  const data = trainedBy?.data ?? dataOf(model as NetworkName);
  return { name: trainedBy?.name ?? path.basename(file).replace(/\..*$/, ''), model, data };
}

/** The network whose layers a file's tensors are named after. */
function modelOf({ tensors }: WeightFile): NetworkName {
  const names = Object.keys(NETWORKS) as NetworkName[];
  const fits = (name: NetworkName): boolean =>
    makeNetwork(NETWORKS[name]).weighted.every((layer) => tensors.has(`${layer.name}.weight`));
  // The larger first: the layers of the smaller may all be among its own.
  return (
    names.sort((a, b) => NETWORKS[b].layers.length - NETWORKS[a].layers.length).find(fits) ??
    'lenet'
  );
}

function publishedIn(model: Config['model'], row: string): Config['published'] {
  if (isOwn(model)) {
    throw new UserError(`--row ${row}: the paper has no row of a network of your own`);
  }
  const table = tableOf[model];
  if (publishedRow(table, row)) return { table, row };
  throw new UserError(
    `--row ${row}: table ${table} of the paper has no such row, only ${publishedRowNames(table).join(', ')}`,
  );
}

/** Starts the engine that an experiment wants, and says what there is to know about it. */
export async function announceEngine(
  wanted: Config['engine'],
  options: Pick<RunOptions, 'threads' | 'progress'>,
): Promise<Engine> {
  const engine = await startEngine({
    engine: wanted,
    threads: options.threads,
  });
  if (engine.warning !== undefined) options.progress.note(`note: ${engine.warning}`);
  return engine;
}

/** The result that the folder holds already, if it was made on the data that is asked for. */
async function finishedResult(
  folder: ResultFolder,
  name: Config['data'],
  { dataDir, force, progress, signal }: RunOptions,
): Promise<Result | undefined> {
  if (force || !folder.has('result')) return undefined;
  const result = folder.result();
  if (!isResult(result)) {
    progress.note(`note: ${folder.file('result')} is damaged; it is made again`);
    return undefined;
  }
  if (dataDir === undefined && result.data.folder === null) return result;
  const { sha256 } = await loadSource(name, { dataDir, progress, signal });
  refuseOtherData(folder, result.data.sha256, sha256);
  return result;
}

async function evaluateInto(
  folder: ResultFolder,
  network: Network,
  weights: Weights,
  test: Dataset,
  config: Pick<Config, 'evaluation'>,
  source: DataSource,
  { progress, signal, threads }: RunOptions,
): Promise<Row> {
  const { evaluation: settings } = config;
  const key = {
    weights: digestOfWeights(network, weights),
    data: source.sha256,
    ...settings,
    attacks: [],
  };
  const evaluation = await evaluate(network, weights, test, settings, {
    threads: threadCount(threads),
    progress,
    store: outcomesIn(folder.parts(key)),
    signal,
  });
  folder.write('perImage', perImageCsv(evaluation));
  return summarise(evaluation, source.name);
}

function finish(folder: ResultFolder, result: Result): void {
  const entry = entryOf([result]);
  folder.write('table', tableCsv([entry]));
  if (result.row.robustness) folder.write('robustness', robustnessCsv([entry]));
  if (result.row.masking) folder.write('masking', maskingCsv(entry.name, result.row.masking));
  folder.write('result', `${JSON.stringify(result, null, 2)}\n`);
  folder.remove('parts');
}

/** The config by which weights of ours were trained. */
export function configIn({ metadata }: WeightFile): Config | undefined {
  const text = metadata.config;
  if (text === undefined) return undefined;
  try {
    return parseConfig(JSON.parse(text));
  } catch {
    return undefined;
  }
}
