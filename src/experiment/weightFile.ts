import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '../base/errors.js';
import { parseJson } from '../base/files.js';
import { makeNetwork } from '../model/network.js';
import { type NetworkName, NETWORKS } from '../model/networks.js';
import type { WeightFile } from '../model/tensors.js';
import { readWeights } from '../model/weights.js';
import { FILES } from '../store/resultFolder.js';
import { type Config, dataOf } from '../config/experiment.js';
import { parseConfig } from '../config/parse.js';

/**
 * Reads the tensors of a weight file, or of the one in the folder of a run.
 *
 * @throws UserError if the folder has no weights or the file cannot be read
 */
export async function readWeightsIn(given: string): Promise<{ name: string; file: WeightFile }> {
  const isFolder = existsSync(given) && statSync(given).isDirectory();
  const name = isFolder ? path.join(given, FILES.weights) : given;
  if (isFolder && !existsSync(name)) {
    throw new UserError(
      `${given} holds no ${FILES.weights}: give a file of weights or the folder of a run`,
    );
  }
  return { name, file: await readWeights(name) };
}

/** The name, model and data of weights, from their file's config if it has one, else from its tensors. */
export function subjectOf(
  weightFile: WeightFile,
  file: string,
  chosen?: NetworkName,
): Pick<Config, 'name' | 'model' | 'data'> {
  const trainedBy = configIn(weightFile);
  const model = chosen ?? trainedBy?.model ?? modelOf(weightFile);
  // Only a config describes a network of the user's own, and it also names the data.
  const data = trainedBy?.data ?? dataOf(model as NetworkName);
  return { name: trainedBy?.name ?? path.basename(file).replace(/\..*$/, ''), model, data };
}

/** The named network whose layers a file's tensors have; LeNet if none. */
function modelOf({ tensors }: WeightFile): NetworkName {
  const names = Object.keys(NETWORKS) as NetworkName[];
  const fits = (name: NetworkName): boolean =>
    makeNetwork(NETWORKS[name]).weighted.every((layer) => tensors.has(`${layer.name}.weight`));
  // Larger networks first: they may have all layer names of a smaller one.
  return (
    names.sort((a, b) => NETWORKS[b].layers.length - NETWORKS[a].layers.length).find(fits) ??
    'lenet'
  );
}

/** The config in our own weight files; undefined if there is none or it is invalid. */
export function configIn({ metadata }: WeightFile): Config | undefined {
  const text = metadata.config;
  if (text === undefined) return undefined;
  try {
    return parseConfig(parseJson(text));
  } catch {
    return undefined;
  }
}
