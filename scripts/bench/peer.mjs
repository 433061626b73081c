// The peer: PyTorch, in a Python process that runs peer.py.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from '#bang/base/cacheFolder.js';
import { messageOf, UserError } from '#bang/base/errors.js';
import { QUICK, rounded } from './timing.mjs';

const SCRIPT = fileURLToPath(new URL('peer.py', import.meta.url));

/**
 * PyTorch, known to be there. `run` does the jobs of one name and returns what it said of them.
 *
 * @throws UserError if this Python has no PyTorch, or cannot attack these weights
 */
export async function findPeer({ peer: python, runs, quick }, threads, evaluation) {
  const args = ['--threads', String(threads)];
  if (quick) args.push('--quick');
  if (runs !== undefined || quick) args.push('--runs', String(runs ?? QUICK.runs));
  if (evaluation) {
    if (evaluation.format !== 'caffe-hdf5') {
      throw new UserError(`--weights ${evaluation.file}: with --peer they must be in Caffe HDF5`);
    }
    const weights = path.resolve(evaluation.file);
    args.push('--data', path.join(cacheFolder(), 'data', 'mnist'), '--weights', weights);
    args.push('--images', String(evaluation.data.count));
  }
  const run = (...more) => jsonLines(python, [SCRIPT, ...args, ...more]);
  const [found] = await run('--check').catch((error) => {
    throw new UserError(`--peer ${python}: ${messageOf(error)}`);
  });
  if (typeof found?.torch !== 'string') {
    throw new UserError(`--peer ${python}: this is not a Python that can run ${SCRIPT}`);
  }
  return {
    torch: found.torch,
    run: (name) =>
      run('--jobs', name).catch((error) => {
        throw new Error(`the peer failed at ${name}: ${messageOf(error)}`);
      }),
  };
}

/** The entry beside the peer's, if that has done this job. */
export function withPeer(entry, theirs) {
  const found = theirs.find(({ job }) => job === entry.job);
  if (!found) return entry;
  const peer = { ...found };
  delete peer.job;
  return { ...entry, peer, ratioToPeer: rounded(entry.ms / peer.ms) };
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
