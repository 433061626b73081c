import { refuseMoreImages } from '../data/dataset.js';
import { loadData } from '../data/load.js';
import { silent } from '../base/progress.js';
import { threadCount } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { disposeNetwork, logitsLayer } from '../model/parameters.js';
import type { Row } from '../metrics/row.js';
import { publishedRow, publishedRowNames } from '../paper/published.js';
import {
  type AnyEvaluation,
  type Config,
  evaluationOf,
  isOwn,
  networkOf,
  tableOf,
} from '../config/experiment.js';
import { discardLeft, openFolder } from '../store/resultFolder.js';
import { digestOfTensors, provenance, sourceOf } from '../store/provenance.js';
import { differenceOf } from '../store/identity.js';
import { type Result } from '../store/result.js';
import { refuseSeeds } from '../store/seeds.js';
import { loadModel } from './models.js';
import { withMean } from './training.js';
import { announceEngine, type RunOptions } from './runOptions.js';
import { evaluateInto, finish, finishedResult } from './resultIn.js';
import { noticeWrongPreparation, ownPreparation } from './preparationCheck.js';
import {
  configIn,
  type Reading,
  readWeightsIn,
  refuseOtherImages,
  understood,
} from './weightFile.js';

export interface EvalOptions extends RunOptions, Reading {
  evaluation: AnyEvaluation;
  engine?: Config['engine'];
  /** The published row to compare with, by its name. */
  row?: string;
  /** Percent, as known from elsewhere: a warning says if it is far from what the first images give. */
  accuracy?: number;
}

/**
 * Evaluates a file of weights (ours, PyTorch's, ONNX, or Caffe's HDF5), or those in the folder of a run.
 *
 * @throws UserError if the file has no weights of the network, its logits cannot be scaled as asked for, the paper has
 *   no such row, or the folder holds another experiment; Interrupted if the signal aborts
 */
export async function evaluateWeights(from: string, options: EvalOptions): Promise<Result> {
  const { progress, signal, force } = options;
  threadCount(options.threads);
  const { name: file, file: given } = await readWeightsIn(from);
  const trainedBy = configIn(given);
  const { file: weightFile, subject } = await understood(given, file, options);
  const { name, model, data: dataName } = subject;
  const spec = networkOf(subject);
  const evaluation = evaluationOf(options.evaluation, model);
  if (evaluation.logitScale !== undefined) logitsLayer(spec.layers);
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
  const inputs = [file, options.model, options.dataDir].filter((one) => one !== undefined);
  const folder = openFolder(options.out, identity, { force, inputs });
  const known = async ({ progress }: Pick<RunOptions, 'progress'>): Promise<Result | undefined> => {
    const isOf = ({ weights, config: of }: Result) => {
      const { model, data, seed, training, evaluation } = of as Config;
      return differenceOf(identity, { weights, model, data, seed, training, evaluation }, []);
    };
    const result = await finishedResult(folder, dataName, isOf, { ...options, progress });
    return result && { ...result, name, config };
  };
  const before = await known(options);
  if (before) {
    noticeOtherAccuracy(before.row, options);
    await discardLeft(folder);
    return before;
  }

  for (const note of weightFile.notes ?? []) progress.note(`note: ${note}`);
  const begun = performance.now();
  const engine = await announceEngine(options.engine ?? 'auto', options);
  options.begins?.(engine);
  const trained = loadModel({ name: file, file: weightFile, subject }, undefined);
  try {
    const data = await loadData(dataName, { dataDir: options.dataDir, progress, signal });
    const source = sourceOf(dataName, data, options.dataDir);
    refuseOtherImages(spec, data.test, options.dataDir);
    refuseMoreImages(data.test, evaluation.images);
    trained.network = withMean(trained.network, trained.network.mean, data.train);
    return await folder.hold(async () => {
      // Another process may have finished it since.
      const meanwhile = await known({ progress: silent });
      if (meanwhile) return meanwhile;
      if (weightFile.network) {
        const own = ownPreparation(given);
        await noticeWrongPreparation(trained, data.test, { ...options, own });
      }
      // The hash is that of the file, which may lack the mean image that the network has.
      const of = { weights: digest, data: source };
      const measured = await evaluateInto(folder, trained, data.test, evaluation, of, options);
      if (!weightFile.network) noticeOtherAccuracy(measured.row, options);
      const made = provenance(engine, begun, null);
      return finish(folder, { name, config, ...measured, provenance: made });
    });
  } finally {
    disposeNetwork(trained);
  }
}

function publishedIn(model: Config['model'], row: string): Config['published'] {
  if (isOwn(model)) {
    throw new UserError(`--row ${row}: the paper has no row for a network of your own`);
  }
  const table = tableOf[model];
  if (publishedRow(table, row)) return { table, row };
  throw new UserError(
    `--row ${row}: table ${table} of the paper has no such row, only ${publishedRowNames(table).join(', ')}`,
  );
}

/** Of a network whose preparation is known: what else the user expected has another cause. */
function noticeOtherAccuracy(
  { accuracy, images }: Row,
  { accuracy: expected, progress }: EvalOptions,
): void {
  if (expected === undefined) return;
  const share = expected / 100;
  const far = Math.max(5, 400 * Math.sqrt((share * (1 - share)) / images));
  if (Math.abs(accuracy - expected) <= far) return;
  progress.note(
    `warning: accuracy is ${accuracy.toFixed(2)} %, not about ${expected} % as --accuracy says: other weights, or other data?`,
  );
}
