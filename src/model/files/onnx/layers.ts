import { productOf } from '../../../base/sums.js';
import { shapeText } from '../../../base/text.js';
import { clipping, type LayerSpec, type Pad } from '../../layers.js';
import type { NamedArray } from '../../tensors.js';
import type { Constant, Node } from './graph.js';
import type { Flow, NodeReaders, GraphReading, Value } from './reading.js';
import { transposedMatrix } from './shapes.js';

/** Layers: windows over images, inner products, and what follows them. */
export const LAYER_NODES: NodeReaders = {
  Pad: padded,
  Conv: convolution,
  Gemm: innerProduct,
  MatMul: innerProduct,
  MaxPool: pooling,
  AveragePool: pooling,
  GlobalAveragePool: globalAverage,
  ReduceMean: globalAverage,
  Relu: rectified,
  Softmax: withoutSoftmax,
  LogSoftmax: withoutSoftmax,
};

function rectified(reading: GraphReading, node: Node): Flow {
  const flow = reading.flow(node, 0);
  return reading.append(node, { kind: 'relu' }, [flow], flow.shape, flow);
}

function padded(reading: GraphReading, node: Node): Flow {
  const flow = reading.flow(node, 0);
  if (flow.shape.length !== 3 || flow.flat) throw reading.at(node, 'needs images, N×C×H×W');
  const pads = padsByAxis(reading, node);
  const mode = node.attributes.get('mode')?.text ?? 'constant';
  const value =
    node.inputs.length > 2 && node.inputs[2] !== ''
      ? reading.constant(node, 2).data[0]
      : (node.attributes.get('value')?.float ?? 0);
  if (mode !== 'constant' || value !== 0) {
    throw reading.at(node, `pads with ${mode === 'constant' ? value : mode}, expected zeros`);
  }
  const [n0, c0, top, left, n1, c1, bottom, right] = pads;
  if (pads.length !== 8 || [n0, c0, n1, c1].some((one) => one !== 0) || flow.pad) {
    throw reading.at(node, 'pads other axes than height and width');
  }
  if (![top, left, bottom, right].every(Number.isInteger)) {
    throw reading.at(node, `has pads ${pads.join(', ')}, expected integers`);
  }
  if (Math.min(top, left, bottom, right) < 0) throw reading.at(node, 'cuts an image');
  return { ...flow, pad: [top, left, bottom, right] };
}

/** What a Pad adds before all four axes and then after them; a node may name those that it pads. */
function padsByAxis(reading: GraphReading, node: Node): number[] {
  const pads = reading.list(node, 'pads') ?? [...reading.constant(node, 1).data];
  const given = reading.optional(node, 3);
  if (!given) return pads;
  const axes = [...given.data].map((axis) => (axis < 0 ? axis + 4 : axis));
  const areAxes = axes.every(
    (axis, i) => [0, 1, 2, 3].includes(axis) && !axes.includes(axis, i + 1),
  );
  if (!areAxes || pads.length !== 2 * axes.length) {
    throw reading.at(node, `has ${pads.length} pads for axes ${[...given.data].join(', ')}`);
  }
  const all = Array<number>(8).fill(0);
  axes.forEach((axis, i) => {
    all[axis] = pads[i];
    all[axis + 4] = pads[i + axes.length];
  });
  return all;
}

function convolution(reading: GraphReading, node: Node): Flow {
  const flow = reading.flow(node, 0);
  const kernel = reading.constant(node, 1);
  const [filters, inputs, height, width] = kernel.shape;
  if (reading.integer(node, 'group', 1) !== 1) {
    throw reading.at(node, `has ${reading.integer(node, 'group', 1)} groups, expected 1`);
  }
  const windows = windowsOf(reading, node, flow, [height, width]);
  const channels = flow.shape.at(-1)!;
  const isEmpty = kernel.shape.some((extent) => extent < 1);
  if (kernel.shape.length !== 4 || inputs !== channels || isEmpty) {
    throw reading.at(
      node,
      `has filters of shape ${shapeText(kernel.shape)}, expected O×${channels}×h×w`,
    );
  }
  const [top, left, bottom, right] = windows.pad;
  const square = Math.max(height, width);
  // Zeros below and to the right make a filter square, and there must be room for them.
  const [below, beside] = [bottom + square - height, right + square - width];
  // Zeros on all sides make it wider than the padding, so that no window lies outside the image.
  const more = Math.max(0, Math.max(top, left, below, beside) - square + 1);
  const size = square + 2 * more;
  if (size ** 2 > height * width) reading.refuseLarge(node, filters * inputs * size ** 2);
  const pad: Sides = [top + more, left + more, below + more, beside + more];
  const spec: LayerSpec = {
    kind: 'conv',
    name: reading.nameFor(node.inputs[1], 'conv'),
    filters,
    size,
    ...(windows.stride !== 1 && { stride: windows.stride }),
    ...padOf(pad),
    filler: { kind: 'xavier' },
  };
  const shape = [
    Math.floor((flow.shape[0] + top + bottom - height) / windows.stride) + 1,
    Math.floor((flow.shape[1] + left + right - width) / windows.stride) + 1,
    filters,
  ];
  const weight = {
    shape: [filters, inputs, size, size],
    data: widened(kernel, size, more),
  };
  const bias = biasOf(reading, node, filters, 1);
  return reading.weighted(node, spec, { ...flow, pad: undefined }, shape, { weight, bias });
}

function biasOf(reading: GraphReading, node: Node, outputs: number, factor: number): NamedArray {
  const given = reading.optional(node, 2);
  if (given && given.data.length !== outputs && given.data.length !== 1) {
    throw reading.at(node, `has ${given.data.length} biases, expected ${outputs}`);
  }
  const value = (i: number): number => factor * (given?.data[given.data.length === 1 ? 0 : i] ?? 0);
  return { shape: [outputs], data: Float32Array.from({ length: outputs }, (_, i) => value(i)) };
}

function innerProduct(reading: GraphReading, node: Node): Flow {
  const flow = reading.flow(node, 0);
  const isGemm = node.type === 'Gemm';
  if (reading.integer(node, 'transA', 0) !== 0) throw reading.at(node, 'transposes its images');
  const given = reading.constant(node, 1);
  if (given.shape.length !== 2 || Math.min(...given.shape) < 1) {
    throw reading.at(node, `has weights of shape ${shapeText(given.shape)}, expected two axes`);
  }
  const kernel =
    isGemm && reading.integer(node, 'transB', 0) === 1 ? given : transposedMatrix(given);
  const [outputs, inputs] = kernel.shape;
  const size = productOf(flow.shape);
  if (flow.shape.length === 3 && !flow.flat && flow.shape[0] * flow.shape[1] > 1) {
    throw reading.at(node, 'takes images that are not flattened');
  }
  if (inputs !== size || flow.pad) {
    throw reading.at(node, `has weights for ${inputs} inputs, but what comes before gives ${size}`);
  }
  const alpha = isGemm ? (node.attributes.get('alpha')?.float ?? 1) : 1;
  const beta = isGemm ? (node.attributes.get('beta')?.float ?? 1) : 1;
  const data = Float32Array.from(channelsFirst(kernel.data, flow), (value) => alpha * value);
  const name = reading.nameFor(node.inputs[1], 'innerProduct');
  return reading.weighted(
    node,
    { kind: 'innerProduct', name, outputs, filler: { kind: 'xavier' } },
    flow,
    [outputs],
    { weight: { shape: [outputs, size], data }, bias: biasOf(reading, node, outputs, beta) },
  );
}

function pooling(reading: GraphReading, node: Node): Flow {
  const flow = reading.flow(node, 0);
  const size = reading.list(node, 'kernel_shape');
  if (size?.length !== 2 || size[0] !== size[1]) {
    throw reading.at(node, `has windows of ${shapeText(size ?? [])}, expected square ones`);
  }
  if (flow.pad) throw reading.at(node, 'pools a padded image, which is not read');
  const { stride, pad } = windowsOf(reading, node, flow, size);
  const rounding = reading.integer(node, 'ceil_mode', 0) === 1 ? 'up' : 'down';
  const countPad =
    node.type === 'AveragePool' && reading.integer(node, 'count_include_pad', 0) === 1;
  if (pad.some((side) => side >= size[0])) {
    throw reading.at(
      node,
      `has windows of ${size[0]} in padding of ${Math.max(...pad)}, which is not read`,
    );
  }
  const isPadded = pad.some((side) => side > 0);
  if (countPad && isPadded && rounding === 'up') {
    throw reading.at(node, 'rounds up and counts padding, which is not read together');
  }
  const windows = { size: size[0], stride, ...padOf(pad), rounding } as const;
  const spec: LayerSpec =
    node.type === 'MaxPool'
      ? { kind: 'maxPool', ...windows }
      : { kind: 'avgPool', ...windows, ...(countPad && isPadded && { countPad }) };
  const [height, width, channels] = flow.shape;
  const { rows, columns } = clipping(windows, [height, width, channels]);
  const shape = [rows, columns, channels];
  return reading.append(node, spec, [flow], shape, flow);
}

/** Above, to the left, below and to the right. */
type Sides = [number, number, number, number];

/** Stride and padding of a convolution or pooling, with what a Pad before it adds. */
function windowsOf(
  reading: GraphReading,
  node: Node,
  flow: Flow,
  size: number[],
): { stride: number; pad: Sides } {
  if (flow.shape.length !== 3 || flow.flat || flow.channelsLast) {
    throw reading.at(node, 'needs images, N×C×H×W');
  }
  const strides = reading.list(node, 'strides') ?? [1, 1];
  if (strides.length !== 2 || strides[0] !== strides[1]) {
    throw reading.at(node, `has strides of ${shapeText(strides)}, expected two equal ones`);
  }
  if (!Number.isInteger(strides[0]) || strides[0] < 1) {
    throw reading.at(node, `has strides of ${shapeText(strides)}, expected integers above 0`);
  }
  if (reading.list(node, 'dilations')?.some((dilation) => dilation !== 1)) {
    throw reading.at(node, 'has dilations, expected none');
  }
  const [stride] = strides;
  const mode = node.attributes.get('auto_pad')?.text ?? 'NOTSET';
  const own = reading.list(node, 'pads') ?? [0, 0, 0, 0];
  if (own.length !== 4 || !own.every((side) => Number.isInteger(side) && side >= 0)) {
    throw reading.at(node, `has pads ${own.join(', ')}, expected four integers, 0 or more`);
  }
  const before = flow.pad ?? [0, 0, 0, 0];
  let pads: [number, number][] = [
    [own[0], own[2]],
    [own[1], own[3]],
  ];
  if (mode === 'SAME_UPPER' || mode === 'SAME_LOWER') {
    pads = [0, 1].map((axis) => {
      const extent = flow.shape[axis] + before[axis] + before[axis + 2];
      const whole = Math.max(0, (Math.ceil(extent / stride) - 1) * stride + size[axis] - extent);
      const half = Math.floor(whole / 2);
      return mode === 'SAME_UPPER' ? [half, whole - half] : [whole - half, half];
    });
  } else if (mode === 'VALID') {
    pads = [
      [0, 0],
      [0, 0],
    ];
  }
  const [[top, bottom], [left, right]] = pads;
  const pad = [top, left, bottom, right].map((side, i) => side + before[i]);
  return { stride, pad: pad as Sides };
}

function globalAverage(reading: GraphReading, node: Node): Flow {
  const flow = reading.flow(node, 0);
  let keeps = true;
  if (node.type === 'ReduceMean') {
    const axes = reading.list(node, 'axes') ?? [...(reading.optional(node, 1)?.data ?? [])];
    const positive = axes.map((axis) => (axis < 0 ? axis + 4 : axis)).sort();
    if (positive.join() !== '2,3')
      throw reading.at(node, 'averages other axes than height and width');
    keeps = reading.integer(node, 'keepdims', 1) === 1;
  }
  if (flow.shape.length !== 3 || flow.flat || flow.channelsLast || flow.pad) {
    throw reading.at(node, 'needs images, N×C×H×W');
  }
  const shape = [1, 1, flow.shape[2]];
  const average = reading.append(node, { kind: 'globalAvgPool' }, [flow], shape, flow);
  return keeps ? average : { ...average, flat: true };
}

function withoutSoftmax(reading: GraphReading, node: Node): Value {
  const flow = reading.flow(node, 0);
  if (node.outputs[0] !== reading.output) {
    throw reading.at(node, 'is not at the end, where alone it is read');
  }
  const isVector = flow.flat || flow.shape.length === 1;
  const axes = isVector ? [1, -1] : flow.channelsLast ? [3, -1] : [1, -3];
  const axis = node.attributes.get('axis')?.integer;
  if (axis !== undefined && !axes.includes(axis)) {
    throw reading.at(node, `is over axis ${axis}, expected that of the classes, ${axes[0]}`);
  }
  reading.notes.push(
    `${node.type} at the end is dropped: attacks work with the logits that go into it`,
  );
  return flow;
}

function padOf(pad: [number, number, number, number]): { pad?: Pad } {
  if (pad.every((side) => side === 0)) return {};
  return { pad: pad.every((side) => side === pad[0]) ? pad[0] : pad };
}

/** Filters O×I×h×w as squares of a size: `more` zeros above and to the left, and the rest below and to the right. */
function widened({ shape, data }: Constant, size: number, more: number): Float32Array {
  const [filters, inputs, height, width] = shape;
  const square = new Float32Array(filters * inputs * size * size);
  for (let map = 0; map < filters * inputs; map++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        square[(map * size + y + more) * size + x + more] = data[(map * height + y) * width + x];
  return square;
}

/** Weights [outputs, inputs] over the C×H×W flattening, where they may be over that of H×W×C. */
function channelsFirst(data: Float64Array, { shape, channelsLast }: Flow): Float64Array {
  if (!channelsLast || shape.length !== 3) return data;
  const [height, width, channels] = shape;
  const [pixels, size] = [height * width, height * width * channels];
  return data.map((_, i) => {
    const row = i - (i % size);
    const [channel, pixel] = [Math.floor((i % size) / pixels), i % pixels];
    return data[row + pixel * channels + channel];
  });
}
