import { createHash } from 'node:crypto';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import type { KernelBackend } from '#bang/engine/kernels/backend.js';
import { makeNetwork } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import { disposeWeights, exportWeights, importWeights } from '#bang/model/parameters.js';
import { initialState, train } from '#bang/training/train.js';
import { ENGINE } from '../engine.js';
import { poke } from '../tensors.js';
import { data, network, settings, weightsAfter } from './short.js';

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
});

function isGlibc(): boolean {
  const { header } = process.report.getReport() as unknown as { header: object };
  return 'glibcVersionRuntime' in header;
}

describe('training', () => {
  it('gives the same weights bit for bit, whatever the number of threads', async () => {
    const first = await weightsAfter();
    for (const threads of [1, 3]) {
      kernelBinding()!.setThreads(threads);
      expect(await weightsAfter()).toEqual(first);
    }
    kernelBinding()!.setThreads(2);
  });

  // What results/ promises: the digits of any processor with fused multiply-add, where the exponential and the power
  // are those of the C library; and those of WebAssembly, which has its own, on any.
  it.runIf(ENGINE === 'wasm' || (ENGINE === 'native' && process.platform === 'linux' && isGlibc()))(
    'gives the same weights bit for bit, whatever the processor',
    async ({ skip }) => {
      const binding = kernelBinding()!;
      const levels = binding
        .levels()
        .filter((level) => level !== 'baseline' || process.arch !== 'x64');
      if (levels.length === 0) skip('this processor has no fused multiply-add');
      for (const level of levels) {
        binding.setLevel(level);
        const { weights } = await weightsAfter({ iterations: 60 });
        expect(createHash('sha256').update(Object.values(weights).join()).digest('hex')).toBe(
          level === 'wasm'
            ? 'bdccc61472309c5c828c769ef6e32fdf204b34a34431bda0bb840bd5d620cac7'
            : 'cb175ffb04b6ca6e656fd036e486118bf1577c8e0dcf52bd8bffa5436b7789cf',
        );
      }
      binding.setLevel(binding.levels()[0]);
    },
  );

  it('depends on the seed, on the order and on BANG', async () => {
    const weights = [
      await weightsAfter(),
      await weightsAfter({}, 2),
      await weightsAfter({ shuffle: true }),
      await weightsAfter({ shuffle: 'once' }),
      await weightsAfter({ bang: undefined }),
    ].map((run) => run.weights['conv1.weight']);
    expect(new Set(weights).size).toBe(5);
  });

  it('learns: the loss falls and the images are told apart', async () => {
    const { rows } = await weightsAfter({ iterations: 120, logEvery: 20 });
    expect(rows.at(-1)!.loss).toBeLessThan(rows[0].loss / 3);
    expect(rows.at(-1)!.trainAccuracy).toBeGreaterThan(90);
    expect(rows.map((row) => row.iteration)).toEqual([20, 40, 60, 80, 100, 120]);
    for (const row of rows) {
      expect(Object.keys(row.eta).sort()).toEqual(['conv1', 'conv2', 'ip1', 'ip2']);
      for (const { mean, max } of Object.values(row.eta)) {
        expect(mean).toBeGreaterThan(1);
        expect(max).toBeGreaterThan(mean);
      }
    }
  });

  it('holds its memory flat: tensors, pooled blocks and scratch', async () => {
    const state = initialState(network, 1);
    const seen: unknown[] = [];
    const measure = () => {
      const backend = tf.backend() as unknown as KernelBackend;
      const { used, free, floats } = backend.poolSize();
      const scratch = kernelBinding()!.scratchBytes();
      seen.push({ tensors: tf.memory().numTensors, used, free, floats, scratch });
    };
    await train(
      network,
      { ...settings, iterations: 60, checkpointEvery: 10 },
      1,
      { train: data },
      state,
      {
        checkpoint: measure,
      },
    );
    expect(seen.length).toBe(5);
    for (const later of seen.slice(1)) expect(later).toEqual(seen[0]);
  });

  it('frees all memory of weights and velocities, read from a file too', () => {
    const measure = () => {
      const { numTensors, numDataBuffers, numBytes } = tf.memory();
      return { numTensors, numDataBuffers, numBytes };
    };
    const before = measure();
    const { weights, velocities } = initialState(network, 1);
    const tensors = exportWeights(network, weights);
    const back = importWeights(network, { tensors }, 'a file');
    // Four layers, weight and bias of each; and all weights, all biases.
    expect(measure().numTensors).toBe(before.numTensors + 3 * 10);
    for (const some of [weights, velocities, back]) disposeWeights(some);
    expect(measure()).toEqual(before);
  });

  it('stops with a sentence when the loss is no longer a number, or stays at chance', async () => {
    const fast = { learningRate: { policy: 'fixed', base: 1e6 }, iterations: 50 } as const;
    await expect(weightsAfter({ ...fast, logEvery: 2 })).rejects.toThrow(
      /far above that of guessing \(2\.30\)/,
    );
    await expect(weightsAfter({ ...fast, logEvery: 50 })).rejects.toThrow(
      /no longer finite at iteration \d+/,
    );
    // Whose weights become NaN while ReLU could still hide it.
    const dead = {
      learningRate: { policy: 'fixed', base: 1 },
      iterations: 50,
      logEvery: 50,
    } as const;
    await expect(weightsAfter(dead)).rejects.toThrow(/no longer finite at iteration \d+/);
    // Weights that become NaN in a step whose loss is still a number.
    const state = initialState(network, 1);
    poke(state.velocities.layers.get('ip2')!.bias, 9, NaN);
    const one = train(network, { ...settings, iterations: 1 }, 1, { train: data }, state);
    await expect(one).rejects.toThrow(/^a weight is no longer finite at iteration 1: lower/);
    // A snapshot or checkpoint between two lines of the log is not written with such weights, nor when training stops.
    for (const [early, stop] of [
      [{ snapshots: 1 }],
      [{ checkpointEvery: 1 }],
      [{}, { until: 1 }],
      [{}, { signal: AbortSignal.abort() }],
    ] as const) {
      const begun = initialState(network, 1);
      poke(begun.velocities.layers.get('ip2')!.bias, 9, NaN);
      const hooks = { snapshot: vi.fn(), checkpoint: vi.fn(), ...stop };
      const two = { ...settings, iterations: 2, logEvery: 2, ...early };
      await expect(train(network, two, 1, { train: data }, begun, hooks)).rejects.toThrow(
        /^a weight is no longer finite at iteration 1: lower/,
      );
      expect(hooks.snapshot).not.toHaveBeenCalled();
      expect(hooks.checkpoint).not.toHaveBeenCalled();
    }
    // That takes a thousand iterations: of one layer, whose weights are almost zero.
    const filler = { kind: 'gaussian', std: 1e-4 } as const;
    const small = makeNetwork({
      ...{ ...NETWORKS.lenet, name: 'one layer' },
      layers: [{ kind: 'innerProduct', name: 'ip', outputs: 10, filler }],
    });
    const still = { learningRate: { policy: 'fixed', base: 1e-12 }, bang: undefined } as const;
    const long = { ...settings, ...still, iterations: 1000, batch: 2, logEvery: 500 };
    const chance = train(small, long, 2, { train: data }, initialState(small, 2));
    await expect(chance).rejects.toThrow(/^after 1000 iterations the loss is still at chance/);
  });
});
