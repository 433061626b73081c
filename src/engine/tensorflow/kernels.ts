import { tf } from '../../base/tf.js';

type Shape = [number, number, number, number];
type Call = Parameters<tf.KernelFunc>[0];
type Inputs = Record<string, tf.TensorInfo>;
type Info = tf.backend_util.Conv2DInfo;

/** An attribute of a TensorFlow operation. */
export interface Attribute {
  name: string;
  type: number;
  value: unknown;
}

/** The parts of tfjs-node's backend used here. */
export interface TensorFlowBackend extends tf.KernelBackend {
  isUsingGpuDevice: boolean;
  /** The addon, with TensorFlow's type constants. */
  binding: Record<'TF_ATTR_INT' | 'TF_ATTR_STRING' | 'TF_ATTR_TYPE' | 'TF_FLOAT', number> & {
    TF_Version: string;
  };
  executeSingleOutput(name: string, attributes: Attribute[], inputs: tf.TensorInfo[]): tf.Tensor;
}

/** The name under which tfjs-node registers its kernels. */
export const TENSORFLOW = 'tensorflow';

/**
 * Replaces the kernels of tfjs-node that accept only the paddings `valid` and `same`. TensorFlow's own
 * operations accept any padding, except average pooling.
 */
export function registerPaddedKernels(): void {
  for (const [kernelName, kernelOf] of Object.entries(KERNELS)) {
    const theirs = tf.getKernel(kernelName, TENSORFLOW);
    tf.unregisterKernel(kernelName, TENSORFLOW);
    tf.registerKernel({ ...theirs, kernelFunc: kernelOf(theirs.kernelFunc) });
  }
}

const KERNELS: Record<string, (theirs: tf.KernelFunc) => tf.KernelFunc> = {
  [tf.Conv2D]: withExplicitPadding,
  [tf.FusedConv2D]: withExplicitPadding,

  [tf.Conv2DBackpropInput]: () => (call) => {
    const { dy, filter } = call.inputs as Inputs;
    const { inputShape } = call.attrs as { inputShape: Shape };
    const info = convolutionInfo(call, inputShape, filter.shape as Shape);
    return withShape(inputShape, (shape) =>
      execute(call, tf.Conv2DBackpropInput, info, [shape, filter, dy]),
    );
  },

  [tf.Conv2DBackpropFilter]: () => (call) => {
    const { dy, x } = call.inputs as Inputs;
    const { filterShape } = call.attrs as { filterShape: Shape };
    const info = convolutionInfo(call, x.shape as Shape, filterShape);
    return withShape(filterShape, (shape) =>
      execute(call, tf.Conv2DBackpropFilter, info, [x, shape, dy]),
    );
  },

  [tf.MaxPool]: () => (call) => {
    const { x } = call.inputs as Inputs;
    return execute(call, tf.MaxPool, poolingInfo(call, x), [x]);
  },

  [tf.MaxPoolGrad]: () => (call) => {
    const { dy, input, output } = call.inputs as Inputs;
    return execute(call, tf.MaxPoolGrad, poolingInfo(call, input), [input, output, dy]);
  },

  [tf.AvgPool]: (theirs) => (call) => {
    const x = call.inputs.x as tf.Tensor4D;
    const info = poolingInfo(call, x);
    if (info.padInfo.type === 'VALID' || info.padInfo.type === 'SAME') return theirs(call);
    const same = poolingInfo(call, x, 'same');
    if (PADDED_SIDES.every((side) => info.padInfo[side] === same.padInfo[side])) {
      return theirs({ ...call, attrs: { ...call.attrs, pad: 'same' } });
    }
    return clippedAverages(x, info);
  },
};

const PADDED_SIDES = ['top', 'bottom', 'left', 'right'] as const;

/** tfjs-node's convolution supports explicit paddings, but not one number for all sides. */
function withExplicitPadding(theirs: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { pad } = call.attrs as { pad: unknown };
    if (typeof pad !== 'number' || pad === 0) return theirs(call);
    const sides = [
      [0, 0],
      [pad, pad],
      [pad, pad],
      [0, 0],
    ];
    return theirs({ ...call, attrs: { ...call.attrs, pad: sides } });
  };
}

/** Means over windows clipped to the image, computed from zero-padded means and the covered share. */
function clippedAverages(x: tf.Tensor4D, info: Info): tf.Tensor {
  const { padInfo, filterHeight, filterWidth, strideHeight, strideWidth } = info;
  const { top, bottom, left, right } = padInfo;
  return tf.tidy(() => {
    const whole = (y: tf.Tensor4D): tf.Tensor4D =>
      tf.avgPool(
        tf.pad4d(y, [
          [0, 0],
          [top, bottom],
          [left, right],
          [0, 0],
        ]),
        [filterHeight, filterWidth],
        [strideHeight, strideWidth],
        'valid',
      );
    return tf.div(whole(x), whole(tf.ones([1, info.inHeight, info.inWidth, 1])));
  });
}

function convolutionInfo({ attrs }: Call, x: Shape, filter: Shape): Info {
  const { strides, pad, dimRoundingMode } = attrs as unknown as tf.Conv2DAttrs;
  return tf.backend_util.computeConv2DInfo(x, filter, strides, 1, pad, dimRoundingMode);
}

function poolingInfo({ attrs }: Call, x: tf.TensorInfo, padding?: 'same'): Info {
  const { filterSize, strides, pad, dimRoundingMode } = attrs as unknown as tf.MaxPoolAttrs;
  const shape = x.shape as Shape;
  const padded = padding ?? pad;
  return tf.backend_util.computePool2DInfo(shape, filterSize, strides, 1, padded, dimRoundingMode);
}

/** Passes a shape as a tensor, as TensorFlow expects. */
function withShape(shape: Shape, work: (shape: tf.Tensor) => tf.TensorInfo): tf.TensorInfo {
  const tensor = tf.tensor1d(shape, 'int32');
  const result = work(tensor);
  tensor.dispose();
  return result;
}

/** Runs a TensorFlow convolution or pooling operation. */
function execute(call: Call, name: string, info: Info, inputs: tf.TensorInfo[]): tf.TensorInfo {
  const backend = call.backend as unknown as TensorFlowBackend;
  const { TF_ATTR_INT, TF_ATTR_STRING, TF_ATTR_TYPE, TF_FLOAT } = backend.binding;
  const { type, top, bottom, left, right } = info.padInfo;
  const explicit = type !== 'VALID' && type !== 'SAME';
  const attributes: Attribute[] = [
    { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT },
    {
      name: 'strides',
      type: TF_ATTR_INT,
      value: [1, info.strideHeight, info.strideWidth, 1],
    },
    { name: 'padding', type: TF_ATTR_STRING, value: explicit ? 'EXPLICIT' : type },
    { name: 'data_format', type: TF_ATTR_STRING, value: 'NHWC' },
  ];
  if (explicit) {
    const value = [0, 0, top, bottom, left, right, 0, 0];
    attributes.push({ name: 'explicit_paddings', type: TF_ATTR_INT, value });
  }
  if (name === tf.MaxPool || name === tf.MaxPoolGrad) {
    const value = [1, info.filterHeight, info.filterWidth, 1];
    attributes.push({ name: 'ksize', type: TF_ATTR_INT, value });
  }
  return backend.executeSingleOutput(name, attributes, inputs);
}
