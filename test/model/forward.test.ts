import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { nativeBinding, startEngine } from '#bang/engine/engine.js';
import type { NativeBinding } from '#bang/engine/native/binding.js';
import { logitsOf, makeNetwork, type Network, trace } from '#bang/model/network.js';
import { NETWORKS, type NetworkSpec } from '#bang/model/networks.js';
import { disposeWeights, initialWeights } from '#bang/model/parameters.js';
import { makeRandom } from '#bang/base/random.js';
import { randomNetwork } from '../randomNetworks.js';

let binding: NativeBinding;

beforeAll(async () => {
  await startEngine({ engine: 'native', threads: 2 });
  binding = nativeBinding()!;
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
    for (let seed = 0; seed < 150; seed++) {
      const network = makeNetwork(wide(randomNetwork(seed), seed % 3 === 0 ? 1 : 5 + (seed % 4)));
      for (const level of binding.levels()) {
        binding.setLevel(level);
        binding.setThreads(1 + (seed % 3));
        const [whole, single] = bothWays(network, 1 + ((seed * 7) % 40), seed);
        expect(whole, `network ${seed}, ${level}`).toEqual(single);
        compared++;
      }
    }
    // All but those that begin with ReLU.
    expect(watched.mock.calls.length).toBeGreaterThan(0.9 * compared);
    watched.mockRestore();
  });

  // NaN in a mean image stands for a network that has diverged: it must show in the loss. Max pooling
  // passes over NaN, as tfjs's does.
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
      if (name !== 'max pooling') expect(whole, level).toEqual(new Float32Array(6).fill(NaN));
    }
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
