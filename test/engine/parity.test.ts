import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import type { Binding, Kernels } from '#bang/engine/kernels/binding.js';
import { roundedNormal } from '#bang/engine/noise.js';
import { conv2d, conv2dWeightGradient } from '#bang/engine/ops/convolution.js';
import { dense, denseWeightGradient } from '#bang/engine/ops/dense.js';
import { normalize, relu, reluGradient } from '#bang/engine/ops/elementwise.js';
import { forwardPass } from '#bang/engine/ops/forward.js';
import { softmaxCrossEntropy } from '#bang/engine/ops/loss.js';
import { rowNorms } from '#bang/engine/ops/norms.js';
import { addNoise, overLargest, perturb } from '#bang/engine/ops/perturbation.js';
import {
  conv2dMaxPool,
  conv2dMaxPoolInputGradient,
  conv2dMaxPoolWeightGradient,
  pooledNorms,
} from '#bang/engine/ops/pooledConvolution.js';
import { pool } from '#bang/engine/ops/pooling.js';
import { sgdStep } from '#bang/engine/ops/sgd.js';
import { makeLayer } from '#bang/model/layers.js';
import { makeRandom, type Random } from '#bang/base/random.js';
import { eta } from '#bang/training/bang.js';
import { ENGINE } from '../engine.js';
import { between } from '../random.js';
import { kernelNames } from './kernelNames.js';
import { kernel, tensor } from './tensors.js';

let binding: Binding;

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
  binding = kernelBinding()!;
});

afterAll(() => {
  binding.setLevel(binding.levels()[0]);
});

/** What is computed on both engines, from inputs that may be of any rank. */
interface Comparison {
  inputs: tf.Tensor[];
  compute: (...inputs: never[]) => tf.Tensor[];
  /** Of the largest value of an output, or of 1 if all are smaller. */
  tolerance: number;
}

/**
 * Runs `compute` on the CPU kernels and, on each level that this processor has, on the native ones, and
 * compares all outputs.
 */
async function compare({ inputs, compute, tolerance }: Comparison): Promise<void> {
  const arrays = inputs.map((input) => ({ data: input.dataSync().slice(), shape: input.shape }));
  tf.dispose(inputs);
  const outputsOn = async (backend: string) => {
    await tf.setBackend(backend);
    const outputs = tf.tidy(() =>
      compute(...(arrays.map(({ data, shape }) => tf.tensor(data, shape)) as never[])),
    );
    const read = outputs.map((output) => ({ data: output.dataSync(), shape: output.shape }));
    tf.dispose(outputs);
    return read;
  };
  const expected = await outputsOn('cpu');
  for (const level of binding.levels()) {
    binding.setLevel(level);
    const actual = await outputsOn(ENGINE);
    expected.forEach((output, k) => {
      expect(actual[k].shape).toEqual(output.shape);
      const scale = Math.max(1, ...output.data.map(Math.abs));
      for (let i = 0; i < output.data.length; i++) {
        const distance = Math.abs(actual[k].data[i] - output.data[i]);
        if (!(distance <= tolerance * scale)) {
          expect.fail(`${level}, output ${k}[${i}]: ${actual[k].data[i]}, not ${output.data[i]}`);
        }
      }
    });
  }
}

/** Small integers, whose sums of products are exact, so that both engines see the same ties. */
function integers(random: Random, shape: number[], low = -3, high = 3): tf.Tensor {
  const draw = () => between(random, low, high);
  return tf.tensor(Float32Array.from({ length: tf.util.sizeFromShape(shape) }, draw), shape);
}

/** A convolution, with inputs x, filter, bias and kappa. */
function convolution(random: Random, trial: number) {
  const kernelH = between(random, 1, 6);
  // For a number of pixels as padding, tfjs takes all filters to be square.
  const kernelW = trial % 3 === 2 ? kernelH : between(random, 1, 6);
  const stride = between(random, 1, 3);
  const awkward = trial % 10;
  const inC = awkward === 0 ? 1 : between(random, 1, 24);
  const outC = awkward === 1 ? 1 : between(random, 1, trial % 4 ? 24 : 70);
  const height = kernelH + between(random, 0, awkward === 2 ? 0 : 8);
  const width = kernelW + between(random, 0, 8);
  const batch = awkward === 3 ? 0 : between(random, 1, trial % 7 === 0 ? 35 : 3);
  const pad = (['valid', 'same', kernelH - 1] as const)[trial % 3];
  const xShape: [number, number, number, number] = [batch, height, width, inC];
  const filterShape: [number, number, number, number] = [kernelH, kernelW, inC, outC];
  const rounding = typeof pad === 'number' ? 'floor' : undefined;
  const info = tf.backend_util.computeConv2DInfo(xShape, filterShape, stride, 1, pad, rounding);
  const attrs = {
    strides: [stride, stride],
    pad,
    dataFormat: 'NHWC',
    dilations: [1, 1],
    dimRoundingMode: rounding,
    inputShape: xShape,
  };
  const shapes = [xShape, filterShape, [outC], info.outShape];
  return { inputs: shapes.map((shape) => tensor(random, shape)), attrs, tolerance: 2e-5 };
}

/** A convolution with max pooling, whose values are all exact. */
function pooledConvolution(random: Random, trial: number) {
  const [batch, size] = [between(random, 1, 4), between(random, 1, 4)];
  // Cells that tile the output; or windows that overlap or leave gaps.
  const cells = trial % 2 === 0;
  const [poolSize, stride] = cells ? [2, 2] : [between(random, 1, 4), between(random, 1, 3)];
  const [height, width] = [0, 1].map(
    () => size - 1 + (cells ? 2 * between(random, 1, 4) : between(random, poolSize, 9)),
  );
  const [inC, outC] = [between(random, 1, 12), between(random, 1, 40)];
  const sliding = { stride: 1, pad: 'valid' as const };
  const pooling = { size: poolSize, sliding: { stride, pad: 'valid' as const } };
  const pooled = (extent: number) => Math.floor((extent - size + 1 - poolSize) / stride) + 1;
  const shapes = [
    [batch, height, width, inC],
    [size, size, inC, outC],
    [outC],
    [batch, pooled(height), pooled(width), outC],
    [batch],
  ];
  const whole = [batch, height - size + 1, width - size + 1, outC];
  const inputs = shapes.map((shape) => integers(random, shape));
  return { inputs, shapes, whole, sliding, pooling, tolerance: 1e-6 };
}

type T4 = tf.Tensor4D;

/** The forward pass of `pooledConvolution`. */
function pooledForward(
  { sliding, pooling }: ReturnType<typeof pooledConvolution>,
  [x, filter, bias]: [T4, T4, tf.Tensor1D],
) {
  return conv2dMaxPool(x, filter, bias, sliding, pooling);
}

/** An image and a pooling of it. */
function poolingOf(random: Random, trial: number) {
  const [size, stride] = [between(random, 1, 4), between(random, 1, 3)];
  const batch = trial % 20 === 0 ? 0 : between(random, 1, 4);
  const [height, width] = [size + between(random, 0, 9), size + between(random, 0, 9)];
  const x = tensor(random, [batch, height, width, between(random, 1, 37)]);
  return { x, size, stride, pad: trial % 2 ? ('same' as const) : ('valid' as const) };
}

/** Tensors of one shape, [N,…] with N at least `least`. */
function alike(random: Random, count: number, least = 0): tf.Tensor[] {
  const shape = [between(random, least, 9), between(random, 1, 9), between(random, 1, 300)];
  return Array.from({ length: count }, () => tensor(random, shape));
}

/** So many trials that each kind of `trial`, by a remainder below, comes several times. */
type Row = [trials: number, make: (random: Random, trial: number) => Comparison];

/** For each kernel, what runs it on the native engine and tfjs's operations on the CPU engine. */
const COMPARISONS: Record<keyof Kernels, Row> = {
  conv2d: [
    60,
    (random, trial) => {
      const { inputs, attrs, tolerance } = convolution(random, trial);
      const activation = trial % 2 ? 'relu' : 'linear';
      const compute = (x: T4, filter: T4, bias: tf.Tensor1D) => [
        kernel('FusedConv2D', { x, filter, bias }, { ...attrs, activation }),
      ];
      return { inputs, compute, tolerance };
    },
  ],
  conv2dInputGradient: [
    60,
    (random, trial) => {
      const { inputs, attrs, tolerance } = convolution(random, trial);
      const compute = (_x: T4, filter: T4, _bias: tf.Tensor1D, dy: T4) => [
        kernel('Conv2DBackpropInput', { dy, filter }, attrs),
      ];
      if (trial % 3) return { inputs, compute, tolerance };
      tf.dispose(inputs);
      const conv = pooledConvolution(random, trial / 3);
      const pooledCompute = (x: T4, filter: T4, bias: tf.Tensor1D, kappa: T4) => {
        const pooled = pooledForward(conv, [x, filter, bias]);
        const { sliding, pooling, shapes } = conv;
        return [conv2dMaxPoolInputGradient(shapes[0], pooled, kappa, filter, sliding, pooling)];
      };
      return { ...conv, compute: pooledCompute };
    },
  ],
  conv2dWeightGradient: [
    30,
    (random, trial) => {
      const { inputs, attrs, tolerance } = convolution(random, trial);
      const sliding = { stride: attrs.strides[0], pad: attrs.pad };
      const compute = (x: T4, filter: T4, _bias: tf.Tensor1D, kappa: T4) => {
        const into = gradientOf(filter.shape);
        conv2dWeightGradient(x, kappa, sliding, into);
        return [into.weight, into.bias];
      };
      if (trial % 3) return { inputs, compute, tolerance };
      tf.dispose(inputs);
      const conv = pooledConvolution(random, trial / 3);
      const pooledCompute = (...all: [T4, T4, tf.Tensor1D, T4, tf.Tensor1D]) => {
        const [x, filter, bias, kappa, scale] = all;
        const pooled = pooledForward(conv, [x, filter, bias]);
        const { sliding, pooling, shapes } = conv;
        const into = gradientOf(shapes[1]);
        conv2dMaxPoolWeightGradient(x, pooled, kappa, sliding, pooling, into, scale);
        return [into.weight, into.bias];
      };
      return { ...conv, compute: pooledCompute };
    },
  ],
  conv2dMaxPool: [
    40,
    (random, trial) => {
      const conv = pooledConvolution(random, trial);
      const compute = (x: T4, filter: T4, bias: tf.Tensor1D) => [
        conv2dMaxPool(x, filter, bias, conv.sliding, conv.pooling).y,
      ];
      return { ...conv, compute };
    },
  ],
  pooledNorms: [
    40,
    (random, trial) => {
      const conv = pooledConvolution(random, trial);
      const compute = (x: T4, filter: T4, bias: tf.Tensor1D, kappa: T4) => {
        const pooled = pooledForward(conv, [x, filter, bias]);
        return [pooledNorms(conv.whole, pooled, kappa, conv.pooling)];
      };
      return { ...conv, compute };
    },
  ],
  matMul: [
    60,
    (random, trial) => {
      const m = trial % 20 === 0 ? 0 : between(random, 1, 140);
      const [n, k] = [between(random, 1, 140), between(random, 1, 140)];
      const [transposeA, transposeB] = [trial % 2 === 1, trial % 4 > 1];
      const batch = trial % 5 === 0 ? [between(random, 1, 3)] : [];
      const shapes = [
        [...batch, ...(transposeA ? [k, m] : [m, k])],
        [...batch, ...(transposeB ? [n, k] : [k, n])],
        [n],
      ];
      const activation = trial % 3 ? ('relu' as const) : ('linear' as const);
      const compute = (a: tf.Tensor, b: tf.Tensor, bias: tf.Tensor) => [
        tf.matMul(a, b, transposeA, transposeB),
        tf.fused.matMul({ a, b, transposeA, transposeB, bias, activation }),
      ];
      return { inputs: shapes.map((shape) => tensor(random, shape)), compute, tolerance: 2e-6 };
    },
  ],
  columnSums: [
    30,
    (random) => {
      const [n, i, o] = [between(random, 1, 90), between(random, 1, 60), between(random, 1, 90)];
      const compute = (x: tf.Tensor2D, kappa: tf.Tensor2D, scale: tf.Tensor1D) => {
        const into = gradientOf([i, o]);
        denseWeightGradient(x, kappa, into, scale);
        return [into.weight, into.bias];
      };
      const inputs = [[n, i], [n, o], [n]].map((shape) => tensor(random, shape));
      return { inputs, compute, tolerance: 2e-6 };
    },
  ],
  maxPool: [
    60,
    (random, trial) => {
      const { x, size, stride, pad } = poolingOf(random, trial);
      const compute = (image: T4) => [tf.maxPool(image, size, stride, pad)];
      return { inputs: [x], compute, tolerance: 0 };
    },
  ],
  maxPoolGradient: [
    60,
    (random, trial) => {
      const { x, size, stride, pad } = poolingOf(random, trial);
      const attrs = { filterSize: [size, size], strides: [stride, stride], pad };
      const compute = (image: T4) => {
        const y = tf.maxPool(image, size, stride, pad);
        return [kernel('MaxPoolGrad', { dy: tf.cos(y), input: image, output: y }, attrs)];
      };
      return { inputs: [x], compute, tolerance: 2e-6 };
    },
  ],
  avgPool: [
    60,
    (random, trial) => {
      const { x, size, stride, pad } = poolingOf(random, trial);
      const compute = (image: T4) => [tf.avgPool(image, size, stride, pad)];
      return { inputs: [x], compute, tolerance: 2e-6 };
    },
  ],
  avgPoolGradient: [
    40,
    (random) => {
      const [size, stride] = [between(random, 1, 4), between(random, 1, 3)];
      const input: [number, number, number] = [
        size + between(random, 0, 7),
        size + between(random, 0, 7),
        between(random, 1, 20),
      ];
      const layer = makeLayer({ kind: 'avgPool', size, stride }, input);
      const batch = between(random, 1, 3);
      const compute = (x: T4, kappa: T4) => [layer.backward(kappa, { x, y: x })];
      const inputs = [input, layer.output].map((shape) => tensor(random, [batch, ...shape]));
      return { inputs, compute, tolerance: 2e-6 };
    },
  ],
  relu: [50, (random) => ({ inputs: alike(random, 1), compute: (x) => [relu(x)], tolerance: 0 })],
  reluGradient: [
    50,
    (random) => ({
      inputs: alike(random, 2),
      compute: (y: tf.Tensor, kappa: tf.Tensor) => [reluGradient(y, kappa)],
      tolerance: 0,
    }),
  ],
  multiply: [
    50,
    (random) => ({
      inputs: alike(random, 2),
      compute: (a: tf.Tensor, b: tf.Tensor) => [tf.mul(a, b)],
      tolerance: 0,
    }),
  ],
  softmaxCrossEntropy: [
    60,
    (random) => {
      const [n, classes] = [between(random, 1, 70), between(random, 2, 40)];
      const labels = Int32Array.from({ length: n }, () => between(random, 0, classes - 1));
      const compute = (logits: tf.Tensor2D, label: tf.Tensor1D) => {
        const { loss, gradient, correct } = softmaxCrossEntropy(logits, label, 1 / n);
        return [loss, gradient, correct];
      };
      const inputs = [tensor(random, [n, classes]), tf.tensor1d(labels, 'int32')];
      return { inputs, compute, tolerance: 1e-6 };
    },
  ],
  rowNorms: [
    50,
    (random) => ({
      inputs: alike(random, 1, 1),
      compute: (x: tf.Tensor) => [rowNorms(x)],
      tolerance: 1e-5,
    }),
  ],
  eta: [
    60,
    (random) => {
      const n = between(random, 1, 70);
      const inputs = [tf.abs(tensor(random, [n])), tf.abs(tensor(random, [n]))];
      const compute = (norm: tf.Tensor1D, epsilonHat: tf.Tensor1D) => [eta(norm, epsilonHat)];
      return { inputs, compute, tolerance: 1e-5 };
    },
  ],
  sgd: [
    40,
    (random) => {
      // In place: on copies.
      const compute = (w: tf.Tensor, v: tf.Tensor, gradient: tf.Tensor) => {
        const [weight, velocity] = [w, v].map((x) => tf.variable(tf.add(x, 0)));
        sgdStep(weight, velocity, gradient, { rate: 0.1, momentum: 0.9, decay: 0.0005 });
        const after = [weight, velocity].map((x) => tf.add(x, 0));
        tf.dispose([weight, velocity]);
        return after;
      };
      return { inputs: alike(random, 3), compute, tolerance: 1e-6 };
    },
  ],
  normalize: [
    50,
    (random, trial) => {
      const [x] = alike(random, 1);
      const compute = (image: tf.Tensor, mean: tf.Tensor) => [
        normalize(image, trial % 2 ? mean : undefined, 0.25),
      ];
      return { inputs: [x, tensor(random, x.shape.slice(1))], compute, tolerance: 1e-6 };
    },
  ],
  overLargest: [
    50,
    (random) => {
      const shape = [between(random, 1, 5), between(random, 1, 9), between(random, 1, 9), 3];
      const inputs = [tensor(random, shape)];
      return { inputs, compute: (x: T4) => [overLargest(x)], tolerance: 1e-6 };
    },
  ],
  perturb: [
    50,
    (random) => {
      const [m, n] = [between(random, 1, 5), between(random, 0, 9)];
      const shape = [m, between(random, 1, 9), between(random, 1, 9), 3];
      // Eighths, which are exact: some values lie halfway between two pixels.
      const scale = tf.div(integers(random, [n], -9, 9), 8);
      const rows = Int32Array.from({ length: n }, () => between(random, 0, m - 1));
      const images = integers(random, shape, 0, 255);
      const inputs = [images, integers(random, shape, -99, 99), tf.tensor1d(rows, 'int32'), scale];
      const compute = (x: T4, direction: T4, row: tf.Tensor1D, s: tf.Tensor1D) => [
        perturb(x, direction, row, s),
      ];
      return { inputs, compute, tolerance: 0 };
    },
  ],
  forward: [
    40,
    (random) => {
      const [n, size, channels] = [between(random, 0, 40), between(random, 1, 4), 3];
      const [filters, outputs] = [between(random, 1, 40), between(random, 1, 20)];
      const [h, w] = [between(random, 1, 4), between(random, 1, 4)];
      const image = [2 * h + size - 1, 2 * w + size - 1, channels] as const;
      const shapes = [
        [n, ...image],
        [size, size, channels, filters],
        [filters],
        [h * w * filters, outputs],
        [outputs],
      ];
      const [whole, pooled] = [
        [2 * h, 2 * w, filters],
        [h, w, filters],
      ] as [number, number, number][];
      const none = { size: 1, stride: 1, pad: [0, 0] as const };
      const compute = (
        x: T4,
        filter: T4,
        bias: tf.Tensor1D,
        weight: tf.Tensor2D,
        last: tf.Tensor1D,
      ) => {
        const own = forwardPass(x, undefined, 0.5, [
          {
            ...none,
            kind: 'conv',
            input: image,
            output: whole,
            size,
            parameters: { weight: filter, bias },
          },
          { kind: 'relu' },
          { ...none, kind: 'maxPool', input: whole, output: pooled, size: 2, stride: 2 },
          {
            ...none,
            kind: 'innerProduct',
            input: pooled,
            output: [1, 1, outputs],
            parameters: { weight, bias: last },
          },
        ]);
        if (own) return [own];
        const map = relu(
          conv2d(normalize(x, undefined, 0.5), filter, bias, { stride: 1, pad: 'valid' }),
        );
        const cells = pool('maxPool', map, 2, { stride: 2, pad: 'valid' });
        return [dense(tf.reshape(cells, [n, h * w * filters]), weight, last)];
      };
      return { inputs: shapes.map((shape) => tensor(random, shape)), compute, tolerance: 2e-5 };
    },
  ],
  addNoise: [
    20,
    (random) => {
      const shape = [between(random, 1, 9), between(random, 1, 9), 3];
      const source = { seed: random.bits(), image: random.bits() >>> 12, firstCopy: 3 };
      const distribution = roundedNormal(100 * random.uniform() + 0.1);
      const copies = between(random, 0, 5);
      const compute = (x: tf.Tensor3D) => [addNoise(x, copies, source, distribution)];
      return { inputs: [integers(random, shape, 0, 255)], compute, tolerance: 0 };
    },
  ],
};

it('all kernels are compared here', () => {
  expect(kernelNames(binding)).toEqual(Object.keys(COMPARISONS).sort());
});

it.each(Object.entries(COMPARISONS))(
  '%s agrees with tfjs on random shapes, on every level',
  async (name, [trials, make]) => {
    const random = makeRandom(1, name);
    const calls = vi.spyOn(binding, name as keyof Kernels);
    for (let trial = 0; trial < trials; trial++) await compare(make(random, trial));
    expect(calls).toHaveBeenCalled();
    calls.mockRestore();
  },
);

/** Zeros that a weight and a bias gradient are written to. */
function gradientOf(shape: number[]): { weight: tf.Tensor; bias: tf.Tensor1D } {
  return { weight: tf.zeros(shape), bias: tf.zeros([shape.at(-1)!]) };
}
