import { readdirSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { UserError } from '#bang/base/errors.js';
import { configSchema } from '#bang/config/experimentSchema.js';
import { configNotes } from '#bang/config/acrossKeys.js';
import { evaluationOf, isBang } from '#bang/config/experiment.js';
import { keysOf } from '#bang/config/problems.js';
import { parseConfig } from '#bang/config/parse.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { nearest } from '#bang/base/text.js';
import { packageRoot } from '#bang/base/files.js';
import { publishedRow, publishedRowNames } from '#bang/paper/published.js';
import { configFiles, valid } from './configFiles.js';
import path from 'node:path';

const configs = path.join(packageRoot, 'configs');

const { write, complaints, load, remove } = configFiles();
afterAll(remove);

/** The lines of the error that loading the valid text with one part replaced throws. */
function changed(from: string, to: string): Promise<string[]> {
  expect(valid).toContain(from);
  return complaints(write('x.yaml', valid.replace(from, to)));
}

describe('the committed configurations', () => {
  it.each(publishedRowNames(1))('row %s is trained as in the paper', async (row) => {
    const file = path.join(configs, `lenet-${row.toLowerCase()}.yaml`);
    const { config, sources } = await loadConfig(file);
    const published = publishedRow(1, row)!;
    expect(config.name).toBe(`lenet-${row.toLowerCase()}`);
    expect(config.published).toEqual({ table: 1, row });
    expect(config.training.bang?.beta ?? null).toBe(published.beta);
    expect(config.training.bang?.epsilon ?? null).toBe(published.epsilon);
    expect(config.training.bang?.ratio ?? 1).toBe(1);
    expect(isBang(config)).toBe(row.startsWith('B'));
    expect(sources).toEqual([file, path.join(configs, 'base', 'lenet.yaml')]);
  });

  it('has the protocol of LeNet in the base', async () => {
    const { config } = await loadConfig(path.join(configs, 'base', 'lenet.yaml'));
    expect(config).toEqual({
      name: 'lenet',
      model: 'lenet',
      data: 'mnist',
      seed: 1,
      engine: 'auto',
      training: {
        trainOn: '50k',
        split: 'random',
        iterations: 10000,
        batch: 64,
        learningRate: { policy: 'inv', base: 0.01, gamma: 0.0001, power: 0.75 },
        momentum: 0.9,
        weightDecay: 0.0005,
        shuffle: 'once',
        logEvery: 500,
        checkpointEvery: 1000,
      },
      evaluation: {
        images: 'all',
        attacks: ['fgs', 'fgs-unmasked', 'hc1'],
        protocol: 'paper',
        search: 'bisection',
        channels: 'reversed',
        pass: true,
      },
    });
  });

  it('R0 and R1 differ only in the seed', async () => {
    const [r0, r1] = await Promise.all(
      ['r0', 'r1'].map(
        async (row) => (await loadConfig(path.join(configs, `lenet-${row}.yaml`))).config,
      ),
    );
    expect(r0.seed).not.toBe(r1.seed);
    const { seed, name, published } = r0;
    expect({ ...r1, seed, name, published }).toEqual(r0);
  });

  it('all load', async () => {
    const files = readdirSync(configs, { recursive: true, encoding: 'utf8' });
    // Grids and noise studies have other schemas.
    const own = files.filter((file) => file.endsWith('.yaml') && !/^(grids|noise)/.test(file));
    for (const file of own) await loadConfig(path.join(configs, file));
    expect(own.length).toBeGreaterThanOrEqual(9);
  });
});

describe('a valid file', () => {
  it('becomes plain data with a fixed order of keys, whatever the order in the file', async () => {
    const one = await load(`seed: 3\n${valid}evaluation: {attacks: [hc1, fgs]}\n`);
    const other = await load(
      `evaluation: {attacks: [fgs, hc1]}\n${valid}seed: 3.0\n`.replace('1.0', '1'),
    );
    expect(JSON.stringify(one)).toBe(JSON.stringify(other));
    expect(JSON.parse(JSON.stringify(one))).toEqual(one);
    expect(Object.keys(one)).toEqual([
      ...['name', 'model', 'data', 'seed', 'engine', 'training', 'evaluation'],
    ]);
    expect(one.evaluation.attacks).toEqual(['fgs', 'hc1']);
  });

  it('is the same experiment, whether it says a later default or not', async () => {
    const before = JSON.stringify(await load(valid));
    expect(JSON.stringify(await load(valid, ['training.split=first']))).toBe(before);
    expect((await load(valid, ['training.split=random'])).training.split).toBe('random');
  });

  it('may give a number for each layer, which is put in the order of the model', async () => {
    const layers = '{ip2: 4, ip1: 3, conv2: 2, conv1: 1}';
    const { training } = await load(valid.replace('beta: 1.0', `beta: ${layers}`));
    expect(JSON.stringify(training.bang?.beta)).toBe('{"conv1":1,"conv2":2,"ip1":3,"ip2":4}');
    expect(training.bang?.epsilon).toBe(0.815);
  });

  it.each([
    ['{policy: fixed, base: 0.1}', { policy: 'fixed', base: 0.1 }],
    [
      '{policy: step, base: 1e-3, factor: 0.1, at: [1800, 1900]}',
      { policy: 'step', base: 0.001, factor: 0.1, at: [1800, 1900] },
    ],
  ])('may have the learning rate %s', async (text, expected) => {
    const { training } = await load(valid.replace(/\{policy: inv.*/, text));
    expect(training.learningRate).toEqual(expected);
  });

  it('is named after its file, without characters that a name cannot have', async () => {
    for (const [file, name] of [
      ['my run (2).yaml', 'my-run-2-'],
      ['.hidden.yml', 'hidden'],
      ['a.b.yaml', 'a.b'],
      ['…', 'unnamed'],
    ]) {
      expect((await loadConfig(write(file, valid))).config.name).toBe(name);
    }
  });

  it('may use anchors and a byte order mark', async () => {
    const text = valid.replace('beta: 1.0', 'beta: &one 0.8').replace('0.815', '*one');
    expect((await load(`\uFEFF${text}`)).training.bang).toEqual({
      beta: 0.8,
      epsilon: 0.8,
      ratio: 1,
    });
  });

  it('has notes about steps that are out of order or too late', async () => {
    const steps = (at: string) =>
      load(valid.replace(/\{policy: inv.*/, `{policy: step, base: 1, factor: 1, at: ${at}}`));
    expect(configNotes(await steps('[100, 200]'))).toEqual([]);
    expect(configNotes(await steps('[200, 100]'))).toEqual([
      'training.learningRate.at: the steps are not in ascending order',
    ]);
    expect(configNotes(await steps('[100, 10000]'))).toEqual([
      'training.learningRate.at: training ends after 10000 iterations, before 10000',
    ]);
  });

  it.each([
    ['', false],
    ['bang: {beta: 0, epsilon: 1}', false],
    ['bang: {beta: {conv1: 0, conv2: 0, ip1: 0, ip2: 0.1}, epsilon: 1}', true],
  ])('with %j: BANG is %s', async (bang, expected) => {
    expect(isBang(await load(valid.replace(/bang:[^]*/, bang)))).toBe(expected);
  });
});

describe('a mistake is reported with its place', () => {
  it.each([
    [
      'beta: 1.0',
      'betta: 1.0',
      ['x.yaml:10:5: training.bang.betta: unknown key, did you mean beta?'],
    ],
    [
      'model: lenet',
      'model: lenett',
      [
        'x.yaml:1:8: model: expected lenet, cifar10-quick or a mapping with the layers of a network of your own, found "lenett"',
      ],
    ],
    [
      'model: lenet\n',
      '',
      [
        'x.yaml:1:1: model: missing, expected lenet, cifar10-quick or a mapping with the layers of a network of your own',
      ],
    ],
    [
      'batch: 64',
      'batch: 64.5',
      ['x.yaml:5:10: training.batch: expected an integer, 1 or more, found 64.5'],
    ],
    [
      'batch: 64',
      'batch: "64"',
      ['x.yaml:5:10: training.batch: expected an integer, 1 or more, found "64"'],
    ],
    [
      'batch: 64',
      'batch: [64]',
      ['x.yaml:5:10: training.batch: expected an integer, 1 or more, found a list'],
    ],
    [
      'batch: 64',
      'batch:',
      ['x.yaml:5:3: training.batch: missing, expected an integer, 1 or more'],
    ],
    [
      'batch: 64',
      'batch: 50001',
      ['x.yaml:5:10: training.batch: expected at most the 50000 training images, found 50001'],
    ],
    [
      'data: mnist',
      'data: cifar10',
      ['x.yaml:2:7: data: expected mnist, as lenet takes images of 28×28×1, found "cifar10"'],
    ],
    [
      'data: mnist\ntraining:',
      'data: cifar10\ntraining:\n  trainOn: 60k',
      [
        'x.yaml:2:7: data: expected mnist, as lenet takes images of 28×28×1, found "cifar10"',
        'x.yaml:4:12: training.trainOn: expected 50k, the training images of cifar10, found "60k"',
      ],
    ],
    [
      'momentum: 0.9',
      'momentum: 0.9\n  from: {weights: a, sha256: abc}',
      [
        'x.yaml:8:30: training.from.sha256: expected a sha256 of 64 hexadecimal digits, found "abc"',
      ],
    ],
    [
      'momentum: 0.9',
      'momentum: 0.9\n  augment: {noise: 0}',
      ['x.yaml:8:20: training.augment.noise: expected a number above 0, found 0'],
    ],
    [
      'momentum: 0.9',
      'momentum: 0.9\n  split: last',
      ['x.yaml:8:10: training.split: expected first or random, found "last"'],
    ],
    [
      'momentum: 0.9',
      'momentum: 0.9\n  split: random\n  trainOn: 60k',
      [
        'x.yaml:8:10: training.split: expected first, as all 60000 training images of mnist are trained on, found "random": set training.split=first as well',
      ],
    ],
    [
      'momentum: 0.9',
      'momentum: 0.9\n  shuffle: twice',
      ['x.yaml:8:12: training.shuffle: expected true, false or once, found "twice"'],
    ],
    [
      'momentum: 0.9',
      'momentum: .nan',
      ['x.yaml:7:13: training.momentum: expected a number from 0 to below 1, found .nan'],
    ],
    [
      'weightDecay: 0.0005',
      'weightDecay: .inf',
      ['x.yaml:8:16: training.weightDecay: expected a number, 0 or more, found .inf'],
    ],
    [
      'power: 0.75',
      'powr: 0.75',
      ['x.yaml:6:58: training.learningRate.powr: unknown key, did you mean power?'],
    ],
    [
      'policy: inv',
      'policy: invv',
      ['x.yaml:6:26: training.learningRate.policy: expected inv, step or fixed, found "invv"'],
    ],
    [
      'policy: inv, ',
      '',
      ['x.yaml:6:3: training.learningRate.policy: missing, expected inv, step or fixed'],
    ],
    [
      '{policy: inv',
      '{policy: fixed',
      [
        'x.yaml:6:45: training.learningRate.gamma: not a key of policy fixed; if it is inherited, drop it with gamma: null',
        'x.yaml:6:60: training.learningRate.power: not a key of policy fixed; if it is inherited, drop it with power: null',
      ],
    ],
    [
      'beta: 1.0',
      'beta: -1',
      ['x.yaml:10:11: training.bang.beta: expected a number, 0 or more, found -1'],
    ],
    [
      'beta: 1.0',
      'beta: {conv1: 1, conv2: x, ip1: 1, ip2: 1}',
      ['x.yaml:10:29: training.bang.beta.conv2: expected a number, 0 or more, found "x"'],
    ],
    [
      'beta: 1.0',
      'beta: {conv1: 1, conv2: 1, ip1: 1, ip3: 1}',
      [
        'x.yaml:10:5: training.bang.beta.ip2: missing, expected a number for each layer of lenet: conv1, conv2, ip1, ip2',
        'x.yaml:10:40: training.bang.beta.ip3: lenet has no such layer, did you mean ip1?',
      ],
    ],
    [
      'beta: 1.0',
      'beta: {__proto__: 1, conv1: 1, conv2: 1, ip1: 1, ip2: 1}',
      [
        'x.yaml:10:12: training.bang.beta.__proto__: lenet has no such layer, expected conv1, conv2, ip1 or ip2',
      ],
    ],
    [
      'data: mnist',
      'data: mnist\n__proto__: {polluted: 1}',
      [
        'x.yaml:3:1: __proto__: unknown key, expected name, description, model, data, seed, seeds, engine, training, evaluation, published, expect or extends',
      ],
    ],
    [
      'data: mnist',
      'data: mnist\nbang: {beta: 1}',
      ['x.yaml:3:1: bang: unknown key, did you mean training.bang?'],
    ],
    // A misspelt removal would keep what it should remove.
    [
      'data: mnist',
      'data: mnist\nevaluaton: null',
      ['x.yaml:3:1: evaluaton: unknown key, did you mean evaluation?'],
    ],
    [
      'data: mnist',
      'data: mnist\nseed: 4294967296',
      ['x.yaml:3:7: seed: expected an integer from 0 to 4294967295, found 4294967296'],
    ],
    [
      'data: mnist',
      'data: mnist\nname: ..',
      [
        `x.yaml:3:7: name: expected a name of letters, digits, '.', '_' and '-' that begins with a letter or digit, found ".."`,
      ],
    ],
    [
      'data: mnist',
      'data: mnist\nevaluation: {attacks: [fgs, hc2, fgs, 5], images: 10001, pass: yes}',
      [
        'x.yaml:3:29: evaluation.attacks[1]: expected fgs, fgs-unmasked, hc1, pgd, apgd, deepfool-l2, deepfool-linf, square or auto, found "hc2"',
        'x.yaml:3:34: evaluation.attacks[2]: fgs is in the list twice',
        'x.yaml:3:39: evaluation.attacks[3]: expected fgs, fgs-unmasked, hc1, pgd, apgd, deepfool-l2, deepfool-linf, square or auto, found 5',
        'x.yaml:3:51: evaluation.images: expected all or at most the 10000 test images, found 10001',
        'x.yaml:3:64: evaluation.pass: expected true or false, found "yes"',
      ],
    ],
    [
      'data: mnist',
      'data: mnist\npublished: {table: 1, row: B9}',
      [
        'x.yaml:3:28: published.row: expected a row of table 1: R0, R1, B0, B1, B2, B3, B4 or B5, found "B9"',
      ],
    ],
    [
      'data: mnist',
      'data: mnist\npublished: {table: 2, row: B1}',
      ['x.yaml:3:20: published.table: expected 1, the table of lenet, found 2'],
    ],
    [
      'data: mnist',
      'data: mnist\n"a\\e[31m\u009b": 1',
      [
        'x.yaml:3:1: "a\\u001b[31m\\u009b": unknown key, expected name, description, model, data, seed, seeds, engine, training, evaluation, published, expect or extends',
      ],
    ],
  ])('%j as %j', async (from, to, expected) => {
    expect(await changed(from, to)).toEqual(expected);
  });

  it('all mistakes of a file at once, in the order of the file', async () => {
    const text = valid.replace('beta', 'betta').replace('lenet', 'lennet').replace('64', '0');
    const lines = await complaints(write('x.yaml', `${text}enginee: cpu\n`));
    expect(lines.map((line) => line.split(': ')[0])).toEqual([
      'x.yaml:1:8',
      'x.yaml:5:10',
      'x.yaml:10:5',
      'x.yaml:12:1',
    ]);
  });

  it('changes no prototype', async () => {
    await complaints(write('x.yaml', `${valid}__proto__: {polluted: 1}\n`), [
      '__proto__.polluted=1',
      'constructor.prototype.polluted=1',
    ]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});

describe('parseConfig', () => {
  it('accepts the config of loadConfig and returns it unchanged', async () => {
    const config = await load(valid);
    expect(parseConfig(config)).toEqual(config);
  });

  it('names the key paths of all problems', async () => {
    const { training, ...rest } = await load(valid);
    expect(() => parseConfig({ ...rest, sead: 1, training: { ...training, batch: 0 } })).toThrow(
      new UserError(
        'training.batch: expected an integer, 1 or more, found 0\nsead: unknown key, did you mean seed?',
      ),
    );
  });

  it.each([undefined, null, 1, 'x', [], new Date(0), () => 1, { training: [] }])(
    'throws a UserError for %s',
    (value) => {
      expect(() => parseConfig(value)).toThrow(UserError);
    },
  );
});

it('channels are those of the protocol for the named networks, else kept, unless they are given', async () => {
  const { evaluation: resolved } = (await loadConfig(path.join(configs, 'lenet-b1.yaml'))).config;
  const { model: own } = (await loadConfig(path.join(configs, 'examples', 'own-network.yaml')))
    .config;
  expect(resolved.channels).toBe('reversed');
  const open = (protocol: 'paper' | 'corrected') => ({
    ...resolved,
    protocol,
    channels: undefined,
  });
  expect(evaluationOf(open('paper'), 'cifar10-quick').channels).toBe('reversed');
  expect(evaluationOf(open('corrected'), 'cifar10-quick').channels).toBe('kept');
  expect(evaluationOf(open('paper'), own).channels).toBe('kept');
  expect(evaluationOf(open('paper'), 'cifar10-quick', own).channels).toBe('kept');
  for (const channels of ['reversed', 'kept'] as const) {
    expect(evaluationOf({ ...open('paper'), channels }, own)).toEqual({ ...resolved, channels });
  }
});

it('keysOf lists nested keys', () => {
  expect(keysOf(configSchema)).toEqual(
    expect.arrayContaining(['name', 'training', 'training.bang.beta', 'training.learningRate.at']),
  );
});

it.each([
  ['betta', 'beta'],
  ['BETA', 'beta'],
  ['epsiln', 'epsilon'],
  ['raito', 'ratio'],
  ['x', undefined],
  ['something', undefined],
  ['b'.repeat(1000), undefined],
])('the nearest word to %.20j is %j', (word, expected) => {
  expect(nearest(word, ['beta', 'epsilon', 'ratio'])).toBe(expected);
});
