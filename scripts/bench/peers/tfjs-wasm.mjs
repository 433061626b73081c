// TensorFlow.js's own WebAssembly backend, as a peer: forward passes, in the operations that it has for them.
//
//   node tfjs-wasm.mjs FOLDER --check
//   node tfjs-wasm.mjs FOLDER --peer NAME --job lenet.forward --files FILES [--runs N]
//
// FOLDER is where npm has installed it; it is no dependency of ours. What is printed is that of peer.py.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startEngine } from '#bang/engine/engine.js';
import { makeNetwork } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import { importMean, importWeights } from '#bang/model/parameters.js';
import { readWeights } from '#bang/model/files/weights.js';
import { entryOf, timed } from '../timing.mjs';

const PACKAGE = '@tensorflow/tfjs-backend-wasm';
const text = { type: 'string' };
const { positionals, values } = parseArgs({
  allowPositionals: true,
  // Some of what peer.py takes needs nothing here.
  strict: false,
  options: {
    ...{ check: { type: 'boolean' }, quick: { type: 'boolean' } },
    ...{ peer: text, job: text, files: text, threads: text, runs: text },
  },
});
const folder = path.resolve(positionals[0]);
// A name in the folder, which need not exist.
const require = createRequire(path.join(folder, 'peer.cjs'));

try {
  if (values.check) print(check());
  else await forward(values.job.split('.')[0]);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

function check() {
  try {
    require.resolve('@tensorflow/tfjs-core');
    const { version } = require(`${PACKAGE}/package.json`);
    return { peer: 'tfjs-backend-wasm', version, jobs: ['forward'] };
  } catch (error) {
    return { peer: 'tfjs-backend-wasm', missing: error.message.split('\n')[0] };
  }
}

async function forward(name) {
  const network = makeNetwork(NETWORKS[name]);
  const parameters = await parametersOf(network, path.join(values.files, 'model.onnx'));
  const tf = require('@tensorflow/tfjs-core');
  require(PACKAGE);
  await tf.setBackend('wasm');
  const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
  // It has none in Node.js: its threads are started in a way that only browsers know.
  const threads = await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT');

  const [height, width, channels] = network.spec.input;
  const { buffer } = Uint8Array.from(readFileSync(path.join(values.files, 'pixels.f32')));
  const planar = tf.tensor(new Float32Array(buffer), [
    buffer.byteLength / 4 / (height * width * channels),
    ...[channels, height, width],
  ]);
  const pixels = tf.transpose(planar, [0, 2, 3, 1]);
  const compute = compiled(tf, network, parameters);
  const logits = () => tf.tidy(() => compute(pixels).dataSync());
  writeFileSync(path.join(values.files, 'theirs.f32'), logits());
  const options = { runs: values.runs && Number(values.runs), quick: values.quick };
  const [times] = await timed([logits], options);
  const { job, ms, minMs } = entryOf(`${name}.forward.${pixels.shape[0]}`, times, null);
  const mode = `${simd ? 'SIMD' : 'no SIMD'}, ${threads ? 'threads' : '1 thread'}`;
  print({ job, ms, minMs, mode, modes: { [mode]: { ms, minMs } } });
}

/** The values of the weights, biases and mean image, by our own reader. */
async function parametersOf(network, file) {
  await startEngine({ engine: 'cpu' });
  const content = await readWeights(file);
  const copy = (tensor) => tensor && { shape: tensor.shape, values: tensor.dataSync().slice() };
  const { layers } = importWeights(network, content, file);
  return {
    mean: copy(importMean(network, content, file)),
    layers: new Map(
      [...layers].map(([name, { weight, bias }]) => [
        name,
        { weight: copy(weight), bias: copy(bias) },
      ]),
    ),
  };
}

/** A function from pixels to logits, as a user of TensorFlow.js would write it: with its fused operations. */
function compiled(tf, { spec }, { mean, layers: parameters }) {
  const tensor = ({ shape, values }) => tf.tensor(values, shape);
  const meanImage = mean && tensor(mean);
  const steps = [];
  for (const [i, layer] of spec.layers.entries()) {
    const { weight, bias } = parameters.get(layer.name) ?? {};
    const [w, b] = weight ? [tensor(weight), tensor(bias)] : [];
    const next = spec.layers[i + 1]?.kind;
    const activation = next === 'relu' ? 'relu' : 'linear';
    const fused = i > 0 && 'name' in spec.layers[i - 1];
    switch (layer.kind) {
      case 'conv': {
        const convolution = { filter: w, strides: 1, pad: layer.pad ?? 0, bias: b, activation };
        steps.push((x) => tf.fused.conv2d({ x, ...convolution }));
        break;
      }
      case 'innerProduct':
        steps.push((x) =>
          tf.fused.matMul({ a: tf.reshape(x, [x.shape[0], -1]), b: w, bias: b, activation }),
        );
        break;
      case 'maxPool':
      case 'avgPool': {
        const pool = layer.kind === 'maxPool' ? tf.maxPool : tf.avgPool;
        // Rounded up, as Caffe does.
        steps.push((x) => pool(x, layer.size, layer.stride, 'same'));
        break;
      }
      case 'relu':
        if (!fused) steps.push(tf.relu);
        break;
      case 'dropout':
        break;
      default:
        throw new Error(`${layer.kind} is not written here`);
    }
  }
  return (pixels) => {
    let x = meanImage ? tf.sub(pixels, meanImage) : pixels;
    if (spec.scale !== 1) x = tf.mul(x, spec.scale);
    return steps.reduce((value, step) => step(value), x);
  };
}

function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
