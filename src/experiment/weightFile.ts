import path from 'node:path';
import { parseJson } from '../base/files.js';
import { makeNetwork } from '../model/network.js';
import { type NetworkName, NETWORKS } from '../model/networks.js';
import type { WeightFile } from '../model/tensors.js';
import { type Config, dataOf } from '../config/experiment.js';
import { parseConfig } from '../config/parse.js';

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
