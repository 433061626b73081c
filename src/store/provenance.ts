import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { loadData, type LoadOptions } from '../data/load.js';
import type { DataName } from '../data/sources.js';
import type { DataSplits } from '../data/dataset.js';
import type { Engine } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { packageRoot } from '../base/files.js';
import type { Network, Weights } from '../model/network.js';
import { exportNetwork } from '../model/parameters.js';
import { encodeSafetensors } from '../model/safetensors.js';
import type { WeightFile } from '../model/tensors.js';
import type { DataSource, Provenance } from './result.js';
import os from 'node:os';
import path from 'node:path';

/** @throws UserError if what a folder holds was made on other data than are there now */
export function refuseOtherData(folder: { path: string }, was: string, is: string): void {
  if (was === is) return;
  throw new UserError(
    `${folder.path} was made on other data: choose another folder with --out, or --force to start over`,
  );
}

/** Which data there are, fetched first if they are in no folder and not in the cache. */
export async function loadSource(
  name: DataName,
  { dataDir, ...options }: LoadOptions,
): Promise<DataSource> {
  return sourceOf(name, await loadData(name, { dataDir, ...options }), dataDir);
}

/** Which data these are, from a folder of the user's if there is one. */
export function sourceOf(name: DataName, { train, test }: DataSplits, folder?: string): DataSource {
  const hash = createHash('sha256');
  for (const { images, labels } of [train, test]) hash.update(images).update(labels);
  return { name, folder: folder ?? null, sha256: hash.digest('hex') };
}

/** sha256 of a network as its file would hold it, without metadata. */
export function digestOfWeights(network: Network, weights: Weights): string {
  return digestOfTensors({ tensors: exportNetwork(network, weights) });
}

export function digestOfTensors({ tensors }: Pick<WeightFile, 'tensors'>): string {
  const sorted = [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(encodeSafetensors(new Map(sorted), {}))
    .digest('hex');
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** What computed, where and how long; `begun` is of `performance.now()`. */
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

/** This package's version. */
export function version(): string {
  const text = readFileSync(path.join(packageRoot, 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
