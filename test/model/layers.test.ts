import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, it } from 'vitest';
import { batchOf } from '#bang/engine/ops/batch.js';
import type { Dataset } from '#bang/data/dataset.js';
import { disposeBlock, makeBlock } from '#bang/engine/block.js';
import { startEngine } from '#bang/engine/engine.js';
import { softmaxCrossEntropy } from '#bang/engine/ops/loss.js';
import { makeLayer, ShapeError, type LayerSpec, type Shape } from '#bang/model/layers.js';
import { makeNetwork, pixelGradient, trace, type Weights } from '#bang/model/network.js';
import type { NetworkSpec } from '#bang/model/networks.js';
import {
  disposeWeights,
  exportNetwork,
  importWeights,
  initialWeights,
  logitsLayer,
  withScaledLogits,
  zeroWeights,
} from '#bang/model/parameters.js';
import { encodeSafetensors } from '#bang/model/files/safetensors.js';
import { readWeights } from '#bang/model/files/weights.js';
import { makeRandom } from '#bang/base/random.js';
import type { Bang } from '#bang/training/bang.js';
import { computeGradients, dropoutMasks } from '#bang/training/step.js';
import { againstDifferences } from '../differences.js';
import { ENGINE } from '../engine.js';
import { randomNetwork } from '../randomNetworks.js';

const ENGINES = [ENGINE, 'cpu'] as const;
const BATCH = 6;

afterAll(async () => {
  await startEngine({ engine: ENGINE });
});

/** Random pixels and labels for a network. */
function dataFor({ input, classes }: NetworkSpec, seed: number): Dataset {
  const [height, width, channels] = input;
  const random = makeRandom(seed, 'random data');
  const images = Uint8Array.from(
    { length: BATCH * height * width * channels },
    () => 256 * random.uniform(),
  );
  const labels = Uint8Array.from({ length: BATCH }, () => classes * random.uniform());
  return { height, width, channels, classes, count: BATCH, images, labels };
}

/** All that a training step and an attack compute with a network, by what it is. */
function computed(spec: NetworkSpec, seed: number, bang: Bang | undefined) {
  const network = makeNetwork(spec);
  const weights = initialWeights(network, seed);
  const gradients = zeroWeights(network);
  const found = new Map<string, Float32Array>();
  tf.tidy(() => {
    const batch = batchOf(
      dataFor(spec, seed),
      Uint32Array.from({ length: BATCH }, (_, i) => i),
    );
    const masks = dropoutMasks(network, BATCH, seed, 3);
    const { loss } = computeGradients(network, weights, gradients, batch, { bang, masks });
    found.set('loss', loss.dataSync<'float32'>());
    for (const [name, { weight, bias }] of gradients.layers) {
      found.set(`${name}.weight`, weight.dataSync<'float32'>());
      found.set(`${name}.bias`, bias.dataSync<'float32'>());
    }
    const whole = trace(network, weights, batch.pixels);
    whole.activations.forEach(({ y }, i) => {
      expect(y.shape).toEqual([BATCH, ...network.layers[i].output]);
      expect(y.dataSync<'float32'>().every(Number.isFinite)).toBe(true);
    });
    expect(whole.logits.shape).toEqual([BATCH, spec.classes]);
    const { gradient } = softmaxCrossEntropy(whole.logits, batch.labels, 1);
    const pixels = pixelGradient(network, weights, whole, gradient);
    expect(pixels.shape).toEqual(batch.pixels.shape);
    found.set('pixels', pixels.dataSync<'float32'>());
  });
  disposeWeights(weights);
  disposeWeights(gradients);
  return found;
}

describe('random networks', () => {
  const seeds = Array.from({ length: 40 }, (_, i) => i + 1);

  it('have all kinds of layers, and windows of all kinds', () => {
    const layers = seeds.flatMap((seed) => randomNetwork(seed).layers);
    const kinds = new Set(layers.map(({ kind }) => kind));
    expect([...kinds].sort()).toEqual([
      ...['add', 'avgPool', 'conv', 'dropout', 'globalAvgPool', 'innerProduct', 'maxPool', 'relu'],
    ]);
    const some = (test: (layer: LayerSpec) => boolean | undefined) => layers.some(test);
    const isPool = (one: LayerSpec) => one.kind === 'maxPool' || one.kind === 'avgPool';
    expect(some((one) => isPool(one) && one.size < one.stride)).toBe(true);
    expect(some((one) => isPool(one) && one.size > one.stride)).toBe(true);
    expect(some((one) => isPool(one) && one.pad !== undefined && one.rounding === 'down')).toBe(
      true,
    );
    expect(some((one) => one.kind === 'avgPool' && one.countPad && one.pad !== 0)).toBe(true);
    expect(some((one) => one.kind === 'conv' && one.stride === 2)).toBe(true);
    expect(some((one) => one.kind === 'conv' && Array.isArray(one.pad))).toBe(true);
    expect(some((one) => one.from !== undefined)).toBe(true);
    expect(seeds.some((seed) => randomNetwork(seed).std)).toBe(true);
  });

  it.each(seeds)(
    "number %i: the engine agrees with tfjs's CPU kernels, forward and backward",
    async (seed) => {
      const bang = seed % 2 === 0 ? { beta: 1.2, epsilon: 0.6, ratio: 0.5 } : undefined;
      const spec = randomNetwork(seed);
      await startEngine({ engine: 'cpu' });
      const expected = computed(spec, seed, bang);
      await startEngine({ engine: ENGINE });
      const found = computed(spec, seed, bang);
      expect([...found.keys()]).toEqual([...expected.keys()]);
      for (const [name, values] of expected) {
        // Float32 sums in another order, of terms up to 1, some of which cancel.
        const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const worst = values.reduce(
          (most, value, i) => Math.max(most, Math.abs(value - found.get(name)![i])),
          0,
        );
        expect(worst, `${name} of ${JSON.stringify(spec)}`).toBeLessThan(3e-5 * largest + 3e-7);
      }
    },
  );

  it('have the gradients that finite differences of the loss have, of every parameter and pixel', () => {
    // What one would see nothing of if all probes met kinks.
    const smoothOf = { pixels: 0, weight: 0, bias: 0 };
    const probes = { pixels: 0, weight: 0, bias: 0 };
    for (const seed of ENGINE === 'tensorflow' ? seeds.slice(0, 12) : seeds) {
      const spec = randomNetwork(seed);
      const network = makeNetwork(spec);
      const weights = initialWeights(network, seed);
      const gradients = zeroWeights(network);
      const positions = Uint32Array.from({ length: BATCH }, (_, i) => i);
      const { pixels: drawn, labels } = batchOf(dataFor(spec, seed), positions);
      // Of a block, so that they can be changed.
      const shape = drawn.shape;
      const block = makeBlock([[{ shape, data: drawn.dataSync<'float32'>().slice() }]]);
      const batch = { pixels: block.views[0][0] as tf.Tensor4D, labels };
      const masks = dropoutMasks(network, BATCH, seed, 3);
      const random = makeRandom(seed, 'probes');
      const lossAt = () =>
        tf.tidy(() => {
          const { logits } = trace(network, weights, batch.pixels, masks);
          return tf.mean(softmaxCrossEntropy(logits, batch.labels, 1).loss).dataSync()[0];
        });
      tf.tidy(() =>
        computeGradients(network, weights, gradients, batch, { masks }).loss.dataSync(),
      );
      const found = [...gradients.layers].map(([name, { weight, bias }]) => {
        return { name, weight: weight.dataSync().slice(), bias: bias.dataSync().slice() };
      });
      const { worst, smooth } = tf.tidy(() => {
        const { logits, ...rest } = trace(network, weights, batch.pixels);
        const { gradient } = softmaxCrossEntropy(logits, batch.labels, 1);
        // Without the factor of the preparation.
        const unscaled = pixelGradient(network, weights, { logits, ...rest }, gradient);
        const values = tf.mul(unscaled, spec.scale).dataSync();
        const lossOf = () =>
          tf.tidy(() => {
            const { logits } = trace(network, weights, batch.pixels);
            return tf.sum(softmaxCrossEntropy(logits, batch.labels, 1).loss).dataSync()[0];
          });
        return againstDifferences(batch.pixels, values, lossOf, { step: 0.5, probes: 4, random });
      });
      expect(worst, `pixels of ${JSON.stringify(spec)}`).toBeLessThan(1e-5);
      smoothOf.pixels += smooth;
      probes.pixels += 4;
      for (const { name, ...values } of found) {
        for (const part of ['weight', 'bias'] as const) {
          const tensor = weights.layers.get(name)![part];
          const how = { step: 2e-3, probes: 4, random };
          const { worst, smooth } = againstDifferences(tensor, values[part], lossAt, how);
          expect(worst, `${name}.${part} of ${JSON.stringify(spec)}`).toBeLessThan(3e-4);
          smoothOf[part] += smooth;
          probes[part] += 4;
        }
      }
      disposeWeights(weights);
      disposeWeights(gradients);
      disposeBlock(block);
      tf.dispose([drawn, labels]);
    }
    for (const part of ['pixels', 'weight', 'bias'] as const) {
      expect(smoothOf[part], part).toBeGreaterThan(probes[part] / 2);
    }
  });

  it('have logits twice as large if those of one layer are scaled, unless others are added', () => {
    for (const seed of seeds) {
      const spec = randomNetwork(seed);
      const { layers } = spec;
      const { pixels } = batchOf(dataFor(spec, seed), Uint32Array.of(0, 1));
      for (const end of [[], [{ kind: 'relu' }, { kind: 'dropout', rate: 0.5 }]] as const) {
        const network = makeNetwork({ ...spec, layers: [...layers, ...end] });
        const weights = initialWeights(network, seed);
        const scaled = withScaledLogits({ network, weights }, 2);
        const [once, twice] = [weights, scaled.weights].map((of) =>
          tf.tidy(() => [...trace(network, of, pixels).logits.dataSync()]),
        );
        // Without rounding.
        expect(twice).toEqual(once.map((value) => 2 * value));
        const sum: LayerSpec[] = [...layers, { kind: 'relu' }, { kind: 'add', with: 'last' }];
        expect(() => logitsLayer([...sum, ...end])).toThrow(/adds last to them: leave out/);
        disposeWeights(scaled.weights);
        disposeWeights(weights);
      }
      pixels.dispose();
    }
    expect(() => logitsLayer([{ kind: 'globalAvgPool' }])).toThrow(/no layer with weights makes/);
  });

  it('come back from a file as they were', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'bang-layers-'));
    const name = path.join(folder, 'weights.safetensors');
    for (const seed of seeds) {
      const network = makeNetwork(randomNetwork(seed));
      const weights = initialWeights(network, seed);
      writeFileSync(name, encodeSafetensors(exportNetwork({ network, weights }), {}));
      const back = importWeights(network, await readWeights(name), name);
      expect(valuesOf(back)).toEqual(valuesOf(weights));
      disposeWeights(weights);
      disposeWeights(back);
    }
    rmSync(folder, { recursive: true });
  });
});

function valuesOf(weights: Weights): unknown {
  return [...weights.layers].map(([name, { weight, bias }]) => [
    name,
    weight.shape,
    [...weight.dataSync()],
    [...bias.dataSync()],
  ]);
}

/** Pooling as Caffe does it, one channel, in plain loops: [outputs, their height and width]. */
function caffePool(
  kind: 'maxPool' | 'avgPool',
  image: number[][],
  size: number,
  stride: number,
): number[][] {
  const begins = (extent: number): number[] => {
    let count = Math.ceil((extent - size) / stride) + 1;
    if ((count - 1) * stride >= extent) count--;
    return Array.from({ length: count }, (_, i) => i * stride);
  };
  return begins(image.length).map((y) =>
    begins(image[0].length).map((x) => {
      const window = image.slice(y, y + size).flatMap((row) => row.slice(x, x + size));
      return kind === 'maxPool'
        ? Math.max(...window)
        : window.reduce((sum, value) => sum + value, 0) / window.length;
    }),
  );
}

describe('pooling', () => {
  const cases = (['maxPool', 'avgPool'] as const).flatMap((kind) =>
    [1, 2, 3, 4, 5].flatMap((size) =>
      [1, 2, 3, 4, 5, 6, 7].map((stride) => ({ kind, size, stride })),
    ),
  );

  it.each(ENGINES)('is that of Caffe, windows of every size and stride, %s', async (engine) => {
    await startEngine({ engine });
    const random = makeRandom(7, 'pools');
    for (const spec of cases) {
      for (const [height, width] of [
        [4, 4],
        [5, 7],
        [8, 6],
        [13, 5],
      ]) {
        const text = JSON.stringify({ spec, height, width });
        if (spec.size > Math.min(height, width) + spec.stride - 1) continue;
        const image = Array.from({ length: height }, () =>
          Array.from({ length: width }, () => Math.fround(random.gaussian())),
        );
        const expected = caffePool(spec.kind, image, spec.size, spec.stride);
        const layer = makeLayer(spec, [height, width, 1]);
        expect(layer.output, text).toEqual([expected.length, expected[0].length, 1]);
        tf.tidy(() => {
          const x = tf.tensor4d(image.flat(), [1, height, width, 1]);
          const pass = layer.forward(x);
          expect(pass.y.shape, text).toEqual([1, ...layer.output]);
          const found = pass.y.dataSync();
          expected.flat().forEach((value, i) => {
            expect(found[i], text).toBeCloseTo(value, 5);
          });
          // Pooling is linear around x, and homogeneous: y·κ = x·(gradient by x of y·κ).
          const kappa = tf.randomNormal(pass.y.shape, 0, 1, 'float32', 5);
          const back = layer.backward(kappa, pass);
          const [outer, inner] = [tf.sum(tf.mul(pass.y, kappa)), tf.sum(tf.mul(x, back))];
          expect(inner.dataSync()[0], text).toBeCloseTo(outer.dataSync()[0], 3);
        });
      }
    }
  });

  it('drops a window that would begin outside the image', () => {
    const outputs = (extent: number, size: number, stride: number) =>
      makeLayer({ kind: 'maxPool', size, stride }, [extent, extent, 1]).output[0];
    expect(outputs(4, 1, 4)).toBe(1);
    expect(outputs(5, 1, 4)).toBe(2);
    expect(outputs(7, 2, 4)).toBe(2);
    expect(outputs(8, 2, 4)).toBe(2);
    expect(outputs(9, 2, 4)).toBe(3);
    expect(outputs(2, 3, 2)).toBe(1);
  });
});

describe('a layer that does not fit its input', () => {
  const filler = { kind: 'xavier' } as const;
  const conv = { kind: 'conv', name: 'c', filters: 2, size: 3, filler } as const;
  it.each<[LayerSpec, Shape, string, RegExp]>([
    [{ ...conv, size: 6 }, [5, 9, 2], 'size', /a filter of 6 does not fit its input of 5×9×2.* 5$/],
    [{ ...conv, size: 8, pad: 1 }, [5, 9, 2], 'size', /expected at most 7$/],
    [{ ...conv, pad: 3 }, [5, 5, 1], 'pad', /expected less than the size, 3$/],
    [{ kind: 'maxPool', size: 5, stride: 1 }, [4, 4, 1], 'size', /a window of 5 .* at most 4$/],
    [{ kind: 'avgPool', size: 6, stride: 2 }, [4, 9, 1], 'size', /at most 5$/],
    [conv, [10], 'kind', /conv needs an image, but what comes before gives a vector$/],
    [{ kind: 'avgPool', size: 1, stride: 1 }, [10], 'kind', /avgPool needs an image/],
  ])('%j on %j', (spec, input, key, message) => {
    const make = () => makeLayer(spec, input);
    expect(make).toThrow(ShapeError);
    expect(make).toThrow(message);
    expect(make).toThrow(expect.objectContaining({ key }) as Error);
  });
});
