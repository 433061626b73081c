/**
 * The library: what `import … from 'bang-gradients'` gives. Its functions are those that the commands call;
 * where theirs need a result folder or an engine that was started, there is a shorter one here.
 * docs/api.md has examples, and says what is public.
 */
import { tf } from './base/tf.js';
import { ATTACK_CHOICES, ATTACK_NAMES, type AttackName, AUTO } from './attacks/attack.js';
import { attackImages, ATTACKS, type AttackResult } from './attacks/attacks.js';
import { UserError } from './base/errors.js';
import { writeFileAtomic } from './base/files.js';
import { refuseOther } from './base/names.js';
import { type Progress, silent } from './base/progress.js';
import { type AnyEvaluation, type Config, networkOf } from './config/experiment.js';
import { loadConfig } from './config/yamlFiles.js';
import type { Dataset, DataSplits } from './data/dataset.js';
import { splitImages } from './data/split.js';
import { startEngine, threadCount } from './engine/engine.js';
import {
  evaluate as evaluateNetwork,
  type EvaluationSettings,
  withLogitScale,
} from './experiment/evaluate.js';
import { evaluateWeights as evaluateFile } from './experiment/evaluateWeights.js';
import { loadWholeModel, openModel } from './experiment/models.js';
import { runExperiment as runInFolder } from './experiment/run.js';
import type { RunOptions } from './experiment/runOptions.js';
import { pinned, startOf } from './experiment/firstWeights.js';
import { networkFor, refuseTooFew, trainingSettings } from './experiment/training.js';
import { type Evaluation, rightOf } from './metrics/evaluation.js';
import {
  disposeNetwork,
  disposeWeights,
  exportNetwork,
  initialWeights,
} from './model/parameters.js';
import type { Model } from './model/network.js';
import { predict as predictImages, type Predictions } from './model/predict.js';
import { encodeSafetensors, sealed } from './model/files/safetensors.js';
import { inWords } from './base/text.js';
import { version } from './base/version.js';
import { type Reading, refuseOtherImages } from './experiment/weightFile.js';
import type { Result } from './store/result.js';
import { balance as balanceTensors, epsilonHat } from './training/bang.js';
import type { LogRow } from './training/log.js';
import { train as trainNetwork } from './training/train.js';

export type { AttackName } from './attacks/attack.js';
export type { AttackResult } from './attacks/attacks.js';
export { ExperimentError, Interrupted, UserError } from './base/errors.js';
export type { Progress, Task } from './base/progress.js';
export { builtInNames } from './config/builtIn.js';
export type { AnyEvaluation, Config } from './config/experiment.js';
export { parseConfig } from './config/parse.js';
export { loadConfig, type LoadedConfig } from './config/yamlFiles.js';
export { type Dataset, type DataSplits, firstImages, imageAt, slice } from './data/dataset.js';
export { loadData } from './data/load.js';
export { type Engine, type EngineOptions, startEngine } from './engine/engine.js';
export type { EvaluationSettings } from './experiment/evaluate.js';
export type { Model } from './model/network.js';
export type { Reading } from './experiment/weightFile.js';
export type { AttackOutcome, Evaluation } from './metrics/evaluation.js';
export { type Row, summarise } from './metrics/row.js';
export type { Predictions } from './model/predict.js';
export { perImageCsv } from './store/perImage.js';
export type { Result } from './store/result.js';
export type { Bang } from './training/bang.js';
export type { LogRow } from './training/log.js';

/** What all long work takes. */
export interface WorkOptions {
  progress?: Progress;
  /** Stops the work, which then throws `Interrupted`. */
  signal?: AbortSignal;
  /** Computing threads; default `$BANG_THREADS`, else all cores that the CPU quota allows. */
  threads?: number;
}

/**
 * The network of a config before training: its initial weights, drawn from the seed. The caller disposes of it.
 *
 * @param data of which the mean training image is taken, if the network subtracts it
 * @throws UserError if the training images do not fit the network
 */
export async function makeModel(
  config: Config,
  data: DataSplits,
  { threads }: Pick<WorkOptions, 'threads'> = {},
): Promise<Model> {
  refuseOtherImages(networkOf(config), data.train, undefined);
  await startEngine({ engine: config.engine, threads });
  const network = networkFor(config, data);
  return { network, weights: initialWeights(network, config.seed) };
}

/** A trained network, and the lines of its training log. */
export interface Trained extends Model {
  log: LogRow[];
}

/**
 * Trains the network of a config from the beginning, regularly or with BANG. With the same config and data the
 * weights are those of `bang run`, bit for bit. The caller disposes of the network.
 *
 * @throws ExperimentError if the loss or a weight is not finite, or if training diverges or stays at chance;
 *   UserError if the training images do not fit the network or are fewer than in a batch, or if the weights that the
 *   config begins from do not fit or cannot be read; Interrupted if the signal aborts
 */
export async function train(
  config: Config,
  data: DataSplits,
  { progress = silent, signal, threads }: WorkOptions = {},
): Promise<Trained> {
  refuseOtherImages(networkOf(config), data.train, undefined);
  await startEngine({ engine: config.engine, threads });
  refuseTooFew(config, data.train);
  const network = networkFor(config, data);
  const state = await startOf(network, await pinned(config));
  const split = splitImages(data.train, config.training, config.seed);
  try {
    const settings = trainingSettings(config);
    await trainNetwork(network, settings, config.seed, split, state, { progress, signal });
  } catch (error) {
    disposeNetwork({ network, weights: state.weights });
    throw error;
  } finally {
    disposeWeights(state.velocities);
  }
  return { network, weights: state.weights, log: state.rows };
}

/**
 * Reads a network from a weight file (safetensors, ONNX, or Caffe's HDF5) or from the folder of a run. The caller
 * disposes of it. A mean image that the file lacks, as Caffe's do, is computed from the training images.
 *
 * @param options.model a name, or a YAML file that describes the network; `data`, `scale`, `mean` and `std` are as for
 *   `bang eval`: all only for weights of another program
 * @throws UserError if the file cannot be read, or the data cannot be loaded
 */
export async function readModel(
  file: string,
  {
    progress,
    signal,
    threads,
    dataDir,
    ...reading
  }: WorkOptions & Reading & { dataDir?: string } = {},
): Promise<Model> {
  const opened = await openModel(file, reading);
  await startEngine({ threads });
  return loadWholeModel(opened, { dataDir, progress, signal });
}

/** Frees the memory of a network, which must not be used afterwards. */
export function disposeModel(model: Model): void {
  disposeNetwork(model);
}

/**
 * Writes a network as safetensors, which `readModel` and `bang eval` read.
 *
 * @param config how it was trained: with it, the file also says which data and, if it is one of your own, which
 *   network the weights belong to
 * @throws UserError if the file cannot be written
 */
export function writeModel(file: string, model: Model, config?: Config): void {
  const tensors = exportNetwork(model);
  const metadata = { bang: version(), ...(config && { config: JSON.stringify(config) }) };
  writeFileAtomic(file, encodeSafetensors(tensors, sealed(tensors, metadata)));
}

/**
 * The class that the network gives each image, and whether its gradient is blank.
 *
 * @throws UserError if the images do not fit the network; Interrupted if the signal aborts
 */
export async function predict(
  model: Model,
  images: Dataset,
  { signal }: Pick<WorkOptions, 'signal'> = {},
): Promise<Predictions> {
  refuseOtherImages(model.network.spec, images, undefined);
  return predictImages(model, images, { signal });
}

/**
 * Measures a network on test images: accuracy and, for each attack on the correctly classified ones, L∞ and PASS.
 * `summarise` makes a row of it, as in Tables 1 and 2.
 *
 * @param settings the `evaluation` block of a config
 * @throws UserError if the images do not fit the network, or there is no such attack; Interrupted if the signal aborts
 */
export async function evaluate(
  model: Model,
  test: Dataset,
  settings: EvaluationSettings,
  { progress = silent, signal, threads }: WorkOptions = {},
): Promise<Evaluation> {
  refuseOtherImages(model.network.spec, test, undefined);
  refuseOtherAttacks(settings);
  const options = { threads: threadCount(threads), progress, signal };
  return evaluateNetwork(model, test, settings, options);
}

/** The adversarial examples of one attack. */
export interface Attacked extends AttackResult {
  /** The positions in the data set of the attacked images, which the network classifies correctly. */
  positions: Uint32Array;
}

/**
 * Attacks the images that the network classifies correctly, and keeps the perturbed images.
 *
 * @param settings of an `evaluation` block: its protocol, how hard the attacks try, and what the logits are multiplied by
 * @throws UserError if the images do not fit the network, or it is not the name of an attack; Interrupted if the
 *   signal aborts
 */
export async function attack(
  model: Model,
  images: Dataset,
  name: AttackName,
  settings: Pick<
    EvaluationSettings,
    'search' | 'channels' | 'pgd' | 'apgd' | 'square' | 'logitScale'
  >,
  { signal }: Pick<WorkOptions, 'signal'> = {},
): Promise<Attacked> {
  if ((name as string) === AUTO) {
    throw new UserError(
      `attack: ${AUTO} is a series of attacks, which only evaluate makes: name one of ${inWords(ATTACK_NAMES)}`,
    );
  }
  refuseOther('attack', ATTACK_NAMES, name);
  refuseOtherImages(model.network.spec, images, undefined);
  return withLogitScale(model, settings, async (scaled) => {
    const { predicted } = await predictImages(scaled, images, { signal });
    const positions = rightOf({ labels: images.labels, predicted });
    const attacked = ATTACKS[name];
    const found = await attackImages(attacked, scaled, images, positions, settings, { signal });
    return { positions, ...found };
  });
}

/** A workflow's options, of which only the result folder is required. */
export type FolderOptions = Omit<RunOptions, 'progress'> & Pick<WorkOptions, 'progress'>;

/**
 * What `bang run` does: trains, evaluates, and writes the result folder. Skips steps whose results the folder has.
 *
 * @throws UserError, ExperimentError or Interrupted from its steps
 */
export async function runExperiment(config: Config, options: FolderOptions): Promise<Result> {
  refuseNoFolder(options);
  refuseOtherAttacks(config.evaluation);
  return runInFolder(config, { progress: silent, ...options });
}

/**
 * What `bang eval` does: evaluates a weight file, and writes the result folder.
 *
 * @param options.evaluation the `evaluation` block of a config; by default, the paper's attacks on all images
 * @throws UserError or Interrupted from its steps
 */
export async function evaluateWeights(
  file: string,
  options: FolderOptions & { evaluation?: AnyEvaluation },
): Promise<Result> {
  refuseNoFolder(options);
  if (options.evaluation) refuseOtherAttacks(options.evaluation);
  const usual = (await loadConfig('base/lenet')).config.evaluation;
  const evaluation = options.evaluation ?? { ...usual, channels: undefined };
  return evaluateFile(file, { progress: silent, ...options, evaluation });
}

/**
 * BANG's factors on the batch elements in one layer's weight gradient, equations 3 to 6 of the paper: for a
 * training loop of your own. See `training/bang.ts`.
 *
 * @param norms ‖κᵢ‖ of each batch element: the norm of the gradient of the loss with respect to the layer's output
 * @param bang β, ε and, if misclassified elements have another ε, ratio with `correct`: 1 for each element that is
 *   classified correctly, else 0
 * @returns η and β·η of each element
 * @throws RangeError if `correct` is of another length, or missing where `ratio` is not 1
 */
export async function balance(
  norms: ArrayLike<number>,
  {
    beta,
    epsilon,
    ratio = 1,
    correct,
  }: { beta: number; epsilon: number; ratio?: number; correct?: ArrayLike<number> },
): Promise<{ eta: Float32Array; scale: Float32Array }> {
  const count = norms.length;
  if (ratio !== 1 && !correct) throw new RangeError('a ratio other than 1 needs correct');
  if (correct && correct.length !== count) {
    throw new RangeError(`correct has ${correct.length} values, but there are ${count} norms`);
  }
  // Any engine will do; one that is in use stays so.
  if (!(tf.getBackend() as string | undefined)) await startEngine();
  let result = { eta: new Float32Array(), scale: new Float32Array() };
  if (count === 0) return result;
  tf.tidy(() => {
    const ones = Float32Array.from(correct ?? new Float32Array(count).fill(1));
    const hat = epsilonHat(tf.tensor1d(ones), epsilon, ratio);
    const { eta, scale } = balanceTensors(tf.tensor1d(Float32Array.from(norms)), hat, beta);
    result = { eta: floats(eta), scale: floats(scale) };
  });
  return result;
}

/** A copy, since the tensor's own memory is used again. */
function floats(tensor: tf.Tensor): Float32Array<ArrayBuffer> {
  return Float32Array.from(tensor.dataSync());
}

/** @throws UserError if one of the attacks does not exist */
function refuseOtherAttacks({ attacks }: Pick<EvaluationSettings, 'attacks'>): void {
  for (const name of attacks) refuseOther('evaluation.attacks', ATTACK_CHOICES, name);
}

/** @throws UserError if a program that the compiler has not checked names no result folder */
function refuseNoFolder({ out }: Partial<FolderOptions> = {}): void {
  if (typeof out === 'string') return;
  throw new UserError(`out: expected the path of a result folder, found ${String(out)}`);
}
