import { existsSync, readFileSync } from 'node:fs';
import type { Network } from '../model/network.js';
import { exportWeights, importWeights } from '../model/parameters.js';
import { decodeSafetensors, encodeSafetensors } from '../model/safetensors.js';
import type { NamedArray, WeightFile } from '../model/weights.js';
import type { Interval, LogRow } from '../training/log.js';
import type { TrainingState } from '../training/train.js';

const VELOCITY = 'velocity.';

/** A training state as one safetensors file: from it training goes on bit for bit. */
export function encodeCheckpoint(
  network: Network,
  state: TrainingState,
  digest: string,
): Uint8Array {
  const tensors = exportWeights(network, state.weights);
  for (const [name, array] of exportWeights(network, state.velocities)) {
    tensors.set(VELOCITY + name, array);
  }
  const { iteration, interval, rows } = state;
  return encodeSafetensors(tensors, {
    digest,
    state: JSON.stringify({ iteration, interval, rows }),
  });
}

/**
 * The state in a checkpoint file, or undefined if there is none, it is damaged, or it belongs to
 * other settings (`digest`): then training begins anew.
 */
export function readCheckpoint(
  network: Network,
  file: string,
  digest: string,
): TrainingState | undefined {
  if (!existsSync(file)) return undefined;
  try {
    const { tensors, metadata } = decodeSafetensors(readFileSync(file), file);
    if (metadata.digest !== digest) return undefined;
    const [weights, velocities] = [new Map<string, NamedArray>(), new Map<string, NamedArray>()];
    for (const [name, { shape, data }] of tensors) {
      const isVelocity = name.startsWith(VELOCITY);
      const target = isVelocity ? velocities : weights;
      target.set(isVelocity ? name.slice(VELOCITY.length) : name, {
        shape,
        data: data as Float32Array,
      });
    }
    const from = (part: Map<string, NamedArray>): WeightFile => ({
      layout: 'caffe',
      tensors: part,
      metadata: {},
      format: 'safetensors',
    });
    const state = JSON.parse(metadata.state) as {
      iteration: number;
      interval: Interval;
      rows: LogRow[];
    };
    return {
      ...state,
      weights: importWeights(network, from(weights), file),
      velocities: importWeights(network, from(velocities), file),
    };
  } catch {
    return undefined;
  }
}
