import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  attack,
  type Config,
  type Dataset,
  disposeModel,
  evaluate,
  evaluateWeights,
  firstImages,
  loadConfig,
  loadData,
  makeModel,
  type Model,
  perImageCsv,
  predict,
  readModel,
  runExperiment,
  summarise,
  train,
  UserError,
} from '#bang/index.js';
import { workspace } from '../cli/bang.js';
import { fixture } from '../fixtures.js';

const space = workspace();

let model: Model;
let config: Config;
let test: Dataset;

beforeAll(async () => {
  model = await readModel(fixture('lenet.caffemodel.h5'));
  ({ config } = await loadConfig('lenet-r0'));
  test = firstImages((await loadData('mnist')).test, 20);
});
afterAll(() => {
  disposeModel(model);
  space.remove();
});

describe('a mistake of the caller', () => {
  it('in a name is a UserError that tells the names', async () => {
    const nope = 'nope' as never;
    const { evaluation } = config;
    const out = space.file('never');
    const isNone = (what: string) => `${what}, found "nope"`;
    const attacks = { ...evaluation, attacks: [nope] };
    await refused(loadData(nope), isNone('data: expected mnist, cifar10, cifar100 or idx'));
    await refused(attack(model, test, nope, evaluation), isNone('deepfool-linf or square'));
    await refused(attack(model, test, 'auto' as never, evaluation), 'which only evaluate makes');
    for (const work of [
      () => evaluate(model, test, attacks),
      () => runExperiment({ ...config, evaluation: attacks }, { out }),
      () => evaluateWeights(fixture('lenet.caffemodel.h5'), { out, evaluation: attacks }),
    ]) {
      await refused(work(), isNone('square or auto'));
    }
    expect(space.list('.')).not.toContain('never');
  });

  it('in the size of images or the number of classes is a UserError that tells both', async () => {
    const { evaluation } = config;
    const size = 'has images of 32×32×3, but lenet takes images of 28×28×1';
    const images = new Uint8Array(test.count * 32 * 32 * 3);
    const large: Dataset = { ...test, height: 32, width: 32, channels: 3, images };
    // As many values, in another shape.
    const flat: Dataset = { ...test, height: 14, width: 56 };
    const finer: Dataset = { ...test, classes: 11 };
    for (const [data, message] of [
      [large, size],
      [flat, 'has images of 14×56×1, but lenet takes images of 28×28×1'],
      [finer, 'has 11 classes, but lenet tells 10 apart'],
    ] as const) {
      await refused(predict(model, data), message);
      await refused(attack(model, data, 'fgs', evaluation), message);
      await refused(evaluate(model, data, evaluation), message);
      await refused(train(config, { train: data, test }), message);
      await refused(makeModel(config, { train: data, test }), message);
    }
    const { config: cifar } = await loadConfig('cifar10-r0');
    // Its network subtracts the mean image, which would be of the wrong size.
    await refused(
      makeModel(cifar, { train: test, test }),
      'has images of 28×28×1, but cifar10-quick',
    );
  });

  it('in leaving out the result folder is a UserError', async () => {
    const file = fixture('lenet.caffemodel.h5');
    for (const given of [{}, undefined, { out: undefined }] as never[]) {
      const message = 'out: expected the path of a result folder, found undefined';
      await refused(runExperiment(config, given), message);
      await refused(evaluateWeights(file, given), message);
    }
  });

  async function refused(work: Promise<unknown>, message: string): Promise<void> {
    const error: unknown = await work.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toContain(message);
  }
});

describe('evaluation.logitScale', () => {
  it('counts in evaluate and attack as it does for the commands', async () => {
    const before = tf.memory().numTensors;
    const attacks = ['fgs' as const];
    const plain = { ...config.evaluation, images: test.count, attacks, pass: false };
    const settings = { ...plain, logitScale: 2 };
    const evaluation = await evaluate(model, test, settings);
    // Surer of itself, the network has blank gradients, on which FGS fails.
    const { blank } = summarise(evaluation);
    expect(blank).toBeGreaterThan(summarise(await evaluate(model, test, plain)).blank);
    expect(blank).toBeLessThan(test.count);

    const { linf } = evaluation.attacks.get('fgs')!;
    const { positions, linf: attacked } = await attack(model, test, 'fgs', settings);
    expect(attacked).toEqual(Float32Array.from(positions, (position) => linf[position]));
    expect(tf.memory().numTensors).toBe(before);

    const out = space.file('scaled');
    const file = fixture('lenet.caffemodel.h5');
    await evaluateWeights(file, { out, evaluation: settings });
    expect(space.read('scaled/per-image.csv')).toBe(perImageCsv(evaluation));
  });
});
