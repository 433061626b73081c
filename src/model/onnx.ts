import { type LayerSpec, makeLayer, type Shape } from './layers.js';
import type { NetworkSpec } from './networks.js';
import { MEAN } from './parameters.js';
import { bytes, integer, message, text } from './protobuf.js';
import type { NamedArray } from './tensors.js';

/** The operator set of ONNX 1.12, which all current readers support. */
const OPSET = 17;
const IR_VERSION = 8;

/** The numbers of the fields of onnx.proto that are written, by message. */
const MODEL = {
  irVersion: 1,
  producerName: 2,
  producerVersion: 3,
  docString: 6,
  graph: 7,
  opsetImport: 8,
  metadataProps: 14,
};
const OPERATOR_SET = { version: 2 };
const STRING_ENTRY = { key: 1, value: 2 };
const GRAPH = { node: 1, name: 2, initializer: 5, input: 11, output: 12 };
const NODE = { input: 1, output: 2, name: 3, opType: 4, attribute: 5 };
const ATTRIBUTE = { name: 1, i: 3, ints: 8, type: 20 };
const ATTRIBUTE_TYPE = { int: 2, ints: 7 };
const TENSOR = { dims: 1, dataType: 2, name: 8, rawData: 9 };
const VALUE = { name: 1, type: 2 };
const TYPE = { tensorType: 1 };
const TENSOR_TYPE = { elemType: 1, shape: 2 };
const SHAPE = { dim: 1 };
const DIMENSION = { value: 1, parameter: 2 };
const FLOAT = 1;

/** The names of the graph's input and output. */
export const INPUT = 'pixels';
export const OUTPUT = 'logits';
/** The initializer with the factor on the pixels. */
const SCALE = 'scale';

/** An operation; its inputs are the previous operation's output and these initializers. */
interface Operation {
  type: string;
  name: string;
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
  for (const name of operations.flatMap((operation) => operation.initializers ?? [])) {
    const tensor =
      name === SCALE ? { shape: [], data: Float32Array.of(spec.scale) } : tensors.get(name);
    if (!tensor) throw new RangeError(`${spec.name} has no tensor ${name}`);
    initializers.set(name, tensor);
  }
  // Names that differ from those of all tensors.
  const valueAfter = (i: number): string =>
    i < 0 ? INPUT : i === operations.length - 1 ? OUTPUT : `${i}_${operations[i].name}`;
  const nodes = operations.map(({ type, name, initializers = [], attributes = {} }, i) =>
    message(
      GRAPH.node,
      ...[valueAfter(i - 1), ...initializers].map((input) => text(NODE.input, input)),
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

/** The operations of the graph, in order. */
function operationsOf(spec: NetworkSpec): Operation[] {
  const operations: Operation[] = [];
  // No layer has these names.
  if (spec.subtractMean) operations.push({ type: 'Sub', name: '/mean', initializers: [MEAN] });
  if (spec.scale !== 1) operations.push({ type: 'Mul', name: '/scale', initializers: [SCALE] });
  let input: Shape = spec.input;
  spec.layers.forEach((layer, i) => {
    const { output } = makeLayer(layer, input);
    if (layer.kind === 'innerProduct' && input.length > 1) {
      // C×H×W, as the weights expect it.
      operations.push({ type: 'Flatten', name: `/flatten${i}`, attributes: { axis: 1 } });
    }
    const operation = operationOf(layer, `/${layer.kind}${i}`, input, output);
    if (operation) operations.push(operation);
    input = output;
  });
  return operations;
}

/** A layer as an operation, named `name` unless the layer is named; undefined for dropout. */
function operationOf(
  layer: LayerSpec,
  name: string,
  input: Shape,
  output: Shape,
): Operation | undefined {
  switch (layer.kind) {
    case 'conv': {
      const { size, pad = 0 } = layer;
      const attributes = { kernel_shape: [size, size], pads: [pad, pad, pad, pad] };
      return { type: 'Conv', ...weighted(layer.name), attributes };
    }
    case 'innerProduct':
      return { type: 'Gemm', ...weighted(layer.name), attributes: { transB: 1 } };
    case 'maxPool':
      return { type: 'MaxPool', name, attributes: windowsOf(layer, input, output) };
    case 'avgPool':
      // Divides by the size of the clipped window: by default ONNX does not count padding.
      return { type: 'AveragePool', name, attributes: windowsOf(layer, input, output) };
    case 'relu':
      return { type: 'Relu', name };
    case 'dropout':
      return undefined;
  }
}

function windowsOf(
  { size, stride }: { size: number; stride: number },
  input: Shape,
  output: Shape,
): Record<string, number | number[]> {
  const windows = { kernel_shape: [size, size], strides: [stride, stride] };
  const axes = [0, 1];
  const roundedUp = axes.every(
    (axis) => output[axis] === Math.ceil((input[axis] - size) / stride) + 1,
  );
  if (roundedUp) return { ...windows, ceil_mode: 1 };
  // Avoids a window that would begin past the image, which ONNX readers treat differently.
  const beyond = axes.map((axis) => Math.max(0, (output[axis] - 1) * stride + size - input[axis]));
  return { ...windows, pads: [0, 0, ...beyond] };
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
    integer(TENSOR.dataType, FLOAT),
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
        integer(TENSOR_TYPE.elemType, FLOAT),
        message(
          TENSOR_TYPE.shape,
          message(SHAPE.dim, text(DIMENSION.parameter, 'N')),
          ...shape.map((extent) => message(SHAPE.dim, integer(DIMENSION.value, extent))),
        ),
      ),
    ),
  ];
}
