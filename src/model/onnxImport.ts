import { UserError } from '../base/errors.js';
import { quoted, shapeText } from '../base/text.js';
import { byChannelOf, type ByChannel, foldedInto, layerOf } from './fold.js';
import { type LayerSpec, type Pad, ShapeError } from './layers.js';
import { connected } from './network.js';
import type { NetworkSpec } from './networks.js';
import type { Constant, Graph, Node } from './onnxGraph.js';
import { MEAN } from './parameters.js';
import { type Preparation, thenAffine } from './preparation.js';
import type { NamedArray } from './tensors.js';

/** A network without a name, and its parameters in Caffe's layout. */
export interface Imported {
  network: Omit<NetworkSpec, 'name'>;
  tensors: Map<string, NamedArray>;
  /** What the file has and the network does without. */
  notes: string[];
}

/** The images as the graph has prepared them so far. */
interface Pixels {
  kind: 'pixels';
  /** Height, width, channels. */
  shape: [number, number, number];
  preparation: Preparation;
  /** Whether channels come last. */
  channelsLast: boolean;
}

/** The output of a layer, −1 for the image. */
interface Flow {
  kind: 'flow';
  position: number;
  /** Height, width, channels, or the length of a vector that is not a flattened image. */
  shape: number[];
  /** Whether it is flattened, and whether channels come last. */
  flat: boolean;
  channelsLast: boolean;
  /** Whether nothing else takes it, so that what follows can be folded into its layer. */
  isSole: boolean;
  /** Zeros to put around it: top, left, bottom, right. */
  pad?: [number, number, number, number];
}

/** A vector of whole numbers; the batch size, which is not known, is NaN. */
interface Extents {
  kind: 'extents';
  values: number[];
}

type Value = Pixels | Flow | Extents | { kind: 'constant'; constant: Constant };

/**
 * The network that an ONNX graph is, from images to logits. Batch normalisation and other factors and summands
 * by channel are folded into the layer before them; a softmax at the end is dropped.
 *
 * @param file the name of the file, for messages
 * @throws UserError that names a node that is of no kind that the program has, or does not fit
 */
export function importGraph(graph: Graph, file: string): Imported {
  return new Importer(graph, file).imported();
}

class Importer {
  private readonly layers: LayerSpec[] = [];
  private readonly parameters = new Map<number, { weight: NamedArray; bias: NamedArray }>();
  private readonly shapes: number[][] = [];
  private readonly values = new Map<string, Value>();
  private readonly uses = new Map<string, number>();
  private readonly notes: string[] = [];
  private readonly names = new Set<string>();
  private input: [number, number, number] | undefined;
  private preparation: Preparation = { scale: 1 };
  private meanImage: NamedArray | undefined;

  constructor(
    private readonly graph: Graph,
    private readonly file: string,
  ) {}

  imported(): Imported {
    const { inputs, outputs, constants } = this.graph;
    if (inputs.length !== 1 || outputs.length !== 1) {
      throw this.problem(
        `has ${inputs.length} inputs and ${outputs.length} outputs, expected one of each: images and logits`,
      );
    }
    for (const [name, constant] of constants) this.values.set(name, { kind: 'constant', constant });
    this.values.set(inputs[0].name, this.images(inputs[0].shape));
    const nodes = this.needed();
    for (const name of [...nodes.flatMap((node) => node.inputs), outputs[0]]) {
      this.uses.set(name, (this.uses.get(name) ?? 0) + 1);
    }
    for (const node of nodes) {
      const value = this.valueOf(node);
      this.values.set(node.outputs[0], value);
    }
    return this.finished(this.values.get(outputs[0]));
  }

  private finished(output: Value | undefined): Imported {
    if (output?.kind !== 'flow' || output.position < 0 || output.pad) {
      throw this.problem('computes no logits from its images');
    }
    const { shape } = output;
    const classes = shape.at(-1)!;
    if (shape.length === 3 && shape[0] * shape[1] !== 1) {
      throw this.problem(
        `gives an image of ${shapeText(shape)}, expected one value for each class`,
      );
    }
    const last = this.layers.length - 1;
    if (output.position !== last) throw this.problem('has layers whose outputs nothing takes');
    const network: Imported['network'] = {
      input: this.input!,
      classes,
      subtractMean: this.meanImage !== undefined,
      ...this.preparation,
      layers: this.layers,
    };
    // What is not a layer of ours, such as a window that is too large, is found here.
    try {
      Array.from(connected(this.layers, network.input));
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      throw this.problem(`has a layer that does not fit its input: ${error.message}`);
    }
    const tensors = new Map<string, NamedArray>();
    for (const [position, { weight, bias }] of this.parameters) {
      const name = this.layers[position].name!;
      tensors.set(`${name}.weight`, weight);
      tensors.set(`${name}.bias`, bias);
    }
    if (this.meanImage) tensors.set(MEAN, this.meanImage);
    return { network, tensors, notes: this.notes };
  }

  /** The nodes on which the output depends, in order. */
  private needed(): Node[] {
    const { nodes, outputs } = this.graph;
    const makers = new Map(nodes.flatMap((node) => node.outputs.map((name) => [name, node])));
    const found = new Set<Node>();
    const open = [...outputs];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const node = makers.get(name);
      if (!node || found.has(node)) continue;
      found.add(node);
      open.push(...node.inputs);
    }
    return nodes.filter((node) => found.has(node));
  }

  private images(given: (number | null)[]): Pixels {
    if (given.length !== 4) {
      throw this.problem(
        `takes an input of ${given.length} axes, expected images: N×C×H×W, or N×H×W×C and a Transpose`,
      );
    }
    const [, a, b, c] = given;
    if (a === null || b === null || c === null || Math.min(a, b, c) < 1) {
      throw this.problem(
        'does not say how large its images are: export it with a fixed height and width',
      );
    }
    // Images have few channels.
    const channelsLast = c <= 4 && a > 4;
    const shape: Pixels['shape'] = channelsLast ? [a, b, c] : [b, c, a];
    return { kind: 'pixels', shape, preparation: { scale: 1 }, channelsLast };
  }

  private problem(text: string): UserError {
    return new UserError(`${this.file}: the graph ${text}`);
  }

  private at(node: Node, text: string): UserError {
    return new UserError(`${this.file}: node ${quoted(node.name)} (${node.type}) ${text}`);
  }

  private valueOf(node: Node): Value {
    switch (node.type) {
      case 'Constant':
        return { kind: 'constant', constant: this.constantIn(node) };
      case 'Identity':
      case 'Dropout':
      case 'Cast':
        return this.taken(node, 0);
      case 'Shape':
        return this.shapeOf(node);
      case 'Gather':
      case 'Unsqueeze':
      case 'Concat':
        return this.extentsOf(node);
      case 'Transpose':
        return this.transposed(node);
      case 'Flatten':
      case 'Reshape':
      case 'Squeeze':
        return this.flattened(node);
      case 'Add':
      case 'Sub':
      case 'Mul':
      case 'Div':
        return this.arithmetic(node);
      case 'BatchNormalization':
        return this.normalized(node);
      case 'Pad':
        return this.padded(node);
      case 'Conv':
        return this.convolution(node);
      case 'Gemm':
      case 'MatMul':
        return this.innerProduct(node);
      case 'MaxPool':
      case 'AveragePool':
        return this.pooling(node);
      case 'GlobalAveragePool':
      case 'ReduceMean':
        return this.globalAverage(node);
      case 'Relu': {
        const flow = this.flow(node, 0);
        return this.append(node, { kind: 'relu' }, [flow], flow.shape, flow);
      }
      case 'Softmax':
      case 'LogSoftmax':
        return this.withoutSoftmax(node);
      default:
        throw this.at(
          node,
          'is of a kind that this program does not have: it reads Conv, Gemm, MatMul, pooling, Relu, BatchNormalization, Add, and what prepares pixels',
        );
    }
  }

  /** The value of an input; a layer's output is marked if others take it, too. */
  private taken(node: Node, index: number): Value {
    const name = node.inputs[index];
    const value = this.values.get(name);
    if (!value) throw this.at(node, `takes ${quoted(name)}, which nothing computes`);
    const isSole = this.uses.get(name) === 1;
    return value.kind === 'flow' ? { ...value, isSole: value.isSole && isSole } : value;
  }

  private flow(node: Node, index: number): Flow {
    const value = this.taken(node, index);
    if (value.kind === 'pixels') return this.firstFlow(value);
    if (value.kind === 'flow') return value;
    throw this.at(node, `takes ${quoted(node.inputs[index])}, which does not depend on the images`);
  }

  /** Ends the preparation of pixels, which has to be the same wherever they are taken. */
  private firstFlow({ shape, preparation, channelsLast }: Pixels): Flow {
    if (channelsLast) {
      throw this.problem('takes images N×H×W×C and does not transpose them to N×C×H×W');
    }
    if (this.input && JSON.stringify(preparation) !== JSON.stringify(this.preparation)) {
      throw this.problem('prepares its images in several ways, expected one');
    }
    this.input = shape;
    this.preparation = preparation;
    const common = { flat: false, channelsLast: false, isSole: false };
    return { kind: 'flow', position: -1, shape: [...shape], ...common };
  }

  private constant(node: Node, index: number): Constant {
    const value = this.values.get(node.inputs[index]);
    if (value?.kind === 'constant') return value.constant;
    throw this.at(
      node,
      `takes ${quoted(node.inputs[index] ?? '')}, which is not constant: expected weights`,
    );
  }

  private optional(node: Node, index: number): Constant | undefined {
    return (node.inputs[index] ?? '') === '' ? undefined : this.constant(node, index);
  }

  private constantIn(node: Node): Constant {
    const { attributes } = node;
    const whole = attributes.get('value')?.tensor;
    if (whole) return whole;
    const single = attributes.get('value_float')?.float ?? attributes.get('value_int')?.integer;
    if (single !== undefined) return { shape: [], data: Float64Array.of(single) };
    const list = (attributes.get('value_floats') ?? attributes.get('value_ints'))?.numbers;
    if (!list) throw this.at(node, 'has no numbers');
    return { shape: [list.length], data: Float64Array.from(list) };
  }

  private integer(node: Node, name: string, otherwise: number): number {
    return node.attributes.get(name)?.integer ?? otherwise;
  }

  private list(node: Node, name: string): number[] | undefined {
    const found = node.attributes.get(name)?.numbers;
    return found && found.length > 0 ? found : undefined;
  }

  // What exporters write to flatten images whose number they do not know.

  private shapeOf(node: Node): Extents {
    const { shape, flat } = this.flow(node, 0);
    const size = shape.reduce((product, extent) => product * extent, 1);
    const [height, width, channels] = shape;
    const values = flat || shape.length === 1 ? [NaN, size] : [NaN, channels, height, width];
    return { kind: 'extents', values };
  }

  private extentsOf(node: Node): Value {
    const lists = node.inputs.map((_, i) => this.taken(node, i));
    const numbers = lists.map((value): number[] => {
      if (value.kind === 'extents') return value.values;
      if (value.kind === 'constant') return [...value.constant.data];
      throw this.at(node, 'is read only where it computes the shape of a Reshape');
    });
    if (node.type === 'Concat') return { kind: 'extents', values: numbers.flat() };
    if (node.type === 'Unsqueeze') return { kind: 'extents', values: numbers[0] };
    return { kind: 'extents', values: numbers[1].map((i) => numbers[0].at(i) ?? NaN) };
  }

  private transposed(node: Node): Value {
    const order = this.list(node, 'perm')?.join();
    const value = this.taken(node, 0);
    const [toFirst, toLast] = ['0,3,1,2', '0,2,3,1'];
    if (value.kind === 'pixels' && order === toFirst && value.channelsLast) {
      return { ...value, channelsLast: false };
    }
    if (value.kind === 'flow' && value.shape.length === 3 && !value.flat && !value.pad) {
      if (order === toLast && !value.channelsLast) return { ...value, channelsLast: true };
      if (order === toFirst && value.channelsLast) return { ...value, channelsLast: false };
    }
    if (value.kind === 'constant' && (order === '1,0' || order === undefined)) {
      return { kind: 'constant', constant: transposed(value.constant) };
    }
    throw this.at(node, 'moves axes in a way that is not read: expected N×H×W×C to N×C×H×W');
  }

  private flattened(node: Node): Value {
    const value = this.taken(node, 0);
    if (value.kind === 'constant') return this.reshapedConstant(node, value.constant);
    if (value.kind === 'extents') return value;
    if (value.kind === 'pixels' && value.channelsLast && value.shape[2] === 1) {
      // With one channel, exporters write a Transpose to N×C×H×W as a Reshape.
      const [height, width] = value.shape;
      if (this.targetOf(node)?.slice(1).join() === [1, height, width].join()) {
        return { ...value, channelsLast: false };
      }
    }
    const flow = this.flow(node, 0);
    if (flow.pad) throw this.at(node, 'flattens a padded image, which is not read');
    const size = flow.shape.reduce((product, extent) => product * extent, 1);
    const isFlat = { ...flow, flat: flow.shape.length === 3 };
    if (node.type === 'Flatten') {
      if ([1, -3].includes(this.integer(node, 'axis', 1))) return isFlat;
    } else if (node.type === 'Squeeze') {
      if (size === flow.shape.at(-1)) return isFlat;
    } else {
      const target = this.targetOf(node);
      // To N×size, where N may be unknown, 1, 0 (as it is) or −1 (what is left).
      if (target?.length === 2 && (target[1] === size || target[1] === -1)) return isFlat;
    }
    throw this.at(node, `does not make a vector of each image: expected N×${size}`);
  }

  /** The shape that a Reshape gives. */
  private targetOf(node: Node): number[] | undefined {
    if (node.inputs.length < 2) return undefined;
    const to = this.taken(node, 1);
    if (to.kind === 'extents') return to.values;
    return to.kind === 'constant' ? [...to.constant.data] : undefined;
  }

  private reshapedConstant(node: Node, constant: Constant): Value {
    if (node.type !== 'Reshape') throw this.at(node, 'reshapes a constant, which is not read');
    const shape = [...this.constant(node, 1).data].map((extent, i) =>
      extent === 0 ? constant.shape[i] : extent,
    );
    const known = shape.reduce((product, extent) => (extent < 0 ? product : product * extent), 1);
    const whole = shape.map((extent) => (extent < 0 ? constant.data.length / known : extent));
    return { kind: 'constant', constant: { shape: whole, data: constant.data } };
  }

  private arithmetic(node: Node): Value {
    const [a, b] = [this.taken(node, 0), this.taken(node, 1)];
    if (a.kind === 'constant' && b.kind === 'constant') {
      throw this.at(node, 'computes with constants alone: simplify the model with onnxsim');
    }
    if (a.kind === 'constant' || b.kind === 'constant') {
      const [constant, index] =
        a.kind === 'constant' ? [a.constant, 1] : [this.constant(node, 1), 0];
      return this.withConstant(node, constant, index);
    }
    if (node.type !== 'Add') {
      throw this.at(node, 'takes two values that depend on the images: only Add may');
    }
    const [x, y] = [this.flow(node, 0), this.flow(node, 1)];
    if (x.shape.join() !== y.shape.join() || x.channelsLast || y.channelsLast || x.pad || y.pad) {
      throw this.at(
        node,
        `adds ${shapeText(x.shape)} and ${shapeText(y.shape)}, expected equal shapes, N×C×H×W`,
      );
    }
    // The later one first, so that layers stay a chain where they can.
    const both = [x, y].sort((one, other) => other.position - one.position);
    const position = both[1].position;
    return this.append(node, { kind: 'add', with: this.named(position) }, both, x.shape, x);
  }

  private withConstant(node: Node, constant: Constant, index: number): Value {
    const value = this.taken(node, index);
    const isFirst = index === 1;
    if (isFirst && node.type === 'Div') {
      throw this.at(node, 'divides by a value that depends on the images');
    }
    if (value.kind !== 'pixels' && value.kind !== 'flow') {
      throw this.at(node, 'computes a shape in a way that is not read');
    }
    const channels = value.shape.at(-1)!;
    if (value.kind === 'pixels' && node.type === 'Sub' && !isFirst) {
      const [height, width] = value.shape;
      const { preparation } = value;
      const isWhole = constant.shape.slice(-3).join() === [channels, height, width].join();
      const isPlain = !preparation.mean && !preparation.std && preparation.scale === 1;
      if (isWhole && height * width > 1 && isPlain) {
        this.meanImage = {
          shape: [channels, height, width],
          data: Float32Array.from(constant.data),
        };
        return value;
      }
    }
    const flat = value.kind === 'flow' && (value.flat || value.shape.length === 1);
    const isLast = value.channelsLast || (flat && value.shape.slice(0, -1).every((n) => n === 1));
    const numbers = this.byChannel(node, constant, channels, isLast);
    const sign = isFirst && node.type === 'Sub' ? -1 : 1;
    const isFactor = node.type === 'Mul' || node.type === 'Div';
    const one = {
      factor: numbers.map((n) => (!isFactor ? sign : node.type === 'Mul' ? n : 1 / n)),
      shift: numbers.map((n) => (isFactor ? 0 : node.type === 'Add' || isFirst ? n : -n)),
    };
    if (value.kind === 'pixels') {
      if (one.factor.some((factor) => factor === 0 || !Number.isFinite(factor))) {
        throw this.at(node, 'makes all pixels of a channel equal');
      }
      if (
        this.meanImage &&
        (one.shift.some((shift) => shift !== 0) || new Set(one.factor).size > 1)
      ) {
        throw this.at(node, 'comes after a mean image, after which only one factor is read');
      }
      return { ...value, preparation: thenAffine(value.preparation, one) };
    }
    return this.affine(node, value, one);
  }

  /** A constant as a number for each channel. */
  private byChannel(
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
    throw this.at(
      node,
      `has a constant of shape ${shapeText(shape)}, expected one number or one for each of ${channels} channels`,
    );
  }

  private normalized(node: Node): Value {
    const [weight, bias, mean, variance] = [1, 2, 3, 4].map((i) => this.constant(node, i).data);
    if (this.integer(node, 'training_mode', 0) !== 0) {
      throw this.at(node, 'is in training mode: export the model after model.eval()');
    }
    const epsilon = node.attributes.get('epsilon')?.float ?? 1e-5;
    const flow = this.flow(node, 0);
    if (flow.shape.at(-1) !== mean.length) {
      throw this.at(node, `has ${mean.length} means for ${flow.shape.at(-1)} channels`);
    }
    return this.affine(node, flow, byChannelOf({ weight, bias, mean, variance, epsilon }));
  }

  /** Folds factors and summands by channel into the layer before; if there is none, they are a layer of their own. */
  private affine(node: Node, flow: Flow, by: ByChannel): Flow {
    const { position, flat, shape } = flow;
    if (flow.channelsLast || flow.pad) throw this.at(node, 'follows a Transpose or a Pad');
    const before = this.parameters.get(position);
    if (before && flow.isSole && (!flat || shape.length === 1)) {
      this.parameters.set(position, foldedInto(before.weight, before.bias, by));
      return flow;
    }
    const isImage = shape.length === 3;
    if (isImage && flat) throw this.at(node, 'follows a Flatten of an image');
    const kind = isImage ? 'conv' : 'innerProduct';
    const { spec, weight, bias } = layerOf(by, kind, this.nameFor('', kind));
    return this.weighted(node, spec, flow, shape, { weight, bias });
  }

  private padded(node: Node): Flow {
    const flow = this.flow(node, 0);
    const pads = this.list(node, 'pads') ?? [...this.constant(node, 1).data];
    const mode = node.attributes.get('mode')?.text ?? 'constant';
    const value =
      node.inputs.length > 2 && node.inputs[2] !== ''
        ? this.constant(node, 2).data[0]
        : (node.attributes.get('value')?.float ?? 0);
    if (mode !== 'constant' || value !== 0) {
      throw this.at(node, `pads with ${mode === 'constant' ? value : mode}, expected zeros`);
    }
    const [n0, c0, top, left, n1, c1, bottom, right] = pads;
    if (pads.length !== 8 || [n0, c0, n1, c1].some((one) => one !== 0) || flow.pad) {
      throw this.at(node, 'pads other axes than height and width');
    }
    if (Math.min(top, left, bottom, right) < 0) throw this.at(node, 'cuts an image');
    return { ...flow, pad: [top, left, bottom, right] };
  }

  private convolution(node: Node): Flow {
    const flow = this.flow(node, 0);
    const kernel = this.constant(node, 1);
    const [filters, inputs, height, width] = kernel.shape;
    if (this.integer(node, 'group', 1) !== 1) {
      throw this.at(node, `has ${this.integer(node, 'group', 1)} groups, expected 1`);
    }
    const windows = this.windowsOf(node, flow, [height, width]);
    const channels = flow.shape.at(-1)!;
    if (kernel.shape.length !== 4 || inputs !== channels) {
      throw this.at(
        node,
        `has filters of shape ${shapeText(kernel.shape)}, expected O×${channels}×h×w`,
      );
    }
    const size = Math.max(height, width);
    const [top, left, bottom, right] = windows.pad;
    // Zeros below and to the right make a filter square, and there must be room for them.
    const pad: [number, number, number, number] = [
      top,
      left,
      bottom + size - height,
      right + size - width,
    ];
    const spec: LayerSpec = {
      kind: 'conv',
      name: this.nameFor(node.inputs[1], 'conv'),
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
      data: squared(kernel, size),
    };
    const bias = this.biasOf(node, filters, 1);
    return this.weighted(node, spec, { ...flow, pad: undefined }, shape, { weight, bias });
  }

  private biasOf(node: Node, outputs: number, factor: number): NamedArray {
    const given = this.optional(node, 2);
    if (given && given.data.length !== outputs && given.data.length !== 1) {
      throw this.at(node, `has ${given.data.length} biases, expected ${outputs}`);
    }
    const value = (i: number): number =>
      factor * (given?.data[given.data.length === 1 ? 0 : i] ?? 0);
    return { shape: [outputs], data: Float32Array.from({ length: outputs }, (_, i) => value(i)) };
  }

  private innerProduct(node: Node): Flow {
    const flow = this.flow(node, 0);
    const isGemm = node.type === 'Gemm';
    if (this.integer(node, 'transA', 0) !== 0) throw this.at(node, 'transposes its images');
    const given = this.constant(node, 1);
    if (given.shape.length !== 2) {
      throw this.at(node, `has weights of shape ${shapeText(given.shape)}, expected two axes`);
    }
    const kernel = isGemm && this.integer(node, 'transB', 0) === 1 ? given : transposed(given);
    const [outputs, inputs] = kernel.shape;
    const size = flow.shape.reduce((product, extent) => product * extent, 1);
    if (flow.shape.length === 3 && !flow.flat && flow.shape[0] * flow.shape[1] > 1) {
      throw this.at(node, 'takes images that are not flattened');
    }
    if (inputs !== size || flow.pad) {
      throw this.at(node, `has weights for ${inputs} inputs, but what comes before gives ${size}`);
    }
    const alpha = isGemm ? (node.attributes.get('alpha')?.float ?? 1) : 1;
    const beta = isGemm ? (node.attributes.get('beta')?.float ?? 1) : 1;
    const data = Float32Array.from(channelsFirst(kernel.data, flow), (value) => alpha * value);
    const name = this.nameFor(node.inputs[1], 'innerProduct');
    return this.weighted(
      node,
      { kind: 'innerProduct', name, outputs, filler: { kind: 'xavier' } },
      flow,
      [outputs],
      { weight: { shape: [outputs, size], data }, bias: this.biasOf(node, outputs, beta) },
    );
  }

  private pooling(node: Node): Flow {
    const flow = this.flow(node, 0);
    const size = this.list(node, 'kernel_shape');
    if (size?.length !== 2 || size[0] !== size[1]) {
      throw this.at(node, `has windows of ${shapeText(size ?? [])}, expected square ones`);
    }
    if (flow.pad) throw this.at(node, 'pools a padded image, which is not read');
    const { stride, pad } = this.windowsOf(node, flow, size);
    const rounding = this.integer(node, 'ceil_mode', 0) === 1 ? 'up' : 'down';
    const countPad =
      node.type === 'AveragePool' && this.integer(node, 'count_include_pad', 0) === 1;
    const isPadded = pad.some((side) => side > 0);
    if (countPad && isPadded && rounding === 'up') {
      throw this.at(node, 'rounds up and counts padding, which is not read together');
    }
    const windows = { size: size[0], stride, ...padOf(pad), rounding } as const;
    const spec: LayerSpec =
      node.type === 'MaxPool'
        ? { kind: 'maxPool', ...windows }
        : { kind: 'avgPool', ...windows, ...(countPad && isPadded && { countPad }) };
    const [top, left, bottom, right] = pad;
    const count = (extent: number, before: number, after: number): number => {
      const steps = (extent + before + after - size[0]) / stride;
      if (rounding === 'down') return Math.floor(steps) + 1;
      const all = Math.ceil(steps) + 1;
      return (all - 1) * stride < extent + before ? all : all - 1;
    };
    const shape = [
      count(flow.shape[0], top, bottom),
      count(flow.shape[1], left, right),
      flow.shape[2],
    ];
    return this.append(node, spec, [flow], shape, flow);
  }

  /** Stride and padding of a convolution or pooling, with what a Pad before it adds. */
  private windowsOf(
    node: Node,
    flow: Flow,
    size: number[],
  ): { stride: number; pad: [number, number, number, number] } {
    if (flow.shape.length !== 3 || flow.flat || flow.channelsLast) {
      throw this.at(node, 'needs images, N×C×H×W');
    }
    const strides = this.list(node, 'strides') ?? [1, 1];
    if (strides.length !== 2 || strides[0] !== strides[1]) {
      throw this.at(node, `has strides of ${shapeText(strides)}, expected two equal ones`);
    }
    if (this.list(node, 'dilations')?.some((dilation) => dilation !== 1)) {
      throw this.at(node, 'has dilations, expected none');
    }
    const [stride] = strides;
    const mode = node.attributes.get('auto_pad')?.text ?? 'NOTSET';
    const own = this.list(node, 'pads') ?? [0, 0, 0, 0];
    let pads: [number, number][] = [
      [own[0], own[2]],
      [own[1], own[3]],
    ];
    if (mode === 'SAME_UPPER' || mode === 'SAME_LOWER') {
      pads = [0, 1].map((axis) => {
        const extent = flow.shape[axis];
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
    const before = flow.pad ?? [0, 0, 0, 0];
    const pad = [top, left, bottom, right].map((side, i) => side + before[i]);
    return { stride, pad: pad as [number, number, number, number] };
  }

  private globalAverage(node: Node): Flow {
    const flow = this.flow(node, 0);
    let keeps = true;
    if (node.type === 'ReduceMean') {
      const axes = this.list(node, 'axes') ?? [...(this.optional(node, 1)?.data ?? [])];
      const positive = axes.map((axis) => (axis < 0 ? axis + 4 : axis)).sort();
      if (positive.join() !== '2,3')
        throw this.at(node, 'averages other axes than height and width');
      keeps = this.integer(node, 'keepdims', 1) === 1;
    }
    if (flow.shape.length !== 3 || flow.flat || flow.channelsLast || flow.pad) {
      throw this.at(node, 'needs images, N×C×H×W');
    }
    const shape = [1, 1, flow.shape[2]];
    const average = this.append(node, { kind: 'globalAvgPool' }, [flow], shape, flow);
    return keeps ? average : { ...average, flat: true };
  }

  private withoutSoftmax(node: Node): Value {
    const flow = this.flow(node, 0);
    if (node.outputs[0] !== this.graph.outputs[0]) {
      throw this.at(node, 'is not at the end, where alone it is read');
    }
    this.notes.push(
      `${node.type} at the end is dropped: attacks work with the logits that go into it`,
    );
    return flow;
  }

  private weighted(
    node: Node,
    spec: LayerSpec,
    from: Flow,
    shape: number[],
    parameters: { weight: NamedArray; bias: NamedArray },
  ): Flow {
    const flow = this.append(node, spec, [from], shape, {
      flat: false,
      channelsLast: false,
    });
    this.parameters.set(flow.position, parameters);
    return flow;
  }

  private append(
    node: Node,
    spec: LayerSpec,
    from: Flow[],
    shape: number[],
    { flat, channelsLast }: Pick<Flow, 'flat' | 'channelsLast'>,
  ): Flow {
    if (from.some(({ pad }) => pad)) throw this.at(node, 'follows a Pad, which only Conv may');
    const position = this.layers.length;
    const isNext = from[0].position === position - 1;
    this.layers.push(isNext ? spec : { ...spec, from: this.named(from[0].position) });
    this.shapes.push(shape);
    return { kind: 'flow', position, shape, flat, channelsLast, isSole: true };
  }

  /** The name of a layer, which it gets if it has none. */
  private named(position: number): string {
    if (position < 0) return 'image';
    const layer = this.layers[position];
    layer.name ??= this.nameFor('', layer.kind);
    return layer.name;
  }

  /** A name after that of a tensor, if it can be one, else after the kind of layer. */
  private nameFor(tensor: string, kind: string): string {
    const stem = tensor.replace(/\.weight$/, '').replace(/[^A-Za-z0-9]+/g, '_');
    const isName =
      /^[A-Za-z][A-Za-z0-9_]{0,39}$/.test(stem) &&
      !/^onnx|^val_|Constant|^mean$|^image$|^velocity$/.test(stem);
    const short = { conv: 'conv', innerProduct: 'ip' }[kind] ?? kind;
    for (let i = isName ? 0 : 1; ; i++) {
      const name = isName && i === 0 ? stem : `${isName ? stem : short}${isName ? `_${i}` : i}`;
      if (this.names.has(name) || name in {}) continue;
      this.names.add(name);
      return name;
    }
  }
}

function padOf(pad: [number, number, number, number]): { pad?: Pad } {
  if (pad.every((side) => side === 0)) return {};
  return { pad: pad.every((side) => side === pad[0]) ? pad[0] : pad };
}

/** Filters O×I×h×w with zeros below and to the right that make them square. */
function squared({ shape, data }: Constant, size: number): Float32Array {
  const [filters, inputs, height, width] = shape;
  const square = new Float32Array(filters * inputs * size * size);
  for (let map = 0; map < filters * inputs; map++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        square[(map * size + y) * size + x] = data[(map * height + y) * width + x];
  return square;
}

function transposed({ shape, data }: Constant): Constant {
  const [rows, columns] = shape;
  const turned = new Float64Array(data.length);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) turned[c * rows + r] = data[r * columns + c];
  return { shape: [columns, rows], data: turned };
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
