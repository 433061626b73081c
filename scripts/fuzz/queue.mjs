// Targets: what comes from the queue, to which many can write: jobs at a worker, results at a sweep.
import { createHash } from 'node:crypto';
import { UnrecoverableError } from 'bullmq';
import { checkConfig } from '#bang/config/parse.js';
import { carried } from '#bang/sweep/collector.js';
import { cellIn, checkedConfig } from '#bang/sweep/worker.js';
import { attempt, Fault } from './oracle.mjs';
import { chance, mutateBytes, mutateJson, oneOf } from './mutate.mjs';
import { OWN_CONFIG } from './space.mjs';

const sha256 = (content) => createHash('sha256').update(content).digest('hex');
const plain = (value) => JSON.parse(JSON.stringify(value));

const CONFIG = plain(checkConfig(OWN_CONFIG).config);
const JOB = {
  ...{ format: 1, sweep: sha256('sweep'), config: CONFIG, bang: '0.1.0', keep: ['per-image'] },
  data: { name: 'mnist', sha256: sha256('data') },
};

async function jobs() {
  return async (random) => {
    const job = mutateJson(random, JOB);
    try {
      checkedConfig(cellIn(job));
      return true;
    } catch (error) {
      if (error instanceof UnrecoverableError && !/undefined|\[object/.test(error.message))
        return false;
      throw new Fault('not refused in words', job, error);
    }
  };
}

const attacked = { attacked: 30, succeeded: 20, rate: 66.6, linf: { mean: 9, std: 1 }, pass: null };
const RESULT = {
  ...{ format: 1, name: CONFIG.name, config: CONFIG, weights: sha256('weights') },
  row: {
    ...{
      images: 40,
      accuracy: 75,
      correct: 30,
      blank: 0,
      protocol: { search: 'bisection', channels: 'reversed' },
    },
    attacks: { fgs: attacked, hc1: attacked, 'fgs-unmasked': attacked },
  },
  data: { name: 'mnist', folder: null, sha256: JOB.data.sha256 },
  provenance: {
    ...{ bang: '0.1.0', node: 'v20', platform: 'linux', cpu: 'x', engine: 'native', threads: 1 },
    ...{ finished: '2026-01-01T00:00:00.000Z', seconds: { training: 1, total: 2 } },
  },
};

/** A reply of a worker: what is damaged is the manifest, the result, or the content behind a hash. */
async function results() {
  const cell = { id: CONFIG.name, config: CONFIG };
  const wanted = { id: 'job', cell, data: JOB };
  return async (random) => {
    const kind = oneOf(random, ['manifest', 'result', 'bytes']);
    const result = kind === 'result' ? mutateJson(random, RESULT) : RESULT;
    const contents = {
      result: JSON.stringify(result),
      table: 'a,b\n',
      perImage: 'index,label\n0,1\n',
    };
    const stored = new Map();
    const files = {};
    for (const [name, text] of Object.entries(contents)) {
      const whole = Buffer.from(text ?? 'null');
      const content =
        kind === 'bytes' && chance(random, 0.5) ? Buffer.from(mutateBytes(random, whole)) : whole;
      // A worker that is hostile sends hashes that fit.
      files[name] = { sha256: sha256(content), bytes: content.length };
      stored.set(files[name].sha256, content);
    }
    const manifest = kind === 'manifest' ? mutateJson(random, { files }) : { files };
    const input = { kind, manifest, result };
    const store = { get: async (_, { sha256: hash }) => stored.get(hash) };
    const { value } = await attempt(input, () => carried(manifest, wanted, store));
    if (value && !value.has('perImage'))
      throw new Fault('a file that is to be kept is missing', input);
    return value !== undefined;
  };
}

export const targets = { job: jobs, reply: results };
