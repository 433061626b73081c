import { tf } from '../../base/tf.js';
import { ADDITIONS } from './additions.js';
import type { Call } from './arguments.js';
import { KernelBackend } from './backend.js';
import type { Binding } from './binding.js';
import { REPLACEMENTS } from './replacements.js';

/**
 * Registers a backend of this name that computes with these kernels: every kernel of tfjs's CPU backend, the
 * hot ones replaced, and the additions.
 */
export function registerKernels(backendName: string, binding: Binding): void {
  tf.registerBackend(backendName, () => new KernelBackend(binding));
  for (const cpu of tf.getKernelsForBackend('cpu')) {
    const fast = REPLACEMENTS[cpu.kernelName];
    const slow = withoutAliases(cpu.kernelFunc);
    tf.registerKernel({
      ...cpu,
      backendName,
      kernelFunc: fast ? (call) => fast(call as unknown as Call) ?? slow(call) : slow,
    });
  }
  for (const [kernelName, kernel] of Object.entries({ ...ADDITIONS, BangFilled: filled })) {
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: (call) => kernel(call as unknown as Call),
    });
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

/** Whether two arrays have memory in common, where all of WebAssembly's memory counts as one buffer. */
function overlap(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const shared = (array: ArrayBufferView) => array.buffer instanceof SharedArrayBuffer;
  if (a.buffer !== b.buffer && !(shared(a) && shared(b))) return false;
  return a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength;
}
