import { shapeText } from '../../../base/text.js';
import { MOST_CLASSES } from '../../../data/shapes.js';
import { ShapeError } from '../../layers.js';
import { connected } from '../../network.js';
import type { NetworkSpec } from '../../networks.js';
import { MEAN, type NamedArray } from '../../tensors.js';
import { AFFINE_NODES } from './affine.js';
import type { Graph, Node } from './graph.js';
import { LAYER_NODES } from './layers.js';
import { MOST_VALUES, type NodeReaders, type Pixels, GraphReading, type Value } from './reading.js';
import { SHAPE_NODES } from './shapes.js';

const READERS: NodeReaders = { ...SHAPE_NODES, ...AFFINE_NODES, ...LAYER_NODES };

/** A network without a name, and its parameters in Caffe's layout. */
export interface Imported {
  network: Omit<NetworkSpec, 'name'>;
  tensors: Map<string, NamedArray>;
  /** What the file has and the network does without. */
  notes: string[];
}

/**
 * The network that an ONNX graph is, from images to logits. Batch normalisation and other factors and summands
 * by channel are folded into the layer before them; a softmax at the end is dropped.
 *
 * @param file the name of the file, for messages
 * @throws UserError that names a node that is of no kind that the program has, or does not fit
 */
export function importGraph(graph: Graph, file: string): Imported {
  const { inputs, outputs, constants } = graph;
  const reading = new GraphReading(file, outputs[0]);
  if (inputs.length !== 1 || outputs.length !== 1) {
    throw reading.problem(
      `has ${inputs.length} inputs and ${outputs.length} outputs, expected one of each: images and logits`,
    );
  }
  for (const [name, constant] of constants) {
    reading.values.set(name, { kind: 'constant', constant });
  }
  reading.values.set(inputs[0].name, images(reading, inputs[0].shape));
  const nodes = needed(graph);
  for (const name of [...nodes.flatMap((node) => node.inputs), outputs[0]]) {
    reading.uses.set(name, (reading.uses.get(name) ?? 0) + 1);
  }
  for (const node of nodes) {
    if (!Object.hasOwn(READERS, node.type)) {
      throw reading.at(
        node,
        'is of a kind that this program does not have: it reads Conv, Gemm, MatMul, pooling, Relu, BatchNormalization, Add, and what prepares pixels',
      );
    }
    reading.values.set(node.outputs[0], READERS[node.type](reading, node));
  }
  return finished(reading, reading.values.get(outputs[0]));
}

function images(reading: GraphReading, given: (number | null)[]): Pixels {
  if (given.length !== 4) {
    throw reading.problem(
      `takes an input of ${given.length} axes, expected images: N×C×H×W, or N×H×W×C and a Transpose`,
    );
  }
  const [, a, b, c] = given;
  if (a === null || b === null || c === null || Math.min(a, b, c) < 1) {
    throw reading.problem(
      'does not say how large its images are: export it with a fixed height and width',
    );
  }
  if (a * b * c > MOST_VALUES) {
    throw reading.problem(
      `takes images of ${shapeText([a, b, c])}, expected at most ${MOST_VALUES} values`,
    );
  }
  // Images have few channels.
  const channelsLast = c <= 4 && a > 4;
  const shape: Pixels['shape'] = channelsLast ? [a, b, c] : [b, c, a];
  return { kind: 'pixels', shape, preparation: { scale: 1 }, channelsLast };
}

/** The nodes on which the output depends, in order. */
function needed({ nodes, outputs }: Graph): Node[] {
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((name) => [name, node])));
  const found = new Set<Node>();
  const open = [...outputs];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = makers.get(name);
    if (!node || found.has(node)) continue;
    found.add(node);
    for (const input of node.inputs) open.push(input);
  }
  return nodes.filter((node) => found.has(node));
}

function finished(reading: GraphReading, output: Value | undefined): Imported {
  if (output?.kind !== 'flow' || output.position < 0 || output.pad) {
    throw reading.problem('computes no logits from its images');
  }
  const { shape } = output;
  const classes = shape.at(-1)!;
  if (shape.length === 3 && shape[0] * shape[1] !== 1) {
    throw reading.problem(
      `gives an image of ${shapeText(shape)}, expected one value for each class`,
    );
  }
  if (classes < 2) {
    throw reading.problem(`gives one value, expected one for each class, of 2 to ${MOST_CLASSES}`);
  }
  if (classes > MOST_CLASSES) {
    throw reading.problem(`tells ${classes} classes apart, expected at most ${MOST_CLASSES}`);
  }
  const last = reading.layers.length - 1;
  if (output.position !== last) throw reading.problem('has layers whose outputs nothing takes');
  const network: Imported['network'] = {
    input: reading.input!,
    classes,
    subtractMean: reading.meanImage !== undefined,
    ...reading.preparation,
    layers: reading.layers,
  };
  // What is not a layer of ours, such as a window that is too large, is found here.
  try {
    Array.from(connected(reading.layers, network.input));
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw reading.problem(`has a layer that does not fit its input: ${error.message}`);
  }
  const tensors = new Map<string, NamedArray>();
  for (const [position, { weight, bias }] of reading.parameters) {
    const name = reading.layers[position].name!;
    tensors.set(`${name}.weight`, weight);
    tensors.set(`${name}.bias`, bias);
  }
  if (reading.meanImage) tensors.set(MEAN, reading.meanImage);
  return { network, tensors, notes: reading.notes };
}
