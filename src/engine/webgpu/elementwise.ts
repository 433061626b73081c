import * as tf from '@tensorflow/tfjs-core';
import type { Call, Kernel } from '../kernels/arguments.js';
import type { WebgpuBackend } from './backend.js';
import { eachValue, groupsFor } from './wgsl/source.js';

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
    const { info, values } = own.output(a.shape);
    const { device } = own;
    const run = device.kernel(`${expression} ${number !== undefined}`, () =>
      eachValue({
        arrays: [
          ['x', 'read', 'f32'],
          ...(number === undefined ? [['z', 'read', 'f32'] as const] : []),
          ['y', 'write', 'f32'],
        ],
        reals: ['number'],
        body: `
  let a = x[i];
  let b = ${number === undefined ? 'z[i]' : 'p.number'};
  y[i] = ${expression};`,
      }),
    );
    const arrays = [own.values(a), ...(number === undefined ? [own.values(b)] : []), values];
    device.run(run, arrays, [values.length, number ?? 0], groupsFor(values.length));
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

/**
 * The class of each of the logits [N,classes], of equal ones the first, or −1 if one is not finite: a number is read
 * back for an image, not all logits.
 */
export function classes({ inputs: { logits }, backend }: Call): tf.TensorInfo {
  const own = backend as unknown as WebgpuBackend;
  const { device } = own;
  const [batch, count] = logits.shape;
  const { info, values } = own.output([batch]);
  const run = device.kernel('classes', () =>
    eachValue({
      arrays: [
        ['x', 'read', 'f32'],
        ['y', 'write', 'f32'],
      ],
      parameters: ['classes'],
      body: `
  var best = 0u;
  var finite = true;
  for (var k = 0u; k < p.classes; k++) {
    let v = x[i * p.classes + k];
    // By its bits: WGSL may take it for granted that values are finite.
    finite = finite && (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u;
    if (v > x[i * p.classes + best]) { best = k; }
  }
  y[i] = select(-1.0, f32(best), finite);`,
    }),
  );
  device.run(run, [own.values(logits), values], [batch, count], groupsFor(batch));
  return info;
}

/** Copies a tensor to an array of the device, from this index on. */
export function copy(
  backend: WebgpuBackend,
  tensor: tf.TensorInfo,
  to: ReturnType<WebgpuBackend['values']>,
  begin = 0,
): void {
  const { device } = backend;
  const run = device.kernel('copy', () =>
    eachValue({
      arrays: [
        ['x', 'read', 'f32'],
        ['y', 'write', 'f32'],
      ],
      parameters: ['begin'],
      body: 'y[p.begin + i] = x[i];',
    }),
  );
  const from = backend.values(tensor);
  device.run(run, [from, to], [from.length, begin], groupsFor(from.length));
}
