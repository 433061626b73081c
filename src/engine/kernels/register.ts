import { tf } from '../../base/tf.js';
import { ADDITIONS } from './additions.js';
import type { Call, Kernel } from './arguments.js';
import { KernelBackend } from './backend.js';
import type { Binding } from './binding.js';
import { overlap } from './overlap.js';
import { REPLACEMENTS } from './replacements.js';

/**
 * Registers a backend of this name that computes with these kernels: every kernel of tfjs's CPU backend, the
 * hot ones replaced, and the additions.
 */
export function registerKernels(backendName: string, binding: Binding): void {
  const replaced = ({ kernelName, kernelFunc }: tf.KernelConfig): tf.KernelFunc => {
    const fast = REPLACEMENTS[kernelName];
    const slow = withoutAliases(kernelFunc);
    return fast ? (call) => fast(call as unknown as Call) ?? slow(call) : slow;
  };
  const additions = { ...ADDITIONS, BangFilled: filled };
  registerAll(backendName, () => new KernelBackend(binding), replaced, additions);
}

/**
 * Registers a backend of this name with every kernel of tfjs's CPU backend, as `replaced` has it, and with those that
 * tfjs does not have.
 */
export function registerAll(
  backendName: string,
  backend: () => tf.KernelBackend,
  replaced: (cpu: tf.KernelConfig) => tf.KernelFunc,
  additions: Readonly<Record<string, Kernel>>,
): void {
  tf.registerBackend(backendName, backend);
  for (const cpu of tf.getKernelsForBackend('cpu')) {
    tf.registerKernel({ ...cpu, backendName, kernelFunc: replaced(cpu) });
  }
  for (const [kernelName, kernel] of Object.entries(additions)) {
    tf.registerKernel({ kernelName, backendName, kernelFunc: kernel as unknown as tf.KernelFunc });
  }
}

/** For `filled` in `engine/ops/kernel.ts`. */
function filled(call: Call): tf.TensorInfo {
  const { attrs, backend } = call as unknown as {
    attrs: { shape: number[]; fill: (values: Float32Array) => void };
    backend: KernelBackend;
  };
  const { info, values } = backend.output(attrs.shape);
  attrs.fill(values);
  return info;
}

/**
 * Copies outputs that are views of their input's memory, as some CPU kernels such as Slice return them.
 * This backend reuses that memory once the input is disposed of.
 */
function withoutAliases(kernel: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const outputs = kernel(call);
    const { backend } = call as unknown as { backend: KernelBackend };
    const inputs = Object.values(call.inputs).flat();
    for (const output of Array.isArray(outputs) ? outputs : [outputs]) {
      const data = backend.data.get(output.dataId);
      const { values } = data;
      if (!(values instanceof Float32Array || values instanceof Uint8Array)) continue;
      const aliased =
        !backend.isPooled(output) &&
        inputs.some(
          (input) =>
            input !== undefined &&
            input.dataId !== output.dataId &&
            backend.isPooled(input) &&
            overlap(backend.values(input), values),
        );
      if (aliased) data.values = values.slice();
    }
    return outputs;
  };
}
