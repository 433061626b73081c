import { tf, tfCpu } from '../base/tf.js';
import { KernelBackend } from './kernels/backend.js';
import { WebgpuBackend } from './webgpu/backend.js';
import { ALIGNMENT } from './webgpu/device.js';
import { copy } from './webgpu/elementwise.js';

/**
 * Tensors in one block of memory, group after group, so that element-wise operations can process a
 * whole group at once. TensorFlow's tensors cannot share memory, so on that engine each is separate.
 */
export interface Block {
  /** The tensors of each group, in memory order. */
  views: tf.Tensor[][];
  /** For each group, tensors that cover all of its values: one [n], or the views if memory is not shared. */
  runs: tf.Tensor[][];
  /** Frees the memory, where the garbage collector does not. */
  release?: () => void;
}

/** A block of tensors with copies of these values. A tidy does not free it; use `disposeBlock`. */
export function makeBlock(
  groups: readonly (readonly { shape: number[]; data: Float32Array }[])[],
): Block {
  const backend = tf.backend();
  if (!(backend instanceof tfCpu.MathBackendCPU)) {
    const views = groups.map((group) =>
      group.map(({ shape, data }) => variableOf(tf.tensor(data, shape))),
    );
    return { views, runs: views };
  }
  const webgpu = backend instanceof WebgpuBackend ? backend : undefined;
  // Parts begin where the device lets them, so there are zeros between them, which SGD keeps zero.
  const alignment = webgpu ? ALIGNMENT : 1;
  let end = 0;
  const placed = groups.map((group) => {
    const begin = end;
    const parts = group.map(({ shape, data }) => {
      const at = end;
      end += alignment * Math.ceil(data.length / alignment);
      return { at, shape, data };
    });
    return { begin, length: end - begin, parts };
  });
  const binding = backend instanceof KernelBackend ? backend.binding : undefined;
  const own = binding?.allocate(4 * end);
  const memory = own ? new Float32Array(own.buffer, own.offset, end) : new Float32Array(end);
  for (const { at, data } of placed.flatMap(({ parts }) => parts)) memory.set(data, at);
  const there = webgpu?.device.upload(memory);
  const view = (at: number, length: number, shape: number[]): tf.Variable =>
    variableOf(
      webgpu && there
        ? webgpu.partOf(there.subarray(at, at + length), shape)
        : tf.tensor(memory.subarray(at, at + length), shape),
    );
  return {
    views: placed.map(({ parts }) =>
      parts.map(({ at, shape, data }) => view(at, data.length, shape)),
    ),
    runs: placed.map(({ begin, length }) => [view(begin, length, [length])]),
    release: () => {
      if (own) binding?.release(own);
      if (there) webgpu?.device.release(there);
    },
  };
}

export function disposeBlock({ views, runs, release }: Block): void {
  tf.dispose([views, runs]);
  release?.();
}

/**
 * Overwrites the values of a tensor of a block. Tensors that share its memory change too.
 *
 * @throws TypeError if the tensor is not in a block
 */
export function assign(tensor: tf.Tensor, values: tf.Tensor): void {
  const backend = tf.backend();
  if (backend instanceof WebgpuBackend) {
    const to = backend.values(tensor);
    if (!to.part) throw new TypeError('this tensor is of no block');
    copy(backend, values, to);
    return;
  }
  if (backend instanceof tfCpu.MathBackendCPU) {
    (backend.data.get(tensor.dataId).values as Float32Array).set(values.dataSync());
  } else if (tensor instanceof tf.Variable) {
    tensor.assign(values);
  } else {
    throw new TypeError('this tensor is of no block');
  }
}

/** Whether all values are finite numbers. */
export function allFinite({ runs }: Block): boolean {
  return runs.flat().every((run) => {
    // 0 · x is 0 for finite x and NaN otherwise. Without a branch this is twice as fast.
    let sum = 0;
    for (const value of run.dataSync()) sum += 0 * value;
    return sum === 0;
  });
}

/**
 * A variable that owns its data. `tf.variable` shares the data of its initial tensor, which would keep it
 * alive after the variable is disposed of.
 */
function variableOf(initial: tf.Tensor): tf.Variable {
  const variable = tf.variable(initial);
  initial.dispose();
  return variable;
}
