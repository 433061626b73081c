import { createHash } from 'node:crypto';
import { sha256Of } from '../base/digest.js';
import { loadData, type LoadOptions } from '../data/load.js';
import type { DataName } from '../data/sources.js';
import type { DataSplits } from '../data/dataset.js';
import type { Engine } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { version } from '../base/version.js';
import type { Model } from '../model/network.js';
import { exportNetwork } from '../model/parameters.js';
import { encodeSafetensors } from '../model/files/safetensors.js';
import type { WeightFile } from '../model/tensors.js';
import { OTHERWISE } from './identity.js';
import type { DataSource, Provenance } from './result.js';
import os from 'node:os';

/** @throws UserError if the hash of the data of a folder is not that of the current data */
export function refuseOtherData(folder: { path: string }, was: string, is: string): void {
  if (was === is) return;
  throw new UserError(`${folder.path} was made on other data: ${OTHERWISE}`);
}

/** Loads a data set, fetching it if necessary, and describes it. */
export async function loadSource(
  name: DataName,
  { dataDir, ...options }: LoadOptions,
): Promise<DataSource> {
  return sourceOf(name, await loadData(name, { dataDir, ...options }), dataDir);
}

/** Describes data by their hash and the user's folder, if they are from one. */
export function sourceOf(name: DataName, { train, test }: DataSplits, folder?: string): DataSource {
  const { names } = test;
  const hash = createHash('sha256');
  for (const { images, labels } of [train, test]) hash.update(images).update(labels);
  const sha256 = hash.digest('hex');
  return { name, folder: folder ?? null, sha256, ...(names && { classes: [...names] }) };
}

/** The sha256 of a network's weight file without metadata. */
export function digestOfWeights(model: Model): string {
  return digestOfTensors({ tensors: exportNetwork(model) });
}

/** The sha256 of a weight file with these tensors and without metadata. */
export function digestOfTensors({ tensors }: Pick<WeightFile, 'tensors'>): string {
  return sha256Of(encodeSafetensors(tensors, {}));
}

/**
 * What computed, where and for how long.
 *
 * @param begun a time of `performance.now()`, in milliseconds
 * @param training seconds of training; null if nothing was trained
 */
export function provenance(engine: Engine, begun: number, training: number | null): Provenance {
  return {
    bang: version(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: os.cpus()[0]?.model ?? 'unknown',
    engine: engine.description,
    threads: engine.threads,
    finished: new Date().toISOString(),
    seconds: { training, total: (performance.now() - begun) / 1000 },
  };
}
