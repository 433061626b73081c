import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { KernelBackend } from './kernels/backend.js';

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
  if (!cpuBackend()) {
    const views = groups.map((group) => group.map(({ shape, data }) => variableOf(data, shape)));
    return { views, runs: views };
  }
  const count = groups.flat().reduce((sum, { data }) => sum + data.length, 0);
  const backend = tf.backend();
  const block: Block = { views: [], runs: [] };
  let memory: Float32Array;
  if (backend instanceof KernelBackend) {
    const { binding } = backend;
    const own = binding.allocate(4 * count);
    memory = new Float32Array(own.buffer, own.offset, count);
    block.release = () => {
      binding.release(own);
    };
  } else {
    memory = new Float32Array(count);
  }
  let end = 0;
  for (const group of groups) {
    const begin = end;
    const views = group.map(({ shape, data }) => {
      memory.set(data, end);
      return variableOf(memory.subarray(end, (end += data.length)), shape);
    });
    block.views.push(views);
    block.runs.push([variableOf(memory.subarray(begin, end), [end - begin])]);
  }
  return block;
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
  const memory = cpuBackend()?.data.get(tensor.dataId).values as Float32Array | undefined;
  if (memory) memory.set(values.dataSync());
  else if (tensor instanceof tf.Variable) tensor.assign(values);
  else throw new TypeError('this tensor is of no block');
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

/** The backend in use, if its tensors are arrays and can therefore be views of a larger array. */
function cpuBackend(): MathBackendCPU | undefined {
  const backend = tf.backend();
  return backend instanceof MathBackendCPU ? backend : undefined;
}

/**
 * A variable that owns its data. `tf.variable` shares the data of its initial tensor, which would keep it
 * alive after the variable is disposed of.
 */
function variableOf(values: Float32Array, shape: number[]): tf.Variable {
  const initial = tf.tensor(values, shape);
  const variable = tf.variable(initial);
  initial.dispose();
  return variable;
}
