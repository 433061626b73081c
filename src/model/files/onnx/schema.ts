/** The numbers of the fields of onnx.proto that are read or written, by message. */
export const MODEL = {
  irVersion: 1,
  producerName: 2,
  producerVersion: 3,
  docString: 6,
  graph: 7,
  opsetImport: 8,
  metadataProps: 14,
};
export const OPERATOR_SET = { version: 2 };
export const STRING_ENTRY = { key: 1, value: 2 };
export const GRAPH = { node: 1, name: 2, initializer: 5, input: 11, output: 12 };
export const NODE = { input: 1, output: 2, name: 3, opType: 4, attribute: 5 };
export const ATTRIBUTE = { name: 1, f: 2, i: 3, s: 4, t: 5, floats: 7, ints: 8, type: 20 };
export const ATTRIBUTE_TYPE = { int: 2, ints: 7 };
export const TENSOR = {
  dims: 1,
  dataType: 2,
  floatData: 4,
  int32Data: 5,
  int64Data: 7,
  name: 8,
  rawData: 9,
  doubleData: 10,
  externalData: 13,
  dataLocation: 14,
};
export const VALUE = { name: 1, type: 2 };
export const TYPE = { tensorType: 1 };
export const TENSOR_TYPE = { elemType: 1, shape: 2 };
export const SHAPE = { dim: 1 };
export const DIMENSION = { value: 1, parameter: 2 };

/** The types of elements that are read; float is also written. */
export const DATA_TYPE = {
  float: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  float16: 10,
  double: 11,
  bfloat16: 16,
};

/** The names of other types, for messages. */
export const OTHER_TYPES: Readonly<Record<number, string>> = {
  3: 'int8',
  4: 'uint16',
  5: 'int16',
  8: 'string',
  9: 'bool',
  12: 'uint32',
  13: 'uint64',
  14: 'complex64',
  15: 'complex128',
  17: 'float8',
  18: 'float8',
  19: 'float8',
  20: 'float8',
  21: 'uint4',
  22: 'int4',
  23: 'float4',
};
