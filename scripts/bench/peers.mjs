// The peers: other programs that do the same jobs, each in a process of its own. peer.py says what such a process
// takes and prints.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from '#bang/base/cacheFolder.js';
import { messageOf, UserError } from '#bang/base/errors.js';
import { inTemporaryFolder } from '#bang/base/folders.js';
import { omit } from '#bang/base/omit.js';
import { QUICK, rounded } from './timing.mjs';

const IN_PYTHON = fileURLToPath(new URL('peer.py', import.meta.url));
const IN_NODE = fileURLToPath(new URL('peers/tfjs-wasm.mjs', import.meta.url));
/** How far logits may be from ours, as a part of the largest: sums in another order pass, bfloat16 does not. */
const TOLERANCE = 1e-4;

/**
 * The peers that are there, each with its `name`, `version` and `jobs`, and what is said of those that are not.
 *
 * @throws UserError if there are none where the options say, or PyTorch cannot attack these weights
 */
export async function findPeers(options, threads, evaluation) {
  const { peer: python, tfjsWasm, runs, quick } = options;
  const args = ['--threads', String(threads)];
  if (quick) args.push('--quick');
  if (runs !== undefined || quick) args.push('--runs', String(runs ?? QUICK.runs));
  const found = [];
  if (python !== undefined) {
    const attack = evaluation ? attackArguments(evaluation) : [];
    found.push(
      ...(await peersOf(`--peer ${python}`, python, ['-B', IN_PYTHON, ...args, ...attack], {
        script: IN_PYTHON,
        hint: 'pip install torch openvino onnxruntime',
      })),
    );
  }
  if (tfjsWasm !== undefined) {
    found.push(
      ...(await peersOf(`--tfjs-wasm ${tfjsWasm}`, process.execPath, [IN_NODE, tfjsWasm, ...args], {
        script: IN_NODE,
        hint: `npm install --prefix ${tfjsWasm} @tensorflow/tfjs-backend-wasm@4.22.0 @tensorflow/tfjs-core@4.22.0`,
      })),
    );
  }
  return {
    peers: found.filter(({ missing }) => missing === undefined),
    missing: found
      .filter(({ missing }) => missing !== undefined)
      .map(({ name, missing }) => `${name} (${missing})`),
  };
}

function attackArguments({ format, file, data }) {
  if (format !== 'caffe-hdf5') {
    throw new UserError(`--weights ${file}: with --peer they must be in Caffe HDF5`);
  }
  return [
    ...['--data', path.join(cacheFolder(), 'data', 'mnist'), '--weights', path.resolve(file)],
    ...['--images', String(data.count)],
  ];
}

/** What a program says of its peers; it has one at least. `option` is how the user named it. */
async function peersOf(option, program, args, { script, hint }) {
  const lines = await jsonLines(program, [...args, '--check']).catch((error) => {
    throw new UserError(`${option}: ${messageOf(error)}`);
  });
  if (lines.length === 0 || lines.some((line) => typeof line?.peer !== 'string')) {
    throw new UserError(`${option}: this is not a program that can run ${script}`);
  }
  if (lines.every(({ missing }) => missing !== undefined)) {
    const reasons = lines.map(({ peer, missing }) => `${peer} (${missing})`).join(', ');
    throw new UserError(`${option}: there is no ${reasons}; ${hint}`);
  }
  return lines.map(({ peer: name, version, jobs, missing }) => {
    const run = (...more) => jsonLines(program, [...args, '--peer', name, ...more]);
    return { name, version, jobs, missing, run };
  });
}

/**
 * What the peers say of a job, one after the other: `{ name, version, job, ms, minMs, mode, modes, … }`.
 *
 * @param write for jobs that need files: writes them to a folder, and returns the arguments that name them
 */
export async function runPeers(peers, job, write) {
  const able = peers.filter(({ jobs }) => jobs.includes(job.split('.').at(-1)));
  if (able.length === 0) return [];
  return inTemporaryFolder('bang-peers-', async (folder) => {
    const args = write?.(folder) ?? [];
    const results = [];
    for (const { name, version, run } of able) {
      try {
        const lines = await run('--job', job, ...args);
        compareLogits(folder);
        results.push(...lines.map((line) => ({ name, version, ...line })));
      } catch (error) {
        throw new Error(`${name} failed at ${job}: ${messageOf(error)}`, { cause: error });
      }
    }
    return results;
  });
}

/** Whether the logits that a peer has left, if it has, are those of `forwardFiles`. */
function compareLogits(folder) {
  const file = path.join(folder, 'theirs.f32');
  if (!existsSync(file)) return;
  const [ours, theirs] = [path.join(folder, 'logits.f32'), file].map(floatsIn);
  rmSync(file);
  if (theirs.length !== ours.length) {
    throw new Error(`it has ${theirs.length} logits, we have ${ours.length}`);
  }
  const largest = ours.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const apart = ours.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs[i])), 0);
  // A logit of theirs that is not a number is not near.
  if (!(apart <= TOLERANCE * largest)) {
    throw new Error(
      `its logits are up to ${apart.toPrecision(2)} from ours, the largest of which is ${largest.toPrecision(2)}; at most ${TOLERANCE} of that is rounding`,
    );
  }
}

function floatsIn(file) {
  return new Float32Array(Uint8Array.from(readFileSync(file)).buffer);
}

/** The entry beside those of the peers that have done this job, the fastest first. */
export function withPeers(entry, results) {
  const peers = results
    .filter(({ job }) => job === entry.job)
    .map((result) => omit(result, 'job'))
    .toSorted((a, b) => a.ms - b.ms);
  if (peers.length === 0) return entry;
  return { ...entry, peer: peers[0], ratioToPeer: rounded(entry.ms / peers[0].ms), peers };
}

/** Runs a program and parses its lines; rejects with the last thing it complained about. */
function jsonLines(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const stop = (signal) => {
      child.kill(signal);
      process.exit(130);
    };
    process.on('SIGINT', stop).on('SIGTERM', stop);
    let output = '';
    let complaints = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (complaints += text));
    child.on('error', ({ code }) => {
      reject(new Error(code === 'ENOENT' ? 'there is no such program' : `cannot run (${code})`));
    });
    child.on('close', (code, signal) => {
      process.off('SIGINT', stop).off('SIGTERM', stop);
      const last = complaints.trim().split('\n').at(-1);
      if (code !== 0) {
        reject(new Error(last || (signal ? `ended by ${signal}` : `exit code ${code}`)));
        return;
      }
      try {
        resolve(output.split('\n').filter(Boolean).map(JSON.parse));
      } catch {
        reject(new Error('what it printed is not JSON'));
      }
    });
  });
}
