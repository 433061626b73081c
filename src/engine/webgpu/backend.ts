import { tf, tfCpu } from '../../base/tf.js';
import { ADDITIONS } from '../kernels/additions.js';
import type { Call, Computing, Kernel } from '../kernels/arguments.js';
import { registerAll } from '../kernels/register.js';
import { REPLACEMENTS } from '../kernels/replacements.js';
import type { Device, DeviceArray, Words } from './device.js';
import { DEVICE_ADDITIONS } from './additions.js';
import { ELEMENTWISE } from './elementwise.js';
import { type DeviceKernels, makeKernels } from './kernels.js';

type DataId = tf.DataId;

/** The values of a tensor: on the device, in the program's memory, or both. */
class Stored {
  refCount = 1;
  #host: tf.backend_util.BackendValues | undefined;

  constructor(
    readonly dtype: tf.DataType,
    public array: DeviceArray | undefined,
    private readonly device: Device,
    /** Whether kernels write to it, so that a copy of its values would become wrong. */
    readonly changes: boolean,
  ) {}

  /** Copied from the device when somebody wants them; tfjs's own kernels do. */
  get values(): tf.backend_util.BackendValues | undefined {
    if (this.#host || !this.array) return this.#host;
    const values = this.typed(this.device.read([this.array])()[0]);
    if (!this.changes) this.#host = values;
    return values;
  }

  set values(values: tf.backend_util.BackendValues | undefined) {
    this.#host = values;
  }

  /** Words as values of the tensor's type. */
  typed(words: Words): tf.TypedArray {
    return this.dtype === 'bool' ? Uint8Array.from(words) : (words as tf.TypedArray);
  }

  get isOnDevice(): boolean {
    return this.array !== undefined;
  }
}

/**
 * tfjs's CPU backend with its hot kernels replaced by those of a GPU. A tensor that one of them makes stays on
 * the device; where a kernel of tfjs wants its values, they are copied, so that everything computes, and what the
 * experiment does often stays there.
 */
export class WebgpuBackend extends tfCpu.MathBackendCPU implements Computing {
  readonly binding: DeviceKernels;

  constructor(readonly device: Device) {
    super();
    this.binding = makeKernels(device);
    // Suppresses the advice that the base class prints on first use.
    (this as unknown as { firstUse: boolean }).firstUse = false;
  }

  output(shape: readonly number[]): { info: tf.TensorInfo; values: DeviceArray } {
    return this.#made(shape, 'float32');
  }

  outputBytes(shape: readonly number[]): { info: tf.TensorInfo; values: DeviceArray } {
    return this.#made(shape, 'bool');
  }

  #made(shape: readonly number[], dtype: 'float32' | 'bool') {
    const kind = dtype === 'float32' ? 'f32' : 'u32';
    const values = this.device.take(tf.util.sizeFromShape([...shape]), kind);
    return { info: this.#infoOf(values, shape, dtype, false), values };
  }

  #infoOf(
    array: DeviceArray,
    shape: readonly number[],
    dtype: 'float32' | 'bool',
    changes: boolean,
  ): tf.TensorInfo {
    const dataId = {};
    this.data.set(dataId, new Stored(dtype, array, this.device, changes));
    return { dataId, shape: [...shape], dtype };
  }

  /** A tensor that is a part of a block, to which kernels write. */
  partOf(array: DeviceArray, shape: number[]): tf.Tensor {
    return tf.engine().makeTensorFromTensorInfo(this.#infoOf(array, shape, 'float32', true), this);
  }

  floats(tensor: tf.TensorInfo): DeviceArray {
    return this.values(tensor);
  }

  /** The values on the device, copied there if they are not. */
  values(tensor: tf.TensorInfo): DeviceArray {
    const stored = this.#stored(tensor.dataId);
    return (stored.array ??= this.device.upload(asWords(stored.values!, tensor.dtype)));
  }

  isOnDevice(tensor: tf.TensorInfo): boolean {
    return this.#stored(tensor.dataId).isOnDevice;
  }

  override write(
    values: tf.backend_util.BackendValues,
    _shape: number[],
    dtype: tf.DataType,
  ): DataId {
    const dataId = {};
    const stored = new Stored(dtype, undefined, this.device, false);
    stored.values = values;
    this.data.set(dataId, stored);
    return dataId;
  }

  override move(
    dataId: DataId,
    values: tf.backend_util.BackendValues,
    _shape: number[],
    dtype: tf.DataType,
    refCount: number,
  ): void {
    const stored = new Stored(dtype, undefined, this.device, false);
    stored.values = values;
    stored.refCount = refCount;
    this.data.set(dataId, stored);
  }

  /** Begins to read tensors; the function waits for their values, whatever happens to the tensors. */
  readLater(tensors: readonly tf.TensorInfo[]): () => tf.TypedArray[] {
    const stored = tensors.map(({ dataId }) => this.#stored(dataId));
    const wait = this.device.read(tensors.map((tensor) => this.values(tensor)));
    return () => wait().map((words, i) => stored[i].typed(words));
  }

  override disposeData(dataId: DataId, force = false): boolean {
    if (!this.data.has(dataId)) return true;
    const stored = this.#stored(dataId);
    const released = super.disposeData(dataId, force);
    if (released && stored.array && !stored.array.part) this.device.release(stored.array);
    return released;
  }

  #stored(dataId: DataId): Stored {
    return this.data.get(dataId) as unknown as Stored;
  }
}

function asWords(
  values: tf.backend_util.BackendValues,
  dtype: tf.DataType,
): Float32Array | Int32Array | Uint8Array {
  if (dtype === 'float32') {
    return values instanceof Float32Array ? values : Float32Array.from(values as Uint8Array);
  }
  if (dtype === 'int32') {
    return values instanceof Int32Array ? values : Int32Array.from(values as Uint8Array);
  }
  return Uint8Array.from(values as Uint8Array);
}

/**
 * Registers a backend of this name that computes on the device: the kernels of tfjs's CPU backend, the hot ones
 * replaced, and the additions.
 */
export function registerDevice(backendName: string, device: Device): void {
  const replaced = ({ kernelName, kernelFunc }: tf.KernelConfig): tf.KernelFunc => {
    const fast: Kernel | undefined = ELEMENTWISE[kernelName] ?? REPLACEMENTS[kernelName];
    return (call) =>
      (fast && isWorthIt(kernelName, call) ? fast(call as unknown as Call) : undefined) ??
      kernelFunc(call);
  };
  const additions = { ...ADDITIONS, ...DEVICE_ADDITIONS };
  registerAll(backendName, () => new WebgpuBackend(device), replaced, additions);
}

/** Small operations on values that are not on the device are done where they are. */
function isWorthIt(name: string, call: Parameters<tf.KernelFunc>[0]): boolean {
  const { inputs, backend } = call as unknown as { inputs: object; backend: WebgpuBackend };
  const tensors = Object.values(inputs).flat() as tf.TensorInfo[];
  if (name in ELEMENTWISE || name === tf.Relu) {
    return tensors.some((tensor) => backend.isOnDevice(tensor));
  }
  // The kernels of the device take one matrix at a time.
  const single = tensors[0].shape.slice(0, -2).every((extent) => extent === 1);
  return single || (name !== tf.BatchMatMul && name !== tf._FusedMatMul);
}
