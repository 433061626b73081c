import type * as tf from '@tensorflow/tfjs-core';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import type { NativeBinding } from './binding.js';

type DataId = tf.DataId;

/** Memory for a tensor of up to `floats` values, aligned to a cache line. */
interface Block {
  buffer: ArrayBuffer;
  offset: number;
  floats: number;
}

/**
 * tfjs's CPU backend with its hot kernels replaced by those of `native/` (see `kernels.ts`), and with a
 * memory pool: a training step reuses the blocks that the previous step released, so that in the steady
 * state no tensor memory is allocated.
 */
export class NativeBackend extends MathBackendCPU {
  readonly #free = new Map<number, Block[]>();
  readonly #blocks = new Map<DataId, Block>();

  constructor(readonly binding: NativeBinding) {
    super();
    // Suppresses the advice that the base class prints on first use.
    (this as unknown as { firstUse: boolean }).firstUse = false;
  }

  /** A new float32 tensor in pooled memory, uninitialised. */
  output(shape: readonly number[]): { info: tf.TensorInfo; values: Float32Array } {
    const count = shape.reduce((product, extent) => product * extent, 1);
    const block = this.#take(count);
    const values = new Float32Array(block.buffer, block.offset, count);
    const info = this.makeTensorInfo([...shape], 'float32', values);
    this.#blocks.set(info.dataId, block);
    return { info, values };
  }

  /** A new tensor of bytes (tfjs's type bool) in pooled memory, uninitialised. */
  outputBytes(shape: readonly number[]): { info: tf.TensorInfo; values: Uint8Array } {
    const count = shape.reduce((product, extent) => product * extent, 1);
    const block = this.#take(Math.ceil(count / 4));
    const values = new Uint8Array(block.buffer, block.offset, count);
    const info = this.makeTensorInfo([...shape], 'bool', values);
    this.#blocks.set(info.dataId, block);
    return { info, values };
  }

  /** The values of a tensor, not a copy. */
  values(tensor: tf.TensorInfo): tf.TypedArray {
    return this.data.get(tensor.dataId).values as tf.TypedArray;
  }

  /** Whether the tensor's memory returns to the pool when it is disposed of. */
  isPooled(tensor: tf.TensorInfo): boolean {
    return this.#blocks.has(tensor.dataId);
  }

  /** Copies the values of pooled tensors, because the caller may keep them after the memory is reused. */
  override readSync(dataId: DataId): tf.backend_util.BackendValues {
    const values = super.readSync(dataId);
    return this.#blocks.has(dataId) ? (values as tf.TypedArray).slice() : values;
  }

  override disposeData(dataId: DataId, force = false): boolean {
    const released = super.disposeData(dataId, force);
    if (!released) return false;
    const block = this.#blocks.get(dataId);
    if (block) {
      this.#blocks.delete(dataId);
      this.#free.get(block.floats)!.push(block);
    }
    return true;
  }

  /** The number of blocks in use and free, and their total size in floats. */
  poolSize(): { used: number; free: number; floats: number } {
    let free = 0;
    let floats = 0;
    for (const blocks of this.#free.values()) {
      free += blocks.length;
      for (const block of blocks) floats += block.floats;
    }
    for (const block of this.#blocks.values()) floats += block.floats;
    return { used: this.#blocks.size, free, floats };
  }

  #take(count: number): Block {
    const floats = sizeClass(count);
    let free = this.#free.get(floats);
    if (!free) this.#free.set(floats, (free = []));
    const block = free.pop();
    if (block) return block;
    const buffer = new ArrayBuffer(floats * 4 + 64);
    return { buffer, offset: this.binding.alignment(buffer), floats };
  }
}

/** The block size for `count` floats: with four sizes per power of two, at most a fifth is wasted. */
function sizeClass(count: number): number {
  if (count <= 64) return 64;
  const step = 2 ** (Math.floor(Math.log2(count)) - 2);
  return Math.ceil(count / step) * step;
}
