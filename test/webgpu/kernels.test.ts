import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { makeRandom } from '#bang/base/random.js';
import { ExperimentError } from '#bang/base/errors.js';
import { deviceInUse, kernelBinding, startEngine } from '#bang/engine/engine.js';
import type { Binding } from '#bang/engine/kernels/binding.js';
import { batchOf } from '#bang/engine/ops/batch.js';
import { dropoutFactors } from '#bang/engine/ops/dropout.js';

import { roundedNormal } from '#bang/engine/noise.js';
import { Device, type DeviceArray } from '#bang/engine/webgpu/device.js';
import { makeKernels } from '#bang/engine/webgpu/kernels.js';
import { PACKAGE, webgpuFolder } from '#bang/engine/webgpu/installation.js';
import { makeNetwork } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import { classesOf, readClasses } from '#bang/model/predict.js';
import { disposeWeights, zeroWeights } from '#bang/model/parameters.js';
import { applyGradients, computeGradients } from '#bang/training/step.js';
import { initialState } from '#bang/training/train.js';
import { valuesOf } from '#bang/training/log.js';
import path from 'node:path';
import { workspace } from '../cli/bang.js';
import { HAS_NATIVE } from '../engine.js';
import { kernelNames } from '../engine/kernelNames.js';
import { values } from '../engine/tensors.js';
import { between } from '../random.js';

// Each kernel against the one of native/ with the same arguments. The tests of those compare them with tfjs and
// finite differences.

let own: Binding;
let device: Device;

beforeAll(async () => {
  await startEngine({ engine: HAS_NATIVE ? 'native' : 'wasm', threads: 1 });
  own = kernelBinding()!;
  await startEngine({ engine: 'webgpu' });
  device = deviceInUse()!;
});

type Array_ = Float32Array | Int32Array | Uint8Array;

/** An argument that lies in the memory of the device. */
interface Held {
  array: Array_;
}
const held = (array: Array_): Held => ({ array });
const isHeld = (argument: unknown): argument is Held =>
  typeof argument === 'object' && argument !== null && 'array' in argument;

const seen = new Set<string>();

/** Calls a kernel on the CPU and on the device, and compares all arrays that both were given, written to or not. */
function compare(name: keyof Binding, args: unknown[], tolerance: number): void {
  seen.add(name);
  const uploaded = new Map<Held, DeviceArray>();
  const there = args.map((argument) => {
    if (!isHeld(argument)) return argument;
    const array = device.upload(argument.array);
    uploaded.set(argument, array);
    return array;
  });
  (makeKernels(device) as unknown as Record<string, (...all: unknown[]) => void>)[name](...there);
  const here = args.map((argument) => (isHeld(argument) ? argument.array : argument));
  (own as unknown as Record<string, (...all: unknown[]) => void>)[name](...here);
  for (const [{ array: expected }, array] of uploaded) {
    const [found] = device.read([array])();
    device.release(array);
    expect(found).toHaveLength(expected.length);
    const largest = Math.max(1e-30, ...Array.from(expected, Math.abs).filter(Number.isFinite));
    let worst = 0;
    for (let i = 0; i < expected.length; i++) {
      const bothNaN = Number.isNaN(expected[i]) && Number.isNaN(found[i]);
      if (!bothNaN && expected[i] !== found[i])
        worst = Math.max(worst, Math.abs(found[i] - expected[i]) / largest) || NaN;
    }
    expect(worst, name).toBeLessThanOrEqual(tolerance);
  }
}

/** Sums in another order, fused or not. */
const ROUNDING = 3e-6;

function convolution(trial: number, random: ReturnType<typeof makeRandom>) {
  const [batch, size, pad] = [between(random, 1, 4), between(random, 1, 5), trial % 3];
  const [stride, inC, outC] = [
    trial % 4 === 3 ? 2 : 1,
    between(random, 1, 5),
    [3, 10, 37, 21][trial % 4],
  ];
  const [inH, inW] = [size + between(random, 3, 9), size + between(random, 3, 9)];
  const padded = Math.min(pad, size - 1);
  const out = (extent: number) => Math.floor((extent + 2 * padded - size) / stride) + 1;
  // prettier-ignore
  const geometry = Int32Array.of(
    batch, inH, inW, inC, out(inH), out(inW), outC, size, size, stride, stride, padded, padded,
  );
  return { geometry, batch, inC, outC, size, outH: out(inH), outW: out(inW), inH, inW };
}

describe('kernels', () => {
  it('convolutions and their gradients', () => {
    const random = makeRandom(1, 'conv');
    for (let trial = 0; trial < 4; trial++) {
      const { geometry, batch, inC, outC, size, outH, outW, inH, inW } = convolution(trial, random);
      const x = values(random, batch * inH * inW * inC);
      const w = values(random, size * size * inC * outC);
      const kappa = values(random, batch * outH * outW * outC);
      const bias = trial % 2 ? held(values(random, outC)) : null;
      const y = new Float32Array(kappa.length);
      compare('conv2d', [geometry, held(x), held(w), bias, trial % 3 === 0, held(y)], ROUNDING);
      const dx = held(new Float32Array(x.length));
      compare('conv2dInputGradient', [geometry, null, null, held(kappa), held(w), dx], ROUNDING);
      const [dw, db] = [new Float32Array(w.length), new Float32Array(outC)];
      const scale = trial % 2 ? held(values(random, batch)) : null;
      const more = [null, null, held(kappa), scale, held(dw), held(db)];
      compare('conv2dWeightGradient', [geometry, held(x), ...more], ROUNDING);
    }
  });

  it('convolutions with max pooling and their gradients, winners and ties included', () => {
    const random = makeRandom(2, 'pooled');
    for (let trial = 0; trial < 4; trial++) {
      const [batch, size, pad] = [between(random, 1, 4), between(random, 1, 5), trial % 2];
      const cells = trial % 2 === 0;
      const [poolSize, stride] = cells ? [2, 2] : [between(random, 2, 3), between(random, 1, 3)];
      const [outH, outW] = [0, 1].map(() =>
        cells ? 2 * between(random, 1, 4) : between(random, 4, 9),
      );
      const [inC, outC] = [between(random, 1, 4), [3, 14, 33][trial % 3]];
      const padded = Math.min(pad, size - 1);
      const [inH, inW] = [outH, outW].map((extent) => extent + size - 1 - 2 * padded);
      if (inH < 1 || inW < 1) continue;
      // prettier-ignore
      const geometry = Int32Array.of(batch, inH, inW, inC, outH, outW, outC, size, size, 1, 1, padded, padded);
      const [poolH, poolW] = [outH, outW].map((extent) =>
        Math.min(Math.ceil((extent - poolSize) / stride) + 1, Math.ceil(extent / stride)),
      );
      // prettier-ignore
      const pool = Int32Array.of(batch, outH, outW, outC, poolH, poolW, outC, poolSize, poolSize, stride, stride, 0, 0);
      // Whole numbers: sums are exact, so there are many ties, and the winners must be the same.
      const whole = (count: number) =>
        Float32Array.from({ length: count }, () => between(random, -2, 2));
      const [x, w] = [whole(batch * inH * inW * inC), whole(size * size * inC * outC)];
      const y = new Float32Array(batch * poolH * poolW * outC);
      const winner = new Uint8Array(y.length);
      compare(
        'conv2dMaxPool',
        [geometry, pool, held(x), held(w), held(whole(outC)), held(y), held(winner)],
        0,
      );
      const kappa = values(random, y.length);
      const dx = held(new Float32Array(x.length));
      compare(
        'conv2dInputGradient',
        [geometry, pool, held(winner), held(kappa), held(w), dx],
        ROUNDING,
      );
      const [dw, db] = [held(new Float32Array(w.length)), held(new Float32Array(outC))];
      const scale = held(values(random, batch));
      compare(
        'conv2dWeightGradient',
        [geometry, held(x), pool, held(winner), held(kappa), scale, dw, db],
        ROUNDING,
      );
      compare(
        'pooledNorms',
        [pool, held(winner), held(kappa), held(new Float32Array(batch))],
        ROUNDING,
      );
    }
  });

  it('matrix products, also where their sums are cut into chunks', () => {
    const random = makeRandom(3, 'matMul');
    for (const [m, n, k] of [
      [5, 3, 7],
      [33, 10, 300],
      [2, 50, 129],
      [70, 20, 16],
    ]) {
      for (const [transposeA, transposeB] of [
        [false, false],
        [true, false],
        [false, true],
      ]) {
        const [a, b, scale] = [values(random, m * k), values(random, k * n), values(random, k)];
        const bias = transposeB ? null : held(values(random, n));
        const scaled = transposeA ? held(scale) : null;
        const c = held(new Float32Array(m * n));
        compare(
          'matMul',
          [m, n, k, held(a), transposeA, held(b), transposeB, scaled, bias, transposeA, c],
          ROUNDING,
        );
      }
    }
    const x = held(values(random, 9 * 70));
    compare(
      'columnSums',
      [9, 70, x, held(values(random, 9)), held(new Float32Array(70))],
      ROUNDING,
    );
    compare('columnSums', [9, 70, x, null, held(new Float32Array(70))], ROUNDING);
  });

  it('poolings, of windows that overlap, leave gaps, are clipped, and contain NaN', () => {
    const random = makeRandom(4, 'pool');
    for (const [size, stride, pad] of [
      [2, 2, 0],
      [3, 2, 1],
      [2, 3, 0],
    ]) {
      const [extent, channels] = [8, 3];
      const out = Math.ceil((extent + pad - size) / stride) + 1;
      // prettier-ignore
      const geometry = Int32Array.of(2, extent, extent, channels, out, out, channels, size, size, stride, stride, pad, pad);
      const x = values(random, 2 * extent * extent * channels);
      x[17] = NaN;
      const y = new Float32Array(2 * out * out * channels);
      compare('maxPool', [geometry, held(x), held(y)], 0);
      const dy = values(random, y.length);
      compare(
        'maxPoolGradient',
        [geometry, held(x), held(dy), held(new Float32Array(x.length))],
        ROUNDING,
      );
      compare('avgPool', [geometry, held(x), held(new Float32Array(y.length))], ROUNDING);
      compare('avgPoolGradient', [geometry, held(dy), held(new Float32Array(x.length))], ROUNDING);
    }
  });

  it('the loss, with its exact zeros, norms and η', () => {
    const random = makeRandom(5, 'loss');
    const [batch, classes] = [100, 10];
    // From undecided to certain: some of the losses are exactly zero.
    const logits = Float32Array.from(
      { length: batch * classes },
      (_, i) => random.gaussian() * (i % 20 < 10 ? 12 : 40),
    );
    const labels = Int32Array.from({ length: batch }, (_, n) => {
      const row = logits.subarray(n * classes, (n + 1) * classes);
      return n % 3 ? row.indexOf(Math.max(...row)) : between(random, 0, 9);
    });
    const loss = new Float32Array(batch);
    const outputs = [
      held(loss),
      held(new Float32Array(logits.length)),
      held(new Float32Array(batch)),
    ];
    const arrays = [held(logits), held(labels)];
    compare('softmaxCrossEntropy', [batch, classes, ...arrays, 1, ...outputs], 1e-6);
    const zeros = loss.filter((value) => value === 0).length;
    expect(zeros).toBeGreaterThan(10);
    const array = [
      device.upload(logits),
      device.upload(labels),
      device.take(batch),
      device.take(logits.length),
      device.take(batch),
    ] as const;
    const binding = makeKernels(device);
    binding.softmaxCrossEntropy(
      batch,
      classes,
      array[0],
      array[1],
      1,
      array[2],
      array[3],
      array[4],
    );
    const [again] = device.read([array[2]])();
    expect([...again].map((value) => value === 0)).toEqual([...loss].map((value) => value === 0));

    const x = values(random, 7 * 300);
    const norm = new Float32Array(7);
    compare('rowNorms', [7, 300, held(x), held(norm)], ROUNDING);
    norm[3] = 0;
    const hats = Float32Array.from(norm, () => random.uniform());
    compare('eta', [7, held(norm), held(hats), held(new Float32Array(7))], ROUNDING);
  });

  it('what goes value by value', () => {
    const random = makeRandom(6, 'values');
    const [a, b] = [values(random, 300), values(random, 300)];
    a[5] = NaN;
    a[6] = -0;
    const y = () => held(new Float32Array(300));
    compare('relu', [300, held(a), y()], 0);
    compare('reluGradient', [300, held(a), held(b), y()], 0);
    compare('multiply', [300, held(a), held(b), y()], 0);
    compare('normalize', [3, 100, held(a), held(values(random, 100)), 1 / 256, y()], 1e-7);
    compare('normalize', [3, 100, held(a), null, 2, y()], 0);
    compare('overLargest', [3, 100, held(b), y()], 1e-7);
    const [w, v, g] = [1, 2, 3].map(() => held(values(random, 300)));
    compare('sgd', [300, w, v, g, 0.1, 0.9, 0.0005], 1e-6);
    const pixels = Float32Array.from({ length: 200 }, () => between(random, 0, 255));
    const rows = Int32Array.of(1, 0, 1);
    const scales = Float32Array.of(0.5, 2.5, 1000);
    const signs = Float32Array.from({ length: 200 }, () => between(random, -1, 1));
    // Halves, which are rounded to even.
    compare('perturb', [2, 3, 100, held(pixels), held(signs), held(rows), held(scales), y()], 0);
    const { thresholds, depth } = roundedNormal(20);
    const counters = Uint32Array.of(4_000_000_000, 3_000_000_000, 7, 4_294_967_295, 12345);
    compare(
      'addNoise',
      [3, 99, held(pixels.slice(0, 99)), counters, thresholds, depth, held(new Float32Array(297))],
      0,
    );
  });

  it('a whole forward pass', () => {
    const random = makeRandom(7, 'forward');
    // prettier-ignore
    const layers = [
      [0, 1, 3, 9, 9, 2, 8, 8, 4, 2, 2, 1, 1, 0, 0],
      [2, 0, 3, 8, 8, 4, 4, 4, 4, 2, 2, 2, 2, 0, 0],
      [0, 0, 3, 4, 4, 4, 4, 4, 5, 3, 3, 1, 1, 1, 1],
      [2, 1, 3, 4, 4, 5, 2, 2, 5, 3, 3, 2, 2, 0, 0],
      [3, 0, 3, 2, 2, 5, 1, 1, 5, 2, 2, 2, 2, 0, 0],
      [1, 1, 3, 1, 1, 5, 1, 1, 6, 1, 1, 1, 1, 0, 0],
      [1, 0, 3, 1, 1, 6, 1, 1, 3, 1, 1, 1, 1, 0, 0],
    ];
    const parameters = [
      [2 * 2 * 2 * 4, 4],
      [3 * 3 * 4 * 5, 5],
      [5 * 6, 6],
      [6 * 3, 3],
    ].flatMap(([weight, bias]) => [held(values(random, weight)), held(values(random, bias))]);
    const arrays = [held(values(random, 3 * 162)), held(values(random, 162)), 0.5];
    const program = Int32Array.from(layers.flat());
    compare(
      'forward',
      [layers.length, program, ...arrays, held(new Float32Array(9)), ...parameters],
      ROUNDING,
    );
  });

  it('the class of an image, of equal logits the first; logits that are not finite are refused', () => {
    const random = makeRandom(8, 'classes');
    const batch = 300;
    // Whole numbers: ties.
    const logits = Float32Array.from({ length: 7 * batch }, () => between(random, -5, 5));
    const found = (values: Float32Array): Uint8Array =>
      tf.tidy(() => readClasses(tf.tensor2d(values, [batch, 7])));
    const { fetched } = device.counters;
    expect(found(logits)).toEqual(classesOf(logits, 7));
    expect(device.counters.fetched - fetched).toBe(4 * batch);
    for (const wrong of [NaN, Infinity, -Infinity]) {
      const values = logits.slice();
      values[7 * 299 + 3] = wrong;
      expect(() => found(values)).toThrow(`the network gives a logit of ${wrong}: `);
    }
  });

  it('none is forgotten', () => {
    expect([...seen].sort()).toEqual(kernelNames(own));
  });
});

describe('what a training step is fed', () => {
  const random = makeRandom(9, 'fed');
  const shape = { height: 5, width: 3, channels: 3, classes: 10, count: 41 };
  const labels = new Uint8Array(41);
  const set = (): Uint8Array => Uint8Array.from({ length: 41 * 45 }, () => between(random, 0, 255));
  const gathered = (images: Uint8Array, positions: number[]): Float32Array =>
    tf.tidy(() => batchOf({ ...shape, images, labels }, positions).pixels.dataSync<'float32'>());
  const expected = (images: Uint8Array, positions: number[]): Float32Array =>
    Float32Array.from(positions.flatMap((at) => [...images.subarray(45 * at, 45 * (at + 1))]));

  it('is the images at these positions, of data sets that stay on the device', () => {
    // More than are kept.
    const sets = Array.from({ length: 6 }, set);
    for (let trial = 0; trial < 30; trial++) {
      const images = sets[trial < 12 ? trial % 6 : between(random, 0, 5)];
      const positions = Array.from({ length: between(random, 1, 9) }, () => between(random, 0, 40));
      expect(gathered(images, positions)).toEqual(expected(images, positions));
    }
    gathered(sets[0], [1]);
    const before = device.counters.sent;
    const positions = Array.from({ length: 20 }, () => between(random, 0, 40));
    expect(gathered(sets[0], positions)).toEqual(expected(sets[0], positions));
    // Labels are sent when they are used.
    expect(device.counters.sent - before).toBe(4 * positions.length);
  });

  it('is sent image by image where the device cannot hold the data set', () => {
    const images = set();
    vi.spyOn(device, 'resident').mockReturnValue(undefined);
    expect(gathered(images, [40, 2])).toEqual(expected(images, [40, 2]));
    vi.restoreAllMocks();
  });

  it("is dropout's factors, out of bits", () => {
    for (const count of [1, 31, 32, 33, 32_000]) {
      const bits = Uint32Array.from({ length: Math.ceil(count / 32) }, () => random.bits());
      const before = device.counters.sent;
      const found = tf.tidy(() => dropoutFactors(bits, 1 / 0.7, [count]).dataSync());
      expect(device.counters.sent - before).toBe(4 * bits.length);
      expect([...found]).toEqual(
        Array.from({ length: count }, (_, i) =>
          (bits[i >> 5] >>> (i & 31)) & 1 ? Math.fround(1 / 0.7) : 0,
        ),
      );
    }
  });
});

describe('a training step', () => {
  it('takes no new memory once it is at its pace, and few dispatches', () => {
    const network = makeNetwork(NETWORKS.lenet);
    const { weights, velocities } = initialState(network, 1);
    const gradients = zeroWeights(network);
    const bang = { beta: 1, epsilon: 0.8, ratio: 0.5 };
    const counts: number[] = [];
    const tensors: number[] = [];
    for (let i = 0; i < 4; i++) {
      const before = { ...device.counters };
      tf.tidy(() => {
        const pixels = tf.fill<tf.Rank.R4>([2, 28, 28, 1], i);
        const labels = tf.tensor1d([1, 2], 'int32');
        const metrics = computeGradients(network, weights, gradients, { pixels, labels }, { bang });
        applyGradients(weights, velocities, gradients, {
          rate: 0.01,
          momentum: 0.9,
          weightDecay: 0,
        });
        valuesOf(metrics)();
      });
      counts.push(device.counters.dispatches - before.dispatches);
      tensors.push(tf.memory().numTensors);
      // One round trip.
      expect(device.counters.reads - before.reads).toBe(1);
    }
    expect(tensors[3]).toBe(tensors[1]);
    expect(counts[3]).toBeLessThanOrEqual(40);
    for (const some of [weights, velocities, gradients]) disposeWeights(some);
  });
});

describe('what a device does not do', () => {
  it('more memory than it has, is one sentence', () => {
    expect(() => device.take(2 ** 40)).toThrow(
      /^the GPU gives no more than \d+ MiB at once, and \d+ are needed: /,
    );
  });

  it('lose count of bytes above 2 GiB, which the driver of these tests does not give', async () => {
    const space = workspace();
    space.write(
      'index.js',
      `exports.globals = { GPUBufferUsage: {} };
      const device = {
        ...{ features: new Set(), lost: new Promise(() => {}), addEventListener() {}, pushErrorScope() {} },
        createCommandEncoder() {},
        createBuffer({ size }) {
          if (Math.abs(size) > 2 ** 30) throw new Error('asked for ' + size + ' bytes');
        },
      };
      const limits = { maxBufferSize: 2 ** 32, maxStorageBufferBindingSize: 2 ** 32 };
      const adapter = { limits, info: {}, features: new Set(), requestDevice: () => device };
      exports.create = () => ({ requestAdapter: () => adapter });`,
    );
    const other = await Device.open(space.folder);
    space.remove();
    if (typeof other === 'string') throw new Error(other);
    const array = other.take(2 ** 29);
    expect(() => other.read([array.subarray(0, 1)])()).toThrow(`asked for ${2 ** 31} bytes`);
  });

  it('denormals: a product that underflows is zero or exact', () => {
    const [a, b] = [device.upload(Float32Array.of(1e-30)), device.upload(Float32Array.of(1e-10))];
    const y = device.take(1);
    makeKernels(device).multiply(1, a, b, y);
    expect([0, Math.fround(1e-40)]).toContain(device.read([y])()[0][0]);
  });

  it('after it is lost, says so', async () => {
    const other = await Device.open(path.join(webgpuFolder(), PACKAGE));
    if (typeof other === 'string') throw new Error(other);
    const array = other.upload(Float32Array.of(1, 2));
    expect([...other.read([array])()[0]]).toEqual([1, 2]);
    other.close();
    expect(() => other.read([array])()).toThrow(ExperimentError);
    expect(() => other.read([array])()).toThrow(/^the GPU [^\n]+: start the same command again/);
  });
});
