// The parts of scripts/gpu-check.sh that measure: node measure.mjs PART ENGINE FILES all|tiny. Prints a line of JSON for
// each thing found, at once, so that what comes later cannot take it away.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { ATTACKS, attackImages } from '#bang/attacks/attacks.js';
import { packageRoot } from '#bang/base/files.js';
import { silent } from '#bang/base/progress.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { batchOf } from '#bang/engine/ops/batch.js';
import { readIdxFolder } from '#bang/data/idxFolder.js';
import { assign } from '#bang/engine/block.js';
import { openWebgpu, startEngine, threadCount } from '#bang/engine/engine.js';
import { softmaxCrossEntropy } from '#bang/engine/ops/loss.js';
import { PACKAGE, webgpuFolder } from '#bang/engine/webgpu/installation.js';
import { makeKernels } from '#bang/engine/webgpu/kernels.js';
import { evaluate } from '#bang/experiment/evaluate.js';
import { logitsOf, makeNetwork, trace } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import { caffeOrder, disposeWeights, importWeights, zeroWeights } from '#bang/model/parameters.js';
import { predict } from '#bang/model/predict.js';
import { decodeSafetensors } from '#bang/model/files/safetensors.js';
import { readWeights } from '#bang/model/files/weights.js';
import { layerGradients } from '#bang/training/step.js';
import { initialState, train } from '#bang/training/train.js';

const [part, engine, files, amount] = process.argv.slice(2);
const tiny = amount === 'tiny';

const say = (name, numbers) => console.log(JSON.stringify({ name, ...numbers }));
const rounded = (value) => Number(value.toPrecision(4));
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Of the engine; of `webgpu` also where `setup.json` says nothing. */
async function open(timed = false) {
  if (engine !== 'webgpu') return void (await startEngine({ engine }));
  return openWebgpu(path.join(webgpuFolder(), PACKAGE), timed);
}

/** Milliseconds of a call, of so many that the clock can tell. */
function perCall(work, wait) {
  work();
  wait();
  for (let calls = 1; ; calls *= 4) {
    const begun = performance.now();
    for (let i = 0; i < calls; i++) work();
    wait();
    const ms = performance.now() - begun;
    if (ms > (tiny ? 1 : 150) || calls > 20_000) return ms / calls;
  }
}

async function adapter() {
  const device = await open();
  say('adapter', device.adapter);
  const kernels = makeKernels(device);
  const array = (count) => device.upload(new Float32Array(count).fill(0.5));
  const [one, two] = [array(1), array(1)];
  const wait = () => void device.read([two])();
  const empty = () => kernels.multiply(1, one, one, two);

  say('a dispatch', { us: rounded(1000 * perCall(empty, wait)) });
  const submitted = () => {
    empty();
    device.submit();
  };
  say('a dispatch in a submission of its own', { us: rounded(1000 * perCall(submitted, wait)) });
  const trips = Array.from({ length: tiny ? 3 : 200 }, () => {
    const begun = performance.now();
    empty();
    wait();
    return performance.now() - begun;
  });
  say('a round trip', {
    us: rounded(1000 * median(trips)),
    least: rounded(1000 * Math.min(...trips)),
  });

  // As products: the experiment's inner products, second convolutions of LeNet and CIFAR-10 quick, and a large one.
  const sizes = [
    ['ip1 of LeNet', 64, 500, 800],
    ['conv2 of LeNet, as a product', 64 * 64, 50, 500],
    ['conv2 of CIFAR-10 quick, as a product', 100 * 225, 32, 800],
    ['1024', 1024, 1024, 1024],
    ['4096', 4096, 4096, 4096],
  ];
  for (const [name, m, n, k] of sizes.slice(0, tiny ? 1 : 5)) {
    const [a, b, y] = [array(m * k), array(k * n), array(m * n)];
    const ms = perCall(
      () => kernels.matMul(m, n, k, a, false, b, false, null, null, false, y),
      wait,
    );
    say(`product: ${name}`, {
      m,
      n,
      k,
      ms: rounded(ms),
      gflops: rounded((2 * m * n * k) / ms / 1e6),
    });
    [a, b, y].forEach((each) => device.release(each));
  }
  const shapes = [
    ['conv1 of LeNet', [64, 28, 28, 1, 24, 24, 20, 5, 5, 1, 1, 0, 0]],
    ['conv2 of LeNet', [64, 12, 12, 20, 8, 8, 50, 5, 5, 1, 1, 0, 0]],
    ['conv1 of CIFAR-10 quick', [100, 32, 32, 3, 32, 32, 32, 5, 5, 1, 1, 2, 2]],
    ['conv2 of CIFAR-10 quick', [100, 16, 16, 32, 16, 16, 32, 5, 5, 1, 1, 2, 2]],
    ['conv3 of CIFAR-10 quick', [100, 8, 8, 32, 8, 8, 64, 5, 5, 1, 1, 2, 2]],
  ];
  for (const [name, shape] of shapes.slice(0, tiny ? 1 : 5)) {
    const [batch, inH, inW, inC, outH, outW, outC, kH, kW] = shape;
    const [x, w] = [array(batch * inH * inW * inC), array(kH * kW * inC * outC)];
    const [dx, dw] = [array(x.length), array(w.length)];
    const y = array(batch * outH * outW * outC);
    const geometry = Int32Array.from(shape);
    const flops = 2 * y.length * kH * kW * inC;
    const works = {
      forward: () => kernels.conv2d(geometry, x, w, null, false, y),
      'input gradient': () => kernels.conv2dInputGradient(geometry, null, null, y, w, dx),
      'weight gradient': () =>
        kernels.conv2dWeightGradient(geometry, x, null, null, y, null, dw, null),
    };
    for (const [what, work] of Object.entries(works)) {
      const ms = perCall(work, wait);
      say(`${name}: ${what}`, { ms: rounded(ms), gflops: rounded(flops / ms / 1e6) });
    }
    [x, w, y, dx, dw].forEach((each) => device.release(each));
  }

  const count = tiny ? 2 ** 16 : 2 ** 24;
  const [a, b, y] = [array(count), array(count), array(count)];
  const ms = perCall(() => kernels.multiply(count, a, b, y), wait);
  say('memory', { ms: rounded(ms), gbytes: rounded((12 * count) / ms / 1e6) });
  const values = new Float32Array(count);
  const times = { sent: [], fetched: [] };
  for (let i = 0; i < 3; i++) {
    const begun = performance.now();
    device.release(device.upload(values));
    wait();
    times.sent.push(performance.now() - begun);
    const again = performance.now();
    device.read([y])();
    times.fetched.push(performance.now() - again);
  }
  for (const [what, all] of Object.entries(times)) {
    say(`memory ${what}`, { gbytes: rounded((4 * count) / Math.min(...all) / 1e6) });
  }
  const [small, factor, product] = [1e-30, 1e-10, 0].map((value) =>
    device.upload(Float32Array.of(value)),
  );
  kernels.multiply(1, small, factor, product);
  say('denormals', { kept: device.read([product])()[0][0] !== 0 });
}

const idx = (data) => readIdxFolder(path.join(files, data));

/** A network with the authors' weights, and the mean image of all training images if it subtracts it. */
async function authors(name) {
  const network = makeNetwork(NETWORKS[name]);
  const weights = importWeights(
    network,
    await readWeights(path.join(files, `${name}.safetensors`)),
    name,
  );
  if (network.spec.subtractMean) {
    const mean = readFileSync(path.join(files, `${name}.mean`));
    const values = new Float32Array(new Uint8Array(mean).buffer);
    network.mean = tf.tensor3d(values, network.spec.input);
  }
  return { network, weights };
}

/** The reference for the authors' weights, image by image. */
function perImage(name) {
  const [head, ...lines] = readFileSync(path.join(files, name), 'utf8').trim().split('\n');
  const names = head.trim().split(',');
  return lines.map((line) => {
    const values = line.trim().split(',');
    return Object.fromEntries(names.map((column, i) => [column, values[i]]));
  });
}

async function correct() {
  await open();
  const few = tiny ? 20 : Infinity;
  for (const [name, data, file] of [
    ['lenet', 'mnist', 'authors-lenet-r0.per-image.csv'],
    ['cifar10-quick', 'cifar10', 'authors-cifar10-b0.per-image.csv'],
  ]) {
    const { network, weights } = await authors(name);
    const { train: training, test } = await idx(data);
    await gradients(name, network, weights, training);
    const fresh = await authors(name);
    const reference = perImage(file);
    const count = Math.min(test.count, few);
    const images = {
      ...test,
      count,
      images: test.images.subarray(0, count * network.spec.input.reduce((a, b) => a * b)),
      labels: test.labels.subarray(0, count),
    };
    const found = await predict(fresh, images);
    const differing = (column, values) =>
      reference.slice(0, count).filter((line, i) => Number(line[column]) !== values[i]).length;
    say(`${name} of the authors`, {
      images: count,
      classesDiffer: differing('predicted', found.predicted),
      blankFlagsDiffer: differing('blank', found.blank),
      blank: found.blank.reduce((sum, one) => sum + one, 0),
    });
    const attacked = tiny ? 4 : 500;
    const settings = {
      images: attacked,
      attacks: ['fgs', 'hc1'],
      search: 'bisection',
      channels: 'reversed',
      pass: false,
    };
    const how = { threads: threadCount(), progress: silent };
    const { attacks } = await evaluate(fresh, test, settings, how);
    for (const attack of tiny ? ['fgs'] : ['fgs', 'hc1']) {
      const { linf } = attacks.get(attack);
      const differ = reference
        .slice(0, attacked)
        .filter(({ [`${attack}_linf`]: value }, i) =>
          value === '' ? !Number.isNaN(linf[i]) : Number(value) !== linf[i],
        ).length;
      say(`${name} of the authors, ${attack}`, { images: attacked, differ });
    }
  }
  const twice = [];
  for (let i = 0; i < 2; i++) twice.push(await trainedBits());
  say('twenty steps, twice', { same: Buffer.compare(...twice) === 0 });
}

/** BANG gradients against the reference in float64: the largest distance, of a tensor's largest value. */
async function gradients(name, network, weights, training) {
  const bytes = readFileSync(path.join(files, `bang-gradients-${name}.safetensors`));
  const { tensors } = decodeSafetensors(bytes, 'reference');
  const expected = (tensor) => Float64Array.from(tensors.get(tensor).data, Number);
  if (name === 'cifar10-quick') {
    // As the reference did: the logits are in the thousands.
    const { weight, bias } = weights.layers.get('ip2');
    for (const tensor of [weight, bias]) tf.tidy(() => assign(tensor, tf.mul(tensor, 0.001)));
  }
  const bang =
    name === 'lenet'
      ? { beta: 1, epsilon: 0.815, ratio: 1 }
      : { beta: 0.4, epsilon: 0.855, ratio: 0.5 };
  const batch = name === 'lenet' ? 64 : 100;
  const store = zeroWeights(network);
  const distances = {};
  const distance = (found, wanted) => {
    let [largest, worst] = [1e-30, 0];
    wanted.forEach((value, i) => {
      largest = Math.max(largest, Math.abs(value));
      worst = Math.max(worst, Math.abs(value - found[i]));
    });
    return worst / largest;
  };
  tf.tidy(() => {
    const { pixels, labels } = batchOf(
      training,
      Uint32Array.from({ length: batch }, (_, i) => i),
    );
    const pass = trace(network, weights, pixels);
    const logits = expected('logits');
    distances.logits = distance(pass.logits.dataSync(), logits);
    const { correct: hits } = softmaxCrossEntropy(pass.logits, labels, 1 / batch);
    distances.hits = distance(hits.dataSync(), expected('correct'));
    const wanted = expected('labels');
    // In double precision, because BANG multiplies the roundings of small elements, too.
    const atLogits = new Float32Array(10 * batch);
    for (let n = 0; n < batch; n++) {
      const row = logits.subarray(10 * n, 10 * n + 10);
      const top = Math.max(...row);
      const sum = row.reduce((total, z) => total + Math.exp(z - top), 0);
      row.forEach((z, c) => {
        atLogits[10 * n + c] = (Math.exp(z - top) / sum - (c === wanted[n] ? 1 : 0)) / batch;
      });
    }
    layerGradients(network, weights, store, pass, tf.tensor2d(atLogits, [batch, 10]), {
      bang,
      correct: tf.tensor1d(Float32Array.from(expected('correct'))),
    });
    for (const layer of network.weighted) {
      const { weight, bias } = store.layers.get(layer.name);
      const values = weight.dataSync();
      const order = Float32Array.from(caffeOrder(layer), (position) => values[position]);
      distances[`${layer.name} weights`] = distance(
        order,
        expected(`bang.${layer.name}.weight_grad`),
      );
      distances[`${layer.name} biases`] = distance(
        bias.dataSync(),
        expected(`bang.${layer.name}.bias_grad`),
      );
    }
  });
  const bound = name === 'lenet' ? 2e-5 : 5e-4;
  const worst = Math.max(...Object.values(distances));
  say(`${name}, BANG gradients`, {
    worst: rounded(worst),
    bound,
    within: worst < bound,
    distances,
  });
  disposeWeights(store);
}

/** A row's training, with its settings, from the beginning. */
async function training(row, data, bang) {
  const { config } = await loadConfig(path.join(packageRoot, 'configs', `${row}.yaml`));
  const network = makeNetwork(NETWORKS[config.model]);
  if (network.spec.subtractMean) network.mean = tf.fill(network.spec.input, 120);
  const state = initialState(network, config.seed);
  const settings = { ...config.training, ...(tiny && { batch: 4 }) };
  if (!bang) delete settings.bang;
  return {
    batch: settings.batch,
    state,
    until: (until) => train(network, settings, config.seed, data, state, { until }),
  };
}

async function trainedBits() {
  const { state, until } = await training('lenet-b1', await idx('mnist'), true);
  await until(tiny ? 2 : 20);
  return Buffer.concat(
    state.weights.block.views.flat().map((tensor) => Buffer.from(tensor.dataSync().slice().buffer)),
  );
}

const ROWS = [
  ['lenet-b1', 'mnist'],
  ['cifar10-b0', 'cifar10'],
];

/** What steps ask of a GPU: few of them, whose time says nothing. */
async function counts() {
  await rowSteps(await open(), 2, 2);
}

async function rowSteps(device, warm, count) {
  for (const [row, data] of ROWS) {
    const images = await idx(data);
    for (const bang of [true, false]) {
      const { batch, state, until } = await training(row, images, bang);
      await until(warm);
      const before = { ...device?.counters };
      const begun = performance.now();
      await until(warm + count);
      const ms = (performance.now() - begun) / count;
      const each = Object.fromEntries(
        Object.entries(before).map(([what, value]) => [
          what,
          rounded((device.counters[what] - value) / count),
        ]),
      );
      say(`${row}, ${bang ? 'BANG' : 'regular'} step of ${batch}`, { ms: rounded(ms), ...each });
      for (const some of [state.weights, state.velocities]) disposeWeights(some);
    }
  }
}

async function steps() {
  const device = await open();
  await rowSteps(device, ...(tiny ? [1, 2] : engine === 'webgpu' ? [100, 500] : [20, 60]));
  for (const name of ['lenet', 'cifar10-quick']) {
    const { network, weights } = await authors(name);
    for (const batch of tiny ? [4] : engine === 'webgpu' ? [512, 8192] : [512]) {
      const pixels = tf.fill([batch, ...network.spec.input], 100);
      const before = { ...device?.counters };
      const times = Array.from({ length: tiny ? 1 : 20 }, () => {
        const begun = performance.now();
        tf.tidy(() => logitsOf(network, weights, pixels).dataSync());
        return performance.now() - begun;
      });
      const dispatches = device && (device.counters.dispatches - before.dispatches) / times.length;
      say(`${name}, forward ${batch}`, { ms: rounded(Math.min(...times)), dispatches });
      pixels.dispose();
    }
  }
  const lenet = await authors('lenet');
  const { test } = await idx('mnist');
  const all = perImage('authors-lenet-r0.per-image.csv');
  const right = all.flatMap(({ predicted }, i) =>
    Number(predicted) === test.labels[i] ? [i] : [],
  );
  const positions = Uint32Array.from(right.slice(0, tiny ? 2 : Infinity));
  const before = { ...device?.counters };
  const begun = performance.now();
  const settings = { search: 'scan', channels: 'kept' };
  const { linf } = await attackImages(ATTACKS.fgs, lenet, test, positions, settings);
  say('FGS scan, LeNet of the authors', {
    seconds: rounded((performance.now() - begun) / 1000),
    images: positions.length,
    fooled: linf.filter((value) => !Number.isNaN(value)).length,
    ...Object.fromEntries(
      Object.entries(before).map(([what, value]) => [what, device.counters[what] - value]),
    ),
  });
}

/** Where the time of a step goes, if the device can tell. */
async function kernels() {
  const device = await open(true);
  if (!device.adapter.features.includes('timestamp-query')) {
    say('kernels', { failed: 'the adapter cannot measure (it lacks timestamp-query)' });
    return;
  }
  const [warm, count] = tiny ? [1, 2] : [50, 100];
  for (const [row, data] of ROWS) {
    const { until } = await training(row, await idx(data), true);
    await until(warm);
    await device.times();
    await until(warm + count);
    const times = await device.times();
    const sum = times.reduce((total, { milliseconds }) => total + milliseconds, 0);
    say(`${row}, kernels of a BANG step`, { us: rounded((1000 * sum) / count) });
    for (const { kernel, dispatches, milliseconds } of times) {
      const us = rounded((1000 * milliseconds) / count);
      say(`${row}: ${kernel}`, { us, dispatches: rounded(dispatches / count) });
    }
  }
}

await { adapter, correct, steps, counts, kernels }[part]();
