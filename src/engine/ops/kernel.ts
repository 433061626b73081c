import * as tf from '@tensorflow/tfjs-core';

/**
 * The operations of this folder are those that the experiment needs beyond tfjs's own. Each runs a fused
 * kernel on an engine that has one, and is composed of ordinary tfjs operations on every other, with the
 * same meaning. This file runs the kernels.
 */

/**
 * Runs the kernel `name` if the engine in use has one; otherwise returns undefined. It is called directly,
 * because tfjs's dispatch (gradient tape, profiler, checks) costs a tenth of a training step of LeNet.
 */
export function fused(
  name: string,
  inputs: Record<string, tf.Tensor | undefined>,
  attributes: Record<string, unknown> = {},
): tf.Tensor[] | undefined {
  // The types omit that there may be none.
  const kernel = tf.getKernel(name, tf.getBackend()) as tf.KernelConfig | undefined;
  if (!kernel) return undefined;
  const engine = tf.engine();
  const outputs = kernel.kernelFunc({
    inputs,
    attrs: attributes as tf.NamedAttrMap,
    backend: engine.backend,
  });
  return [outputs]
    .flat()
    .map((info) => (info instanceof tf.Tensor ? info : engine.makeTensorFromTensorInfo(info)));
}

/** Runs a kernel that every engine has. */
export function run(
  name: string,
  inputs: Record<string, tf.Tensor>,
  attributes: Record<string, unknown> = {},
): tf.Tensor {
  return fused(name, inputs, attributes)![0];
}
