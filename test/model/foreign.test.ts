import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEngine } from '#bang/engine/engine.js';
import { softmaxCrossEntropy } from '#bang/engine/ops/loss.js';
import { UserError } from '#bang/base/errors.js';
import { adaptWeights } from '#bang/model/files/adapt.js';
import {
  type Attribute,
  decodeGraph,
  externalFiles,
  type Graph,
} from '#bang/model/files/onnx/graph.js';
import { importGraph } from '#bang/model/files/onnx/import.js';
import {
  bytes,
  fieldsIn,
  integer,
  integersIn,
  message,
  MOST_FIELDS,
  text,
} from '#bang/model/files/onnx/protobuf.js';
import { DATA_TYPE, GRAPH, MODEL, TENSOR } from '#bang/model/files/onnx/schema.js';
import type { LayerSpec } from '#bang/model/layers.js';
import { logitsOf, makeNetwork, trace, type Network, type Weights } from '#bang/model/network.js';
import type { NetworkSpec } from '#bang/model/networks.js';
import { disposeWeights, importMean, importWeights, zeroWeights } from '#bang/model/parameters.js';
import type { NamedArray, WeightFile } from '#bang/model/tensors.js';
import { readWeights } from '#bang/model/files/weights.js';
import { layerGradients } from '#bang/training/step.js';
import { caffeOrder } from '#bang/model/parameters.js';
import { ENGINE } from '../engine.js';
import { fixture } from '../fixtures.js';
import { RESNET, SMALL } from './foreignNetworks.js';

// Made by scripts/model-references.py with PyTorch and ONNX.
interface Reference {
  shape: [number, number, number, number];
  images: string;
  logits: number[][];
  upToConstant?: boolean;
  labels?: number[];
  bang?: [number, number, number];
  layers?: Record<string, { norms: number[]; weight: number[]; bias: number[] }>;
}
const REFERENCES = JSON.parse(readFileSync(fixture('models/models.json'), 'utf8')) as Record<
  string,
  Reference
>;

const model = (name: string): string => fixture(path.join('models', name));

beforeAll(async () => {
  await startEngine({ engine: ENGINE });
});
afterAll(() => {
  expect(tf.memory().numTensors).toBeLessThan(200);
});

function pixelsOf({ images, shape }: Reference): tf.Tensor4D {
  return tf.tensor4d(Float32Array.from(Buffer.from(images, 'base64')), shape);
}

/** The network and weights of a file that describes its network. */
function loaded(file: WeightFile, name: string): { network: Network; weights: Weights } {
  const spec: NetworkSpec = { ...file.network!, name };
  const bare = makeNetwork(spec);
  const network = { ...bare, mean: importMean(bare, file, name) };
  return { network, weights: importWeights(network, file, name) };
}

/** The largest difference of logits, in units of the largest logit of the batch. */
function difference(found: Float32Array, { logits, upToConstant }: Reference): number {
  const rows = logits.map((row, n) => {
    const ours = found.subarray(n * row.length, (n + 1) * row.length);
    // Log-probabilities are logits less a constant.
    const shift = upToConstant ? row[0] - ours[0] : 0;
    return row.map((value, k) => Math.abs(value - ours[k] - shift));
  });
  return Math.max(...rows.flat()) / Math.max(...logits.flat().map(Math.abs));
}

/** Sums of float32 in another order: a few of its units, 2⁻²⁴, for each of about twelve layers. */
const ROUNDING = 2 ** -18;

function logitsFor(file: WeightFile, name: string, reference: Reference): Float32Array {
  const { network, weights } = loaded(file, name);
  const pixels = pixelsOf(reference);
  const whole = tf.tidy(() => logitsOf(network, weights, pixels).dataSync<'float32'>().slice());
  const single = tf.tidy(() =>
    trace(network, weights, pixels).logits.dataSync<'float32'>().slice(),
  );
  expect(single).toEqual(whole);
  disposeWeights(weights);
  pixels.dispose();
  return whole;
}

describe('ONNX', () => {
  it.each([
    ['resnet.onnx', 'resnet', 'batch normalisation as it is'],
    ['resnet-folded.onnx', 'resnet', 'folded by the exporter'],
    ['resnet-dynamo.onnx', 'resnet', "by PyTorch's newer exporter"],
    ['flattened.onnx', 'flattened', 'view, softmax, filters of 3×1, padded max pooling'],
    ['channels-last.onnx', 'channels-last', 'N×H×W×C, SAME padding, MatMul and Add'],
  ])('%s gives the logits of PyTorch and ONNX Runtime (%s: %s)', async (file, name) => {
    const read = await readWeights(model(file));
    expect(read.format).toBe('onnx');
    expect(difference(logitsFor(read, file, REFERENCES[name]), REFERENCES[name])).toBeLessThan(
      ROUNDING,
    );
  });

  it.each(['resnet', 'flattened', 'channels-last', 'resnet-dynamo'])(
    '%s is refused in words if a node lacks inputs',
    (name) => {
      const bytes = readFileSync(model(`${name}.onnx`));
      const external = new Map(
        externalFiles(bytes).map((file) => [file, readFileSync(model(file))] as const),
      );
      const whole = decodeGraph(bytes, 'f', external);
      let refused = 0;
      whole.nodes.forEach((node, i) => {
        for (let count = 0; count < node.inputs.length; count++) {
          const lacking = { ...node, inputs: node.inputs.slice(0, count) };
          try {
            importGraph({ ...whole, nodes: whole.nodes.with(i, lacking) }, 'f');
          } catch (error) {
            // Anything else would be a defect of the program.
            expect(error, `${node.type} with ${count}`).toBeInstanceOf(UserError);
            refused++;
          }
        }
      });
      expect(refused).toBeGreaterThan(whole.nodes.length / 2);
    },
  );

  it('names a node that lacks an input, and which', () => {
    const add = { type: 'Add', name: 'sum', inputs: ['x'], outputs: ['y'], attributes: new Map() };
    const one = { name: 'x', shape: [1, 1, 4, 4] };
    const small = { nodes: [add], constants: new Map(), inputs: [one], outputs: ['y'] };
    expect(() => importGraph({ ...small, metadata: {} }, 'f')).toThrow(
      /^f: node "sum" \(Add\) has no input 2: export the model again$/,
    );
  });

  it.each<[string, number[], RegExp]>([
    ['strides', [0, 0], /\(Conv\) has strides of 0×0, expected integers above 0$/],
    ['strides', [-1, -1], /\(Conv\) has strides of -1×-1, expected integers above 0$/],
    ['pads', [0, -1, 0, 0], /\(Conv\) has pads 0, -1, 0, 0, expected four integers, 0 or more$/],
    ['pads', [1, 1], /\(Conv\) has pads 1, 1, expected four integers, 0 or more$/],
  ])('is refused in words with %s of %j', (attribute, numbers, message) => {
    const graph = decodeGraph(readFileSync(model('small.onnx')), 'f');
    graph.nodes.find(({ type }) => type === 'Conv')!.attributes.set(attribute, { numbers });
    expect(() => importGraph(graph, 'f')).toThrow(message);
  });

  it.each(['scale', 'B', 'mean', 'var'])('is refused in words with too few of %s', (name) => {
    const graph = decodeGraph(readFileSync(model('resnet.onnx')), 'f');
    const node = graph.nodes.find(({ type }) => type === 'BatchNormalization')!;
    const constant = graph.constants.get(
      node.inputs[1 + ['scale', 'B', 'mean', 'var'].indexOf(name)],
    )!;
    constant.data = constant.data.slice(1);
    expect(() => importGraph(graph, 'f')).toThrow(
      new RegExp(`BatchNormalization\\) has \\d+ values as ${name}, for \\d+ channels$`),
    );
  });

  describe('that is small and asks for much memory or time', () => {
    /** A graph of nodes over an image of 1×28×28 and a constant `w` of 10×1×3×3. */
    const graphOf = (
      nodes: [string, string[], Record<string, Attribute>?][],
      channels = 1,
    ): Graph => ({
      nodes: nodes.map(([type, inputs, attributes = {}], i) => {
        const outputs = [`y${i}`];
        return {
          type,
          name: type,
          inputs,
          outputs,
          attributes: new Map(Object.entries(attributes)),
        };
      }),
      constants: new Map([
        ['w', { shape: [10, 1, 3, 3], data: new Float64Array(90) }],
        ['to', { shape: [4], data: Float64Array.of(10, 1, 20_000, 20_000) }],
        ['half', { shape: [], data: Float64Array.of(0.5) }],
        ['none', { shape: [2 ** 50, 0], data: new Float64Array() }],
        ['fraction', { shape: [8], data: Float64Array.of(0, 0, 0.5, 0, 0, 0, 0, 0) }],
      ]),
      inputs: [{ name: 'x', shape: [null, channels, 28, 28] }],
      outputs: [`y${nodes.length - 1}`],
      metadata: {},
    });
    const square = (size: number): Attribute => ({ numbers: [size, size] });
    const pads = (side: number): Attribute => ({ numbers: [side, side, side, side] });

    it.each<[string, Graph, RegExp]>([
      [
        'a Conv',
        graphOf([['Conv', ['x', 'w'], { pads: pads(4e4), strides: square(8e4) }]]),
        /^f: node "Conv" \(Conv\) needs 6399\d{7} values, expected at most 67108864$/,
      ],
      [
        'an AveragePool',
        graphOf([
          [
            'AveragePool',
            ['x'],
            { kernel_shape: square(4e4), pads: pads(4e4 - 1), count_include_pad: { integer: 1 } },
          ],
        ]),
        /\(AveragePool\) needs \d+ values/,
      ],
      [
        'a Mul',
        graphOf(
          [
            ['Relu', ['x']],
            ['Mul', ['y0', 'half']],
          ],
          20_000,
        ),
        /\(Mul\) needs 400000000 values/,
      ],
      [
        'a Reshape',
        graphOf([
          ['Reshape', ['w', 'to']],
          ['Conv', ['x', 'y0']],
        ]),
        /\(Reshape\) gives 90 values a shape of 4000000000: export/,
      ],
      [
        'a Concat',
        graphOf([
          ['Shape', ['x']],
          ...Array.from({ length: 40 }, (_, i): [string, string[]] => [
            'Concat',
            [`y${i}`, `y${i}`],
          ]),
        ]),
        /\(Concat\) computes a shape of 128 axes$/,
      ],
      [
        'a MatMul',
        graphOf([
          ['Flatten', ['x']],
          ['MatMul', ['y0', 'none']],
        ]),
        /\(MatMul\) has weights of shape 1125899906842624×0,/,
      ],
      [
        'an image',
        graphOf([['Relu', ['x']]], 2 ** 40),
        /the graph takes images of 1099511627776×28×28, expected at most/,
      ],
      [
        'a Pad',
        graphOf([
          ['Pad', ['x', 'fraction']],
          ['Conv', ['y0', 'w']],
        ]),
        /\(Pad\) has pads 0, 0, 0\.5, .*, expected integers$/,
      ],
    ])('is refused in words: %s', (_, graph, message) => {
      expect(() => importGraph(graph, 'f')).toThrow(UserError);
      expect(() => importGraph(graph, 'f')).toThrow(message);
    });
  });

  it('is refused in words with more fields than memory has room for', () => {
    const fields = Buffer.alloc(2 * (MOST_FIELDS + 1), integer(1, 0));
    expect(fieldsIn(fields.subarray(2))).toHaveLength(MOST_FIELDS);
    expect(() => decodeGraph(bytes(MODEL.graph, fields), 'f')).toThrow(
      /^f: not a sound ONNX model: it is damaged, or has more than 1048576 fields in a message$/,
    );
    // An integer has ten bytes at most; each one more took longer.
    const long = Buffer.alloc(1e6, 0x80);
    long[long.length - 1] = 1;
    expect(integersIn(fieldsIn(bytes(1, long)))).toBeUndefined();
    const least = Buffer.from('80808080808080808001', 'hex');
    expect(integersIn(fieldsIn(bytes(1, least)))).toEqual([-(2 ** 63)]);
  });

  it('is refused in words with one class, or more than a byte can tell', () => {
    const graph = decodeGraph(readFileSync(model('small.onnx')), 'f');
    const last = graph.nodes.at(-1)!;
    const [weight, bias] = last.inputs.slice(1).map((name) => graph.constants.get(name)!);
    const inputs = weight.data.length / bias.data.length;
    for (const classes of [1, 256, 257]) {
      Object.assign(weight, { shape: [classes, inputs], data: new Float64Array(classes * inputs) });
      Object.assign(bias, { shape: [classes], data: new Float64Array(classes) });
      if (classes === 256) expect(importGraph(graph, 'f').network.classes).toBe(classes);
      else {
        expect(() => importGraph(graph, 'f')).toThrow(
          classes === 1
            ? /^f: the graph gives one value, expected one for each class, of 2 to 256$/
            : /^f: the graph tells 257 classes apart, expected at most 256$/,
        );
      }
    }
  });

  it('may have weights of 16 bits, as bytes or as integers', () => {
    const decoded = (type: number, ...values: Uint8Array[]) => {
      const given = [integer(TENSOR.dims, 3), integer(TENSOR.dataType, type), ...values];
      const tensor = message(GRAPH.initializer, text(TENSOR.name, 't'), ...given);
      return decodeGraph(message(MODEL.graph, tensor), 'f').constants.get('t')!.data;
    };
    for (const [type, bits, values] of [
      [DATA_TYPE.float16, [0x3c00, 0xc000, 0x0001], [1, -2, 2 ** -24]],
      [DATA_TYPE.bfloat16, [0x3f80, 0xc000, 0x3e80], [1, -2, 0.25]],
    ] as const) {
      const raw = new Uint8Array(Uint16Array.from(bits).buffer);
      expect([...decoded(type, bytes(TENSOR.rawData, raw))]).toEqual(values);
      const listed = bits.map((one) => integer(TENSOR.int32Data, one));
      expect([...decoded(type, ...listed)]).toEqual(values);
    }
    expect(() => decoded(3, bytes(TENSOR.rawData, Uint8Array.of(1, 2, 3)))).toThrow(
      /^f: tensor "t" is of the type int8, which is not read: export the model in float32$/,
    );
  });

  it('says that it drops softmax', async () => {
    const { notes } = await readWeights(model('flattened.onnx'));
    expect(notes).toEqual([
      'Softmax at the end is dropped: attacks work with the logits that go into it',
    ]);
  });

  it('drops no softmax over images', () => {
    const graph = decodeGraph(readFileSync(model('flattened.onnx')), 'f');
    const softmax = graph.nodes.find(({ type }) => type === 'Softmax')!;
    for (const axis of [1, -1, undefined]) {
      if (axis === undefined) softmax.attributes.delete('axis');
      else softmax.attributes.set('axis', { integer: axis });
      expect(importGraph(graph, 'f').notes).toHaveLength(1);
    }
    softmax.attributes.set('axis', { integer: 0 });
    expect(() => importGraph(graph, 'f')).toThrow(
      /\(Softmax\) is over axis 0, expected that of the classes, 1$/,
    );
  });
});

describe('safetensors of PyTorch', () => {
  it.each([
    ['small', SMALL],
    ['resnet', RESNET],
  ] as const)('%s gives the logits of PyTorch', async (name, spec) => {
    const read = adaptWeights(await readWeights(model(`${name}.safetensors`)), spec, name);
    const reference = REFERENCES[name];
    expect(difference(logitsFor(read, name, reference), reference)).toBeLessThan(ROUNDING);
    expect(read.network!.layers.some(({ kind }) => kind === 'batchNorm')).toBe(false);
  });

  it('are matched by name, by what the layer says, or by order and shape', async () => {
    const file = await readWeights(model('small.safetensors'));
    const named = SMALL.layers.map((layer): LayerSpec => {
      const names: Record<string, string> = {
        conv1: 'features.0',
        conv2: 'features.3',
        ip1: 'classifier.0',
        ip2: 'module.classifier.3',
      };
      const weights = new Map(Object.entries(names)).get(layer.name ?? '');
      return weights === undefined ? layer : { ...layer, weights };
    });
    const byName = adaptWeights(file, { ...SMALL, layers: named }, 'small');
    const byShape = adaptWeights(file, SMALL, 'small');
    expect(byName.tensors).toEqual(byShape.tensors);
    expect(byName.notes).toEqual([]);
    expect(byShape.notes).toEqual([
      'small: tensors are matched by order and shape: conv1 from module.features.0, conv2 from module.features.3, ip1 from module.classifier.0, ip2 from module.classifier.3',
    ]);
  });

  const changed = (
    change: (tensors: Map<string, NamedArray>) => void,
    tensors: Map<string, NamedArray>,
  ): WeightFile => {
    const copy = new Map(tensors);
    change(copy);
    return { tensors: copy, metadata: {}, format: 'safetensors' };
  };
  const zeros = (...shape: number[]): NamedArray => ({
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
  });

  it('may lack a bias, which is noted unless batch normalization follows', async () => {
    const { tensors } = await readWeights(model('small.safetensors'));
    const file = changed((all) => all.delete('module.features.3.bias'), tensors);
    expect(adaptWeights(file, SMALL, 'f').notes).toContain(
      'f: there is no bias for conv2: it is taken to be 0',
    );
    const resnet = adaptWeights(await readWeights(model('resnet.safetensors')), RESNET, 'f');
    expect(resnet.notes!.join()).not.toMatch(/bias/);
  });

  it.each<[string, (tensors: Map<string, NamedArray>) => void, RegExp]>([
    [
      'a tensor of another shape',
      (tensors) => tensors.set('module.features.3.weight', zeros(6, 5, 3, 3)),
      /^f: layer conv2 needs a weight of shape \[6, 4, 3, 3\], but of those that are left, module\.classifier\.0\.weight \[16, 96\], module\.classifier\.3\.weight \[10, 16\], module\.features\.3\.weight \[6, 5, 3, 3\], none has it$/,
    ],
    [
      'weights of Keras',
      (tensors) => tensors.set('module.features.3.weight', zeros(3, 3, 4, 6)),
      /none has it; its axes are in the order of Keras: save it from PyTorch, or with outputs first$/,
    ],
    [
      'a missing tensor',
      (tensors) => tensors.delete('module.classifier.3.weight'),
      /^f: layer ip2 needs a weight of shape \[10, 16\], but no tensor is left for it$/,
    ],
    [
      'one too many',
      (tensors) => tensors.set('module.extra.weight', zeros(2)),
      /^f: "module\.extra\.weight" belongs to no layer of the network, which has conv1, conv2, ip1 (and|or) ip2$/,
    ],
    [
      'a layer of the right name and another shape',
      (tensors) => {
        tensors.set('conv1.weight', zeros(4, 1, 3, 3));
      },
      /^f: tensor conv1\.weight has shape \[4, 1, 3, 3\], layer conv1 needs \[4, 1, 5, 5\]$/,
    ],
  ])('are refused with what was expected: %s', async (_what, change, message) => {
    const { tensors } = await readWeights(model('small.safetensors'));
    expect(() => adaptWeights(changed(change, tensors), SMALL, 'f')).toThrow(message);
  });
});

describe("BANG's gradients of a residual network", () => {
  it('are those of PyTorch, image by image', async () => {
    const reference = REFERENCES.residual;
    const conv = (
      name: string,
      weights: string,
      filters: number,
      more: object = {},
    ): LayerSpec => ({
      ...{ kind: 'conv', name, weights, filters, size: 3, pad: 1, filler: { kind: 'xavier' } },
      ...more,
    });
    const block = (i: number, filters: number, before: string): LayerSpec[] => {
      const tensor = (name: string) => `layers.${i}.${name}`;
      const short = { from: before, size: 1, pad: 0, stride: 2 };
      return [
        conv(`a${i}`, tensor('conv1'), filters, i > 0 ? { stride: 2 } : {}),
        { kind: 'relu' },
        conv(`b${i}`, tensor('conv2'), filters),
        ...(i === 0 ? [] : [conv(`s${i}`, tensor('shortcut.0'), filters, short)]),
        { kind: 'add', with: i === 0 ? before : `b${i}` },
        { kind: 'relu', name: `r${i}` },
      ];
    };
    const [, height, width, channels] = reference.shape;
    const file = adaptWeights(
      await readWeights(model('residual.safetensors')),
      {
        input: [height, width, channels],
        classes: 4,
        subtractMean: false,
        scale: 1 / 128,
        layers: [
          conv('first', 'conv1', 3),
          { kind: 'relu', name: 'r' },
          ...block(0, 3, 'r'),
          ...block(1, 4, 'r0'),
          ...block(2, 5, 'r1'),
          { kind: 'globalAvgPool' },
          { kind: 'innerProduct', name: 'fc', outputs: 4, filler: { kind: 'xavier' } },
        ],
      },
      'residual',
    );
    expect(difference(logitsFor(file, 'residual', reference), reference)).toBeLessThan(ROUNDING);
    const { network, weights } = loaded(file, 'residual');
    const gradients = zeroWeights(network);
    const [beta, epsilon, ratio] = reference.bang!;
    const pixels = pixelsOf(reference);
    tf.tidy(() => {
      const forward = trace(network, weights, pixels);
      const labels = tf.tensor1d(reference.labels!, 'int32');
      const { gradient, correct } = softmaxCrossEntropy(forward.logits, labels, 1 / labels.size);
      const norms = new Map<string, Float32Array>();
      layerGradients(network, weights, gradients, forward, gradient, {
        bang: { beta, epsilon, ratio },
        correct,
        seen: (layer, kappa, activations) => {
          norms.set(layer.name, layer.norms(kappa, activations).dataSync<'float32'>().slice());
        },
      });
      const theirs: Record<string, string> = { first: 'conv1', fc: 'fc' };
      for (const i of [0, 1, 2]) {
        theirs[`a${i}`] = `layers.${i}.conv1`;
        theirs[`b${i}`] = `layers.${i}.conv2`;
        theirs[`s${i}`] = `layers.${i}.shortcut.0`;
      }
      expect(network.weighted).toHaveLength(Object.keys(reference.layers!).length);
      for (const layer of network.weighted) {
        const expected = reference.layers![theirs[layer.name]];
        const close = (found: ArrayLike<number>, wanted: number[], what: string): void => {
          const largest = Math.max(...wanted.map(Math.abs));
          expect(found.length).toBe(wanted.length);
          wanted.forEach((value, i) => {
            // Float32 against float64, through eight layers.
            expect(Math.abs(found[i] - value), `${layer.name} ${what}`).toBeLessThan(
              1e-5 * largest,
            );
          });
        };
        close(norms.get(layer.name)!, expected.norms, 'norms');
        const { weight, bias } = gradients.layers.get(layer.name)!;
        const inner = weight.dataSync();
        close(
          [...caffeOrder(layer)].map((at) => inner[at]),
          expected.weight,
          'weight',
        );
        close(bias.dataSync(), expected.bias, 'bias');
      }
    });
  });
});
