import { tf } from '../../base/tf.js';

/**
 * The operations in this folder use a fused kernel on engines that have one; elsewhere they compose
 * ordinary tfjs operations with the same meaning. This file runs the kernels.
 */

/**
 * Runs the kernel `name`; undefined if the engine in use does not have it, or not for these arguments. The kernel is called directly,
 * because tfjs's dispatch (gradient tape, profiler, checks) takes a tenth of a LeNet training step.
 */
export function fused(
  name: string,
  inputs: Record<string, tf.Tensor | undefined>,
  attributes: Record<string, unknown> = {},
): tf.Tensor[] | undefined {
  // The declared type omits undefined.
  const kernel = tf.getKernel(name, tf.getBackend()) as tf.KernelConfig | undefined;
  if (!kernel) return undefined;
  const engine = tf.engine();
  const outputs = (kernel.kernelFunc as (call: object) => Outputs | undefined)({
    inputs,
    attrs: attributes,
    backend: engine.backend,
  });
  if (!outputs) return undefined;
  return [outputs]
    .flat()
    .map((info) => (info instanceof tf.Tensor ? info : engine.makeTensorFromTensorInfo(info)));
}

type Outputs = ReturnType<tf.KernelFunc>;

/** Runs a kernel that every engine has. */
export function run(
  name: string,
  inputs: Record<string, tf.Tensor>,
  attributes: Record<string, unknown> = {},
): tf.Tensor {
  return fused(name, inputs, attributes)![0];
}

/**
 * A float32 tensor with values that JavaScript computes. Where kernels read memory that is reused, `fill` writes to that
 * memory: a new array for each step of training costs more than to fill it.
 */
export function filled(shape: number[], fill: (values: Float32Array) => void): tf.Tensor {
  const own = fused('BangFilled', {}, { shape, fill });
  if (own) return own[0];
  const values = new Float32Array(tf.util.sizeFromShape(shape));
  fill(values);
  return tf.tensor(values, shape);
}
