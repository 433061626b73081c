import path from 'node:path';
import { makeNetwork } from '../model/network.js';
import { type NetworkName, NETWORKS } from '../model/networks.js';
import type { WeightFile } from '../model/tensors.js';
import { type Config, dataOf } from '../config/experiment.js';
import { parseConfig } from '../config/parse.js';

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
