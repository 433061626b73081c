import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkConfig, parseConfig } from '#bang/config/parse.js';
import { type Config, networkOf } from '#bang/config/experiment.js';
import { ConfigError, loadConfig } from '#bang/config/yamlFiles.js';
import { packageRoot } from '#bang/base/files.js';
import { makeNetwork } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import { makeRandom } from '#bang/base/random.js';

const valid = `model:
  scale: 0.00390625
  layers:
    - {kind: conv, name: conv1, filters: 4, size: 5, filler: {kind: gaussian, std: 0.01}}
    - {kind: maxPool, size: 2, stride: 2}
    - {kind: relu}
    - {kind: avgPool, size: 3, stride: 2}
    - {kind: innerProduct, name: ip1, outputs: 16}
    - {kind: dropout, rate: 0.5}
    - {kind: innerProduct, name: ip2, outputs: 10}
data: mnist
training:
  iterations: 10
  batch: 64
  learningRate: {policy: fixed, base: 0.01}
  momentum: 0.9
  weightDecay: 0.0005
  bang: {beta: 1, epsilon: 0.8}
`;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-own-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

async function load(text: string, overrides: string[] = []): Promise<Config> {
  const file = path.join(folder, 'x.yaml');
  writeFileSync(file, text);
  return (await loadConfig(file, overrides)).config;
}

async function complaints(text: string): Promise<string[]> {
  const error: unknown = await load(text).catch((thrown: unknown) => thrown);
  if (!(error instanceof ConfigError)) throw new Error('expected a ConfigError', { cause: error });
  return error.lines.map((line) => line.replace(`${folder}${path.sep}`, ''));
}

describe('a network of your own', () => {
  it('has its layers, and the input and classes of the data', async () => {
    const config = await load(valid);
    const spec = networkOf(config);
    expect(spec).toEqual({
      name: 'x',
      input: [28, 28, 1],
      classes: 10,
      subtractMean: false,
      scale: 1 / 256,
      layers: [
        {
          ...{ kind: 'conv', name: 'conv1', filters: 4, size: 5, pad: 0 },
          filler: { kind: 'gaussian', std: 0.01 },
        },
        { kind: 'maxPool', size: 2, stride: 2 },
        { kind: 'relu' },
        { kind: 'avgPool', size: 3, stride: 2 },
        { kind: 'innerProduct', name: 'ip1', outputs: 16, filler: { kind: 'xavier' } },
        { kind: 'dropout', rate: 0.5 },
        { kind: 'innerProduct', name: 'ip2', outputs: 10, filler: { kind: 'xavier' } },
      ],
    });
    expect(makeNetwork(spec).weighted.map(({ name }) => name)).toEqual(['conv1', 'ip1', 'ip2']);
    expect(parseConfig(JSON.parse(JSON.stringify(config)))).toEqual(config);
  });

  it.each([
    ['lenet', 'mnist'],
    ['cifar10-quick', 'cifar10'],
  ] as const)('can be %s, written out', async (model, data) => {
    const { layers, scale, subtractMean } = NETWORKS[model];
    const named = await load(valid.replace(/model:[^]*(?=\ndata)/, `model: ${model}`), [
      `data=${data}`,
    ]);
    const own = parseConfig({ ...named, model: { layers, scale, subtractMean } });
    const padded = layers.map((layer) => (layer.kind === 'conv' ? { pad: 0, ...layer } : layer));
    expect(networkOf(own)).toEqual({ ...NETWORKS[model], layers: padded, name: 'x' });
    expect(networkOf(named)).toBe(NETWORKS[model]);
  });

  it('does not depend on the order of keys or on whether defaults are written', async () => {
    const one = await load(valid);
    const other = await load(
      valid
        .replace('scale: 0.00390625\n', 'subtractMean: false\n')
        .replace('kind: conv, name: conv1', 'name: conv1, pad: 0, kind: conv')
        .replace('outputs: 10}', 'outputs: 10, filler: {kind: xavier}}'),
      ['model.scale=0.00390625'],
    );
    expect(JSON.stringify(other)).toBe(JSON.stringify(one));
  });

  it('may have beta and epsilon by layer, which are put in the order of the layers', async () => {
    const { training } = await load(valid.replace('beta: 1', 'beta: {ip2: 3, conv1: 1, ip1: 2}'));
    expect(JSON.stringify(training.bang?.beta)).toBe('{"conv1":1,"ip1":2,"ip2":3}');
  });

  it('replaces an inherited model as a whole, and is replaced as a whole', async () => {
    writeFileSync(path.join(folder, 'own.yaml'), valid);
    const base = path.join(packageRoot, 'configs', 'base', 'lenet.yaml');
    const layers = 'layers: [{kind: innerProduct, name: ip, outputs: 10}]';
    const linear = await load(`extends: ${base}\nmodel: {${layers}}\n`);
    expect(networkOf(linear)).toMatchObject({ scale: 1, layers: [{ name: 'ip' }] });
    expect((await load('extends: own.yaml\nmodel: lenet\n')).model).toBe('lenet');
    const shorter = await load(`extends: own.yaml\nmodel: {${layers}}\n`);
    expect(networkOf(shorter)).toMatchObject({ scale: 1 / 256, layers: [{ name: 'ip' }] });
  });
});

describe('a mistake in it is reported with its place', () => {
  const NAME = `expected a name of letters, digits and '_' that begins with a letter`;
  it.each<[string | RegExp, string, string[]]>([
    // Keys and values.
    ['layers:', 'layer:', ['x.yaml:3:3: model.layer: unknown key, did you mean layers?']],
    [
      'scale: 0.00390625',
      'scale: 0',
      ['x.yaml:2:10: model.scale: expected a number above 0, or a fraction such as 1/255, found 0'],
    ],
    ...['1/0', '-1/2', 'x', 'true'].map((scale): [string, string, string[]] => [
      'scale: 0.00390625',
      `scale: ${scale}`,
      [
        `x.yaml:2:10: model.scale: expected a number above 0, or a fraction such as 1/255, found ${scale === 'true' ? scale : JSON.stringify(scale)}`,
      ],
    ]),
    [
      'scale: 0.00390625',
      'meanImage: true',
      [
        'x.yaml:2:3: model.meanImage: unknown key, expected scale, subtractMean, mean, std, image, classes or layers',
      ],
    ],
    [
      '{kind: relu}',
      'relu',
      ['x.yaml:6:7: model.layers[2]: expected a layer such as {kind: relu}, found "relu"'],
    ],
    [
      '{kind: relu}',
      '{kind: relu6}',
      [
        'x.yaml:6:14: model.layers[2].kind: expected conv, maxPool, avgPool, globalAvgPool, innerProduct, relu, add, dropout or batchNorm, found "relu6"',
      ],
    ],
    [
      '{kind: relu}',
      '{size: 2}',
      [
        'x.yaml:6:7: model.layers[2].kind: missing, expected conv, maxPool, avgPool, globalAvgPool, innerProduct, relu, add, dropout or batchNorm',
      ],
    ],
    [
      '{kind: relu}',
      '{kind: relu, rate: 0.5}',
      ['x.yaml:6:20: model.layers[2].rate: not a key of kind relu, which has name or from'],
    ],
    [
      'filters: 4',
      'filter: 4',
      ['x.yaml:4:33: model.layers[0].filter: unknown key, did you mean filters?'],
    ],
    [
      'filters: 4',
      'filters: 4, rate: 0.5',
      [
        'x.yaml:4:45: model.layers[0].rate: not a key of kind conv, which has name, filters, size, stride, pad, filler, from or weights',
      ],
    ],
    [
      'filters: 4',
      'filters: 4, dilation: null',
      [
        'x.yaml:4:45: model.layers[0].dilation: unknown key, expected kind, name, filters, size, stride, pad, filler, from or weights',
      ],
    ],
    [
      'filters: 4',
      'filters: 1e9',
      ['x.yaml:4:42: model.layers[0].filters: expected an integer from 1 to 1024, found 1e9'],
    ],
    [
      '{kind: gaussian, std: 0.01}',
      'xavier',
      [
        'x.yaml:4:62: model.layers[0].filler: expected a mapping such as {kind: xavier}, found "xavier"',
      ],
    ],
    [
      '{kind: gaussian, std: 0.01}',
      '{kind: gaussian}',
      ['x.yaml:4:54: model.layers[0].filler.std: missing, expected a number above 0'],
    ],
    [
      'kind: gaussian',
      'kind: normal',
      [
        'x.yaml:4:69: model.layers[0].filler.kind: expected xavier, gaussian, he or zero, found "normal"',
      ],
    ],
    [
      'kind: gaussian',
      'kind: xavier',
      ['x.yaml:4:77: model.layers[0].filler.std: not a key of kind xavier'],
    ],
    [
      'rate: 0.5',
      'rate: 1',
      ['x.yaml:9:29: model.layers[5].rate: expected a number from 0 to below 1, found 1'],
    ],
    [
      'size: 2, stride: 2',
      'size: 2, stride: 0',
      ['x.yaml:5:40: model.layers[1].stride: expected an integer from 1 to 64, found 0'],
    ],
    // Names.
    ['ip2', 'ip1', ['x.yaml:10:34: model.layers[6].name: layers[4] has this name already']],
    [
      'ip2',
      'mean',
      [`x.yaml:10:34: model.layers[6].name: expected a name that is not reserved, found "mean"`],
    ],
    [
      'ip2',
      'velocity',
      [
        `x.yaml:10:34: model.layers[6].name: expected a name that is not reserved, found "velocity"`,
      ],
    ],
    [
      'ip2',
      'constructor',
      [
        `x.yaml:10:34: model.layers[6].name: expected a name that is not reserved, found "constructor"`,
      ],
    ],
    ['ip2', '__proto__', [`x.yaml:10:34: model.layers[6].name: ${NAME}, found "__proto__"`]],
    ['ip2', 'ip-2', [`x.yaml:10:34: model.layers[6].name: ${NAME}, found "ip-2"`]],
    [
      'ip2',
      '2',
      [`x.yaml:10:34: model.layers[6].name: ${NAME}, found 2; in quotes it is a text: "2"`],
    ],
    // Layers that do not fit each other.
    [
      'size: 5',
      'size: 29',
      [
        'x.yaml:4:51: model.layers[0].size: a filter of 29 does not fit its input of 28×28×1, expected at most 28',
      ],
    ],
    [
      'size: 5',
      'size: 5, pad: 5',
      ['x.yaml:4:59: model.layers[0].pad: expected less than the size, 5'],
    ],
    [
      'size: 3, stride: 2',
      'size: 14, stride: 2',
      [
        'x.yaml:7:29: model.layers[3].size: a window of 14 does not fit its input of 12×12×4, expected at most 13',
      ],
    ],
    [
      '{kind: dropout, rate: 0.5}',
      '{kind: maxPool, size: 2, stride: 2}',
      [
        'x.yaml:9:14: model.layers[5].kind: maxPool needs an image, but what comes before gives a vector',
      ],
    ],
    [
      'outputs: 10',
      'outputs: 11',
      ['x.yaml:10:48: model.layers[6].outputs: expected 10, the classes of mnist, found 11'],
    ],
    [
      / {4}- \{kind: innerProduct[^]*(?=data)/,
      '',
      [
        'x.yaml:4:5: model.layers: the last layer gives an image of 6×6×4: add a layer such as {kind: innerProduct, name: …, outputs: 10}',
      ],
    ],
    [
      /layers:[^]*(?=data)/,
      'layers: []\n',
      ['x.yaml:3:11: model.layers: expected a list of 1 to 200 layers, found an empty list'],
    ],
    [
      /layers:[^]*(?=data)/,
      'layers: [{kind: relu}]\n',
      [
        'x.yaml:3:11: model.layers: the last layer gives an image of 28×28×1: add a layer such as {kind: innerProduct, name: …, outputs: 10}',
      ],
    ],
    // Sizes.
    [
      '{kind: dropout, rate: 0.5}',
      '&a {kind: innerProduct, name: b, outputs: 4096}\n    - {kind: innerProduct, name: c, outputs: 4096}',
      [
        'x.yaml:10:7: model.layers[6]: with this layer the network has 16853368 parameters, expected at most 16777216',
      ],
    ],
    [
      'filters: 4',
      'filters: 1024',
      [
        'x.yaml:4:7: model.layers[0]: with this layer the network has 590608 values for each image, expected at most 524288',
      ],
    ],
    [
      'filters: 4',
      'filters: 512',
      [
        'x.yaml:14:10: training.batch: expected at most 581, as the network has 461626 values for each image, found 640',
      ],
    ],
    // Connections.
    [
      '{kind: dropout, rate: 0.5}',
      '{kind: add, with: ip2}',
      ['x.yaml:9:25: model.layers[5].with: no layer before it is named ip2'],
    ],
    [
      '{kind: dropout, rate: 0.5}',
      '{kind: add, with: conv1}',
      ['x.yaml:9:25: model.layers[5].with: conv1 gives 24×24×4, to be added to 16'],
    ],
    [
      '{kind: dropout, rate: 0.5}',
      '{kind: relu, from: image}',
      ['x.yaml:8:7: model.layers[4]: no layer takes its output'],
    ],
    [
      '{kind: dropout, rate: 0.5}',
      '{kind: batchNorm, name: bn}',
      [
        'x.yaml:9:14: model.layers[5].kind: a network with batch normalization is not trained here: in a batch, the gradient of each image would depend on all the others, but BANG balances the gradients of single images; leave it out, and begin the last layer of each residual branch with filler: {kind: zero}, the others with {kind: he}',
      ],
    ],
    [
      'rate: 0.5',
      'rate: 0.5, name: image',
      ['x.yaml:9:40: model.layers[5].name: expected a name that is not reserved, found "image"'],
    ],
    // Preparation.
    [
      'layers:',
      'mean: [0.5, 0.5]\n  layers:',
      ['x.yaml:3:9: model.mean: expected 1 numbers, one for each channel, found 2'],
    ],
    // Other keys.
    [
      'beta: 1',
      'beta: {conv1: 1, ip1: 1, ip3: 1}',
      [
        'x.yaml:18:10: training.bang.beta.ip2: missing, expected a number for each layer of the network: conv1, ip1, ip2',
        'x.yaml:18:35: training.bang.beta.ip3: the network has no such layer, did you mean ip1?',
      ],
    ],
    [
      'data: mnist',
      'data: mnist\npublished: {table: 1, row: B1}',
      [
        'x.yaml:12:1: published: the paper has no row for a network of your own; if it is inherited, drop it with published: null',
      ],
    ],
    [
      'data: mnist',
      'data: mnits',
      ['x.yaml:11:7: data: expected mnist, cifar10, cifar100 or idx, found "mnits"'],
    ],
  ])('%j as %j', async (from, to, expected) => {
    const text = to.includes('512') ? valid.replace('batch: 64', 'batch: 640') : valid;
    expect(await complaints(text.replace(from, to))).toEqual(expected);
  });
});

describe('logitScale', () => {
  const scaled = (end: string) =>
    `${valid.replace('data:', `${end}data:`)}evaluation: {logitScale: 2}\n`;
  const refused = (obstacle: string) =>
    `evaluation.logitScale: one layer's weights scale the logits, but ${obstacle}: leave out logitScale`;

  it.each([
    ['    - {kind: add, with: ip2}\n', 'layers[7] adds ip2 to them'],
    [
      '    - {kind: add, name: sum, with: ip2}\n    - {kind: relu}\n',
      'the layer sum adds ip2 to them',
    ],
  ])('is refused where layers end with %j', async (end, obstacle) => {
    const [complaint, ...others] = await complaints(scaled(end));
    expect(complaint).toContain(refused(obstacle));
    expect(others).toEqual([]);
  });

  it('is refused if float32 could underflow', async () => {
    const [complaint] = await complaints(scaled('').replace('logitScale: 2', 'logitScale: 1e-60'));
    expect(complaint).toContain('expected a number from 0.000001 to 1000000, found 1e-60');
  });

  it('is for logits that one layer makes, whatever rescales them', async () => {
    expect((await load(scaled('    - {kind: relu}\n'))).evaluation.logitScale).toBe(2);
  });
});

describe('random lists of layers', () => {
  const kinds = ['conv', 'conv', 'maxPool', 'avgPool', 'relu', 'dropout', 'innerProduct'] as const;

  it('are refused with a reason, or make networks with an output for each class', async () => {
    const base = await load(valid);
    let good = 0;
    for (let seed = 0; seed < 2000; seed++) {
      const random = makeRandom(seed, 'lists');
      const from = (low: number, high: number) =>
        low + Math.floor((high - low + 1) * random.uniform());
      const layers = Array.from({ length: from(0, 6) }, (_, i) => {
        const kind = kinds[from(0, kinds.length - 1)];
        const name = `l${from(0, 9) === 0 ? 0 : i}`;
        if (kind === 'conv')
          return { kind, name, filters: from(1, 40), size: from(1, 12), pad: from(0, 3) };
        if (kind === 'maxPool' || kind === 'avgPool')
          return { kind, size: from(1, 8), stride: from(1, 8) };
        if (kind === 'innerProduct') return { kind, name, outputs: from(1, 300) };
        return kind === 'relu' ? { kind } : { kind, rate: 0.5 };
      });
      const last = { kind: 'innerProduct', name: 'last', outputs: from(0, 9) === 0 ? 9 : 10 };
      const checked = checkConfig({ ...base, model: { layers: [...layers, last] } });
      if ('config' in checked) {
        const network = makeNetwork(networkOf(checked.config));
        expect(network.layers.at(-1)!.output).toEqual([10]);
        for (const { output } of network.layers)
          for (const extent of output) expect(extent).toBeGreaterThanOrEqual(1);
        good++;
      } else {
        expect(checked.problems.length).toBeGreaterThan(0);
        for (const { path: at, message } of checked.problems) {
          expect(at[0]).toBe('model');
          expect(message).not.toMatch(/undefined|NaN|\[object/);
        }
      }
    }
    expect(good).toBeGreaterThan(200);
    expect(good).toBeLessThan(1800);
  });
});
