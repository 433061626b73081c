import { shapeText } from '../../../base/text.js';
import { byChannelOf, type ByChannel, foldedInto, layerOf } from '../fold.js';
import { thenAffine } from '../../preparation.js';
import type { Constant, Node } from './graph.js';
import type { Flow, NodeReaders, GraphReading, Value } from './reading.js';

/** Sums of layers, and factors and summands by channel: of pixels, their preparation; else folded into a layer. */
export const AFFINE_NODES: NodeReaders = {
  Add: arithmetic,
  Sub: arithmetic,
  Mul: arithmetic,
  Div: arithmetic,
  BatchNormalization: normalized,
};

function arithmetic(reading: GraphReading, node: Node): Value {
  const [a, b] = [reading.taken(node, 0), reading.taken(node, 1)];
  if (a.kind === 'constant' && b.kind === 'constant') {
    throw reading.at(node, 'computes with constants alone: simplify the model with onnxsim');
  }
  if (a.kind === 'constant' || b.kind === 'constant') {
    const [constant, index] =
      a.kind === 'constant' ? [a.constant, 1] : [reading.constant(node, 1), 0];
    return withConstant(reading, node, constant, index);
  }
  if (node.type !== 'Add') {
    throw reading.at(node, 'takes two values that depend on the images: only Add may');
  }
  const [x, y] = [reading.flow(node, 0), reading.flow(node, 1)];
  if (x.shape.join() !== y.shape.join() || x.channelsLast || y.channelsLast || x.pad || y.pad) {
    throw reading.at(
      node,
      `adds ${shapeText(x.shape)} and ${shapeText(y.shape)}, expected equal shapes, N×C×H×W`,
    );
  }
  // The later one first, so that layers stay a chain where they can.
  const both = [x, y].sort((one, other) => other.position - one.position);
  const position = both[1].position;
  return reading.append(node, { kind: 'add', with: reading.named(position) }, both, x.shape, x);
}

function withConstant(reading: GraphReading, node: Node, constant: Constant, index: number): Value {
  const value = reading.taken(node, index);
  const isFirst = index === 1;
  if (isFirst && node.type === 'Div') {
    throw reading.at(node, 'divides by a value that depends on the images');
  }
  if (value.kind !== 'pixels' && value.kind !== 'flow') {
    throw reading.at(node, 'computes a shape in a way that is not read');
  }
  const channels = value.shape.at(-1)!;
  if (value.kind === 'pixels' && node.type === 'Sub' && !isFirst) {
    const [height, width] = value.shape;
    const { preparation } = value;
    const isWhole = constant.shape.slice(-3).join() === [channels, height, width].join();
    const isPlain = !preparation.mean && !preparation.std && preparation.scale === 1;
    if (isWhole && height * width > 1 && isPlain && !value.meanImage) {
      const data = Float32Array.from(constant.data);
      return { ...value, meanImage: { shape: [channels, height, width], data } };
    }
  }
  const flat = value.kind === 'flow' && (value.flat || value.shape.length === 1);
  const isLast = value.channelsLast || (flat && value.shape.slice(0, -1).every((n) => n === 1));
  const numbers = byChannel(reading, node, constant, channels, isLast);
  const sign = isFirst && node.type === 'Sub' ? -1 : 1;
  const isFactor = node.type === 'Mul' || node.type === 'Div';
  const one = {
    factor: numbers.map((n) => (!isFactor ? sign : node.type === 'Mul' ? n : 1 / n)),
    shift: numbers.map((n) => (isFactor ? 0 : node.type === 'Add' || isFirst ? n : -n)),
  };
  if (value.kind === 'pixels') {
    if (one.factor.some((factor) => factor === 0 || !Number.isFinite(factor))) {
      throw reading.at(node, 'makes all pixels of a channel equal');
    }
    return { ...value, preparation: thenAffine(value.preparation, one) };
  }
  return affine(reading, node, value, one);
}

/** A constant as a number for each channel. */
function byChannel(
  reading: GraphReading,
  node: Node,
  { shape, data }: Constant,
  channels: number,
  isLast: boolean,
): number[] {
  if (data.length === 1) return Array.from({ length: channels }, () => data[0]);
  // C×1×1 beside N×C×H×W, or C beside N×C.
  const axes = shape.length - [...shape].reverse().findIndex((extent) => extent !== 1) - 1;
  const axis = axes - shape.length;
  if (data.length === channels && axis === (isLast ? -1 : -3)) return [...data];
  throw reading.at(
    node,
    `has a constant of shape ${shapeText(shape)}, expected one number or one for each of ${channels} channels`,
  );
}

function normalized(reading: GraphReading, node: Node): Value {
  if (reading.integer(node, 'training_mode', 0) !== 0) {
    throw reading.at(node, 'is in training mode: export the model after model.eval()');
  }
  const epsilon = node.attributes.get('epsilon')?.float ?? 1e-5;
  const flow = reading.flow(node, 0);
  const channels = flow.shape.at(-1)!;
  const [weight, bias, mean, variance] = ['scale', 'B', 'mean', 'var'].map((name, i) => {
    const { data } = reading.constant(node, i + 1);
    if (data.length === channels) return data;
    throw reading.at(node, `has ${data.length} values as ${name}, for ${channels} channels`);
  });
  return affine(reading, node, flow, byChannelOf({ weight, bias, mean, variance, epsilon }));
}

/** Folds factors and summands by channel into the layer before; if there is none, they are a layer of their own. */
function affine(reading: GraphReading, node: Node, flow: Flow, by: ByChannel): Flow {
  const { position, flat, shape } = flow;
  if (flow.channelsLast || flow.pad) throw reading.at(node, 'follows a Transpose or a Pad');
  const before = reading.parameters.get(position);
  if (before && flow.isSole && (!flat || shape.length === 1)) {
    reading.parameters.set(position, foldedInto(before.weight, before.bias, by));
    return flow;
  }
  const isImage = shape.length === 3;
  if (isImage && flat) throw reading.at(node, 'follows a Flatten of an image');
  reading.refuseLarge(node, by.factor.length ** 2);
  const kind = isImage ? 'conv' : 'innerProduct';
  const { spec, weight, bias } = layerOf(by, kind, reading.nameFor('', kind));
  return reading.weighted(node, spec, flow, shape, { weight, bias });
}
