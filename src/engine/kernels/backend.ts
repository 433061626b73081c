import { type tf, tfCpu } from '../../base/tf.js';
import type { Computing } from './arguments.js';
import type { Binding, Memory } from './binding.js';

type DataId = tf.DataId;

/** Memory for a tensor of up to `floats` values, aligned to a cache line. */
interface PoolBlock extends Memory {
  floats: number;
  /** The number of the last request before it was released. */
  freed: number;
}

/** A window of requests for memory, after which what they did not need is given back. */
const WINDOW = 4096;
/** Of the most that was in use at once: blocks of one size do not serve for another. */
const KEPT = 1.5;

/**
 * tfjs's CPU backend with its hot kernels replaced by those of `native/` (see `register.ts`), and with a
 * memory pool: a training step reuses the blocks that the previous step released, so that in the steady
 * state no tensor memory is allocated. Blocks that have long been free are given back, so that the pool is
 * never much larger than what was lately in use at once.
 */
export class KernelBackend extends tfCpu.MathBackendCPU implements Computing {
  readonly #free = new Map<number, PoolBlock[]>();
  readonly #blocks = new Map<DataId, PoolBlock>();
  /** Sizes in floats, of the blocks in use and the free ones. */
  #used = 0;
  #unused = 0;
  /** The most in use at once, in this window and the one before. */
  #most = 0;
  #mostBefore = 0;
  #requests = 0;

  constructor(readonly binding: Binding) {
    super();
    // Suppresses the advice that the base class prints on first use.
    (this as unknown as { firstUse: boolean }).firstUse = false;
  }

  /** Values where kernels cannot read them are copied once, not at each call. */
  override write(
    values: tf.backend_util.BackendValues,
    shape: number[],
    dtype: tf.DataType,
  ): DataId {
    if (!(values instanceof Float32Array) || this.binding.inPlace(values)) {
      return super.write(values, shape, dtype);
    }
    const block = this.#take(values.length);
    const copy = new Float32Array(block.buffer, block.offset, values.length);
    copy.set(values);
    const dataId = super.write(copy, shape, dtype);
    this.#blocks.set(dataId, block);
    return dataId;
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

  floats(tensor: tf.TensorInfo): Float32Array {
    const values = this.values(tensor);
    // The CPU backend's Cast can call a tensor float32 although its values are still bytes.
    return values instanceof Float32Array ? values : Float32Array.from(values);
  }

  /** Whether the tensor's memory returns to the pool when it is disposed of. */
  isPooled(tensor: tf.TensorInfo): boolean {
    return this.#blocks.has(tensor.dataId);
  }

  /** Copies values in memory that the garbage collector does not free, because the caller may keep them for longer. */
  override readSync(dataId: DataId): tf.backend_util.BackendValues {
    const values = super.readSync(dataId);
    if (!ArrayBuffer.isView(values)) return values;
    const isOurs = this.#blocks.has(dataId) || values.buffer instanceof SharedArrayBuffer;
    return isOurs ? values.slice() : values;
  }

  override disposeData(dataId: DataId, force = false): boolean {
    const released = super.disposeData(dataId, force);
    if (!released) return false;
    const block = this.#blocks.get(dataId);
    if (block) {
      this.#blocks.delete(dataId);
      block.freed = this.#requests;
      this.#free.get(block.floats)!.push(block);
      this.#used -= block.floats;
      this.#unused += block.floats;
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

  #take(count: number): PoolBlock {
    const floats = sizeClass(count);
    let free = this.#free.get(floats);
    if (!free) this.#free.set(floats, (free = []));
    let block = free.pop();
    if (block) this.#unused -= floats;
    const used = this.#used + floats;
    this.#most = Math.max(this.#most, used);
    const ends = ++this.#requests % WINDOW === 0;
    if (ends) {
      this.#mostBefore = this.#most;
      this.#most = used;
    }
    if (ends || !block) this.#giveBack(KEPT * Math.max(this.#most, this.#mostBefore) - used);
    block ??= { ...this.#allocate(floats * 4), floats, freed: 0 };
    this.#used = used;
    return block;
  }

  /** New memory. Where there is not enough, that of all free blocks is given back first. */
  #allocate(bytes: number): Memory {
    try {
      return this.binding.allocate(bytes);
    } catch {
      this.#giveBack(0);
      return this.binding.allocate(bytes);
    }
  }

  /** Gives back free blocks until they have at most so many floats, those first that have been free for longest. */
  #giveBack(most: number): void {
    while (this.#unused > most) {
      let oldest: PoolBlock[] | undefined;
      for (const blocks of this.#free.values()) {
        if (blocks.length > 0 && blocks[0].freed < (oldest?.[0].freed ?? Infinity)) oldest = blocks;
      }
      const block = oldest?.shift();
      if (!block) return;
      this.#unused -= block.floats;
      this.binding.release(block);
    }
  }
}

/** The block size for `count` floats: with four sizes per power of two, at most a fifth is wasted. */
export function sizeClass(count: number): number {
  if (count <= 64) return 64;
  const step = 2 ** (Math.floor(Math.log2(count)) - 2);
  return Math.ceil(count / step) * step;
}
