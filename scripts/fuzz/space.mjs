// A small data set, configurations of a second, and results of them: what the targets work on.
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { makeRandom } from '#bang/base/random.js';
import { emptyIdx } from '#bang/data/idx.js';
import { runInside } from './oracle.mjs';
import { below } from './mutate.mjs';

/** A run of a network so small that it takes less than a second. */
export const OWN_CONFIG = {
  name: 'small',
  model: {
    scale: 0.00390625,
    layers: [
      { kind: 'conv', name: 'conv1', filters: 4, size: 5 },
      { kind: 'maxPool', size: 4, stride: 4 },
      { kind: 'relu' },
      { kind: 'innerProduct', name: 'ip1', outputs: 10 },
    ],
  },
  data: 'mnist',
  seed: 1,
  // prettier-ignore
  training: {
    iterations: 60, batch: 16, momentum: 0.9, weightDecay: 0.0005, logEvery: 10, checkpointEvery: 10,
    learningRate: { policy: 'fixed', base: 0.01 },
    bang: { beta: 1, epsilon: 0.8 },
  },
  evaluation: { images: 40, pass: false, attacks: ['fgs', 'fgs-unmasked', 'hc1'] },
};

/** A configuration like the small one but for some keys of the training, and some others. */
export function config(training = {}, more = {}) {
  return { ...OWN_CONFIG, training: { ...OWN_CONFIG.training, ...training }, ...more };
}

/** Writes data in MNIST's form, a bright bar for each class. */
export function writeMnist(folder, { train = 200, test = 60 } = {}) {
  const random = makeRandom(1, 'bars');
  mkdirSync(folder, { recursive: true });
  for (const [prefix, count] of [
    ['train', train],
    ['t10k', test],
  ]) {
    const images = emptyIdx([count, 28, 28]);
    const labels = emptyIdx([count]);
    for (let i = 0; i < count; i++) {
      const label = (labels.data[i] = below(random, 10));
      for (let at = 0; at < 784; at++) {
        const [y, x] = [Math.floor(at / 28), at % 28];
        const bar = Math.floor(((label < 5 ? x : y) - 2) / 5) === label % 5;
        images.data[i * 784 + at] =
          bar && below(random, 8) > 0 ? 150 + below(random, 100) : below(random, 40);
      }
    }
    writeFileSync(path.join(folder, `${prefix}-images-idx3-ubyte`), images.file);
    writeFileSync(path.join(folder, `${prefix}-labels-idx1-ubyte`), labels.file);
  }
}

/** The configurations, a sweep, two sweeps with halving, and a noise study, all in one folder. */
export function writeConfigs(folder) {
  const files = {
    'small.yaml': config(),
    'regular.yaml': config({ bang: undefined }, { name: 'regular' }),
    'seeds.yaml': { ...config(), name: 'seeds', seed: undefined, seeds: [1, 2] },
    'robust.yaml': config(
      {},
      { name: 'robust', evaluation: { images: 20, pass: true, attacks: ['fgs', 'pgd'] } },
    ),
    'check.yaml': config({}, { name: 'check', expect: { accuracy: { min: 5 } } }),
    'sweep.yaml': {
      ...{ base: 'small.yaml', reference: { 'training.bang': null } },
      grid: { 'training.bang.beta': [1, 2], 'training.momentum': [0.5, 0.9] },
    },
    'halving.yaml': {
      base: 'small.yaml',
      grid: { 'training.learningRate.base': [0.01, 0.02, 0.05, 0.1] },
      halving: { rungs: [20, 40], keep: 0.5 },
    },
    'noise.yaml': {
      ...{ study: 'noise', regular: 'regular.yaml', bang: 'small.yaml', every: 40 },
      ...{ sigmas: [40, 120], images: 1, copies: { last: 4, before: 2 } },
    },
  };
  for (const [name, value] of Object.entries(files)) {
    writeFileSync(path.join(folder, name), stringify(JSON.parse(JSON.stringify(value))));
  }
}

/**
 * Data, configurations and results of each kind in a folder, which becomes the working folder: those that
 * BANG_FUZZ_SPACE names if it has them, else new ones, which are then kept there.
 */
export async function makeSpace(folder) {
  process.chdir(folder);
  const kept = process.env.BANG_FUZZ_SPACE;
  if (kept !== undefined && existsSync(kept)) {
    cpSync(kept, '.', { recursive: true });
    return;
  }
  await make();
  if (kept !== undefined) cpSync('.', kept, { recursive: true });
}

async function make() {
  writeMnist('data');
  writeConfigs('.');
  const own = ['--data-dir', 'data', '--threads', '1'];
  const commands = [
    ['run', 'small.yaml', 'regular.yaml', '--out', 'runs'],
    ['run', 'seeds.yaml', '--out', 'runs/seeds'],
    ['run', 'robust.yaml', '--set', 'evaluation.pgd.steps=5', '--out', 'runs/robust'],
    ['sweep', 'sweep.yaml', '--out', 'sweep', '--jobs', '2', '--threads', '2'],
    ['noise', 'noise.yaml', '--out', 'study'],
    [
      'transfer',
      'runs/small/weights.safetensors',
      'runs/regular/weights.safetensors',
      ...['--attacks', 'fgs,hc1', '--set', 'evaluation.images=20', '--out', 'transfer'],
    ],
  ];
  for (const command of commands) {
    const { code, stderr } = await runInside(
      command.includes('--threads') ? [...command, ...own.slice(0, 2)] : [...command, ...own],
    );
    if (code !== 0) throw new Error(`bang ${command.join(' ')}: ${stderr}`);
  }
}
