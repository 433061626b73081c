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
  type Model,
  perImageCsv,
  readModel,
  summarise,
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
