import * as tf from '@tensorflow/tfjs-core';
import type { NativeBackend } from './backend.js';

type Attributes = Record<string, unknown>;
type Inputs = Record<string, tf.TensorInfo>;
interface Call {
  inputs: Inputs;
  attrs: Attributes;
  backend: NativeBackend;
}
/** A kernel that computes, or returns undefined where the CPU kernel has to. */
type Kernel = (call: Call) => tf.TensorInfo | tf.TensorInfo[] | undefined;

/** The name under which the backend is registered. */
export const NATIVE = 'native';

/** Registers every CPU kernel for the native backend, the hot ones replaced. */
export function registerNativeKernels(): void {
  for (const cpu of tf.getKernelsForBackend('cpu')) {
    const fast = OVERRIDES[cpu.kernelName];
    const slow = withoutAliases(cpu.kernelFunc);
    tf.registerKernel({
      ...cpu,
      backendName: NATIVE,
      kernelFunc: fast ? (call) => fast(call as unknown as Call) ?? slow(call) : slow,
    });
  }
  for (const [kernelName, kernel] of Object.entries(ADDITIONS)) {
    tf.registerKernel({
      kernelName,
      backendName: NATIVE,
      kernelFunc: (call) => kernel(call as unknown as Call)!,
    });
  }
}

/**
 * Some CPU kernels (Slice, for one) return a view of their input's memory. Here that memory is used
 * again once the input is disposed of, so such an output gets a copy.
 */
function withoutAliases(kernel: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const outputs = kernel(call);
    const { backend } = call as unknown as Call;
    const inputs = Object.values(call.inputs).flat();
    for (const output of Array.isArray(outputs) ? outputs : [outputs]) {
      const data = backend.data.get(output.dataId);
      const { values } = data;
      if (!(values instanceof Float32Array || values instanceof Uint8Array)) continue;
      const aliased = inputs.some(
        (input) =>
          input !== undefined &&
          input.dataId !== output.dataId &&
          backend.isPooled(input) &&
          backend.values(input).buffer === values.buffer,
      );
      if (aliased) data.values = values.slice();
    }
    return outputs;
  };
}

function allFloat(...tensors: (tf.TensorInfo | undefined)[]): boolean {
  return tensors.every((tensor) => tensor === undefined || tensor.dtype === 'float32');
}

function floats(backend: NativeBackend, tensor: tf.TensorInfo): Float32Array {
  const values = backend.values(tensor);
  // Casts of the CPU backend call a tensor float32 whose values still lie in bytes.
  return values instanceof Float32Array ? values : Float32Array.from(values);
}

function floatsOrNull(backend: NativeBackend, tensor?: tf.TensorInfo): Float32Array | null {
  return tensor ? floats(backend, tensor) : null;
}

/** The `window` of native/addon.cc, or undefined for a geometry that it does not do. */
function windowOf(info: tf.backend_util.Conv2DInfo): Int32Array | undefined {
  const usual =
    info.dataFormat === 'channelsLast' &&
    info.dilationHeight === 1 &&
    info.dilationWidth === 1 &&
    info.outHeight > 0 &&
    info.outWidth > 0 &&
    info.padInfo.top >= 0 &&
    info.padInfo.left >= 0 &&
    info.padInfo.top < info.filterHeight &&
    info.padInfo.left < info.filterWidth;
  if (!usual) return undefined;
  return Int32Array.of(
    info.batchSize,
    info.inHeight,
    info.inWidth,
    info.inChannels,
    info.outHeight,
    info.outWidth,
    info.outChannels,
    info.filterHeight,
    info.filterWidth,
    info.strideHeight,
    info.strideWidth,
    info.padInfo.top,
    info.padInfo.left,
  );
}

type ConvAttributes = Pick<tf.FusedConv2DAttrs, 'strides' | 'pad' | 'dimRoundingMode'> & {
  dataFormat?: 'NHWC' | 'NCHW';
  dilations?: [number, number] | number;
};

function convWindow(
  xShape: readonly number[],
  filterShape: readonly number[],
  attrs: ConvAttributes,
): Int32Array | undefined {
  const info = tf.backend_util.computeConv2DInfo(
    xShape as [number, number, number, number],
    filterShape as [number, number, number, number],
    attrs.strides,
    attrs.dilations ?? 1,
    attrs.pad,
    attrs.dimRoundingMode,
    false,
    tf.backend_util.convertConv2DDataFormat(attrs.dataFormat ?? 'NHWC'),
  );
  return windowOf(info);
}

function poolWindow(shape: number[], attrs: Attributes): Int32Array | undefined {
  const { filterSize, strides, pad, dimRoundingMode } = attrs as unknown as tf.MaxPoolAttrs;
  const info = tf.backend_util.computePool2DInfo(
    shape as [number, number, number, number],
    filterSize,
    strides,
    1,
    pad,
    dimRoundingMode,
  );
  const window = windowOf(info);
  // Explicit paddings can leave a window wholly outside the image.
  const inside =
    (info.outHeight - 1) * info.strideHeight - info.padInfo.top < info.inHeight &&
    (info.outWidth - 1) * info.strideWidth - info.padInfo.left < info.inWidth;
  return inside ? window : undefined;
}

const OVERRIDES: Partial<Record<string, Kernel>> = {
  [tf.Conv2D]: convolution,
  [tf.FusedConv2D]: convolution,

  [tf.Conv2DBackpropInput]: ({ inputs, attrs, backend }) => {
    const { dy, filter } = inputs as { dy: tf.TensorInfo; filter: tf.TensorInfo };
    const { inputShape } = attrs as unknown as tf.Conv2DBackpropInputAttrs;
    const window = convWindow(inputShape, filter.shape, attrs as unknown as ConvAttributes);
    if (!window || !allFloat(dy, filter)) return undefined;
    const { info, values } = backend.output(inputShape);
    const { binding } = backend;
    binding.conv2dInputGradient(
      window,
      null,
      null,
      floats(backend, dy),
      floats(backend, filter),
      values,
    );
    return info;
  },

  [tf.Conv2DBackpropFilter]: ({ inputs, attrs, backend }) => {
    const { x, dy } = inputs as { x: tf.TensorInfo; dy: tf.TensorInfo };
    const { filterShape } = attrs as unknown as tf.Conv2DBackpropFilterAttrs;
    const window = convWindow(x.shape, filterShape, attrs as unknown as ConvAttributes);
    if (!window || !allFloat(x, dy)) return undefined;
    const { info, values } = backend.output(filterShape);
    const { binding } = backend;
    binding.conv2dWeightGradient(
      window,
      floats(backend, x),
      null,
      null,
      floats(backend, dy),
      null,
      values,
      null,
    );
    return info;
  },

  [tf.BatchMatMul]: matrixProduct,
  [tf._FusedMatMul]: matrixProduct,

  [tf.MaxPool]: ({ inputs, attrs, backend }) => {
    const { x } = inputs as { x: tf.TensorInfo };
    const window = poolWindow(x.shape, attrs);
    if (!window || !allFloat(x)) return undefined;
    const { info, values } = backend.output(poolShape(window));
    backend.binding.maxPool(window, floats(backend, x), values);
    return info;
  },

  [tf.MaxPoolGrad]: ({ inputs, attrs, backend }) => {
    const { dy, input: x } = inputs as { dy: tf.TensorInfo; input: tf.TensorInfo };
    const window = poolWindow(x.shape, attrs);
    if (!window || !allFloat(x, dy)) return undefined;
    const { info, values } = backend.output(x.shape);
    backend.binding.maxPoolGradient(window, floats(backend, x), floats(backend, dy), values);
    return info;
  },

  [tf.AvgPool]: ({ inputs, attrs, backend }) => {
    const { x } = inputs as { x: tf.TensorInfo };
    const window = poolWindow(x.shape, attrs);
    if (!window || !allFloat(x)) return undefined;
    const { info, values } = backend.output(poolShape(window));
    backend.binding.avgPool(window, floats(backend, x), values);
    return info;
  },

  [tf.Relu]: ({ inputs, backend }) => {
    const { x } = inputs as { x: tf.TensorInfo };
    if (!allFloat(x)) return undefined;
    const { info, values } = backend.output(x.shape);
    backend.binding.relu(values.length, floats(backend, x), values);
    return info;
  },

  [tf.Multiply]: ({ inputs, backend }) => {
    const { a, b } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
    if (!allFloat(a, b) || !tf.util.arraysEqual(a.shape, b.shape)) return undefined;
    const { info, values } = backend.output(a.shape);
    backend.binding.multiply(values.length, floats(backend, a), floats(backend, b), values);
    return info;
  },
};

/** Kernels that tfjs does not have; `ops.ts` falls back on its operations where they are missing. */
const ADDITIONS: Record<string, Kernel> = {
  /** tfjs's own AvgPoolGrad divides by the whole window where it should by the clipped one. */
  BangAvgPoolGradient: ({ inputs, attrs, backend }) => {
    const { dy, x } = inputs as { dy: tf.TensorInfo; x: tf.TensorInfo };
    const { info, values } = backend.output(x.shape);
    backend.binding.avgPoolGradient(poolWindow(x.shape, attrs)!, floats(backend, dy), values);
    return info;
  },

  /**
   * `pooling`: attributes of the max pooling. Outputs the pooled values and, as bytes of type bool, which
   * pixel of each window was the first maximum.
   */
  BangConvMaxPool: ({ inputs, attrs, backend }) => {
    const { x, filter, bias } = inputs;
    const window = convWindow(x.shape, filter.shape, attrs as unknown as ConvAttributes)!;
    const pool = poolingOf(window, attrs);
    const y = backend.output(poolShape(pool));
    const winner = backend.outputBytes(poolShape(pool));
    backend.binding.conv2dMaxPool(
      window,
      pool,
      floats(backend, x),
      floats(backend, filter),
      floats(backend, bias),
      y.values,
      winner.values,
    );
    return [y.info, winner.info];
  },

  BangConvMaxPoolInputGradient: ({ inputs, attrs, backend }) => {
    const { kappa, winner, filter } = inputs;
    const { inputShape } = attrs as { inputShape: number[] };
    const window = convWindow(inputShape, filter.shape, attrs as unknown as ConvAttributes)!;
    const { info, values } = backend.output(inputShape);
    backend.binding.conv2dInputGradient(
      window,
      poolingOf(window, attrs),
      backend.values(winner) as Uint8Array,
      floats(backend, kappa),
      floats(backend, filter),
      values,
    );
    return info;
  },

  /** With `winner`, kappa is that of the max pooling behind the convolution. */
  BangConvWeightGradient: ({ inputs, attrs, backend }) => {
    const { x, kappa } = inputs;
    const { scale, winner } = inputs as Partial<Inputs>;
    const { filterShape } = attrs as { filterShape: number[] };
    const window = convWindow(x.shape, filterShape, attrs as unknown as ConvAttributes)!;
    const weight = backend.output(filterShape);
    const bias = backend.output([filterShape[3]]);
    backend.binding.conv2dWeightGradient(
      window,
      floats(backend, x),
      winner ? poolingOf(window, attrs) : null,
      winner ? (backend.values(winner) as Uint8Array) : null,
      floats(backend, kappa),
      floatsOrNull(backend, scale),
      weight.values,
      bias.values,
    );
    return [weight.info, bias.info];
  },

  /** Norms of kappa before the pooling, given kappa behind it; `shape` is that of the pooling's input. */
  BangPooledNorms: ({ inputs, attrs, backend }) => {
    const { kappa, winner } = inputs;
    const { shape, pooling } = attrs as unknown as { shape: number[]; pooling: Attributes };
    const { info, values } = backend.output([shape[0]]);
    backend.binding.pooledNorms(
      poolWindow(shape, pooling)!,
      backend.values(winner) as Uint8Array,
      floats(backend, kappa),
      values,
    );
    return info;
  },

  BangDenseWeightGradient: ({ inputs, backend }) => {
    const { x, kappa, scale } = inputs as {
      x: tf.TensorInfo;
      kappa: tf.TensorInfo;
      scale?: tf.TensorInfo;
    };
    const [batch, rows] = x.shape as [number, number];
    const columns = kappa.shape[1];
    const weight = backend.output([rows, columns]);
    const bias = backend.output([columns]);
    const factors = floatsOrNull(backend, scale);
    const { binding } = backend;
    binding.matMul(
      rows,
      columns,
      batch,
      floats(backend, x),
      true,
      floats(backend, kappa),
      false,
      factors,
      null,
      false,
      weight.values,
    );
    binding.columnSums(batch, columns, floats(backend, kappa), factors, bias.values);
    return [weight.info, bias.info];
  },

  BangReluGradient: ({ inputs, backend }) => {
    const { y, dy } = inputs as { y: tf.TensorInfo; dy: tf.TensorInfo };
    const { info, values } = backend.output(y.shape);
    backend.binding.reluGradient(values.length, floats(backend, y), floats(backend, dy), values);
    return info;
  },

  BangSoftmaxCrossEntropy: ({ inputs, attrs, backend }) => {
    const { logits, labels } = inputs as { logits: tf.TensorInfo; labels: tf.TensorInfo };
    const [batch, classes] = logits.shape as [number, number];
    const loss = backend.output([batch]);
    const gradient = backend.output([batch, classes]);
    const correct = backend.output([batch]);
    backend.binding.softmaxCrossEntropy(
      batch,
      classes,
      floats(backend, logits),
      backend.values(labels) as Int32Array,
      attrs.factor as number,
      loss.values,
      gradient.values,
      correct.values,
    );
    return [loss.info, gradient.info, correct.info];
  },

  BangRowNorms: ({ inputs, backend }) => {
    const { x } = inputs as { x: tf.TensorInfo };
    const batch = x.shape[0];
    const { info, values } = backend.output([batch]);
    const size = tf.util.sizeFromShape(x.shape.slice(1));
    backend.binding.rowNorms(batch, size, floats(backend, x), values);
    return info;
  },

  BangEta: ({ inputs, backend }) => {
    const { norm, epsilonHat } = inputs as { norm: tf.TensorInfo; epsilonHat: tf.TensorInfo };
    const { info, values } = backend.output(norm.shape);
    backend.binding.eta(norm.shape[0], floats(backend, norm), floats(backend, epsilonHat), values);
    return info;
  },

  /** Changes weight and velocity in place. */
  BangSgd: ({ inputs, attrs, backend }) => {
    const { weight, velocity, gradient } = inputs as {
      weight: tf.TensorInfo;
      velocity: tf.TensorInfo;
      gradient: tf.TensorInfo;
    };
    const { rate, momentum, decay } = attrs as { rate: number; momentum: number; decay: number };
    const values = floats(backend, weight);
    backend.binding.sgd(
      values.length,
      values,
      floats(backend, velocity),
      floats(backend, gradient),
      rate,
      momentum,
      decay,
    );
    return [];
  },

  BangNormalize: ({ inputs, attrs, backend }) => {
    const { x, mean } = inputs as { x: tf.TensorInfo; mean?: tf.TensorInfo };
    const { info, values } = backend.output(x.shape);
    const size = tf.util.sizeFromShape(x.shape.slice(1));
    backend.binding.normalize(
      x.shape[0],
      size,
      floats(backend, x),
      floatsOrNull(backend, mean),
      attrs.factor as number,
      values,
    );
    return info;
  },

  /** `program`: for each layer its kind, 1 where ReLU follows, and its window. */
  BangForward: ({ inputs, attrs, backend }) => {
    const { x } = inputs;
    const { mean } = inputs as Partial<Inputs>;
    const { program, factor } = attrs as { program: number[][]; factor: number };
    const classes = program[program.length - 1][8];
    const { info, values } = backend.output([x.shape[0], classes]);
    const parameters = program.flatMap((_, i) =>
      [inputs[`weight${i}`], inputs[`bias${i}`]].filter(Boolean),
    );
    backend.binding.forward(
      program.length,
      Int32Array.from(program.flat()),
      floats(backend, x),
      floatsOrNull(backend, mean),
      factor,
      values,
      ...parameters.map((tensor) => floats(backend, tensor)),
    );
    return info;
  },

  BangOverLargest: ({ inputs, backend }) => {
    const { x } = inputs;
    const { info, values } = backend.output(x.shape);
    const size = tf.util.sizeFromShape(x.shape.slice(1));
    backend.binding.overLargest(x.shape[0], size, floats(backend, x), values);
    return info;
  },

  BangPerturb: ({ inputs, backend }) => {
    const { x, direction, rows, scale } = inputs;
    const count = rows.shape[0];
    const { info, values } = backend.output([count, ...x.shape.slice(1)]);
    backend.binding.perturb(
      x.shape[0],
      count,
      tf.util.sizeFromShape(x.shape.slice(1)),
      floats(backend, x),
      floats(backend, direction),
      backend.values(rows) as Int32Array,
      floats(backend, scale),
      values,
    );
    return info;
  },

  BangNoise: ({ inputs, attrs, backend }) => {
    const { x } = inputs as { x: tf.TensorInfo };
    const { copies, counters, thresholds, depth } = attrs as {
      copies: number;
      counters: Uint32Array;
      thresholds: Uint32Array;
      depth: number;
    };
    const { info, values } = backend.output([copies, ...x.shape]);
    const size = tf.util.sizeFromShape(x.shape);
    backend.binding.addNoise(copies, size, floats(backend, x), counters, thresholds, depth, values);
    return info;
  },
};

/** The max pooling behind a convolution of this window. */
function poolingOf(window: Int32Array, attrs: Attributes): Int32Array {
  const output = [window[0], window[4], window[5], window[6]];
  return poolWindow(output, (attrs as unknown as { pooling: Attributes }).pooling)!;
}

function poolShape(window: Int32Array): number[] {
  return [window[0], window[4], window[5], window[6]];
}

/** Conv2D, and FusedConv2D with a bias for each channel and no activation but ReLU. */
function convolution({ inputs, attrs, backend }: Call): tf.TensorInfo | undefined {
  const { x, filter, bias } = inputs as {
    x: tf.TensorInfo;
    filter: tf.TensorInfo;
    bias?: tf.TensorInfo;
  };
  const activation = attrs.activation as string | undefined;
  const window = convWindow(x.shape, filter.shape, attrs as unknown as ConvAttributes);
  if (!window || !allFloat(x, filter, bias) || !isSimpleEpilogue(bias, activation, window[6])) {
    return undefined;
  }
  const { info, values } = backend.output([window[0], window[4], window[5], window[6]]);
  backend.binding.conv2d(
    window,
    floats(backend, x),
    floats(backend, filter),
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

/** BatchMatMul and _FusedMatMul of equal batch extents. */
function matrixProduct({ inputs, attrs, backend }: Call): tf.TensorInfo | undefined {
  const { a, b, bias } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo; bias?: tf.TensorInfo };
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
  const left = floats(backend, a);
  const right = floats(backend, b);
  const added = floatsOrNull(backend, bias);
  const count = tf.util.sizeFromShape(batch);
  for (let i = 0; i < count; i++) {
    const whole = count === 1;
    backend.binding.matMul(
      m,
      n,
      k,
      whole ? left : left.subarray(i * m * k, (i + 1) * m * k),
      transposeA,
      whole ? right : right.subarray(i * k * n, (i + 1) * k * n),
      transposeB,
      null,
      added,
      activation === 'relu',
      whole ? values : values.subarray(i * m * n, (i + 1) * m * n),
    );
  }
  return info;
}
