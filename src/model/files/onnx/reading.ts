import { UserError } from '../../../base/errors.js';
import { productOf } from '../../../base/sums.js';
import { quoted } from '../../../base/text.js';
import type { LayerSpec } from '../../layers.js';
import type { Preparation } from '../../preparation.js';
import type { NamedArray } from '../../tensors.js';
import type { Constant, Node } from './graph.js';

/** The images as the graph has prepared them so far. */
export interface Pixels {
  kind: 'pixels';
  /** Height, width, channels. */
  shape: [number, number, number];
  preparation: Preparation;
  /** What is subtracted from them first. */
  meanImage?: NamedArray;
  /** Whether channels come last. */
  channelsLast: boolean;
}

/** The output of a layer, −1 for the image. */
export interface Flow {
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
export interface Extents {
  kind: 'extents';
  values: number[];
}

/** In an image, the output of a layer, or a tensor that is made of a smaller one: 256 MiB of float32. */
export const MOST_VALUES = 2 ** 26;

export type Value = Pixels | Flow | Extents | { kind: 'constant'; constant: Constant };

/** By the type of a node: what it gives. */
export type NodeReaders = Readonly<Record<string, (reading: GraphReading, node: Node) => Value>>;

/** A graph on its way to a network: what its nodes gave so far, and the layers that came of it. */
export class GraphReading {
  readonly layers: LayerSpec[] = [];
  /** Weights and biases by the position of their layer. */
  readonly parameters = new Map<number, { weight: NamedArray; bias: NamedArray }>();
  readonly values = new Map<string, Value>();
  /** How many nodes take a value. */
  readonly uses = new Map<string, number>();
  readonly notes: string[] = [];
  /** Height, width and channels of what the first layers take, and how it is prepared. */
  input: [number, number, number] | undefined;
  preparation: Preparation = { scale: 1 };
  meanImage: NamedArray | undefined;
  private readonly names = new Set<string>();

  /**
   * @param file the name of the file, for messages
   * @param output the name of what the graph gives
   */
  constructor(
    private readonly file: string,
    readonly output: string,
  ) {}

  /** What is wrong with the whole graph, as a message. */
  problem(text: string): UserError {
    return new UserError(`${this.file}: the graph ${text}`);
  }

  /** What is wrong with a node, as a message. */
  at(node: Node, text: string): UserError {
    return new UserError(`${this.file}: node ${quoted(node.name)} (${node.type}) ${text}`);
  }

  /** @throws UserError if a node makes so many values, of however few in the file, that memory may not suffice */
  refuseLarge(node: Node, count: number): void {
    if (count > MOST_VALUES) {
      throw this.at(node, `needs ${count} values, expected at most ${MOST_VALUES}`);
    }
  }

  /** The value of an input; a layer's output is marked if others take it, too. */
  taken(node: Node, index: number): Value {
    const name = node.inputs[index] ?? '';
    if (name === '') throw this.at(node, `has no input ${index + 1}: export the model again`);
    const value = this.values.get(name);
    if (!value) throw this.at(node, `takes ${quoted(name)}, which nothing computes`);
    const isSole = this.uses.get(name) === 1;
    return value.kind === 'flow' ? { ...value, isSole: value.isSole && isSole } : value;
  }

  /** An input that depends on the images. */
  flow(node: Node, index: number): Flow {
    const value = this.taken(node, index);
    if (value.kind === 'pixels') return this.firstFlow(value);
    if (value.kind === 'flow') return value;
    throw this.at(node, `takes ${quoted(node.inputs[index])}, which does not depend on the images`);
  }

  /** Ends the preparation of pixels, which has to be the same wherever they are taken. */
  private firstFlow({ shape, preparation, meanImage, channelsLast }: Pixels): Flow {
    if (channelsLast) {
      throw this.problem('takes images N×H×W×C and does not transpose them to N×C×H×W');
    }
    const isOther =
      meanImage !== this.meanImage ||
      JSON.stringify(preparation) !== JSON.stringify(this.preparation);
    if (this.input && isOther) {
      throw this.problem('prepares its images in several ways, expected one');
    }
    this.input = shape;
    this.preparation = preparation;
    this.meanImage = meanImage;
    const common = { flat: false, channelsLast: false, isSole: false };
    return { kind: 'flow', position: -1, shape: [...shape], ...common };
  }

  /** An input that must be constant. */
  constant(node: Node, index: number): Constant {
    const value = this.values.get(node.inputs[index]);
    if (value?.kind === 'constant') return value.constant;
    throw this.at(
      node,
      `takes ${quoted(node.inputs[index] ?? '')}, which is not constant: expected weights`,
    );
  }

  optional(node: Node, index: number): Constant | undefined {
    return (node.inputs[index] ?? '') === '' ? undefined : this.constant(node, index);
  }

  integer(node: Node, name: string, otherwise: number): number {
    return node.attributes.get(name)?.integer ?? otherwise;
  }

  list(node: Node, name: string): number[] | undefined {
    const found = node.attributes.get(name)?.numbers;
    return found && found.length > 0 ? found : undefined;
  }

  /** Appends a layer with weights. */
  weighted(
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

  /** Appends a layer; the flow that comes out of it. */
  append(
    node: Node,
    spec: LayerSpec,
    from: Flow[],
    shape: number[],
    { flat, channelsLast }: Pick<Flow, 'flat' | 'channelsLast'>,
  ): Flow {
    if (from.some(({ pad }) => pad)) throw this.at(node, 'follows a Pad, which only Conv may');
    this.refuseLarge(node, productOf(shape));
    const position = this.layers.length;
    const isNext = from[0].position === position - 1;
    this.layers.push(isNext ? spec : { ...spec, from: this.named(from[0].position) });
    return { kind: 'flow', position, shape, flat, channelsLast, isSole: true };
  }

  /** The name of a layer, which it gets if it has none. */
  named(position: number): string {
    if (position < 0) return 'image';
    const layer = this.layers[position];
    layer.name ??= this.nameFor('', layer.kind);
    return layer.name;
  }

  /** A name after that of a tensor, if it can be one, else after the kind of layer. */
  nameFor(tensor: string, kind: string): string {
    const stem = tensor.replace(/\.weight$/, '').replace(/[^A-Za-z0-9]+/g, '_');
    const isName =
      /^[A-Za-z][A-Za-z0-9_]{0,39}$/.test(stem) &&
      !/^onnx|^val_|Constant|^mean$|^image$|^velocity$/.test(stem);
    const short = { conv: 'conv', innerProduct: 'ip' }[kind] ?? kind;
    for (let i = isName ? 0 : 1; ; i++) {
      // Of at most 40 characters, too, with a number at the end.
      const name = !isName ? `${short}${i}` : i === 0 ? stem : `${stem.slice(0, 36)}_${i}`;
      if (this.names.has(name) || name in {}) continue;
      this.names.add(name);
      return name;
    }
  }
}
