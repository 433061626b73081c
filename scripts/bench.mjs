// How long the program's main jobs take here: a training step without and with BANG, a forward pass,
// and, if asked, an exhaustive FGS evaluation and the single native kernels. With --peer the same jobs
// on PyTorch (scripts/peer.py), each right after ours and never at the same time.
import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import Table from 'cli-table3';
import yargs from 'yargs';

const { ATTACKS, attackImages } = await built('attacks/run');
const { consoleProgress } = await built('cli/consoleProgress');
const { batchOf } = await built('data/batch');
const { loadData } = await built('data/load');
const { ENGINE_NAMES, nativeBinding, startEngine } = await built('engine/engine');
const { read } = await built('engine/ops/read');
const { multiplications } = await built('setup/speed');
const { messageOf, UserError } = await built('base/errors');
const { firstImages } = await built('data/dataset');
const { loadConfig } = await built('config/load');
const { networkFor } = await built('experiment/training');
const { packageRoot, writeFileAtomic } = await built('base/files');
const { cacheFolder } = await built('base/cacheFolder');
const { logitsOf, makeNetwork } = await built('model/network');
const { NETWORKS } = await built('model/networks');
const { disposeWeights, importWeights, initialWeights, zeroWeights } =
  await built('model/parameters');
const { predict } = await built('model/predict');
const { readWeights } = await built('model/weights');
const { makeRandom } = await built('base/random');
const { addBatch } = await built('training/log');
const { trainingOrder } = await built('training/order');
const { learningRateAt } = await built('training/schedule');
const { applyGradients, computeGradients, dropoutMasks } = await built('training/step');
const { initialState, train } = await built('training/train');

/** The rows whose training gives the steps. */
const ROWS = { lenet: 'lenet-b1', 'cifar10-quick': 'cifar10-b0' };
/** Images in a step, as the configs have it. */
const STEP_BATCH = { lenet: 64, 'cifar10-quick': 100 };
/** So far into training, how many values are zero is as it remains. */
const INTO_TRAINING = 500;
const FORWARD_BATCH = 512;
const SGD = { rate: 1e-4, momentum: 0.9, weightDecay: 5e-4 };
/** What a max pooling of 2×2 leaves of kappa. */
const KERNEL_KAPPA_NONZERO = 0.25;
const WARM_UP = 5;
/** Where nobody asked for a number of runs, slow engines get fewer. */
const PATIENCE_MS = 60_000;
const QUICK = { runs: 3, into: 2, kernelMs: 0.2, images: 200 };

const FOOTNOTE = `GFLOP/s count 2 x the multiply-adds of a dense implementation: forward, the gradient by all weights,
and the gradient with respect to the input of all layers but the first. Peak is multiply-adds in registers alone.
The kernels skip zeros and borders: they execute fewer than that, so a share of the peak is no utilization and may pass 100 %.
Steps are of the rows lenet-b1 and cifar10-b0, 500 iterations into their training.`;

/** A module of the program, which has to have been built. */
async function built(module) {
  try {
    return await import(new URL(`../dist/${module}.js`, import.meta.url));
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    process.stderr.write('bench: the program is not built; run npm ci, or npm run build\n');
    return process.exit(2);
  }
}

async function main(args) {
  const options = await parse(args);
  if (!options) return;
  const { threads } = options;
  const engine = await startEngine({
    engine: options.engine ?? 'auto',
    ...(threads !== undefined && { threads }),
  });
  const binding = nativeBinding();
  if (options.kernels && !binding) {
    throw new UserError(`--kernels needs the native engine, but here are ${engine.description}`);
  }
  const evaluation = options.evaluate && (await prepareEvaluation(options));
  const peer = options.peer && (await findPeer(options, engine.threads, evaluation));

  print(`engine  ${engine.description}`);
  print(`cpu     ${os.cpus()[0]?.model.trim() ?? 'unknown'}, ${os.availableParallelism()} cores`);
  if (peer) print(`peer    PyTorch ${peer.torch}, the same number of threads`);
  let peak = 0;
  /** A busy moment can only lower what is measured, so the highest of many short looks counts. */
  const lookAtPeak = () => {
    for (let look = 0; binding && look < 5; look++) {
      peak = Math.max(peak, 2 * binding.peak(options.quick ? 0.01 : 0.04));
    }
  };
  const entries = [];
  /** Times our jobs and then, alone on the machine, the peer's of the same name. */
  const bench = async (name, jobs) => {
    process.stderr.write(`measuring ${name}${peer ? ', then its peer' : ''} …\n`);
    lookAtPeak();
    const measured = await jobs();
    lookAtPeak();
    const theirs = peer ? await peer.run(name) : [];
    for (const entry of measured) entries.push(withPeer(entry, theirs));
  };
  for (const spec of Object.values(NETWORKS)) {
    const network = networkOf(spec);
    await bench(`${spec.name}.step`, () => steps(network, options));
    await bench(`${spec.name}.forward`, () => forward(network, options));
  }
  if (evaluation) await bench('lenet.evaluate', () => evaluate(evaluation));
  const kernels = [];
  if (options.kernels) {
    for (const spec of Object.values(NETWORKS)) {
      process.stderr.write(`measuring the kernels of ${spec.name} …\n`);
      kernels.push(...(await kernelsOf(networkOf(spec), binding, options)));
      lookAtPeak();
    }
  }

  for (const entry of [...entries, ...kernels]) {
    entry.engine = engine.name;
    entry.threads = engine.threads;
    if (peak && entry.gflops !== null) entry.shareOfPeak = rounded((entry.gflops * 1e9) / peak);
  }
  if (peak) print(`peak    ${(peak / 1e9).toFixed(1)} GFLOP/s`);
  print(`\n${jobTable(entries, peer)}`);
  for (const { job, ratioToRegular } of entries) {
    if (ratioToRegular) print(`${job}: ${ratioToRegular.toFixed(3)} x the regular step`);
  }
  for (const { job, images, fooled, peer: theirs } of entries) {
    if (fooled === undefined) continue;
    const there = theirs ? `, ${theirs.fooled} of ${theirs.images} in PyTorch` : '';
    print(`${job}: ${fooled} of ${images} images fooled${there}`);
  }
  if (kernels.length > 0) print(`\n${kernelTable(kernels)}`);
  print(`\n${FOOTNOTE}`);
  if (options.json !== undefined) {
    writeFileAtomic(options.json, `${JSON.stringify([...entries, ...kernels], null, 2)}\n`);
  }
}

/** The options, or undefined where only help was asked for. */
async function parse(args) {
  const parser = yargs(args)
    .scriptName('npm run bench --')
    .usage('$0 [options]\n\nTimes training steps and forward passes of every network.')
    .options({
      engine: { choices: ENGINE_NAMES, describe: 'what computes (default: the best there is)' },
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
      peer: {
        type: 'string',
        requiresArg: true,
        describe: 'a Python that has PyTorch: the same jobs on it, for comparison',
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
    .check(({ runs }) => {
      if (runs === undefined || (Number.isInteger(runs) && runs >= 1 && runs <= 1e6)) return true;
      throw new UserError(`--runs must be a whole number from 1 to 1000000, not ${runs}`);
    })
    .parserConfiguration({ 'duplicate-arguments-array': false })
    .demandCommand(0, 0)
    .strict()
    .exitProcess(false)
    .version(false)
    .help()
    .wrap(100)
    .fail((message, error) => {
      // yargs has errors of its own, which are the user's too.
      if (error && error.name !== 'YError') throw error;
      throw new UserError(`${message ?? error.message} (see npm run bench -- --help)`);
    });
  const options = await parser.parseAsync();
  if (options.help) return undefined;
  // Before minutes of work, not behind them.
  if (options.json !== undefined && isFolder(options.json)) {
    throw new UserError(`cannot write ${options.json}: it is a folder`);
  }
  return options;
}

function isFolder(file) {
  return statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

// What is timed.

/**
 * Times in ms of `runs` calls of each function. They take turns, so that a busy moment of the machine
 * meets all of them and their ratios stay fair.
 */
async function timed(functions, { runs, quick }) {
  const times = functions.map(() => []);
  const patience = performance.now() + (runs === undefined ? PATIENCE_MS : Infinity);
  const wanted = runs ?? (quick ? QUICK.runs : 100);
  for (let run = quick ? -1 : -WARM_UP; run < wanted; run++) {
    if (run >= QUICK.runs && performance.now() > patience) break;
    for (const [i, work] of functions.entries()) {
      const begun = performance.now();
      work();
      const ms = performance.now() - begun;
      if (run >= 0) times[i].push(ms);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return times;
}

/** What the JSON file says of one job; `flops` are those of one run. */
function entryOf(job, times, flops, more = {}) {
  const sorted = times.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const ms = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const gflops = flops === null ? null : rounded(flops / ms / 1e6);
  return { job, ms: rounded(ms), minMs: rounded(sorted[0]), runs: times.length, gflops, ...more };
}

/** Five significant digits. */
function rounded(value) {
  return Number(value.toPrecision(5));
}

/**
 * Regular and BANG training steps in turns, on the same weights, some way into the training of a row of
 * the paper's tables: how many values are zero is then the same for both, and as it is in training.
 */
async function steps({ spec: { name } }, options) {
  const { config } = await loadConfig(path.join(packageRoot, 'configs', `${ROWS[name]}.yaml`));
  const { training: settings, seed } = config;
  const data = await loadData(config.data, { progress: consoleProgress() });
  const network = networkFor(config, data);
  const state = initialState(network, seed);
  const until = options.quick ? QUICK.into : INTO_TRAINING;
  await train(network, settings, seed, data, state, { until });
  const gradients = zeroWeights(network);
  const order = trainingOrder(data.train.count, settings.batch, settings.shuffle, seed);
  // What an iteration of `training/train.ts` does.
  const stepWith = (bang) => () => {
    tf.tidy(() => {
      const { iteration, weights, velocities, interval } = state;
      const masks = dropoutMasks(network, settings.batch, seed, iteration);
      const images = batchOf(data.train, order(iteration));
      const metrics = computeGradients(network, weights, gradients, images, bang, masks);
      const rate = learningRateAt(settings.learningRate, iteration);
      applyGradients(weights, velocities, gradients, { ...settings, rate });
      addBatch(interval, metrics);
    });
    state.iteration++;
  };
  const times = await timed([stepWith(undefined), stepWith(settings.bang)], options);
  for (const some of [state.weights, state.velocities, gradients]) disposeWeights(some);
  network.mean?.dispose();
  const forwards = multiplications(network);
  const first = multiplications({ weighted: network.weighted.slice(0, 1) });
  const { batch } = settings;
  const flops = 2 * batch * (3 * forwards - first);
  const entries = ['regular', 'bang'].map((kind, i) =>
    entryOf(`${name}.step.${kind}`, times[i], flops, { batch }),
  );
  entries[1].ratioToRegular = rounded(entries[1].ms / entries[0].ms);
  return entries;
}

async function forward(network, options) {
  const { name } = network.spec;
  const weights = initialWeights(network, 1);
  const data = randomImages(network, FORWARD_BATCH);
  const { pixels, labels } = batchOf(data, Uint32Array.from(data.labels.keys()));
  const work = () => read(() => logitsOf(network, weights, pixels));
  const [times] = await timed([work], options);
  tf.dispose([pixels, labels]);
  disposeWeights(weights);
  const flops = 2 * FORWARD_BATCH * multiplications(network);
  return [entryOf(`${name}.forward.${FORWARD_BATCH}`, times, flops, { batch: FORWARD_BATCH })];
}

/** A network, with an empty mean image if it takes one: what is subtracted costs the same. */
function networkOf(spec) {
  return { ...makeNetwork(spec), ...(spec.subtractMean && { mean: tf.zeros(spec.input) }) };
}

/** A data set of noise in the network's shape. */
function randomImages({ spec }, count) {
  const [height, width, channels] = spec.input;
  const random = makeRandom(1, 'bench');
  const images = new Uint8Array(count * height * width * channels).map(() => random.bits() >>> 24);
  const labels = new Uint8Array(count).map(() => random.bits() % spec.classes);
  return { height, width, channels, classes: spec.classes, count, images, labels };
}

/** LeNet, its weights, and the MNIST test images that it classifies correctly. */
async function prepareEvaluation({ weights: file, quick }) {
  const network = makeNetwork(NETWORKS.lenet);
  const content = await readWeights(file);
  const weights = importWeights(network, content, file);
  const { test } = await loadData('mnist', { progress: consoleProgress() });
  const data = firstImages(test, quick ? QUICK.images : 'all');
  const { predicted } = await predict(network, weights, data);
  const all = Uint32Array.from(data.labels.keys());
  const positions = all.filter((i) => predicted[i] === data.labels[i]);
  return { network, weights, data, positions, format: content.format, file };
}

/** The exhaustive FGS search, once: it is long. */
async function evaluate({ network, weights, data, positions }) {
  const protocol = { search: 'scan', channels: 'kept' };
  const begun = performance.now();
  const { linf } = await attackImages(ATTACKS.fgs, network, weights, data, positions, protocol);
  const ms = performance.now() - begun;
  const fooled = linf.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : 1), 0);
  return [entryOf('lenet.evaluate.fgs', [ms], null, { images: positions.length, fooled })];
}

/** Each native kernel at the shape at which the network's layers call it in a training step. */
async function kernelsOf({ spec: { name, layers: specs }, layers }, binding, options) {
  const batch = STEP_BATCH[name] ?? 100;
  const random = makeRandom(1, 'bench kernels');
  const floats = (count, value = () => random.uniform() - 0.5) => {
    const buffer = new ArrayBuffer(4 * count + 64);
    return new Float32Array(buffer, binding.alignment(buffer), count).map(value);
  };
  const sparse = () => (random.uniform() < KERNEL_KAPPA_NONZERO ? random.uniform() - 0.5 : 0);
  const entries = [];
  for (const [i, { spec, input, output, ...layer }] of layers.entries()) {
    const inputs = input.reduce((product, extent) => product * extent, batch);
    const outputs = output.reduce((product, extent) => product * extent, batch);
    const label = layer.name ?? `${spec.kind}@${i}`;
    const one = async (kernel, flops, moved, work) => {
      const times = await kernelTimes(work, options);
      const entry = entryOf(`${name}.kernel.${label}.${kernel}`, times, flops, { batch });
      entries.push({ ...entry, gbytes: rounded((4 * moved) / entry.ms / 1e6) });
    };
    const x = floats(inputs);
    const dx = floats(inputs);
    const y = floats(outputs);
    // A convolution with its pooling: kappa is dense, and which pixel of each window it belongs to is known.
    const pooled = spec.kind === 'conv' && layer.windows > output[0] * output[1];
    const next = specs[specs.indexOf(spec) + 1];
    const kappa = pooled ? floats(outputs) : floats(outputs, sparse);
    const winner = pooled
      ? new Uint8Array(outputs).map(() => random.bits() % next.size ** 2)
      : null;
    const [rows, columns] = input.map((extent) => extent + 2 * (spec.pad ?? 0) - spec.size + 1);
    const whole = pooled ? [rows, columns, output[2]] : output;
    const geometry = geometryOf(batch, spec, input, whole);
    const pool = pooled ? geometryOf(batch, next, whole, output) : null;
    if (spec.kind === 'maxPool' || spec.kind === 'avgPool') {
      const { kind } = spec;
      const down = kind === 'maxPool' ? [geometry, x, kappa, dx] : [geometry, kappa, dx];
      const read = kind === 'maxPool' ? 2 * inputs : inputs;
      await one('forward', null, inputs + outputs, () => binding[kind](geometry, x, y));
      await one('inputGradient', null, read + outputs, () => binding[`${kind}Gradient`](...down));
    }
    if (!layer.weightShape) continue;
    const { weightShape } = layer;
    const count = weightShape.reduce((product, extent) => product * extent, 1);
    const O = weightShape.at(-1);
    const [w, dw, velocity] = [floats(count), floats(count), floats(count)];
    const [bias, db, scale, norm] = [floats(O), floats(O), floats(batch), floats(batch)];
    const flops = 2 * batch * layer.windows * count;
    const moved = inputs + outputs + count;
    const I = count / O;
    const calls =
      spec.kind === 'conv'
        ? {
            forward: () =>
              pooled
                ? binding.conv2dMaxPool(geometry, pool, x, w, bias, y, winner.slice())
                : binding.conv2d(geometry, x, w, bias, false, y),
            inputGradient: () => binding.conv2dInputGradient(geometry, pool, winner, kappa, w, dx),
            weightGradient: () =>
              binding.conv2dWeightGradient(geometry, x, pool, winner, kappa, scale, dw, db),
          }
        : {
            forward: () => binding.matMul(batch, O, I, x, false, w, false, null, bias, false, y),
            inputGradient: () =>
              binding.matMul(batch, I, O, kappa, false, w, true, null, null, false, dx),
            weightGradient: () =>
              binding.matMul(I, O, batch, x, true, kappa, false, scale, null, false, dw),
          };
    for (const [kernel, work] of Object.entries(calls)) await one(kernel, flops, moved, work);
    await one('norms', 2 * outputs, outputs, () =>
      pooled
        ? binding.pooledNorms(pool, winner, kappa, norm)
        : binding.rowNorms(batch, outputs / batch, kappa, norm),
    );
    dw.fill(0.01);
    velocity.fill(0);
    await one('sgd', 6 * count, 5 * count, () =>
      binding.sgd(count, w, velocity, dw, SGD.rate, SGD.momentum, SGD.weightDecay),
    );
  }
  return entries;
}

/** The `geometry` of `engine/native/binding.ts`; undefined for layers that have none. */
function geometryOf(batch, { size, stride = 1, pad = 0 }, input, output) {
  if (size === undefined) return undefined;
  return Int32Array.of(batch, ...input, ...output, size, size, stride, stride, pad, pad);
}

/** Kernels take microseconds: one sample is the mean of so many calls that a clock can tell. */
async function kernelTimes(work, options) {
  const least = options.quick ? QUICK.kernelMs : 2;
  let calls = 1;
  const sample = () => {
    const begun = performance.now();
    for (let i = 0; i < calls; i++) work();
    return performance.now() - begun;
  };
  sample();
  while (sample() < least && calls < 2 ** 16) calls *= 2;
  const runs = options.runs ?? (options.quick ? QUICK.runs : 30);
  const [times] = await timed([sample], { ...options, runs });
  return times.map((ms) => ms / calls);
}

// The peer.

/** PyTorch, known to be there. `run` does the jobs of one name and returns what it said of them. */
async function findPeer({ peer: python, runs, quick }, threads, evaluation) {
  const script = path.join(path.dirname(fileURLToPath(import.meta.url)), 'peer.py');
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
  const run = (...more) => jsonLines(python, [script, ...args, ...more]);
  const [found] = await run('--check').catch((error) => {
    throw new UserError(`--peer ${python}: ${messageOf(error)}`);
  });
  if (typeof found?.torch !== 'string') {
    throw new UserError(`--peer ${python}: this is no Python that can run scripts/peer.py`);
  }
  return {
    torch: found.torch,
    run: (name) =>
      run('--jobs', name).catch((error) => {
        throw new Error(`the peer failed at ${name}: ${messageOf(error)}`);
      }),
  };
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

/** The entry beside the peer's, if that has done this job. */
function withPeer(entry, theirs) {
  const found = theirs.find(({ job }) => job === entry.job);
  if (!found) return entry;
  const peer = { ...found };
  delete peer.job;
  return { ...entry, peer, ratioToPeer: rounded(entry.ms / peer.ms) };
}

// Printing.

function print(line) {
  process.stdout.write(`${line}\n`);
}

function tableOf(head, rows, texts = [0]) {
  const table = new Table({
    head,
    style: { head: [], border: [] },
    colAligns: head.map((_, i) => (texts.includes(i) ? 'left' : 'right')),
  });
  table.push(...rows);
  return table.toString();
}

function jobTable(entries, peer) {
  const head = ['job', 'median\nms', 'least\nms', 'runs', 'GFLOP/s', 'of peak\n%'];
  if (peer) head.push('PyTorch\nms', 'least\nms', 'its fastest mode', 'ours /\nPyTorch');
  const rows = entries.map((entry) => {
    const row = figures(entry);
    if (!peer) return row;
    const { peer: theirs, ratioToPeer } = entry;
    if (!theirs) return [...row, '–', '–', '–', '–'];
    return [...row, time(theirs.ms), time(theirs.minMs), theirs.mode, ratioToPeer.toFixed(3)];
  });
  return tableOf(head, rows, [0, 8]);
}

function kernelTable(kernels) {
  const head = ['kernel', 'median\nms', 'least\nms', 'runs', 'GFLOP/s', 'of peak\n%', 'GB/s'];
  return tableOf(
    head,
    kernels.map((entry) => [
      ...figures({ ...entry, job: entry.job.replace('.kernel.', ' ') }),
      entry.gbytes.toFixed(1),
    ]),
  );
}

function figures({ job, ms, minMs, runs, gflops, shareOfPeak }) {
  const share = shareOfPeak === undefined ? '–' : (100 * shareOfPeak).toFixed(0);
  return [job, time(ms), time(minMs), runs, gflops === null ? '–' : gflops.toFixed(1), share];
}

function time(ms) {
  return ms.toFixed(ms < 1 ? 4 : ms < 1000 ? 2 : 0);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`bench: ${messageOf(error)}\n`);
  if (process.env.BANG_DEBUG) process.stderr.write(`${error.stack}\n`);
  process.exitCode = error instanceof UserError ? 2 : 1;
}
