import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { batchOf } from '#bang/engine/ops/batch.js';
import { loadData } from '#bang/data/load.js';
import type { Dataset } from '#bang/data/dataset.js';
import { assign } from '#bang/engine/block.js';
import { startEngine } from '#bang/engine/engine.js';
import { rowNorms } from '#bang/engine/ops/norms.js';
import { softmaxCrossEntropy } from '#bang/engine/ops/loss.js';
import { makeNetwork, type Network, trace, type Weights } from '#bang/model/network.js';
import type { NetworkSpec } from '#bang/model/networks.js';
import {
  caffeOrder,
  disposeWeights,
  initialWeights,
  makeWeights,
  zeroWeights,
} from '#bang/model/parameters.js';
import { decodeSafetensors } from '#bang/model/files/safetensors.js';
import { makeRandom, type Random } from '#bang/base/random.js';
import { sumOf } from '#bang/base/sums.js';
import { adaptiveEpsilon, type Bang, epsilonHat, eta, inLayer } from '#bang/training/bang.js';
import {
  applyGradients,
  computeGradients,
  dropoutMasks,
  layerGradients,
} from '#bang/training/step.js';
import { againstDifferences } from '../differences.js';
import { ENGINE } from '../engine.js';
import { fixture, networkWith } from '../fixtures.js';
import { between } from '../random.js';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Distance from gradients that somebody else computed in float64 on the same weights and images, as
 * a share of a tensor's largest value. Ours are float32: sums of up to 64 · 576 products whose factors
 * went through four layers, each rounding 6e-8 of its sum.
 */
const BOUND = 2e-5;

describe.each([
  {
    model: 'lenet',
    weightFile: 'lenet.caffemodel.h5',
    batchSize: 64,
    bangOf: { beta: 1, epsilon: 0.815, ratio: 1 },
    layerNames: ['conv1', 'conv2', 'ip1', 'ip2'],
    bound: BOUND,
  },
  {
    model: 'cifar10-quick',
    weightFile: 'cifar10_bang.caffemodel.h5',
    batchSize: 100,
    bangOf: { beta: 0.4, epsilon: 0.855, ratio: 0.5 },
    layerNames: ['conv1', 'conv2', 'conv3', 'ip1', 'ip2'],
    // A hundred images have ReLUs and maxima within a rounding of their kink, which float64 sees on
    // the other side: whole terms of a sum, not roundings.
    bound: 5e-4,
  },
] as const)('BANG gradients of $model against a reference in float64', (subject) => {
  const { model, weightFile, batchSize, bangOf, layerNames, bound } = subject;
  let network: Network;
  let weights: Weights;
  let gradients: Weights;
  let train: Dataset;
  const reference = decodeSafetensors(
    readFileSync(fixture(`bang-gradients-${model}.safetensors`)),
    'reference',
  );
  const expected = (name: string): Float64Array =>
    Float64Array.from(reference.tensors.get(name)!.data as Float64Array, Number);

  beforeAll(async () => {
    await startEngine({ engine: ENGINE });
    ({ train } = await loadData(model === 'lenet' ? 'mnist' : 'cifar10'));
    ({ network, weights } = await networkWith(model, weightFile, train));
    gradients = zeroWeights(network);
    // The reference shrank the authors' last layer of this network, whose logits are in the thousands.
    if (model === 'cifar10-quick') {
      const { weight, bias } = weights.layers.get('ip2')!;
      for (const tensor of [weight, bias]) {
        tf.tidy(() => {
          assign(tensor, tf.mul(tensor, 0.001));
        });
      }
    }
  });

  const firstBatch = () =>
    batchOf(
      train,
      Uint32Array.from({ length: batchSize }, (_, i) => i),
    );

  /** softmax − one-hot over the batch, of the reference's logits, in double precision. */
  const exactLogitsGradient = (): Float64Array => {
    const [logits, labels] = [expected('logits'), expected('labels')];
    const gradient = new Float64Array(10 * batchSize);
    for (let n = 0; n < batchSize; n++) {
      const row = logits.subarray(10 * n, 10 * n + 10);
      const top = Math.max(...row);
      const sum = row.reduce((total, z) => total + Math.exp(z - top), 0);
      row.forEach((z, c) => {
        gradient[10 * n + c] = (Math.exp(z - top) / sum - (c === labels[n] ? 1 : 0)) / batchSize;
      });
    }
    return gradient;
  };

  it('logits, loss and its gradient', () => {
    const batch = firstBatch();
    tf.tidy(() => {
      const { logits } = trace(network, weights, batch.pixels);
      expectClose(logits.dataSync(), expected('logits'));
      const found = softmaxCrossEntropy(logits, batch.labels, 1 / batchSize);
      expect(tf.mean(found.loss).dataSync()[0]).toBeCloseTo(expected('loss')[0], 6);
      expect([...found.correct.dataSync()]).toEqual([...expected('correct')]);
      // p − 1 at the label keeps an absolute rounding error of 6e-8 however small it is; that is the
      // experiment's nature (its blank gradients), so this distance is absolute.
      const exact = exactLogitsGradient();
      found.gradient.dataSync<'float32'>().forEach((value, i) => {
        expect(Math.abs(batchSize * (value - exact[i]))).toBeLessThan(2e-6);
      });
    });
    tf.dispose([batch.pixels, batch.labels]);
  });

  // From here on the logits' gradient is given exactly: BANG multiplies what is small in a batch, and
  // with it the rounding of p − 1, up to the size of the largest gradient.
  it.each([
    ['regular', undefined],
    ['bang', bangOf],
  ] as const)('%s: every gradient, norm and eta', (kind, bang) => {
    expect(Number(reference.metadata.epsilon)).toBe(bangOf.epsilon);
    expect(Number(reference.metadata.beta)).toBe(bangOf.beta);
    const batch = firstBatch();
    tf.tidy(() => {
      const norms = new Map<string, tf.TypedArray>();
      const eta = layerGradients(
        network,
        weights,
        gradients,
        trace(network, weights, batch.pixels),
        tf.tensor2d(Float32Array.from(exactLogitsGradient()), [batchSize, 10]),
        {
          bang,
          correct: tf.tensor1d(Float32Array.from(expected('correct'))),
          seen: (layer, kappa, pass) => norms.set(layer.name, layer.norms(kappa, pass).dataSync()),
        },
      );
      expect([...gradients.layers.keys()].sort()).toEqual([...layerNames]);
      for (const [name, gradient] of gradients.layers) {
        const layer = network.weighted.find((one) => one.name === name)!;
        const weight = gradient.weight.dataSync();
        const inCaffeOrder = Float32Array.from(caffeOrder(layer), (position) => weight[position]);
        expectClose(inCaffeOrder, expected(`${kind}.${name}.weight_grad`), bound);
        expectClose(gradient.bias.dataSync(), expected(`${kind}.${name}.bias_grad`), bound);
        expectEachClose(norms.get(name)!, expected(`kappa_norm.${name}`), 5 * bound);
        if (bang) expectEachClose(eta.get(name)!.dataSync(), expected(`eta.${name}`), 5 * bound);
      }
    });
    tf.dispose([batch.pixels, batch.labels]);
  });

  it('hands kappa down unscaled: the norms of every layer are those of regular training', () => {
    const batch = batchOf(
      train,
      Uint32Array.from({ length: 16 }, (_, i) => 100 + i),
    );
    const normsWith = (bang?: Bang): number[][] =>
      tf.tidy(() => {
        const found: number[][] = [];
        const pass = trace(network, weights, batch.pixels);
        const { gradient, correct } = softmaxCrossEntropy(pass.logits, batch.labels, 1 / 16);
        layerGradients(network, weights, gradients, pass, gradient, {
          bang,
          correct,
          seen: (layer, kappa, pass) => found.push([...layer.norms(kappa, pass).dataSync()]),
        });
        return found;
      });
    expect(normsWith({ beta: 3, epsilon: 1, ratio: 0.5 })).toEqual(normsWith());
    tf.dispose([batch.pixels, batch.labels]);
  });

  it('takes beta and epsilon by layer', () => {
    const batch = batchOf(
      train,
      Uint32Array.from({ length: 16 }, (_, i) => 200 + i),
    );
    const changing = (layer: string, value: number, others: number) =>
      Object.fromEntries(layerNames.map((name) => [name, name === layer ? value : others]));
    const sizes = (beta: Bang['beta'], epsilon: Bang['epsilon']) =>
      tf.tidy(() => {
        computeGradients(network, weights, gradients, batch, {
          bang: { beta, epsilon, ratio: 1 },
        });
        return Object.fromEntries(
          [...gradients.layers].map(([name, { weight }]) => [name, tf.norm(weight).dataSync()[0]]),
        );
      });
    const base = sizes(1, 0.8);
    const changed = sizes(changing('conv2', 2, 1), changing('ip1', 0, 0.8));
    const regular = sizes(1, 0);
    const { conv2, ip1, ...others } = changed;
    expect(conv2 / base.conv2).toBeCloseTo(2, 5);
    expect(ip1).toBe(regular.ip1);
    expect(ip1).not.toBe(base.ip1);
    expect({ ...base, ...others }).toEqual(base);
    tf.dispose([batch.pixels, batch.labels]);
  });
});

describe('a training step', () => {
  /** A small network with a layer of every kind. */
  const SMALL: NetworkSpec = {
    name: 'small',
    input: [9, 8, 2],
    classes: 4,
    subtractMean: false,
    scale: 1 / 256,
    layers: [
      { kind: 'conv', name: 'conv1', filters: 5, size: 3, pad: 1, filler: { kind: 'xavier' } },
      { kind: 'maxPool', size: 3, stride: 2 },
      { kind: 'relu' },
      { kind: 'avgPool', size: 2, stride: 2 },
      { kind: 'innerProduct', name: 'ip1', outputs: 7, filler: { kind: 'gaussian', std: 0.1 } },
      { kind: 'dropout', rate: 0.5 },
      { kind: 'innerProduct', name: 'ip2', outputs: 4, filler: { kind: 'xavier' } },
    ],
  };

  const data: Dataset = (() => {
    const random = makeRandom(3, 'small data');
    const images = Uint8Array.from({ length: 12 * 144 }, () => 256 * random.uniform());
    const labels = Uint8Array.from({ length: 12 }, (_, i) => i % 4);
    return { height: 9, width: 8, channels: 2, classes: 4, count: 12, images, labels };
  })();

  it.each([['regular'], ['bang']])("%s: is the same as on tfjs's CPU kernels", async (kind) => {
    const bang = kind === 'bang' ? { beta: 1.3, epsilon: 0.8, ratio: 0.5 } : undefined;
    const found: number[][] = [];
    for (const engine of [ENGINE, 'cpu'] as const) {
      await startEngine({ engine });
      const network = makeNetwork(SMALL);
      const weights = initialWeights(network, 5);
      const [velocities, gradients] = [zeroWeights(network), zeroWeights(network)];
      const values: number[] = [];
      for (let t = 0; t < 4; t++) {
        tf.tidy(() => {
          const batch = batchOf(
            data,
            Uint32Array.from({ length: 12 }, (_, i) => i),
          );
          const masks = dropoutMasks(network, 12, 1, t);
          const { loss } = computeGradients(network, weights, gradients, batch, { bang, masks });
          const sgd = { rate: 0.1, momentum: 0.9, weightDecay: 0.01 };
          applyGradients(weights, velocities, gradients, sgd);
          values.push(loss.dataSync()[0]);
        });
      }
      for (const { weight, bias } of weights.layers.values()) {
        values.push(...weight.dataSync(), ...bias.dataSync());
      }
      found.push(values);
    }
    await startEngine({ engine: ENGINE });
    expectClose(found[0], found[1]);
  });

  it('moves weights as Caffe does: bias at twice the rate, decay on both, momentum', () => {
    const filler = { kind: 'xavier' } as const;
    const network = makeNetwork({
      ...{ name: 'one', input: [1, 1, 1], classes: 1, subtractMean: false, scale: 1 },
      layers: [{ kind: 'innerProduct', name: 'ip', outputs: 1, filler }],
    });
    const of = (weight: number, bias: number) =>
      makeWeights(network, [{ weight: Float32Array.of(weight), bias: Float32Array.of(bias) }]);
    const [weights, velocities, gradients] = [of(2, 4), of(0, 0), of(1, 1)];
    const sgd = { rate: 0.1, momentum: 0.5, weightDecay: 0.25 };
    let [w, b, vw, vb] = [2, 4, 0, 0];
    for (let t = 0; t < 3; t++) {
      applyGradients(weights, velocities, gradients, sgd);
      vw = 0.5 * vw + 0.1 * (1 + 0.25 * w);
      vb = 0.5 * vb + 0.2 * (1 + 0.25 * b);
      w -= vw;
      b -= vb;
    }
    expect(weights.layers.get('ip')!.weight.dataSync()[0]).toBeCloseTo(w, 5);
    expect(weights.layers.get('ip')!.bias.dataSync()[0]).toBeCloseTo(b, 5);
  });
  describe.each([ENGINE, 'cpu'] as const)(
    "moves weights as Caffe's SGD does, engine %s",
    (engine) => {
      beforeAll(async () => {
        await startEngine({ engine });
      });
      afterAll(async () => {
        await startEngine({ engine: ENGINE });
      });

      /** Weight and bias of one layer behind each step; each gradient is the same for both. */
      function path(
        start: { weight: number; bias: number },
        steps: { gradient: number; rate: number; momentum: number; weightDecay: number }[],
      ): { weight: number[]; bias: number[] } {
        const filler = { kind: 'xavier' } as const;
        const network = makeNetwork({
          ...{ name: 'one', input: [1, 1, 1], classes: 1, subtractMean: false, scale: 1 },
          layers: [{ kind: 'innerProduct', name: 'ip', outputs: 1, filler }],
        });
        const of = (weight: number, bias: number): Weights =>
          makeWeights(network, [{ weight: Float32Array.of(weight), bias: Float32Array.of(bias) }]);
        const [weights, velocities] = [of(start.weight, start.bias), of(0, 0)];
        const found = { weight: [] as number[], bias: [] as number[] };
        for (const { gradient, ...sgd } of steps) {
          const gradients = of(gradient, gradient);
          applyGradients(weights, velocities, gradients, sgd);
          disposeWeights(gradients);
          const { weight, bias } = weights.layers.get('ip')!;
          found.weight.push(weight.dataSync()[0]);
          found.bias.push(bias.dataSync()[0]);
        }
        disposeWeights(weights);
        disposeWeights(velocities);
        return found;
      }

      // All numbers are sums of few powers of two, so that nothing is rounded: they can be done by hand.
      it('momentum gathers a constant gradient, and twice that for the bias', () => {
        const step = { gradient: 1, rate: 0.125, momentum: 0.5, weightDecay: 0 };
        const { weight, bias } = path({ weight: 1, bias: 1 }, Array<typeof step>(5).fill(step));
        // Steps of 2, 3, 3½, 3¾ and 3⅞ sixteenths: a geometric series towards a fourth.
        expect(weight.map((value) => 128 * (1 - value))).toEqual([16, 40, 68, 98, 129]);
        expect(bias.map((value) => 64 * (1 - value))).toEqual([16, 40, 68, 98, 129]);
      });

      it('decay alone shrinks by the same share in every step, the bias by twice that', () => {
        const step = { gradient: 0, rate: 0.25, momentum: 0, weightDecay: 0.5 };
        const { weight, bias } = path({ weight: 512, bias: 256 }, Array<typeof step>(3).fill(step));
        // Seven eighths and three fourths.
        expect(weight).toEqual([448, 392, 343]);
        expect(bias).toEqual([192, 144, 108]);
      });

      it('decay with momentum is the damped oscillator that borders on swinging', () => {
        // w(t + 1) = (1 + ¼ − ¼) w(t) − ¼ w(t − 1) has the double root ½ and, beginning at rest, the
        // solution w(t) = w(0) (1 + t / 2) / 2ᵗ. The bias, at twice the rate, has it at half of the decay.
        const step = { gradient: 0, rate: 0.25, momentum: 0.25 };
        const solution = [48, 32, 20, 12, 7, 4];
        const six = (weightDecay: number) =>
          path(
            { weight: 64, bias: 64 },
            Array<number>(6)
              .fill(0)
              .map(() => ({ ...step, weightDecay })),
          );
        expect(six(1).weight).toEqual(solution);
        expect(six(0.5).bias).toEqual(solution);
      });

      it('the velocity holds the rate at which it was gathered', () => {
        // Half of the first step of 4 and half of that, whatever the rate is by then. Where velocities are
        // gathered without the rate, as in PyTorch, they would be a fourth of it.
        const { weight } = path({ weight: 0, bias: 0 }, [
          { gradient: 4, rate: 1, momentum: 0.5, weightDecay: 0 },
          { gradient: 0, rate: 0.25, momentum: 0.5, weightDecay: 0 },
          { gradient: 0, rate: 0.25, momentum: 0.5, weightDecay: 0 },
        ]);
        expect(weight).toEqual([-4, -6, -7]);
      });

      it('decay is added to the gradient, before the rate', () => {
        const step = { gradient: 6, rate: 0.5, momentum: 0, weightDecay: 0.25 };
        // Half of 6 + 2 off 8; all of 6 + 2 for the bias.
        expect(path({ weight: 8, bias: 8 }, [step])).toEqual({ weight: [4], bias: [0] });
      });
    },
  );

  it.each([0, 0.3])(
    "gradients are what finite differences of the loss say, in each layer's weights, labels smoothed by %d",
    (labelSmoothing) => {
      const network = makeNetwork(SMALL);
      const weights = initialWeights(network, 6);
      const gradients = zeroWeights(network);
      const batch = batchOf(
        data,
        Uint32Array.from({ length: 12 }, (_, i) => i),
      );
      const lossAt = () =>
        tf.tidy(
          () =>
            tf
              .mean(computeGradients(network, weights, gradients, batch, { labelSmoothing }).loss)
              .dataSync()[0],
        );
      lossAt();
      const layers = [...gradients.layers].map(([name, gradient]) => ({
        name,
        gradient: gradient.weight.dataSync().slice(),
      }));
      const random = makeRandom(4, 'probe');
      for (const { name, gradient } of layers) {
        const { weight } = weights.layers.get(name)!;
        const how = { step: 2e-3, probes: 40, random };
        const { worst, smooth } = againstDifferences(weight, gradient, lossAt, how);
        // Float32 losses of about 1.4 differ by 1e-7; over a step of 4e-3 that is 3e-5.
        expect(worst).toBeLessThan(3e-4);
        expect(smooth).toBeGreaterThanOrEqual(10);
      }
      tf.dispose([batch.pixels, batch.labels]);
    },
  );
});

describe('eta', () => {
  beforeAll(async () => {
    await startEngine({ engine: ENGINE });
  });

  describe.each([ENGINE, 'cpu'] as const)('engine %s', (engine) => {
    beforeAll(async () => {
      await startEngine({ engine });
    });
    afterAll(async () => {
      await startEngine({ engine: ENGINE });
    });

    const etasOf = (norms: number[], hats: number[]): number[] =>
      tf.tidy(() => [...eta(tf.tensor1d(norms), tf.tensor1d(hats)).dataSync<'float32'>()]);
    /** A batch of which a part has no gradient. */
    const batchOfNorms = (random: Random): number[] =>
      Array.from({ length: 1 + Math.floor(random.uniform() * 100) }, () =>
        Math.fround(random.uniform() < 0.2 ? 0 : 10 ** (-6 * random.uniform())),
      );

    // The largest norm over the own one, ε̂, and what (m / n) ^ (ε̂ (1 − n / m)) is by pencil.
    it.each([
      [1, 1, '1', 1],
      [2, 1, 'the root of 2', 1.4142135623730951],
      [2, 0.5, 'the fourth root of 2', 1.189207115002721],
      [4, 1, '4 ^ ¾', 2.8284271247461903],
      [4, 0.5, '4 ^ ⅜', 1.681792830507429],
      [16, 0.8, '16 ^ ¾', 8],
      [16, 1, '16 ^ 15/16', 13.454342644059432],
      [100, 0.5, '10 ^ 0.99', 9.772372209558107],
      [1000, 0, '1', 1],
      [4, 0, '1', 1],
    ])('at 1/%d of the largest, ε̂ = %d, is %s', (ratio, hat, _, expected) => {
      for (const unit of [1, 2 ** -20, 3e-5, 700]) {
        const [own, largest] = etasOf([unit, ratio * unit], [hat, 0.9]);
        expect(Math.abs(own / expected - 1)).toBeLessThan(1e-6);
        expect(largest).toBe(1);
      }
    });

    it('is a chosen power of two, where ε̂ is chosen for it', () => {
      // With m / n = 2ᵃ the exponent of 2 is ε̂ · a (1 − 2⁻ᵃ).
      const random = makeRandom(12, 'powers');
      for (let trial = 0; trial < 200; trial++) {
        const [norms, hats, expected] = [[8], [0.5], [1]];
        while (norms.length < 40) {
          const a = between(random, 1, 20);
          const power = between(random, 0, a - 1);
          norms.push(8 / 2 ** a);
          hats.push(power / (a - a / 2 ** a));
          expected.push(2 ** power);
        }
        expectEachClose(etasOf(norms, hats), expected, 1e-5);
      }
    });

    it('has the properties of the definition, over many batches', () => {
      const random = makeRandom(11, 'eta');
      // The driver of the tests takes its time for each call.
      const trials = engine === 'webgpu' ? 10 : 100;
      for (let trial = 0; trial < trials; trial++) {
        const norms = batchOfNorms(random);
        const largest = Math.max(...norms);
        const hats = norms.map(() => Math.fround(random.uniform()));
        const found = etasOf(norms, hats);
        found.forEach((value, i) => {
          expect(value).toBeGreaterThanOrEqual(1);
          // No gradient is made larger than the largest.
          expect(value * norms[i]).toBeLessThanOrEqual(largest * (1 + 1e-5));
          if (norms[i] === 0 || norms[i] === largest) expect(value).toBe(1);
        });
        // What the norms are measured in does not matter, nor who the others are but for the largest.
        expect(
          etasOf(
            norms.map((norm) => norm / 1024),
            hats,
          ),
        ).toEqual(found);
        // In a batch of another size TensorFlow's powers differ in the last bit.
        const bound = engine === 'tensorflow' ? 2 ** -23 : 0;
        const alone = norms.map((norm, i) => etasOf([norm, largest], [hats[i], 1])[0]);
        if (trial % 10 === 0) expectEachClose(alone, found, bound);
        expect(
          etasOf(
            norms,
            hats.map(() => 0),
          ),
        ).toEqual(norms.map(() => 1));
        // Exponents add up: half of ε̂ twice is ε̂.
        const half = etasOf(
          norms,
          hats.map((hat) => hat / 2),
        );
        expectEachClose(
          half.map((value) => value ** 2),
          found,
          1e-5,
        );
        // The smaller the gradient, the more it grows; the same order remains.
        const ascending = [...norms].filter((norm) => norm > 0).sort((a, b) => a - b);
        const same = etasOf(
          ascending,
          ascending.map(() => 0.7),
        );
        for (let i = 1; i < same.length; i++) {
          expect(same[i]).toBeLessThanOrEqual(same[i - 1] * (1 + 1e-6));
          expect(same[i] * ascending[i]).toBeGreaterThanOrEqual(
            same[i - 1] * ascending[i - 1] * (1 - 1e-6),
          );
        }
      }
    });
  });

  it('leaves a batch alone whose elements all have no gradient', () => {
    const found = tf.tidy(() => eta(tf.zeros([5]), tf.fill([5], 0.8)).dataSync());
    expect([...found]).toEqual([1, 1, 1, 1, 1]);
  });

  it('counts as zero what underflows when squared in float32', () => {
    const kappa = tf.tensor2d([
      [1e-30, 1e-30],
      [3, 4],
    ]);
    expect([...rowNorms(kappa).dataSync()]).toEqual([0, 5]);
    kappa.dispose();
  });

  it('uses epsilon · ratio for elements that are misclassified', () => {
    const correct = tf.tensor1d([1, 0, 1]);
    const hats = [...epsilonHat(correct, 0.8, 0.5).dataSync()];
    expectEachClose(hats, [0.8, 0.4, 0.8], 1e-6);
    expect([...epsilonHat(correct, 0.8, 1).dataSync()]).toEqual([0.8, 0.8, 0.8].map(Math.fround));
    correct.dispose();
  });

  it('chooses the ε that brings correct elements half of the way to the weight of the others', () => {
    const random = makeRandom(1, 'adaptive');
    const found = Array.from({ length: 200 }, () => {
      const count = between(random, 2, 64);
      const norms = Array.from({ length: count }, () => 10 ** (-12 * random.uniform()));
      const wrong = between(random, 0, 2);
      // The misclassified have large gradients.
      norms.sort((a, b) => b - a);
      const correct = norms.map((_, i) => (i < wrong ? 0 : 1));
      const [m, others] = [norms[0], Math.max(1, wrong)];
      const ratio = (epsilon: number): number => {
        const weight = (elements: number[]): number =>
          elements.reduce((sum, n) => sum + n * (m / n) ** (epsilon * (1 - n / m)), 0);
        return weight(norms.slice(others)) / weight(norms.slice(0, others));
      };
      const epsilon = adaptiveEpsilon(norms, correct, 1);
      if (ratio(0) >= 1 || wrong === count) expect(epsilon).toBe(0);
      else expect(ratio(epsilon) / Math.sqrt(ratio(0))).toBeCloseTo(1, 4);
      return epsilon;
    });
    expect(found.filter((epsilon) => epsilon > 0 && epsilon < 1).length).toBeGreaterThan(100);
    expect(adaptiveEpsilon([0, 0], [1, 0], 1)).toBe(0);
    // An element without a gradient has no weight at any ε.
    expect(adaptiveEpsilon([1, 0, 0.5], [0, 1, 1], 1)).toBeCloseTo(
      adaptiveEpsilon([1, 0.5], [0, 1], 1),
      6,
    );
  });

  it('chooses it for the ratio that misclassified elements are trained with', () => {
    const random = makeRandom(1, 'adaptive with a ratio');
    const reached = Array.from({ length: 300 }, (_, n) => {
      const count = between(random, 3, 64);
      const norms = Float32Array.from({ length: count }, () => 10 ** (-6 * random.uniform()));
      const wrong = between(random, 1, 2);
      // The misclassified have large gradients.
      const isWrong = Array.from(norms.sort().reverse(), (_, i) => i < wrong);
      const correct = isWrong.map((wrong) => (wrong ? 0 : 1));
      const ratio = [0, 0.5, 1, 2 * random.uniform()][n % 4];
      /** Of the weight that the correct elements have in training to that of the others. */
      const share = (epsilon: number): number =>
        tf.tidy(() => {
          const hat = epsilonHat(tf.tensor1d(correct), epsilon, ratio);
          const n = tf.tensor1d(norms);
          const weights = tf.mul(eta(n, hat), n).dataSync();
          const of = (wrong: boolean) => sumOf([...weights].filter((_, i) => isWrong[i] === wrong));
          return of(false) / of(true);
        });
      const wanted = Math.sqrt(share(0));
      const epsilon = adaptiveEpsilon(norms, correct, ratio);
      if (wanted >= 1) expect(epsilon).toBe(0);
      else if (share(1) < wanted) expect(epsilon).toBeCloseTo(1, 6);
      else expect(share(epsilon) / wanted).toBeCloseTo(1, 4);
      return epsilon > 0 && epsilon < 0.999 && ratio !== 1;
    });
    expect(reached.filter(Boolean).length).toBeGreaterThan(60);
  });

  it('reads a value for all layers or one for each', () => {
    expect(inLayer(0.5, 'conv1')).toBe(0.5);
    expect(inLayer({ conv1: 1, ip1: 2 }, 'ip1')).toBe(2);
  });
});

/** Distances are measured against the largest value: small gradients are differences of large sums. */
function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>, bound = BOUND): void {
  expect(found.length).toBe(expected.length);
  const scale = Array.from(expected).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const distances = Array.from(expected, (v, i) => Math.abs(v - found[i]));
  const worst = distances.reduce((most, v) => Math.max(most, v), 0);
  expect(worst / scale).toBeLessThan(bound);
}

function expectEachClose(
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: number,
): void {
  expect(found.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    expect(Math.abs(found[i] - expected[i])).toBeLessThanOrEqual(bound * Math.abs(expected[i]));
  }
}
