import { UserError } from '../base/errors.js';
import type { DataSplits } from '../data/dataset.js';
import { loadData, type LoadOptions } from '../data/load.js';
import { makeNetwork, type Model } from '../model/network.js';
import {
  disposeNetwork,
  disposeWeights,
  importMean,
  importWeights,
  withScaledLogits,
} from '../model/parameters.js';
import { networkOf } from '../config/experiment.js';
import { type Reading, type ReadWeights, readWeightsIn, understood, Unsaid } from './weightFile.js';
import { withMean } from './training.js';

/** The contents of a weight file and the network that they belong to. */
export interface OpenedModel extends ReadWeights {
  /** The file's path. */
  name: string;
}

/**
 * Reads weights from a file or the folder of a run.
 *
 * @param reading what the user says about weights of another program, if the command has options for it
 * @throws UserError if the folder has no weights or the file cannot be read
 */
export async function openModel(given: string, reading?: Reading): Promise<OpenedModel> {
  const { name, file } = await readWeightsIn(given);
  try {
    return { name, ...(await understood(file, name, reading)) };
  } catch (error) {
    if (reading !== undefined || !(error instanceof Unsaid)) throw error;
    throw new UserError(
      `${error.message}; this command has no such options, but bang export has: bang export ${name} --to safetensors writes a file that needs none`,
    );
  }
}

/**
 * Loads weights into the engine, which must have been started. The caller disposes of the network.
 *
 * @param data gives the mean image that the network subtracts, if the file lacks it; needed only then
 * @param logitScale by which the logits are multiplied
 * @throws UserError if the weights do not fit their network
 */
export function loadModel(
  { name, file, subject }: OpenedModel,
  data: Pick<DataSplits, 'train'> | undefined,
  logitScale?: number,
): Model {
  const bare = makeNetwork(networkOf(subject));
  const weights = importWeights(bare, file, name);
  const network = withMean(bare, importMean(bare, file, name), data?.train);
  if (logitScale === undefined) return { network, weights };
  const scaled = withScaledLogits({ network, weights }, logitScale);
  disposeWeights(weights);
  return scaled;
}

/**
 * The same, with the mean image that the network subtracts: if the file lacks it, as Caffe's files do, it is computed
 * from the training images, which are loaded then.
 *
 * @throws UserError also if the data cannot be loaded; Interrupted if the signal aborts
 */
export async function loadWholeModel(opened: OpenedModel, options: LoadOptions): Promise<Model> {
  const model = loadModel(opened, undefined);
  if (!model.network.spec.subtractMean || model.network.mean) return model;
  try {
    const { train } = await loadData(opened.subject.data, options);
    return { ...model, network: withMean(model.network, undefined, train) };
  } catch (error) {
    disposeNetwork(model);
    throw error;
  }
}
