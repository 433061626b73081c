import { tf } from '../../base/tf.js';
import type { Call, Kernel } from '../kernels/arguments.js';
import type { WebgpuBackend } from './backend.js';
import type { DeviceArray } from './device.js';
import { each } from './kernels/launch.js';

/** tfjs's operations on single values that a training step uses, for tensors of equal shapes or with a number. */
export const ELEMENTWISE: Partial<Record<string, Kernel>> = {
  [tf.Add]: binary('a + b'),
  [tf.Sub]: binary('a - b'),
  [tf.Multiply]: binary('a * b'),
  [tf.Concat]: concat,
};

/** @param expression of `a` and `b` */
function binary(expression: string): Kernel {
  return ({ inputs: { a, b }, backend }: Call) => {
    const own = backend as unknown as WebgpuBackend;
    if (a.dtype !== 'float32' || b.dtype !== 'float32') return undefined;
    const number = numberOf(own, b);
    if (number === undefined && !tf.util.arraysEqual(a.shape, b.shape)) return undefined;
    const { info, values: y } = own.output(a.shape);
    const z = number === undefined ? own.values(b) : null;
    const given = { reads: { x: own.values(a), z }, writes: { y }, reals: { number: number ?? 0 } };
    each(own.device, expression, y.length, given, () => ({
      body: `
  let a = x[i];
  let b = ${z ? 'z[i]' : 'p.number'};
  y[i] = ${expression};`,
    }));
    return info;
  };
}

/** The value of a tensor of one element that is not on the device. */
function numberOf(backend: WebgpuBackend, tensor: tf.TensorInfo): number | undefined {
  if (tensor.shape.length > 0 || backend.isOnDevice(tensor)) return undefined;
  return (backend.data.get(tensor.dataId).values as Float32Array)[0];
}

/** Along the first axis. */
function concat({ inputs, attrs, backend }: Call): tf.TensorInfo | undefined {
  const own = backend as unknown as WebgpuBackend;
  const parts = Object.values(inputs);
  if (attrs.axis !== 0 || parts.some(({ dtype }) => dtype !== 'float32')) return undefined;
  const rows = parts.reduce((sum, { shape }) => sum + shape[0], 0);
  const { info, values } = own.output([rows, ...parts[0].shape.slice(1)]);
  let begin = 0;
  for (const part of parts) {
    copy(own, part, values, begin);
    begin += tf.util.sizeFromShape(part.shape);
  }
  return info;
}

/** Copies a tensor to an array of the device, from this index on. */
export function copy(
  backend: WebgpuBackend,
  tensor: tf.TensorInfo,
  y: DeviceArray,
  begin = 0,
): void {
  const x = backend.values(tensor);
  each(
    backend.device,
    'copy',
    x.length,
    { reads: { x }, writes: { y }, integers: { begin } },
    () => ({
      body: 'y[p.begin + i] = x[i];',
    }),
  );
}
