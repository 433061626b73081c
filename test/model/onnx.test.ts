import * as tf from '@tensorflow/tfjs-core';
import * as ort from 'onnxruntime-web';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadData } from '#bang/data/load.js';
import { startEngine } from '#bang/engine/engine.js';
import type { LayerSpec } from '#bang/model/layers.js';
import { meanImageOf } from '#bang/model/mean.js';
import { logitsOf, makeNetwork, type Network, trace, type Weights } from '#bang/model/network.js';
import type { NetworkSpec } from '#bang/model/networks.js';
import { encodeOnnx } from '#bang/model/files/onnx/encode.js';
import { decodeGraph } from '#bang/model/files/onnx/graph.js';
import { importGraph } from '#bang/model/files/onnx/import.js';
import {
  bytes,
  fieldsIn,
  integer,
  message,
  messageIn,
  text,
} from '#bang/model/files/onnx/protobuf.js';
import {
  ATTRIBUTE,
  ATTRIBUTE_TYPE,
  GRAPH,
  MODEL,
  NODE,
  OPERATOR_SET,
} from '#bang/model/files/onnx/schema.js';
import {
  disposeWeights,
  exportNetwork,
  importWeights,
  initialWeights,
} from '#bang/model/parameters.js';
import { randomNetwork } from '../randomNetworks.js';
import { makeRandom, type Random } from '#bang/base/random.js';
import { ENGINE } from '../engine.js';
import { networkWith } from '../fixtures.js';

// The graph in ONNX Runtime, which shares nothing with this program, against our own forward pass.

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 1 });
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
});

/** Logits as the exported file gives them, and as we compute them, of pixels in N×H×W×C. */
async function bothLogits(
  network: Network,
  weights: Weights,
  pixels: Float32Array,
): Promise<{ theirs: Float32Array; ours: Float32Array }> {
  const file = encodeOnnx(network.spec, exportNetwork({ network, weights }), { version: '0.0.0' });
  return bothLogitsOf(file, network, weights, pixels);
}

async function bothLogitsOf(
  file: Uint8Array,
  network: Network,
  weights: Weights,
  pixels: Float32Array,
): Promise<{ theirs: Float32Array; ours: Float32Array }> {
  const { spec } = network;
  const [height, width, channels] = spec.input;
  const batch = pixels.length / (height * width * channels);
  const images = tf.tensor4d(pixels, [batch, height, width, channels]);
  const planar = tf.transpose(images, [0, 3, 1, 2]).dataSync<'float32'>();
  const session = await ort.InferenceSession.create(file);
  expect([session.inputNames, session.outputNames]).toEqual([['pixels'], ['logits']]);
  const { logits } = await session.run({
    pixels: new ort.Tensor('float32', planar, [batch, channels, height, width]),
  });
  expect(logits.dims).toEqual([batch, spec.classes]);
  const ours = tf.tidy(() => logitsOf(network, weights, images).dataSync<'float32'>());
  await session.release();
  images.dispose();
  return { theirs: logits.data as Float32Array, ours };
}

/**
 * The largest difference in units of the largest logit of the batch. Sums of float32 in another order
 * differ by a few of its units, 2⁻²⁴, for each of the layers that they go through.
 */
async function difference(network: Network, weights: Weights, pixels: Float32Array) {
  const { theirs, ours } = await bothLogits(network, weights, pixels);
  return largestDifference(theirs, ours);
}
function largestDifference(theirs: Float32Array, ours: Float32Array): number {
  const largest = ours.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
  expect(largest).toBeGreaterThan(0);
  return ours.reduce((most, one, i) => Math.max(most, Math.abs(one - theirs[i])), 0) / largest;
}
const ROUNDING = 2 ** -18;

function randomPixels(random: Random, count: number): Float32Array {
  return Float32Array.from({ length: count }, () => 255 * random.uniform());
}

describe.each([
  ['lenet', 'lenet.caffemodel.h5', 'mnist'],
  ['cifar10-quick', 'cifar10_bang.caffemodel.h5', 'cifar10'],
] as const)("the authors' %s in ONNX Runtime", (model, file, data) => {
  let network: Network;
  let weights: Weights;
  let images: Uint8Array;
  let size: number;
  beforeAll(async () => {
    const { train, test } = await loadData(data);
    ({ network, weights } = await networkWith(model, file));
    if (network.spec.subtractMean) network = { ...network, mean: meanImageOf(train) };
    ({ images } = test);
    size = images.length / test.count;
  });

  it.each([1, 3, 7])('gives our logits for %i test images', async (batch) => {
    const pixels = Float32Array.from(images.subarray(size, (batch + 1) * size));
    expect(await difference(network, weights, pixels)).toBeLessThan(ROUNDING);
  });

  it.each([1, 3, 7])('gives our logits for %i random images', async (batch) => {
    const pixels = randomPixels(makeRandom(batch, 'pixels'), batch * size);
    expect(await difference(network, weights, pixels)).toBeLessThan(ROUNDING);
  });

  it('classifies 1000 test images as we do', async () => {
    const { theirs, ours } = await bothLogits(
      network,
      weights,
      Float32Array.from(images.subarray(0, 1000 * size)),
    );
    const winners = (logits: Float32Array) => tf.argMax(tf.tensor2d(logits, [1000, 10]), 1);
    expect(winners(theirs).dataSync()).toEqual(winners(ours).dataSync());
  });
});

describe('other networks in ONNX Runtime', () => {
  const filler = { kind: 'xavier' } as const;
  const networkOf = (input: [number, number, number], layers: LayerSpec[]): NetworkSpec => ({
    name: 'own',
    input,
    classes: 4,
    subtractMean: false,
    scale: 0.3,
    layers: [...layers, { kind: 'innerProduct', name: 'out', outputs: 4, filler }],
  });

  it('have our windows, whatever the geometry, and our padding', async () => {
    const random = makeRandom(1, 'geometry');
    const upTo = (limit: number): number => 1 + Math.floor(limit * random.uniform());
    for (let i = 0; i < 150; i++) {
      const input: [number, number, number] = [4 + upTo(9), 4 + upTo(9), upTo(3)];
      const size = upTo(5);
      const layers: LayerSpec[] = [
        { kind: i % 2 === 0 ? 'avgPool' : 'maxPool', size: upTo(5), stride: upTo(5) },
      ];
      if (i % 3 === 0) {
        const pad = Math.floor(size * random.uniform());
        layers.unshift({ kind: 'conv', name: 'conv', filters: 2, size, pad, filler });
      }
      const network = makeNetwork(networkOf(input, layers));
      const weights = initialWeights(network, i);
      const pixels = randomPixels(random, 2 * input[0] * input[1] * input[2]);
      const found = await difference(network, weights, pixels);
      expect(found, JSON.stringify({ input, layers })).toBeLessThan(ROUNDING);
    }
  });

  it('may have residuals, strides and any padding, and come back as they were', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const network = makeNetwork(randomNetwork(seed));
      const { spec } = network;
      const weights = initialWeights(network, seed);
      const [height, width, channels] = spec.input;
      const pixels = randomPixels(makeRandom(seed, 'pixels'), 2 * height * width * channels);
      const where = JSON.stringify(spec);
      // Not in units of the largest logit, which is 0 where no unit of a small layer is active.
      const { theirs, ours } = await bothLogits(network, weights, pixels);
      const largest = Math.max(1e-3, ...ours.map(Math.abs));
      ours.forEach((one, i) => {
        expect(Math.abs(one - theirs[i]) / largest, where).toBeLessThan(ROUNDING);
      });

      const tensors = exportNetwork({ network, weights });
      const file = importGraph(decodeGraph(encodeOnnx(spec, tensors, { version: '' }), 'f'), 'f');
      expect(file.tensors, where).toEqual(tensors);
      const back = makeNetwork({ ...file.network, name: 'back' });
      const images = tf.tensor4d(pixels, [2, height, width, channels]);
      const logits = (one: Network) =>
        tf.tidy(() => logitsOf(one, weights, images).dataSync<'float32'>().slice());
      // Numbers of the preparation are float32 in ONNX.
      if (!spec.std) expect(logits(back), where).toEqual(logits(network));
      tf.dispose(images);
      disposeWeights(weights);
    }
  });

  it('may subtract a mean image and then prepare by channel, with negative factors, too', async () => {
    const random = makeRandom(1, 'mean');
    const spec = networkOf(
      [6, 5, 2],
      [{ kind: 'conv', name: 'conv', filters: 3, size: 3, filler }],
    );
    for (const more of [{ std: [-100, -100] }, { mean: [0.5, -2], std: [-4, 30] }]) {
      const mean = tf.tensor3d(randomPixels(random, 60), [6, 5, 2]);
      const whole = { ...spec, subtractMean: true, scale: 1, ...more };
      const network = { ...makeNetwork(whole), mean };
      const weights = initialWeights(network, 1);
      const pixels = randomPixels(random, 2 * 60);
      expect(await difference(network, weights, pixels)).toBeLessThan(ROUNDING);

      const images = tf.tensor4d(pixels, [2, 6, 5, 2]);
      const logits = (one: Network) => logitsOf(one, weights, images).dataSync<'float32'>().slice();
      tf.tidy(() => {
        const single = trace(network, weights, images).logits.dataSync<'float32'>();
        expect(single).toEqual(logits(network));
        expect(logits({ ...makeNetwork({ ...spec, scale: 1, ...more }) })).not.toEqual(
          logits(network),
        );
      });
      const tensors = exportNetwork({ network, weights });
      const graph = decodeGraph(encodeOnnx(whole, tensors, { version: '' }), 'f');
      const back = importGraph(graph, 'f');
      expect({ ...back.network, name: 'own' }).toEqual(whole);
      expect(back.tensors).toEqual(tensors);
      tf.dispose([mean, images]);
      disposeWeights(weights);
    }
  });

  it.each([false, true])(
    'may read the size of a batch before pixels are prepared (N×H×W×C: %s)',
    (channelsLast) => {
      const spec = { ...networkOf([6, 5, 3], []), mean: [1, 2, 3] };
      const network = makeNetwork(spec);
      const weights = initialWeights(network, 1);
      const tensors = exportNetwork({ network, weights });
      const graph = decodeGraph(encodeOnnx(spec, tensors, { version: '' }), 'f');
      const { nodes, constants } = graph;
      const [images] = graph.inputs;
      const nodeOf = (type: string, inputs: string[], output: string): (typeof nodes)[number] => ({
        ...{ type, name: output, inputs, outputs: [output], attributes: new Map() },
      });
      for (const [name, value] of [
        ['0', 0],
        ['-1', -1],
      ] as const) {
        constants.set(name, { shape: [1], data: Float64Array.of(value) });
      }
      // As PyTorch writes x.view(x.shape[0], -1), with x the images as they are given.
      const at = nodes.findIndex(({ type }) => type === 'Flatten');
      nodes[at] = { ...nodes[at], type: 'Reshape', inputs: [...nodes[at].inputs, 'to'] };
      if (channelsLast) {
        images.shape = [null, 6, 5, 3];
        const perm = new Map([['perm', { numbers: [0, 3, 1, 2] }]]);
        nodes[0].inputs[0] = 'planar';
        nodes.unshift({ ...nodeOf('Transpose', [images.name], 'planar'), attributes: perm });
      }
      // And as newer exporters do, with a part of the shape.
      const ends = new Map(Object.entries({ start: { integer: 0 }, end: { integer: -3 } }));
      const first = channelsLast
        ? [{ ...nodeOf('Shape', [images.name], 'first'), attributes: ends }]
        : [
            nodeOf('Shape', [images.name], 'shape'),
            nodeOf('Gather', ['shape', '0'], 'batch'),
            nodeOf('Unsqueeze', ['batch', '0'], 'first'),
          ];
      nodes.unshift(...first, nodeOf('Concat', ['first', '-1'], 'to'));
      const back = importGraph(graph, 'f');
      expect(back.network.mean).toEqual([1, 2, 3]);
      expect(back.network.layers).toEqual(spec.layers);
      expect(back.tensors).toEqual(tensors);
      disposeWeights(weights);
    },
  );

  it('have one mean image for all branches', () => {
    const spec = networkOf(
      [4, 4, 2],
      [
        { kind: 'conv', name: 'conv', filters: 2, size: 1, filler },
        { kind: 'add', with: 'image' },
      ],
    );
    const mean = tf.zeros<tf.Rank.R3>([4, 4, 2]);
    const network = { ...makeNetwork({ ...spec, scale: 1, subtractMean: true }), mean };
    const tensors = exportNetwork({ network, weights: initialWeights(network, 1) });
    const graph = decodeGraph(encodeOnnx(network.spec, tensors, { version: '' }), 'f');
    const [sub] = graph.nodes;
    const other = graph.nodes.find(({ type }) => type === 'Add')!;
    other.inputs[other.inputs.indexOf(sub.outputs[0])] = sub.inputs[0];
    expect(() => importGraph(graph, 'f')).toThrow(/prepares its images in several ways/);
  });

  it('are read or refused however many inputs a node has, or axes a tensor', () => {
    const spec = networkOf(
      [4, 4, 1],
      [
        { kind: 'conv', name: 'conv', filters: 2, size: 1, filler },
        { kind: 'relu' },
        { kind: 'innerProduct', name: 'ip', outputs: 5, filler },
      ],
    );
    const network = makeNetwork(spec);
    const weights = initialWeights(network, 1);
    const tensors = exportNetwork({ network, weights });
    const graph = decodeGraph(encodeOnnx(spec, tensors, { version: '' }), 'f');
    const many = 200_000;
    const relu = graph.nodes.find(({ type }) => type === 'Relu')!;
    relu.inputs = relu.inputs.concat(Array<string>(many).fill('none'));
    expect(importGraph(graph, 'f').network.layers).toEqual(spec.layers);
    const conv = graph.nodes.find(({ type }) => type === 'Conv')!;
    const kernel = graph.constants.get(conv.inputs[1])!;
    kernel.shape = [...kernel.shape, ...Array<number>(many).fill(1)];
    expect(() => importGraph(graph, 'f')).toThrow(/has filters of shape 2×1×1×1×1×1/);
    disposeWeights(weights);
  });

  it('may pad by more than a filter is wide', () => {
    const spec = networkOf(
      [4, 4, 2],
      [{ kind: 'conv', name: 'conv', filters: 3, size: 1, filler }, { kind: 'globalAvgPool' }],
    );
    const network = makeNetwork({ ...spec, classes: 3 });
    const weights = initialWeights(network, 1);
    const file = encodeOnnx(network.spec, exportNetwork({ network, weights }), { version: '' });
    const graph = decodeGraph(file, 'f');
    graph.nodes
      .find(({ type }) => type === 'Conv')!
      .attributes.set('pads', { numbers: [1, 2, 1, 0] });
    const { network: padded, tensors } = importGraph(graph, 'f');
    const there = makeNetwork({ ...padded, name: 'padded' });
    const pixels = randomPixels(makeRandom(1, 'pixels'), 2 * 4 * 4 * 2);
    const logits = (one: Network, own: Weights) =>
      tf.tidy(() => logitsOf(one, own, tf.tensor4d(pixels, [2, 4, 4, 2])).dataSync<'float32'>());
    const own = importWeights(there, { tensors }, 'f');
    // The biases of new filters are 0, and so is what they make of padding.
    const expected = logits(network, weights).map((mean) => (mean * 16) / 36);
    logits(there, own).forEach((one, i) => {
      expect(one).toBeCloseTo(expected[i], 4);
    });
    disposeWeights(weights);
    disposeWeights(own);
  });

  it('may name the axes that they pad', () => {
    const layers: LayerSpec[] = [
      { kind: 'conv', name: 'conv', filters: 5, size: 3, filler },
      { kind: 'globalAvgPool' },
    ];
    const network = makeNetwork({ ...networkOf([6, 6, 1], []), layers });
    const weights = initialWeights(network, 1);
    const tensors = exportNetwork({ network, weights });
    const padded = (pads: number[], axes?: number[]): LayerSpec => {
      const graph = decodeGraph(encodeOnnx(network.spec, tensors, { version: '' }), 'f');
      const { nodes, constants } = graph;
      const at = nodes.findIndex(({ type }) => type === 'Conv');
      const held = (list: number[]) => ({ shape: [list.length], data: Float64Array.from(list) });
      constants.set('pads', held(pads));
      if (axes) constants.set('axes', held(axes));
      const inputs = [nodes[at].inputs[0], 'pads', '', axes ? 'axes' : ''];
      nodes[at].inputs[0] = 'padded';
      const attributes = new Map<string, never>();
      nodes.splice(at, 0, { type: 'Pad', name: 'pad', inputs, outputs: ['padded'], attributes });
      return importGraph(graph, 'f').network.layers[0];
    };
    const whole = padded([0, 0, 1, 2, 0, 0, 0, 1]);
    expect(whole).toMatchObject({ pad: [1, 2, 0, 1] });
    expect(padded([1, 2, 0, 1], [2, 3])).toEqual(whole);
    expect(padded([2, 1, 1, 0], [-1, -2])).toEqual(whole);
    expect(padded([0, 0, 2, 1, 0, 0, 1, 0], [0, 1, 3, 2])).toEqual(whole);
    expect(() => padded([1, 1], [1])).toThrow(/pads other axes than height and width/);
    expect(() => padded([1, 1, 1, 1], [2, -2])).toThrow(/\(Pad\) has 4 pads for axes 2, -2$/);
    expect(() => padded([1, 1], [2, 3])).toThrow(/\(Pad\) has 2 pads for axes 2, 3$/);
    disposeWeights(weights);
  });

  it.each(['SAME_UPPER', 'SAME_LOWER'])(
    'may pad before a convolution that pads %s',
    async (mode) => {
      const layers: LayerSpec[] = [
        { kind: 'conv', name: 'conv', filters: 4, size: 3, stride: 2, filler },
        { kind: 'globalAvgPool' },
      ];
      const bare = makeNetwork({ ...networkOf([6, 6, 1], []), scale: 1, layers });
      const weights = exportNetwork({ network: bare, weights: initialWeights(bare, 1) });
      const [, ...others] = fieldsIn(
        messageIn(encodeOnnx(bare.spec, weights, { version: '' }))!.get(MODEL.graph)![0].bytes,
      )!;
      const ints = (name: string, values: number[]): Uint8Array =>
        message(
          NODE.attribute,
          text(ATTRIBUTE.name, name),
          ...values.map((value) => integer(ATTRIBUTE.ints, value)),
          integer(ATTRIBUTE.type, ATTRIBUTE_TYPE.ints),
        );
      const STRING = 3;
      const file = Buffer.concat([
        integer(MODEL.irVersion, 8),
        // The last set with the paddings of Pad as an attribute.
        message(MODEL.opsetImport, integer(OPERATOR_SET.version, 10)),
        message(
          MODEL.graph,
          message(
            GRAPH.node,
            text(NODE.input, 'pixels'),
            text(NODE.output, 'padded'),
            text(NODE.opType, 'Pad'),
            ints('pads', [0, 0, 1, 0, 0, 0, 0, 3]),
          ),
          message(
            GRAPH.node,
            ...['padded', 'conv.weight', 'conv.bias'].map((name) => text(NODE.input, name)),
            text(NODE.output, '0_conv'),
            text(NODE.opType, 'Conv'),
            ints('strides', [2, 2]),
            message(
              NODE.attribute,
              text(ATTRIBUTE.name, 'auto_pad'),
              text(ATTRIBUTE.s, mode),
              integer(ATTRIBUTE.type, STRING),
            ),
          ),
          ...others.map((field) => bytes(field.number, field.bytes)),
        ),
      ]);
      const { network: padded, tensors } = importGraph(decodeGraph(file, 'f'), 'f');
      const network = makeNetwork({ ...padded, name: 'padded' });
      const own = importWeights(network, { tensors }, 'f');
      const pixels = randomPixels(makeRandom(1, 'pixels'), 2 * 36);
      const { theirs, ours } = await bothLogitsOf(file, network, own, pixels);
      expect(largestDifference(theirs, ours)).toBeLessThan(ROUNDING);
      disposeWeights(own);
    },
  );

  it('may not round what it computes, but cast it to floats and doubles', () => {
    const network = makeNetwork(
      networkOf([4, 4, 1], [{ kind: 'innerProduct', name: 'ip', outputs: 5, filler }]),
    );
    const weights = initialWeights(network, 1);
    const tensors = exportNetwork({ network, weights });
    const graphWith = (to: number, at: number) => {
      const graph = decodeGraph(encodeOnnx(network.spec, tensors, { version: '' }), 'f');
      const { nodes } = graph;
      const [input] = nodes[at].inputs;
      nodes[at].inputs[0] = 'cast';
      const attributes = new Map([['to', { integer: to }]]);
      nodes.splice(at, 0, {
        type: 'Cast',
        name: 'c',
        inputs: [input],
        outputs: ['cast'],
        attributes,
      });
      return graph;
    };
    const positions = decodeGraph(encodeOnnx(network.spec, tensors, { version: '' }), 'f').nodes;
    for (const at of positions.keys()) {
      for (const float of [1, 11]) {
        expect(importGraph(graphWith(float, at), 'f').network.layers).toEqual(network.spec.layers);
      }
      // uint8, int8, int32, int64, bool, float16, bfloat16.
      for (const to of [2, 3, 6, 7, 9, 10, 16]) {
        expect(() => importGraph(graphWith(to, at), 'f')).toThrow(
          /\(Cast\) rounds what it is given/,
        );
      }
    }
    disposeWeights(weights);
  });

  it('may have layers of any name and order', async () => {
    const network = makeNetwork(
      networkOf(
        [6, 5, 2],
        [
          { kind: 'relu' },
          { kind: 'conv', name: 'logits', filters: 3, size: 3, filler },
          { kind: 'dropout', rate: 0.5 },
          { kind: 'innerProduct', name: 'pixels', outputs: 7, filler },
          { kind: 'relu' },
          { kind: 'innerProduct', name: 'scale', outputs: 5, filler },
          { kind: 'dropout', rate: 0.5 },
          { kind: 'innerProduct', name: 'relu0', outputs: 5, filler },
        ],
      ),
    );
    const pixels = randomPixels(makeRandom(1, 'pixels'), 3 * 60);
    expect(await difference(network, initialWeights(network, 1), pixels)).toBeLessThan(ROUNDING);
  });

  it('say what they are', () => {
    const network = makeNetwork(networkOf([6, 5, 3], []));
    const tensors = exportNetwork({ network, weights: initialWeights(network, 1) });
    const metadata = { config: '{"ü": 1}', bang: '9.8.7' };
    const file = Buffer.from(encodeOnnx(network.spec, tensors, { version: '0.1.0', metadata }));
    for (const part of ['bang', '0.1.0', 'config', '{"ü": 1}', '9.8.7', 'own', 'RGB']) {
      expect(file.includes(part), part).toBe(true);
    }
    tensors.delete('out.bias');
    expect(() => encodeOnnx(network.spec, tensors, { version: '' })).toThrow(/no tensor out\.bias/);
  });
});
