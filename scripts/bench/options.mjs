// The options of `npm run bench`.
import { statSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '#bang/base/errors.js';
import { packageRoot } from '#bang/base/files.js';
import { ENGINE_NAMES } from '#bang/engine/engine.js';
import { commandLine } from '../commandLine.mjs';
import { QUICK } from './timing.mjs';

/**
 * The options, or undefined where only help was asked for.
 *
 * @throws UserError if they make no sense
 */
export async function parse(args) {
  const what = 'Times training steps and forward passes of every network.';
  const options = await commandLine(args, 'npm run bench', what, {
    engine: { choices: ENGINE_NAMES, describe: 'what computes (default: the best there is)' },
    beside: {
      choices: ENGINE_NAMES,
      describe: 'another engine, for comparison: the same jobs on it',
    },
    threads: {
      type: 'number',
      requiresArg: true,
      describe: 'computing threads (default: $BANG_THREADS, else all cores)',
    },
    runs: {
      type: 'number',
      requiresArg: true,
      describe: `timed runs of each job (default: 100, or what a minute allows; --quick: ${QUICK.runs})`,
    },
    quick: { type: 'boolean', describe: 'a look at whether it works: the times mean little' },
    json: { type: 'string', requiresArg: true, describe: 'write the results to this file too' },
    compare: {
      array: true,
      type: 'string',
      requiresArg: true,
      describe: 'measure nothing: compare two files that --json has written',
    },
    peer: {
      type: 'string',
      requiresArg: true,
      describe:
        'a Python that has PyTorch, OpenVINO or ONNX Runtime: the same jobs on them, for comparison',
    },
    'tfjs-wasm': {
      type: 'string',
      requiresArg: true,
      describe:
        'a folder where npm has installed @tensorflow/tfjs-backend-wasm: forward passes on that, too',
    },
    evaluate: {
      type: 'boolean',
      describe: 'also attack the MNIST test images: FGS, exhaustive search (minutes)',
    },
    weights: {
      type: 'string',
      requiresArg: true,
      default: path.join(packageRoot, 'test', 'fixtures', 'lenet.caffemodel.h5'),
      defaultDescription: 'test/fixtures/lenet.caffemodel.h5',
      describe: 'what --evaluate attacks; for --peer it must be in Caffe HDF5',
    },
    kernels: { type: 'boolean', describe: 'also time single native kernels, layer by layer' },
  })
    .check(({ runs, compare }) => {
      if (compare && compare.length !== 2) {
        throw new UserError(`--compare takes two files, not ${compare.length}`);
      }
      if (runs === undefined || (Number.isInteger(runs) && runs >= 1 && runs <= 1e6)) return true;
      throw new UserError(`--runs must be a whole number from 1 to 1000000, not ${runs}`);
    })
    .parserConfiguration({ 'duplicate-arguments-array': false })
    .parseAsync();
  if (options.help) return undefined;
  // Before minutes of work, not after them.
  if (options.json !== undefined && isFolder(options.json)) {
    throw new UserError(`cannot write ${options.json}: it is a folder`);
  }
  return options;
}

function isFolder(file) {
  return statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
