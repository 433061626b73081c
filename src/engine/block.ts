import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Tensors in one block of memory, group after group, so that what is done to every value is done in one
 * pass. Memory cannot be shared by TensorFlow's tensors: on that engine each lies alone.
 */
export interface Block {
  /** The tensors, by group, in the order in which they lie in memory. */
  views: tf.Tensor[][];
  /** By group, the tensors to go over to reach all of its values: one [n], or where they lie alone the views. */
  runs: tf.Tensor[][];
}

/** A block of tensors with these values, which are copied. Only `disposeBlock` frees it, not a tidy. */
export function makeBlock(
  groups: readonly (readonly { shape: number[]; data: Float32Array }[])[],
): Block {
  if (!cpuBackend()) {
    const views = groups.map((group) => group.map(({ shape, data }) => variableOf(data, shape)));
    return { views, runs: views };
  }
  const count = groups.flat().reduce((sum, { data }) => sum + data.length, 0);
  const memory = new Float32Array(count);
  const block: Block = { views: [], runs: [] };
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

export function disposeBlock({ views, runs }: Block): void {
  tf.dispose([views, runs]);
}

/** Gives a tensor of a block other values, in place: what shares its memory changes with it. */
export function assign(tensor: tf.Tensor, values: tf.Tensor): void {
  const memory = cpuBackend()?.data.get(tensor.dataId).values as Float32Array | undefined;
  if (memory) memory.set(values.dataSync());
  else if (tensor instanceof tf.Variable) tensor.assign(values);
  else throw new TypeError('this tensor is of no block');
}

/** Whether all values are finite numbers. */
export function allFinite({ runs }: Block): boolean {
  return runs.flat().every((run) => {
    // 0 · x is 0 for each finite x, and NaN otherwise: no branch, and twice as fast as asking.
    let sum = 0;
    for (const value of run.dataSync()) sum += 0 * value;
    return sum === 0;
  });
}

/** The backend in use, if its tensors are arrays: one made of a part of an array is a view of it. */
function cpuBackend(): MathBackendCPU | undefined {
  const backend = tf.backend();
  return backend instanceof MathBackendCPU ? backend : undefined;
}

/**
 * A variable that is all there is of it: `tf.variable` shares the data of the tensor that it is made of,
 * which keeps it when the variable is disposed of.
 */
function variableOf(values: Float32Array, shape: number[]): tf.Variable {
  const initial = tf.tensor(values, shape);
  const variable = tf.variable(initial);
  initial.dispose();
  return variable;
}
