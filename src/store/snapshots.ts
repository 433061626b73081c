import { readFileSync } from 'node:fs';
import type { Network, Weights } from '../model/network.js';
import { exportNetwork } from '../model/parameters.js';
import { decodeSafetensors, encodeSafetensors } from '../model/safetensors.js';
import type { NamedArray } from '../model/tensors.js';
import { hashOf, type Origin } from './checkpoint.js';
import type { Config } from '../config/experiment.js';

/** A snapshot's file in the folder `snapshots`. */
export function snapshotName(iteration: number): string {
  return `iteration-${iteration}.safetensors`;
}

/**
 * A network in the middle of training as a weight file. A run of `iteration` iterations ends with the
 * same network; the file holds that run's config.
 */
export function encodeSnapshot(
  network: Network,
  weights: Weights,
  iteration: number,
  config: Config,
  { settings, data }: Origin,
): Uint8Array {
  // JSON leaves out undefined values.
  const training = { ...config.training, iterations: iteration, snapshots: undefined };
  const tensors = exportNetwork(network, weights);
  const content = { config: JSON.stringify({ ...config, training }), settings, data };
  return encodeSafetensors(tensors, { ...content, sha256: hashOf(tensors, content) });
}

/** Whether a file is an undamaged snapshot of a training with these settings and data. */
export function isSnapshot(file: string, iteration: number, { settings, data }: Origin): boolean {
  try {
    const { tensors, metadata } = decodeSafetensors(readFileSync(file), file);
    const { sha256, ...content } = metadata;
    const { training } = JSON.parse(content.config) as Config;
    return (
      training.iterations === iteration &&
      content.settings === settings &&
      content.data === data &&
      sha256 === hashOf(tensors as Map<string, NamedArray>, content)
    );
  } catch {
    return false;
  }
}
