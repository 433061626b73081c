import path from 'node:path';
import { UserError } from '../../../base/errors.js';
import { productOf } from '../../../base/sums.js';
import { quoted } from '../../../base/text.js';
import { fromBfloat, fromHalf } from '../halfFloats.js';
import {
  ATTRIBUTE,
  DATA_TYPE,
  DIMENSION,
  GRAPH,
  MODEL,
  NODE,
  OTHER_TYPES,
  SHAPE,
  STRING_ENTRY,
  TENSOR,
  TENSOR_TYPE,
  TYPE,
  VALUE,
} from './schema.js';
import {
  fieldsIn,
  integersIn,
  type Field,
  type Message,
  messageIn,
  MOST_FIELDS,
} from './protobuf.js';

/** A tensor whose values are known; integers are numbers, too. */
export interface Constant {
  shape: number[];
  data: Float64Array;
}

/** An operation of a graph. */
export interface Node {
  type: string;
  /** For messages: its name, or that of its output. */
  name: string;
  inputs: string[];
  outputs: string[];
  attributes: Map<string, Attribute>;
}

export interface Attribute {
  float?: number;
  integer?: number;
  text?: string;
  tensor?: Constant;
  numbers?: number[];
}

export interface Graph {
  nodes: Node[];
  constants: Map<string, Constant>;
  /** Name and shape, with null for what is not a number. */
  inputs: { name: string; shape: (number | null)[] }[];
  outputs: string[];
  metadata: Record<string, string>;
}

/** Whether bytes begin as an ONNX model does: with ir_version, producer or graph, all of which it must have. */
export function looksLikeOnnx(bytes: Uint8Array): boolean {
  const fields = fieldsIn(bytes, 10_000);
  const has = (number: number, type: number): boolean =>
    fields?.some((field) => field.number === number && field.type === type) ?? false;
  return has(MODEL.irVersion, 0) && has(MODEL.graph, 2);
}

/** Names of the files, beside a model, in which its weights are; none if they are in itself. */
export function externalFiles(bytes: Uint8Array): string[] {
  const names = new Set<string>();
  for (const initializer of all(one(messageIn(bytes), MODEL.graph), GRAPH.initializer)) {
    const location = externalOf(messageIn(initializer.bytes))?.location;
    if (location !== undefined) names.add(location);
  }
  return [...names];
}

/**
 * Decodes an ONNX model.
 *
 * @param file its name, for messages
 * @param external the contents of the files beside it that hold weights
 * @throws UserError if it is damaged or has tensors of other types
 */
export function decodeGraph(
  bytes: Uint8Array,
  file: string,
  external: ReadonlyMap<string, Uint8Array> = new Map(),
): Graph {
  const model = messageIn(bytes);
  const graph = one(model, MODEL.graph);
  if (!model || !graph) {
    throw new UserError(
      `${file}: not a sound ONNX model: it is damaged, or has more than ${MOST_FIELDS} fields in a message`,
    );
  }
  const constants = new Map<string, Constant>();
  for (const { bytes: tensor } of all(graph, GRAPH.initializer)) {
    const name = textOf(messageIn(tensor), TENSOR.name);
    constants.set(name, constantOf(messageIn(tensor), name, file, external));
  }
  const nodes = all(graph, GRAPH.node).map(({ bytes: node }): Node => {
    const fields = messageIn(node);
    const outputs = textsOf(fields, NODE.output);
    const name = textOf(fields, NODE.name) || (outputs[0] ?? '');
    const attributes = all(fields, NODE.attribute).map((field) => {
      const attribute = messageIn(field.bytes);
      return [textOf(attribute, ATTRIBUTE.name), attributeOf(attribute, name, file)] as const;
    });
    return {
      type: textOf(fields, NODE.opType),
      name,
      inputs: textsOf(fields, NODE.input),
      outputs,
      attributes: new Map(attributes),
    };
  });
  const inputs = all(graph, GRAPH.input)
    .map(({ bytes: value }) => {
      const fields = messageIn(value);
      const tensor = one(one(fields, VALUE.type), TYPE.tensorType);
      const shape = all(one(tensor, TENSOR_TYPE.shape), SHAPE.dim).map((dim) => {
        const extent = all(messageIn(dim.bytes), DIMENSION.value).at(0);
        return extent ? Number(extent.integer) : null;
      });
      return { name: textOf(fields, VALUE.name), shape };
    })
    // Before IR version 4, initializers were inputs, too.
    .filter(({ name }) => !constants.has(name));
  const outputs = all(graph, GRAPH.output).map((value) =>
    textOf(messageIn(value.bytes), VALUE.name),
  );
  const metadata = all(model, MODEL.metadataProps).map((entry) => entryOf(messageIn(entry.bytes)));
  return { nodes, constants, inputs, outputs, metadata: Object.fromEntries(metadata) };
}

function all(message: Message | undefined, field: number): readonly Field[] {
  return message?.get(field) ?? [];
}

function one(message: Message | undefined, field: number): Message | undefined {
  const found = all(message, field).at(-1);
  return found && messageIn(found.bytes);
}

function textOf(message: Message | undefined, field: number): string {
  return textsOf(message, field).at(-1) ?? '';
}

function textsOf(message: Message | undefined, field: number): string[] {
  return all(message, field).map(({ bytes }) => Buffer.from(bytes).toString('utf8'));
}

function entryOf(message: Message | undefined): [string, string] {
  return [textOf(message, STRING_ENTRY.key), textOf(message, STRING_ENTRY.value)];
}

function attributeOf(message: Message | undefined, node: string, file: string): Attribute {
  const float = all(message, ATTRIBUTE.f).at(-1);
  const integer = all(message, ATTRIBUTE.i).at(-1);
  const tensor = one(message, ATTRIBUTE.t);
  const integers = integersIn(all(message, ATTRIBUTE.ints)) ?? [];
  const floats = all(message, ATTRIBUTE.floats).flatMap(({ bytes }) => [...floatsOf(bytes)]);
  return {
    float: float && floatsOf(float.bytes)[0],
    integer: integer && Number(integer.integer),
    text: textsOf(message, ATTRIBUTE.s).at(-1),
    tensor: tensor && constantOf(tensor, node, file, new Map()),
    numbers: floats.length > 0 ? floats : integers,
  };
}

function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(aligned(bytes, 4));
}

/** A copy, since values in a file may be unaligned; without the bytes that make no whole element. */
function aligned(bytes: Uint8Array, element: number): ArrayBuffer {
  return new Uint8Array(bytes.subarray(0, bytes.length - (bytes.length % element))).buffer;
}

function externalOf(
  tensor: Message | undefined,
): { location: string; offset: number; length?: number } | undefined {
  if (all(tensor, TENSOR.dataLocation).at(-1)?.integer !== 1n) return undefined;
  const entries = all(tensor, TENSOR.externalData).map((entry) => entryOf(messageIn(entry.bytes)));
  const {
    location = '',
    offset = '0',
    length,
  } = Object.fromEntries(entries) as Partial<Record<string, string>>;
  return { location, offset: Number(offset), length: length && Number(length) } as ReturnType<
    typeof externalOf
  >;
}

function constantOf(
  tensor: Message | undefined,
  name: string,
  file: string,
  external: ReadonlyMap<string, Uint8Array>,
): Constant {
  const shape = integersIn(all(tensor, TENSOR.dims)) ?? [];
  const type = Number(all(tensor, TENSOR.dataType).at(-1)?.integer ?? 0n);
  const count = productOf(shape);
  const data = rawValues(rawOf(tensor, external), type) ?? listedValues(tensor, type);
  const fail = (problem: string): never => {
    throw new UserError(`${file}: tensor ${quoted(name)} ${problem}`);
  };
  if (!data) {
    const known = OTHER_TYPES[type] ?? `number ${type} in ONNX`;
    return fail(`is of the type ${known}, which is not read: export the model in float32`);
  }
  if (data.length !== count) fail(`has ${data.length} values, which its shape does not fit`);
  return { shape, data };
}

/** The bytes of a tensor's values, if it has them as such. */
function rawOf(
  tensor: Message | undefined,
  external: ReadonlyMap<string, Uint8Array>,
): Uint8Array | undefined {
  const outside = externalOf(tensor);
  if (!outside) return all(tensor, TENSOR.rawData).at(-1)?.bytes;
  const { location, offset, length } = outside;
  const whole = external.get(location) ?? new Uint8Array();
  return whole.subarray(offset, length === undefined ? undefined : offset + length);
}

function rawValues(raw: Uint8Array | undefined, type: number): Float64Array | undefined {
  if (!raw) return undefined;
  switch (type) {
    case DATA_TYPE.float:
      return Float64Array.from(floatsOf(raw));
    case DATA_TYPE.double:
      return new Float64Array(aligned(raw, 8));
    case DATA_TYPE.int64:
      return Float64Array.from(new BigInt64Array(aligned(raw, 8)), Number);
    case DATA_TYPE.int32:
      return Float64Array.from(new Int32Array(aligned(raw, 4)));
    case DATA_TYPE.uint8:
      return Float64Array.from(raw);
    case DATA_TYPE.float16:
      return Float64Array.from(fromHalf(new Uint16Array(aligned(raw, 2))));
    case DATA_TYPE.bfloat16:
      return Float64Array.from(fromBfloat(new Uint16Array(aligned(raw, 2))));
    default:
      return undefined;
  }
}

function listedValues(tensor: Message | undefined, type: number): Float64Array | undefined {
  switch (type) {
    case DATA_TYPE.float:
      return Float64Array.from(
        all(tensor, TENSOR.floatData).flatMap(({ bytes }) => [...floatsOf(bytes)]),
      );
    case DATA_TYPE.double:
      return Float64Array.from(
        all(tensor, TENSOR.doubleData).flatMap(({ bytes }) => [
          ...new Float64Array(aligned(bytes, 8)),
        ]),
      );
    case DATA_TYPE.int64:
      return Float64Array.from(integersIn(all(tensor, TENSOR.int64Data)) ?? []);
    case DATA_TYPE.int32:
    case DATA_TYPE.uint8:
      return Float64Array.from(integersIn(all(tensor, TENSOR.int32Data)) ?? []);
    // Their bits.
    case DATA_TYPE.float16:
    case DATA_TYPE.bfloat16: {
      const bits = Uint16Array.from(integersIn(all(tensor, TENSOR.int32Data)) ?? []);
      return Float64Array.from(type === DATA_TYPE.float16 ? fromHalf(bits) : fromBfloat(bits));
    }
    default:
      return undefined;
  }
}

/** The path of a file beside a model, in its folder. */
export function besideModel(file: string, location: string): string {
  if (location !== path.basename(location) || location === '' || location === '..') {
    throw new UserError(
      `${file} keeps weights in ${quoted(location)}: save it as one file, or with weights in a file beside it`,
    );
  }
  return path.join(path.dirname(file), location);
}
