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
  const device = tf.backend();
  if (device instanceof WebgpuBackend) return onDevice(device, groups);
  if (!cpuBackend()) {
    const views = groups.map((group) =>
      group.map(({ shape, data }) => variableOf(tf.tensor(data, shape))),
    );
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
      return variableOf(tf.tensor(memory.subarray(end, (end += data.length)), shape));
    });
    block.views.push(views);
    block.runs.push([variableOf(tf.tensor(memory.subarray(begin, end), [end - begin]))]);
  }
  return block;
}

/** Views begin where the device lets them, so there are zeros between them, which SGD keeps zero. */
function onDevice(
  backend: WebgpuBackend,
  groups: readonly (readonly { shape: number[]; data: Float32Array }[])[],
): Block {
  const { device } = backend;
  const room = (count: number) => ALIGNMENT * Math.ceil(count / ALIGNMENT);
  const count = groups.flat().reduce((sum, { data }) => sum + room(data.length), 0);
  const values = new Float32Array(count);
  let end = 0;
  const begins = groups.map((group) =>
    group.map(({ data }) => {
      const begin = end;
      values.set(data, begin);
      end += room(data.length);
      return begin;
    }),
  );
  const memory = device.upload(values);
  const view = (begin: number, length: number, shape: number[]) =>
    variableOf(backend.partOf(memory.subarray(begin, begin + length), shape));
  const ends = begins.map((_, i) => begins[i + 1]?.[0] ?? count);
  return {
    views: groups.map((group, i) =>
      group.map(({ shape, data }, j) => view(begins[i][j], data.length, shape)),
    ),
    runs: begins.map(([begin = 0], i) => [view(begin, ends[i] - begin, [ends[i] - begin])]),
    release: () => {
      device.release(memory);
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
function cpuBackend(): tfCpu.MathBackendCPU | undefined {
  const backend = tf.backend();
  return backend instanceof tfCpu.MathBackendCPU ? backend : undefined;
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
