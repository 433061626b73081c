import { productOf, sumOf } from '../../../base/sums.js';
import type { Constant, Node } from './graph.js';
import type { Extents, NodeReaders, GraphReading, Value } from './reading.js';

/** Constants, axes and shapes, as exporters write them to flatten images whose number they do not know. */
export const SHAPE_NODES: NodeReaders = {
  Constant: constantOf,
  Identity: asItIs,
  Dropout: asItIs,
  Cast: cast,
  Shape: shapeOf,
  Gather: extentsOf,
  Unsqueeze: extentsOf,
  Concat: extentsOf,
  Transpose: transposed,
  Flatten: flattened,
  Reshape: flattened,
  Squeeze: flattened,
};

function asItIs(reading: GraphReading, node: Node): Value {
  return reading.taken(node, 0);
}

/** ONNX's numbers of float and double, which keep a float's value. */
const KEEPING = [1, 11];

/** Of images and activations, only what keeps their values: a defence may round them, and be broken by what follows. */
function cast(reading: GraphReading, node: Node): Value {
  const value = reading.taken(node, 0);
  const to = node.attributes.get('to')?.integer ?? NaN;
  const isNumbers = value.kind === 'constant' || value.kind === 'extents';
  if (isNumbers || KEEPING.includes(to)) return value;
  throw reading.at(node, 'rounds what it is given; only casts to float and double are read');
}

function constantOf(reading: GraphReading, node: Node): Value {
  const { attributes } = node;
  const held = (constant: Constant): Value => ({ kind: 'constant', constant });
  const whole = attributes.get('value')?.tensor;
  if (whole) return held(whole);
  const single = attributes.get('value_float')?.float ?? attributes.get('value_int')?.integer;
  if (single !== undefined) return held({ shape: [], data: Float64Array.of(single) });
  const list = (attributes.get('value_floats') ?? attributes.get('value_ints'))?.numbers;
  if (!list) throw reading.at(node, 'has no numbers');
  return held({ shape: [list.length], data: Float64Array.from(list) });
}

/** Of images, too, whose preparation it does not end: exporters read the size of a batch from the input. */
function shapeOf(reading: GraphReading, node: Node): Extents {
  const value = reading.taken(node, 0);
  const { shape, channelsLast } = value.kind === 'pixels' ? value : reading.flow(node, 0);
  const size = productOf(shape);
  const [height, width, channels] = shape;
  const isVector = shape.length === 1 || (value.kind === 'flow' && value.flat);
  const image = channelsLast ? [height, width, channels] : [channels, height, width];
  const values = [NaN, ...(isVector ? [size] : image)];
  const [start, end] = [['start', 0] as const, ['end', values.length] as const].map(([name, all]) =>
    reading.integer(node, name, all),
  );
  return { kind: 'extents', values: values.slice(start, end) };
}

/** Ample for a shape. */
const MOST_AXES = 100;

function extentsOf(reading: GraphReading, node: Node): Value {
  const length = { Gather: 2, Unsqueeze: 1 }[node.type] ?? node.inputs.length;
  const lists = Array.from({ length }, (_, i) => reading.taken(node, i));
  const numbers = lists.map((value): number[] => {
    if (value.kind === 'extents') return value.values;
    if (value.kind === 'constant') return [...value.constant.data];
    throw reading.at(node, 'is read only where it computes the shape of a Reshape');
  });
  if (node.type === 'Concat') {
    const axes = sumOf(numbers.map((list) => list.length));
    // Each may double the one before it.
    if (axes > MOST_AXES) throw reading.at(node, `computes a shape of ${axes} axes`);
    return { kind: 'extents', values: numbers.flat() };
  }
  if (node.type === 'Unsqueeze') return { kind: 'extents', values: numbers[0] };
  return { kind: 'extents', values: numbers[1].map((i) => numbers[0].at(i) ?? NaN) };
}

function transposed(reading: GraphReading, node: Node): Value {
  const order = reading.list(node, 'perm')?.join();
  const value = reading.taken(node, 0);
  const [toFirst, toLast] = ['0,3,1,2', '0,2,3,1'];
  if (value.kind === 'pixels' && order === toFirst && value.channelsLast) {
    return { ...value, channelsLast: false };
  }
  if (value.kind === 'flow' && value.shape.length === 3 && !value.flat && !value.pad) {
    if (order === toLast && !value.channelsLast) return { ...value, channelsLast: true };
    if (order === toFirst && value.channelsLast) return { ...value, channelsLast: false };
  }
  const isMatrix = value.kind === 'constant' && value.constant.shape.length === 2;
  if (isMatrix && (order === '1,0' || order === undefined)) {
    return { kind: 'constant', constant: transposedMatrix(value.constant) };
  }
  throw reading.at(node, 'moves axes in a way that is not read: expected N×H×W×C to N×C×H×W');
}

function flattened(reading: GraphReading, node: Node): Value {
  const value = reading.taken(node, 0);
  if (value.kind === 'constant') return reshapedConstant(reading, node, value.constant);
  if (value.kind === 'extents') return value;
  if (value.kind === 'pixels' && value.channelsLast && value.shape[2] === 1) {
    // With one channel, exporters write a Transpose to N×C×H×W as a Reshape.
    const [height, width] = value.shape;
    if (targetOf(reading, node)?.slice(1).join() === [1, height, width].join()) {
      return { ...value, channelsLast: false };
    }
  }
  const flow = reading.flow(node, 0);
  if (flow.pad) throw reading.at(node, 'flattens a padded image, which is not read');
  const size = productOf(flow.shape);
  const isFlat = { ...flow, flat: flow.shape.length === 3 };
  if (node.type === 'Flatten') {
    if ([1, -3].includes(reading.integer(node, 'axis', 1))) return isFlat;
  } else if (node.type === 'Squeeze') {
    if (size === flow.shape.at(-1)) return isFlat;
  } else {
    const target = targetOf(reading, node);
    // To N×size, where N may be unknown, 1, 0 (as it is) or −1 (what is left).
    if (target?.length === 2 && (target[1] === size || target[1] === -1)) return isFlat;
  }
  throw reading.at(node, `does not make a vector of each image: expected N×${size}`);
}

/** The shape that a Reshape gives. */
function targetOf(reading: GraphReading, node: Node): number[] | undefined {
  if (node.inputs.length < 2) return undefined;
  const to = reading.taken(node, 1);
  if (to.kind === 'extents') return to.values;
  return to.kind === 'constant' ? [...to.constant.data] : undefined;
}

function reshapedConstant(reading: GraphReading, node: Node, constant: Constant): Value {
  if (node.type !== 'Reshape') throw reading.at(node, 'reshapes a constant, which is not read');
  const shape = [...reading.constant(node, 1).data].map((extent, i) =>
    extent === 0 ? constant.shape[i] : extent,
  );
  const known = shape.reduce((product, extent) => (extent < 0 ? product : product * extent), 1);
  const whole = shape.map((extent) => (extent < 0 ? constant.data.length / known : extent));
  const size = productOf(whole);
  if (size !== constant.data.length) {
    throw reading.at(
      node,
      `gives ${constant.data.length} values a shape of ${size}: export the model again`,
    );
  }
  return { kind: 'constant', constant: { shape: whole, data: constant.data } };
}

export function transposedMatrix({ shape, data }: Constant): Constant {
  const [rows, columns] = shape;
  const values = data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)]);
  return { shape: [columns, rows], data: values };
}
