// Targets: what is written in YAML. A mutation of a file that the program ships, or a sample of its JSON Schema.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { packageRoot } from '#bang/base/files.js';
import { networkOf } from '#bang/config/experiment.js';
import { loadNoise } from '#bang/config/noise.js';
import { parseConfig } from '#bang/config/parse.js';
import { loadPlan } from '#bang/config/sweep.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { makeNetwork } from '#bang/model/network.js';
import { attempt, Fault } from './oracle.mjs';
import { chance, mutateJson, mutateText, oneOf, sample } from './mutate.mjs';

const configs = path.join(packageRoot, 'configs');

/** Texts and schema of a kind of file. The texts extend others by absolute paths. */
function kind(folder, schema, others = []) {
  const texts = readdirSync(path.join(configs, folder))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => path.join(configs, folder, name))
    .map((file) =>
      readFileSync(file, 'utf8').replace(
        /^(extends|base|regular|bang): (.+\.yaml)$/gm,
        (_, key, to) => {
          return `${key}: ${path.resolve(path.dirname(file), to)}`;
        },
      ),
    );
  const properties = JSON.parse(readFileSync(path.join(configs, schema), 'utf8'));
  return { texts: [...texts, ...others], schema: properties };
}

/** A text of a kind: mostly a file with damage; also one whose values are others; also a sample of the schema. */
export function textOf(random, { texts, schema }) {
  const text = oneOf(random, texts);
  if (chance(random, 0.55)) return mutateText(random, text);
  const value = chance(random, 0.5) ? mutateJson(random, parse(text)) : sample(random, schema);
  try {
    return stringify(value, { aliasDuplicateObjects: false });
  } catch {
    return JSON.stringify(value);
  }
}

const OWN = readFileSync(path.join(configs, 'examples', 'own-network.yaml'), 'utf8');
const experiment = kind('.', 'schema.json', [
  ...['base/lenet.yaml', 'base/cifar10.yaml', 'ci/lenet-b1.yaml', 'ci/lenet-ratio.yaml'].map(
    (name) => readFileSync(path.join(configs, name), 'utf8').replaceAll('../', `${configs}/`),
  ),
]);
const network = { texts: [OWN], schema: experiment.schema };
const sweep = kind('grids', 'grids/schema.json', [
  `base: ${configs}/lenet-b1.yaml\nlist:\n  - { training.bang: null, seed: 3 }\n  - { training.bang.beta: 2 }\n`,
  `base: ${configs}/lenet-r0.yaml\nrandom:\n  cells: 9\n  keys:\n    training.momentum: { from: 0.1, to: 0.9 }\n    training.batch: [8, 16]\n    training.learningRate.base: { from: 0.001, to: 0.1, scale: log }\n`,
  `base: ${configs}/lenet-r0.yaml\ngrid: { training.momentum: [0.5, 0.9] }\nseeds: [1, 2]\nhalving: { rungs: [1000, 3000], keep: 0.5 }\nkeep: [weights]\n`,
]);
const noise = kind('noise', 'noise/schema.json');

export const KINDS = { experiment, network, sweep, noise };

/** Writes a text of a kind to a file, has it loaded, and checks what becomes of it if it is taken. */
function loading(which, load, check = () => undefined) {
  return async (folder) => {
    const file = path.join(folder, 'x.yaml');
    return async (random) => {
      const text = textOf(random, which);
      writeFileSync(file, text);
      const found = await attempt(text, () => load(file));
      if (found.taken) await check(found.value, file, text);
      return found.taken;
    };
  };
}

/** What `bang config` prints is the same experiment. */
async function sameAgain({ config }, file, text) {
  const plain = JSON.stringify(config);
  if (JSON.stringify(parseConfig(JSON.parse(plain))) !== plain) {
    throw new Fault('its configuration as JSON is another', text);
  }
  writeFileSync(file, stringify(config));
  const again = await loadConfig(file);
  if (JSON.stringify(again.config) !== plain) throw new Fault('written out, it is another', text);
  makeNetwork(networkOf(config));
}

async function samePlan(plan, file, text) {
  const ids = plan.cells.map(({ id }) => id);
  if (new Set(ids).size !== ids.length) throw new Fault('two cells have one name', text);
  for (const { config } of plan.cells.slice(0, 20)) {
    const plain = JSON.stringify(config);
    if (JSON.stringify(parseConfig(JSON.parse(plain))) !== plain) {
      throw new Fault('the configuration of a cell is not valid', text);
    }
  }
}

/** Overrides on the command line, on a good file. */
async function overriding(folder) {
  const file = path.join(folder, 'x.yaml');
  writeFileSync(file, `extends: ${configs}/lenet-b1.yaml\n`);
  // prettier-ignore
  const good = [
    'training.bang.beta=1.2', 'seed=7', 'seeds=[1,2]', 'training.bang=null', 'evaluation.attacks=[pgd]',
    'training.learningRate={policy: fixed, base: 0.1}', 'evaluation.images=all', 'name=x',
    'training.bang.beta={conv1: 1, conv2: 1, ip1: 1, ip2: 1}', 'expect.accuracy.min=3', 'model=lenet',
  ];
  return async (random) => {
    const text = mutateText(random, oneOf(random, good));
    const more = chance(random, 0.3) ? [mutateText(random, oneOf(random, good))] : [];
    return (await attempt([text, ...more], () => loadConfig(file, [text, ...more]))).taken;
  };
}

export const targets = {
  config: loading(experiment, (file) => loadConfig(file), sameAgain),
  network: loading(network, (file) => loadConfig(file), sameAgain),
  set: overriding,
  sweep: loading(sweep, (file) => loadPlan(file), samePlan),
  noise: loading(noise, (file) => loadNoise(file)),
};
