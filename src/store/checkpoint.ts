import { readRegularFile } from '../base/files.js';
import type { Network } from '../model/network.js';
import { exportWeights, importWeights } from '../model/parameters.js';
import {
  decodeSafetensors,
  encodeSafetensors,
  isIntact,
  sealed,
} from '../model/files/safetensors.js';
import type { NamedArray } from '../model/tensors.js';
import type { Interval, LogRow } from '../training/log.js';
import type { TrainingState } from '../training/train.js';

/** In bytes: twice the largest weight file. */
export const LARGEST_WEIGHTS = 2 ** 31;

const VELOCITY = 'velocity.';

/** The training that a state belongs to: hashes of its settings and data. */
export interface Origin {
  settings: string;
  data: string;
}

/** A training state as a safetensors file, from which training continues bit for bit. */
export function encodeCheckpoint(
  network: Network,
  state: TrainingState,
  { settings, data }: Origin,
): Uint8Array {
  const tensors = exportWeights(network, state.weights);
  for (const [name, array] of exportWeights(network, state.velocities)) {
    tensors.set(VELOCITY + name, array);
  }
  const { iteration, interval, rows } = state;
  const content = { settings, data, state: JSON.stringify({ iteration, interval, rows }) };
  return encodeSafetensors(tensors, sealed(tensors, content));
}

/** A training state from a file, and the data that it was trained on. */
export interface Checkpoint {
  state: TrainingState;
  data: string;
}

/**
 * The training state in a checkpoint file; undefined if the file does not exist, is damaged or
 * belongs to other settings.
 */
export function readCheckpoint(
  network: Network,
  file: string,
  settings: string,
): Checkpoint | undefined {
  try {
    const { tensors, metadata } = decodeSafetensors(readRegularFile(file, LARGEST_WEIGHTS), file);
    const floats = tensors as Map<string, NamedArray>;
    if (!isIntact(floats, metadata) || metadata.settings !== settings) return undefined;
    const [weights, velocities] = [new Map<string, NamedArray>(), new Map<string, NamedArray>()];
    for (const [name, array] of floats) {
      const isVelocity = name.startsWith(VELOCITY);
      const target = isVelocity ? velocities : weights;
      target.set(isVelocity ? name.slice(VELOCITY.length) : name, array);
    }
    const state = JSON.parse(metadata.state) as {
      iteration: number;
      interval: Interval;
      rows: LogRow[];
    };
    return {
      state: {
        ...state,
        weights: importWeights(network, { tensors: weights }, file),
        velocities: importWeights(network, { tensors: velocities }, file),
      },
      data: metadata.data,
    };
  } catch {
    return undefined;
  }
}
