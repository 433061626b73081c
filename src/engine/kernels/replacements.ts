import { tf } from '../../base/tf.js';
import {
  allFloat,
  convGeometry,
  floatsOrNull,
  outputShape,
  poolGeometry,
  type Call,
  type Inputs,
  type Kernel,
} from './arguments.js';
import type { Values } from './binding.js';

/** Native kernels that replace tfjs kernels. */
export const REPLACEMENTS: Partial<Record<string, Kernel>> = {
  [tf.Conv2D]: convolution,
  [tf.FusedConv2D]: convolution,

  [tf.Conv2DBackpropInput]: ({ inputs, attrs, backend }) => {
    const { dy, filter } = inputs;
    const { inputShape } = attrs as unknown as tf.Conv2DBackpropInputAttrs;
    const geometry = convGeometry(inputShape, filter.shape, attrs);
    if (!geometry || !allFloat(dy, filter)) return undefined;
    const { info, values } = backend.output(inputShape);
    const { binding } = backend;
    binding.conv2dInputGradient(
      geometry,
      null,
      null,
      backend.floats(dy),
      backend.floats(filter),
      values,
    );
    return info;
  },

  [tf.BatchMatMul]: matrixProduct,
  [tf._FusedMatMul]: matrixProduct,

  [tf.MaxPool]: pooling('maxPool'),
  [tf.AvgPool]: pooling('avgPool'),

  [tf.MaxPoolGrad]: ({ inputs, attrs, backend }) => {
    const { dy, input: x } = inputs;
    const geometry = poolGeometry(x.shape, attrs);
    if (!geometry || !allFloat(x, dy)) return undefined;
    const { info, values } = backend.output(x.shape);
    backend.binding.maxPoolGradient(geometry, backend.floats(x), backend.floats(dy), values);
    return info;
  },

  [tf.Relu]: ({ inputs, backend }) => {
    const { x } = inputs;
    if (!allFloat(x)) return undefined;
    const { info, values } = backend.output(x.shape);
    backend.binding.relu(values.length, backend.floats(x), values);
    return info;
  },

  [tf.Multiply]: ({ inputs, backend }) => {
    const { a, b } = inputs;
    if (!allFloat(a, b) || !tf.util.arraysEqual(a.shape, b.shape)) return undefined;
    const { info, values } = backend.output(a.shape);
    backend.binding.multiply(values.length, backend.floats(a), backend.floats(b), values);
    return info;
  },
};

function pooling(name: 'maxPool' | 'avgPool'): Kernel {
  return ({ inputs, attrs, backend }) => {
    const { x } = inputs;
    const geometry = poolGeometry(x.shape, attrs);
    if (!geometry || !allFloat(x)) return undefined;
    const { info, values } = backend.output(outputShape(geometry));
    backend.binding[name](geometry, backend.floats(x), values);
    return info;
  };
}

/** Conv2D, and FusedConv2D with a bias per channel and either ReLU or no activation. */
function convolution({ inputs, attrs, backend }: Call): tf.TensorInfo | undefined {
  const { x, filter } = inputs;
  const { bias } = inputs as Partial<Inputs>;
  const activation = attrs.activation as string | undefined;
  const geometry = convGeometry(x.shape, filter.shape, attrs);
  if (!geometry || !allFloat(x, filter, bias) || !isSimpleEpilogue(bias, activation, geometry[6])) {
    return undefined;
  }
  const { info, values } = backend.output(outputShape(geometry));
  backend.binding.conv2d(
    geometry,
    backend.floats(x),
    backend.floats(filter),
    floatsOrNull(backend, bias),
    activation === 'relu',
    values,
  );
  return info;
}

function isSimpleEpilogue(
  bias: tf.TensorInfo | undefined,
  activation: string | undefined,
  channels: number,
): boolean {
  const biasFits = !bias || (bias.shape.length === 1 && bias.shape[0] === channels);
  return biasFits && (!activation || activation === 'linear' || activation === 'relu');
}

/** BatchMatMul and _FusedMatMul without broadcasting. */
function matrixProduct({ inputs, attrs, backend }: Call): tf.TensorInfo | undefined {
  const { a, b } = inputs;
  const { bias } = inputs as Partial<Inputs>;
  const { transposeA, transposeB } = attrs as { transposeA: boolean; transposeB: boolean };
  const activation = attrs.activation as string | undefined;
  const batch = a.shape.slice(0, -2);
  const [aRows, aColumns] = a.shape.slice(-2) as [number, number];
  const [bRows, bColumns] = b.shape.slice(-2) as [number, number];
  const m = transposeA ? aColumns : aRows;
  const k = transposeA ? aRows : aColumns;
  const n = transposeB ? bRows : bColumns;
  const fits =
    allFloat(a, b, bias) &&
    tf.util.arraysEqual(batch, b.shape.slice(0, -2)) &&
    k === (transposeB ? bColumns : bRows) &&
    isSimpleEpilogue(bias, activation, n);
  if (!fits) return undefined;
  const { info, values } = backend.output([...batch, m, n]);
  const [left, right] = [backend.floats(a), backend.floats(b)];
  const added = floatsOrNull(backend, bias);
  const count = tf.util.sizeFromShape(batch);
  for (let i = 0; i < count; i++) {
    const part = (all: Values, size: number) =>
      count === 1 ? all : (all as Float32Array).subarray(i * size, (i + 1) * size);
    const relu = activation === 'relu';
    const [x, y, z] = [part(left, m * k), part(right, k * n), part(values, m * n)];
    backend.binding.matMul(m, n, k, x, transposeA, y, transposeB, null, added, relu, z);
  }
  return info;
}
