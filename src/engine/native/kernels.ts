import * as tf from '@tensorflow/tfjs-core';
import { ADDITIONS } from './additions.js';
import type { Call } from './arguments.js';
import { REPLACEMENTS } from './replacements.js';

/** The name under which the backend is registered. */
export const NATIVE = 'native';

/** Registers every CPU kernel for the native backend, with the hot ones replaced, and the additions. */
export function registerNativeKernels(): void {
  for (const cpu of tf.getKernelsForBackend('cpu')) {
    const fast = REPLACEMENTS[cpu.kernelName];
    const slow = withoutAliases(cpu.kernelFunc);
    tf.registerKernel({
      ...cpu,
      backendName: NATIVE,
      kernelFunc: fast ? (call) => fast(call as unknown as Call) ?? slow(call) : slow,
    });
  }
  for (const [kernelName, kernel] of Object.entries(ADDITIONS)) {
    tf.registerKernel({
      kernelName,
      backendName: NATIVE,
      kernelFunc: (call) => kernel(call as unknown as Call)!,
    });
  }
}

/**
 * Copies outputs that are views of their input's memory, as some CPU kernels such as Slice return them.
 * This backend reuses that memory once the input is disposed of.
 */
function withoutAliases(kernel: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const outputs = kernel(call);
    const { backend } = call as unknown as Call;
    const inputs = Object.values(call.inputs).flat();
    for (const output of Array.isArray(outputs) ? outputs : [outputs]) {
      const data = backend.data.get(output.dataId);
      const { values } = data;
      if (!(values instanceof Float32Array || values instanceof Uint8Array)) continue;
      const aliased = inputs.some(
        (input) =>
          input !== undefined &&
          input.dataId !== output.dataId &&
          backend.isPooled(input) &&
          backend.values(input).buffer === values.buffer,
      );
      if (aliased) data.values = values.slice();
    }
    return outputs;
  };
}
