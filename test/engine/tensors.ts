import * as tf from '@tensorflow/tfjs-core';
import type { Random } from '#bang/base/random.js';

/** What ReLU and pooling leave: a quarter exact zeros and a few equal values. */
export function values(random: Random, count: number): Float32Array {
  return Float32Array.from({ length: count }, () => {
    const u = random.uniform();
    return u < 0.25 ? 0 : u < 0.3 ? 0.5 : random.gaussian();
  });
}

export function tensor(random: Random, shape: number[]): tf.Tensor {
  return tf.tensor(values(random, tf.util.sizeFromShape(shape)), shape);
}

/** Kernels that tfjs keeps to itself, by name. */
export function kernel(name: string, inputs: object, attrs: object): tf.Tensor {
  return tf.engine().runKernel<tf.Tensor>(name, inputs as never, attrs as never);
}
