import { readRegularFile } from '../base/files.js';
import type { Network, Weights } from '../model/network.js';
import { exportNetwork } from '../model/parameters.js';
import {
  decodeSafetensors,
  encodeSafetensors,
  isIntact,
  sealed,
} from '../model/files/safetensors.js';
import type { NamedArray } from '../model/tensors.js';
import { LARGEST_WEIGHTS, type Origin } from './checkpoint.js';
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
  const tensors = exportNetwork({ network, weights });
  const content = { config: JSON.stringify({ ...config, training }), settings, data };
  return encodeSafetensors(tensors, sealed(tensors, content));
}

/** Whether a file is an undamaged snapshot of a training with these settings and data. */
export function isSnapshot(file: string, iteration: number, { settings, data }: Origin): boolean {
  try {
    const { tensors, metadata } = decodeSafetensors(readRegularFile(file, LARGEST_WEIGHTS), file);
    const { training } = JSON.parse(metadata.config) as Config;
    return (
      training.iterations === iteration &&
      metadata.settings === settings &&
      metadata.data === data &&
      isIntact(tensors as Map<string, NamedArray>, metadata)
    );
  } catch {
    return false;
  }
}
