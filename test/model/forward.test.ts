import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { assign } from '#bang/engine/block.js';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import type { Binding } from '#bang/engine/kernels/binding.js';
import { logitsOf, makeNetwork, type Network, trace, type Weights } from '#bang/model/network.js';
import { NETWORKS, type NetworkSpec } from '#bang/model/networks.js';
import { disposeWeights, initialWeights } from '#bang/model/parameters.js';
import { makeRandom } from '#bang/base/random.js';
import { networkOf } from '#bang/config/experiment.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { packageRoot } from '#bang/base/files.js';
import { ENGINE } from '../engine.js';
import { between } from '../random.js';
import { randomNetwork } from '../randomNetworks.js';
import { poke } from '../tensors.js';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';

/** The networks that ship: those by name, and those that a configuration describes. */
const CONFIGS = path.join(packageRoot, 'configs');
const SHIPPED = new Map<string, () => Promise<NetworkSpec>>([
  ...Object.values(NETWORKS).map((spec) => [spec.name, () => Promise.resolve(spec)] as const),
  ...readdirSync(CONFIGS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.yaml'))
    .filter((file) => /^ {2}layers:/m.test(readFileSync(path.join(CONFIGS, file), 'utf8')))
    .map((file) => {
      const load = async () => networkOf((await loadConfig(path.join(CONFIGS, file))).config);
      return [file, load] as const;
    }),
]);

let binding: Binding;

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
  binding = kernelBinding()!;
});

afterAll(() => {
  binding.setLevel(binding.levels()[0]);
  binding.setThreads(2);
});

function pixels(spec: NetworkSpec, count: number, seed: number): tf.Tensor4D {
  const random = makeRandom(seed, 'pixels');
  const size = spec.input.reduce((product, extent) => product * extent, 1);
  const background = (): number =>
    random.uniform() < 0.3 ? 0 : Math.floor(random.uniform() * 256);
  return tf.tensor4d(Float32Array.from({ length: count * size }, background), [
    count,
    ...spec.input,
  ]);
}

/** Logits at once and layer by layer, and whether the engine has a kernel for all at once. */
function bothWays(network: Network, images: number, seed: number): [Float32Array, Float32Array] {
  return tf.tidy(() => {
    const weights = initialWeights(network, seed);
    const x = pixels(network.spec, images, seed);
    const whole = logitsOf(network, weights, x).dataSync<'float32'>().slice();
    const single = trace(network, weights, x).logits.dataSync<'float32'>().slice();
    disposeWeights(weights);
    return [whole, single];
  });
}

/** A network whose layers have up to four vectors of channels on the widest level. */
function wide(spec: NetworkSpec, factor: number): NetworkSpec {
  const layers = spec.layers.map((layer) => {
    if (layer.kind === 'conv') return { ...layer, filters: layer.filters * factor };
    if (layer.kind === 'innerProduct' && layer.name !== 'last') {
      return { ...layer, outputs: layer.outputs * factor };
    }
    return layer;
  });
  return { ...spec, layers };
}

describe('a whole forward pass at once', () => {
  it.each([
    ['lenet', 1],
    ['lenet', 37],
    ['cifar10-quick', 16],
    ['cifar10-quick', 33],
  ] as const)('gives the logits of %s bit for bit, %i images', (name, images) => {
    const spec = NETWORKS[name];
    const network: Network = makeNetwork(spec);
    if (spec.subtractMean) network.mean = tf.squeeze(pixels(spec, 1, 9), [0]);
    for (const level of binding.levels()) {
      binding.setLevel(level);
      const [whole, single] = bothWays(network, images, 3);
      expect(whole, level).toEqual(single);
    }
  });

  it('gives those of random networks bit for bit, on every level', () => {
    const watched = vi.spyOn(binding, 'forward');
    let compared = 0;
    for (let seed = 0; seed < 60; seed++) {
      // Seldom changed: to start threads takes longer than to compute.
      if (seed % 20 === 0) binding.setThreads(1 + seed / 20);
      const network = makeNetwork(
        wide(randomNetwork(seed, { chain: true }), seed % 3 === 0 ? 1 : 5 + (seed % 4)),
      );
      for (const level of binding.levels()) {
        binding.setLevel(level);
        const [whole, single] = bothWays(network, 1 + ((seed * 7) % 40), seed);
        expect(whole, `network ${seed}, ${level}`).toEqual(single);
        compared++;
      }
    }
    // All but those that begin with ReLU.
    expect(watched.mock.calls.length).toBeGreaterThan(0.9 * compared);
    watched.mockRestore();
  });

  // NaN in a mean image stands for a network that has diverged: it must show in the loss.
  it.each([
    ['convolution', 4, [{ kind: 'relu' }]],
    ['narrow convolution', 1, [{ kind: 'relu' }]],
    ['average pooling', 4, [{ kind: 'avgPool', size: 2, stride: 2 }, { kind: 'relu' }]],
    ['max pooling', 4, [{ kind: 'relu' }, { kind: 'maxPool', size: 2, stride: 2 }]],
  ] as const)('carries NaN through ReLU behind %s', (name, factor, behind) => {
    const filler = { kind: 'xavier' } as const;
    const spec: NetworkSpec = {
      name,
      input: [8, 8, 1],
      classes: 3,
      subtractMean: true,
      scale: 1 / 128,
      layers: [
        { kind: 'conv', name: 'conv', filters: 5 * factor, size: 3, pad: 1, filler },
        ...behind,
        { kind: 'innerProduct', name: 'inner', outputs: 20, filler },
        { kind: 'relu' },
        { kind: 'innerProduct', name: 'last', outputs: 3, filler },
      ],
    };
    const mean = tf.fill<tf.Rank.R3>([8, 8, 1], NaN);
    const network: Network = { ...makeNetwork(spec), mean };
    for (const level of binding.levels()) {
      binding.setLevel(level);
      const [whole, single] = bothWays(network, 2, 1);
      expect(whole, level).toEqual(single);
      expect(whole, level).toEqual(new Float32Array(6).fill(NaN));
    }
  });

  it.each([...SHIPPED.keys()])(
    "carries NaN in one weight or pixel of %s's first layer into all logits",
    async (name) => {
      const network: Network = makeNetwork(await SHIPPED.get(name)!());
      const { spec } = network;
      if (spec.subtractMean) network.mean = tf.squeeze(pixels(spec, 1, 9), [0]);
      const { name: first, weightShape } = network.weighted[0];
      const [weightCount, images] = [tf.util.sizeFromShape(weightShape), 2];
      const imageSize = tf.util.sizeFromShape(spec.input);
      const middle = Math.floor(imageSize / 2 + spec.input[1] / 2);
      const all = new Float32Array(images * spec.classes).fill(NaN);
      const poisoned: [string, (weights: Weights, values: Float32Array) => void, Float32Array][] = [
        [
          'weight',
          (weights) => {
            poke(weights.layers.get(first)!.weight, weightCount >> 1, NaN);
          },
          all,
        ],
        [
          'bias',
          (weights) => {
            poke(weights.layers.get(first)!.bias, 1, NaN);
          },
          all,
        ],
        // In the second image, and in no other.
        [
          'pixel',
          (_, values) => (values[imageSize + middle] = NaN),
          all.map((_, i) => (Math.floor(i / spec.classes) === 1 ? NaN : 0)),
        ],
      ];
      for (const [what, poison, expected] of poisoned) {
        type Way = (...all: [Network, Weights, tf.Tensor4D]) => tf.Tensor;
        const byLayers: Way = (...all) => trace(...all).logits;
        const logits = (...ways: Way[]) =>
          tf.tidy(() => {
            const weights = initialWeights(network, 3);
            const values = pixels(spec, images, 3).dataSync<'float32'>().slice();
            poison(weights, values);
            const x = tf.tensor4d(values, [images, ...spec.input]);
            const found = ways.map((way) => way(network, weights, x).dataSync<'float32'>());
            disposeWeights(weights);
            // What is a number does not matter here.
            return found.map((some) => some.map((value) => (Number.isNaN(value) ? NaN : 0)));
          });
        for (const level of binding.levels()) {
          binding.setLevel(level);
          const [whole, single] = logits(logitsOf, byLayers);
          expect(whole, `${what}, ${level}`).toEqual(expected);
          expect(single, `${what}, ${level}, by layers`).toEqual(expected);
        }
        // The kernels of tfjs, with what engine/ops.ts adds.
        await startEngine({ engine: 'cpu' });
        expect(logits(logitsOf), `${what}, tfjs`).toEqual([expected]);
        await startEngine({ engine: ENGINE, threads: 2 });
      }
      network.mean?.dispose();
    },
    120_000,
  );

  // Which logits hang on a value is found without NaN: where all weights and pixels are 1, every layer rises
  // with every value that it sees, so those logits change that see an enormous one.
  it('carries NaN in any value of random networks into the logits that depend on it', () => {
    const ENORMOUS = 1e20;
    let [reached, hidden] = [0, 0];
    const wrong: string[] = [];
    for (let seed = 0; seed < 40; seed++) {
      const network = makeNetwork(wide(randomNetwork(seed, { chain: true }), 1 + 5 * (seed % 3)));
      const { spec } = network;
      const random = makeRandom(seed, 'poisoned');
      binding.setLevel(binding.levels()[seed % binding.levels().length]);
      if (seed % 14 === 0) binding.setThreads(1 + seed / 14);
      const images = between(random, 1, 20);
      const size = tf.util.sizeFromShape(spec.input);

      const weights = initialWeights(network, seed);
      const ones = initialWeights(network, seed);
      for (const { weight, bias } of ones.layers.values()) {
        assign(weight, tf.ones(weight.shape));
        assign(bias, tf.zeros(bias.shape));
      }
      const x = pixels(spec, images, seed).dataSync<'float32'>().slice();
      // One that is 1 after the network's scale.
      const xOnes = new Float32Array(x.length).fill(1 / spec.scale);
      const logits = (some: Weights, values: Float32Array, way: typeof logitsOf = logitsOf) =>
        tf.tidy(() =>
          way(network, some, tf.tensor4d(values, [images, ...spec.input]))
            .dataSync<'float32'>()
            .slice(),
        );
      const byLayers: typeof logitsOf = (...all) => trace(...all).logits;
      const untouched = logits(ones, xOnes);

      for (let trial = 0; trial < 8; trial++) {
        const layer = network.weighted[between(random, 0, network.weighted.length - 1)];
        const kind = (['weight', 'bias', 'pixel'] as const)[trial % 3];
        const count =
          kind === 'pixel'
            ? images * size
            : kind === 'bias'
              ? layer.weightShape.at(-1)!
              : tf.util.sizeFromShape(layer.weightShape);
        const at = between(random, 0, count - 1);
        const withValue = (
          some: Weights,
          values: Float32Array,
          value: number,
          ways: (typeof logitsOf)[],
        ): Float32Array[] => {
          if (kind === 'pixel') {
            const changed = values.slice();
            changed[at] = value;
            return ways.map((way) => logits(some, changed, way));
          }
          const variable = some.layers.get(layer.name)![kind];
          const before = variable.dataSync()[at];
          poke(variable, at, value);
          const found = ways.map((way) => logits(some, values, way));
          poke(variable, at, before);
          return found;
        };
        const [changed] = withValue(ones, xOnes, ENORMOUS, [logitsOf]);
        const [whole, single] = withValue(weights, x, NaN, [logitsOf, byLayers]);
        const where = `network ${seed}, ${kind} ${at} of ${layer.name}`;
        changed.forEach((value, i) => {
          const hangs = value !== untouched[i];
          if (Number.isNaN(whole[i]) !== hangs) wrong.push(`${where}, logit ${i}`);
          // Layer by layer a weight is multiplied with the zero border, too: NaN there is NaN.
          if (hangs && !Number.isNaN(single[i])) wrong.push(`${where}, logit ${i}, by layers`);
          if (hangs) reached++;
          else hidden++;
        });
        if (kind === 'pixel') expect(single, where).toEqual(whole);
      }
      disposeWeights(weights);
      disposeWeights(ones);
    }
    expect(wrong).toEqual([]);
    expect(reached).toBeGreaterThan(1000);
    expect(hidden).toBeGreaterThan(1000);
  });

  it('refuses programs that do not fit', () => {
    const window = [2, 4, 4, 1, 1, 1, 3, 1, 1, 1, 1, 0, 0];
    const dense = Int32Array.of(1, 0, ...window);
    const call = (program: Int32Array, layers = program.length / 15, images = 2) => {
      const x = new Float32Array(images * 16);
      const logits = new Float32Array(6);
      const weights = [new Float32Array(48), new Float32Array(3)];
      binding.forward(layers, program, x, null, 1, logits, ...weights);
    };
    expect(() => {
      call(dense);
    }).not.toThrow();
    // A stride that leads nowhere, as there is one window, but overflows where it is reckoned with.
    const strided = (strideH: number, strideW: number) => () => {
      const conv = [0, 0, 1, 5, 5, 1, 1, 1, 20, 3, 3, strideH, strideW, 0, 2];
      const last = [1, 0, 1, 1, 1, 20, 1, 1, 3, 1, 1, 1, 1, 0, 0];
      const parameters = [180, 20, 60, 3].map((count) => new Float32Array(count));
      const [x, logits] = [new Float32Array(25), new Float32Array(3)];
      binding.forward(2, Int32Array.of(...conv, ...last), x, null, 1, logits, ...parameters);
    };
    expect(strided(2 ** 28, 2 ** 28)).not.toThrow();
    expect(strided(1, 2 ** 31 - 1)).toThrow(TypeError);
    expect(strided(2 ** 28 + 1, 1)).toThrow(TypeError);
    const changed = (at: number, value: number): Int32Array => {
      const program = dense.slice();
      program[at] = value;
      return program;
    };
    const bad: [Int32Array, number?, number?][] = [
      [changed(0, 4)],
      [changed(0, -1)],
      [changed(0, 2)], // a pooling at the end
      [changed(0, 0)], // a convolution at the end
      [changed(2, 3)],
      [changed(6, 2)],
      [changed(8, 4)],
      [changed(3, 1 << 20)],
      [dense, 0],
      [dense, 65],
      [dense, 2],
      [dense, 1, 3],
      [Int32Array.of(...dense, ...dense)],
    ];
    for (const [program, layers, images] of bad) {
      expect(() => {
        call(program, layers, images);
      }).toThrow(TypeError);
    }
  });
});
