import { clipping, type LayerSpec, type PoolSpec, type Shape, sidesOf } from '../../layers.js';
import { connected } from '../../network.js';
import type { NetworkSpec } from '../../networks.js';
import {
  ATTRIBUTE,
  ATTRIBUTE_TYPE,
  DATA_TYPE,
  DIMENSION,
  GRAPH,
  MODEL,
  NODE,
  OPERATOR_SET,
  SHAPE,
  STRING_ENTRY,
  TENSOR,
  TENSOR_TYPE,
  TYPE,
  VALUE,
} from './schema.js';
import { bytes, integer, message, text } from './protobuf.js';
import { MEAN, type NamedArray } from '../../tensors.js';

/** The operator set of ONNX 1.12, which all current readers support. */
const OPSET = 17;
const IR_VERSION = 8;

/** The names of the graph's input and output. */
export const INPUT = 'pixels';
export const OUTPUT = 'logits';
/** The initializers with the factor on the pixels, and with mean and standard deviation by channel. */
const SCALE = 'scale';
const CHANNEL_MEAN = 'channel_mean';
const CHANNEL_STD = 'channel_std';

/** An operation on earlier values and initializers. */
interface Operation {
  type: string;
  name: string;
  /** The positions of the operations whose outputs it takes; −1 is the graph's input. */
  from: number[];
  initializers?: string[];
  attributes?: Record<string, number | number[]>;
}

/**
 * A network as an ONNX model, from float32 pixels [N,C,H,W], 0 to 255, RGB, to logits [N,classes]. The
 * graph includes the mean image and the scale, but not dropout. N is arbitrary.
 *
 * @param tensors the network's parameters and, if it subtracts one, its mean image, in Caffe's layout,
 *   which is also ONNX's
 * @throws RangeError if a tensor is missing
 */
export function encodeOnnx(
  spec: NetworkSpec,
  tensors: ReadonlyMap<string, NamedArray>,
  { version, metadata = {} }: { version: string; metadata?: Partial<Record<string, string>> },
): Uint8Array {
  const initializers = new Map<string, NamedArray>();
  const operations = operationsOf(spec);
  const own = preparationOf(spec);
  for (const name of operations.flatMap((operation) => operation.initializers ?? [])) {
    const tensor = own.get(name) ?? tensors.get(name);
    if (!tensor) throw new RangeError(`${spec.name} has no tensor ${name}`);
    initializers.set(name, tensor);
  }
  // Names that differ from those of all tensors.
  const valueAfter = (i: number): string =>
    i < 0 ? INPUT : i === operations.length - 1 ? OUTPUT : `${i}_${operations[i].name}`;
  const nodes = operations.map(({ type, name, from, initializers = [], attributes = {} }, i) =>
    message(
      GRAPH.node,
      ...[...from.map(valueAfter), ...initializers].map((input) => text(NODE.input, input)),
      text(NODE.output, valueAfter(i)),
      text(NODE.name, name),
      text(NODE.opType, type),
      ...Object.entries(attributes).map(([key, value]) => attributeOf(key, value)),
    ),
  );
  const [height, width, channels] = spec.input;
  const entries = { ...metadata, model: spec.name };
  return Buffer.concat([
    integer(MODEL.irVersion, IR_VERSION),
    text(MODEL.producerName, 'bang'),
    text(MODEL.producerVersion, version),
    text(
      MODEL.docString,
      `${INPUT}: float32 [N, ${channels}, ${height}, ${width}], 0 to 255${channels === 3 ? ', RGB' : ''}; ${OUTPUT}: [N, ${spec.classes}], before softmax`,
    ),
    message(
      MODEL.graph,
      ...nodes,
      text(GRAPH.name, spec.name),
      ...[...initializers].map(([name, tensor]) => initializerOf(name, tensor)),
      message(GRAPH.input, ...valueOf(INPUT, [channels, height, width])),
      message(GRAPH.output, ...valueOf(OUTPUT, [spec.classes])),
    ),
    message(MODEL.opsetImport, integer(OPERATOR_SET.version, OPSET)),
    ...Object.entries(entries).map(([key, value]) =>
      message(MODEL.metadataProps, text(STRING_ENTRY.key, key), text(STRING_ENTRY.value, value)),
    ),
  ]);
}

/** The numbers by which pixels are prepared. */
function preparationOf({ scale, mean, std }: NetworkSpec): Map<string, NamedArray> {
  const byChannel = (values: number[]): NamedArray => ({
    shape: [values.length, 1, 1],
    data: Float32Array.from(values),
  });
  return new Map([
    [SCALE, { shape: [], data: Float32Array.of(scale) }],
    ...(mean ? [[CHANNEL_MEAN, byChannel(mean)] as const] : []),
    ...(std ? [[CHANNEL_STD, byChannel(std)] as const] : []),
  ]);
}

/** The operations of the graph, in order. */
function operationsOf(spec: NetworkSpec): Operation[] {
  const operations: Operation[] = [];
  const push = (operation: Omit<Operation, 'from'>, from = [operations.length - 1]): number =>
    operations.push({ ...operation, from }) - 1;
  // No layer has these names.
  if (spec.subtractMean) push({ type: 'Sub', name: '/mean', initializers: [MEAN] });
  if (spec.scale !== 1) push({ type: 'Mul', name: '/scale', initializers: [SCALE] });
  if (spec.mean) push({ type: 'Sub', name: '/channel_mean', initializers: [CHANNEL_MEAN] });
  if (spec.std) push({ type: 'Div', name: '/channel_std', initializers: [CHANNEL_STD] });
  /** By layer, after the image: the operation with its output. */
  const after = new Map([[-1, operations.length - 1]]);
  let last: Shape = spec.input;
  for (const [i, { layer, inputs }] of [...connected(spec.layers, spec.input)].entries()) {
    const { spec: one, input, output } = layer;
    let from = inputs.map((position) => after.get(position!)!);
    if (one.kind === 'innerProduct' && input.length > 1) {
      // C×H×W, as the weights expect it.
      from = [push({ type: 'Flatten', name: `/flatten${i}`, attributes: { axis: 1 } }, from)];
    }
    const operation = operationOf(one, `/${one.kind}${i}`, input, output);
    after.set(i, operation ? push(operation, from) : from[0]);
    last = output;
  }
  if (last.length > 1) push({ type: 'Flatten', name: '/flatten', attributes: { axis: 1 } });
  return operations;
}

/** A layer as an operation, named `name` unless it has weights; undefined for dropout. */
function operationOf(
  layer: LayerSpec,
  name: string,
  input: Shape,
  output: Shape,
): Omit<Operation, 'from'> | undefined {
  switch (layer.kind) {
    case 'conv': {
      const { size, stride = 1, pad } = layer;
      const attributes = {
        kernel_shape: [size, size],
        pads: [...sidesOf(pad)],
        ...(stride !== 1 && { strides: [stride, stride] }),
      };
      return { type: 'Conv', ...weighted(layer.name), attributes };
    }
    case 'innerProduct':
      return { type: 'Gemm', ...weighted(layer.name), attributes: { transB: 1 } };
    case 'maxPool':
      return { type: 'MaxPool', name, attributes: windowsOf(layer, input, output) };
    case 'avgPool': {
      // Divides by the size of the clipped window: by default ONNX does not count padding.
      const attributes = windowsOf(layer, input, output);
      return {
        type: 'AveragePool',
        name,
        attributes: layer.countPad ? { ...attributes, count_include_pad: 1 } : attributes,
      };
    }
    case 'globalAvgPool':
      return { type: 'GlobalAveragePool', name };
    case 'add':
      return { type: 'Add', name };
    case 'relu':
      return { type: 'Relu', name };
    case 'dropout':
    case 'batchNorm':
      return undefined;
  }
}

function windowsOf(spec: PoolSpec, input: Shape, output: Shape): Record<string, number | number[]> {
  const { size, stride, pad, rounding = 'up' } = spec;
  const windows = { kernel_shape: [size, size], strides: [stride, stride] };
  const [top, left, bottom, right] = sidesOf(pad);
  const padded = { ...windows, pads: [top, left, bottom, right] };
  if (rounding === 'down') return padded;
  const [before, after] = [
    [top, left],
    [bottom, right],
  ];
  const axes = [0, 1];
  const roundedUp = axes.every(
    (axis) =>
      output[axis] === Math.ceil((input[axis] + before[axis] + after[axis] - size) / stride) + 1,
  );
  if (roundedUp) return { ...(pad === undefined ? windows : padded), ceil_mode: 1 };
  // Avoids a window that would begin past the image, which ONNX readers treat differently.
  const { beyond } = clipping(spec, input as [number, number, number]);
  return { ...windows, pads: [...before, ...beyond] };
}

function weighted(name: string): Pick<Operation, 'name' | 'initializers'> {
  return { name, initializers: [`${name}.weight`, `${name}.bias`] };
}

function attributeOf(name: string, value: number | number[]): Uint8Array {
  return message(
    NODE.attribute,
    text(ATTRIBUTE.name, name),
    ...(Array.isArray(value)
      ? value.map((one) => integer(ATTRIBUTE.ints, one))
      : [integer(ATTRIBUTE.i, value)]),
    integer(ATTRIBUTE.type, Array.isArray(value) ? ATTRIBUTE_TYPE.ints : ATTRIBUTE_TYPE.int),
  );
}

function initializerOf(name: string, { shape, data }: NamedArray): Uint8Array {
  return message(
    GRAPH.initializer,
    ...shape.map((extent) => integer(TENSOR.dims, extent)),
    integer(TENSOR.dataType, DATA_TYPE.float),
    text(TENSOR.name, name),
    // ONNX requires little-endian; so are all machines that this program supports.
    bytes(TENSOR.rawData, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  );
}

/** The fields of a float32 value [N, …shape]. */
function valueOf(name: string, shape: number[]): Uint8Array[] {
  return [
    text(VALUE.name, name),
    message(
      VALUE.type,
      message(
        TYPE.tensorType,
        integer(TENSOR_TYPE.elemType, DATA_TYPE.float),
        message(
          TENSOR_TYPE.shape,
          message(SHAPE.dim, text(DIMENSION.parameter, 'N')),
          ...shape.map((extent) => message(SHAPE.dim, integer(DIMENSION.value, extent))),
        ),
      ),
    ),
  ];
}
