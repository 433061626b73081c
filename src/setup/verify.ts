import { tf } from '../base/tf.js';
import { batchOf } from '../engine/ops/batch.js';
import { makeNetwork } from '../model/network.js';
import type { NetworkSpec } from '../model/networks.js';
import { disposeWeights, initialWeights, zeroWeights } from '../model/parameters.js';
import { makeRandom } from '../base/random.js';
import { computeGradients } from '../training/step.js';
import { loadTensorFlow } from '../engine/tensorflow/backend.js';
import { TENSORFLOW } from '../engine/tensorflow/kernels.js';
import { openWebgpu, startEngine } from '../engine/engine.js';
import { nameOf, PACKAGE } from '../engine/webgpu/installation.js';
import type { CheckedTensorFlow, CheckedWebgpu } from './installing.js';
import { stepSeconds } from './speed.js';
import path from 'node:path';

/**
 * Compares the loss and BANG gradients of a network on an engine with those on the CPU kernels of tfjs.
 * `installing.ts` runs this in a separate process, because the addon may crash.
 */

/** A small network with every kind of layer that has a kernel. */
const NETWORK: NetworkSpec = {
  name: 'check',
  input: [16, 16, 3],
  classes: 10,
  subtractMean: false,
  scale: 1 / 256,
  layers: [
    { kind: 'conv', name: 'conv1', filters: 8, size: 5, pad: 2, filler: { kind: 'xavier' } },
    { kind: 'maxPool', size: 2, stride: 2 },
    { kind: 'conv', name: 'conv2', filters: 8, size: 3, filler: { kind: 'xavier' } },
    { kind: 'maxPool', size: 3, stride: 2 },
    { kind: 'relu' },
    { kind: 'avgPool', size: 2, stride: 2 },
    { kind: 'innerProduct', name: 'ip1', outputs: 10, filler: { kind: 'xavier' } },
  ],
};
const BATCH = 8;
const BANG = { beta: 1, epsilon: 0.8, ratio: 0.5 };

async function checkTensorFlow(folder: string): Promise<CheckedTensorFlow> {
  const { binding, isUsingGpuDevice } = loadTensorFlow(folder, 1);
  const difference = await differenceOn(TENSORFLOW);
  return { version: binding.TF_Version, gpu: isUsingGpuDevice, difference };
}

async function checkWebgpu(folder: string): Promise<CheckedWebgpu> {
  const { adapter } = await openWebgpu(path.join(folder, PACKAGE));
  const difference = await differenceOn('webgpu');
  const { software } = adapter;
  let faster = 0;
  if (!software) {
    await tf.setBackend('webgpu');
    const gpu = await stepSeconds();
    // The best of those that compute on the CPU.
    await startEngine({ engine: 'native' }).catch(() => startEngine({ engine: 'wasm' }));
    faster = (await stepSeconds()) / gpu;
  }
  return { gpu: nameOf(adapter), software, faster, difference };
}

/** The largest difference between this backend and tfjs's CPU backend. */
async function differenceOn(backend: string): Promise<number> {
  await tf.setBackend('cpu');
  const expected = valuesOf();
  await tf.setBackend(backend);
  return Math.max(...valuesOf().map((found, i) => distance(found, expected[i])));
}

/** The loss and all gradients for a batch of noise. */
function valuesOf(): tf.TypedArray[] {
  const network = makeNetwork(NETWORK);
  const weights = initialWeights(network, 1);
  const gradients = zeroWeights(network);
  const [height, width, channels] = NETWORK.input;
  const random = makeRandom(1, 'check');
  const images = new Uint8Array(BATCH * height * width * channels).map(() => random.bits() >>> 24);
  const labels = new Uint8Array(BATCH).map((_, i) => i);
  const data = { height, width, channels, classes: NETWORK.classes, count: BATCH, images, labels };
  const values = tf.tidy(() => {
    const batch = batchOf(data, labels);
    const { loss } = computeGradients(network, weights, gradients, batch, { bang: BANG });
    const tensors: tf.Tensor[] = [loss, ...gradients.block.views.flat()];
    return tensors.map((tensor) => tensor.dataSync().slice());
  });
  disposeWeights(weights);
  disposeWeights(gradients);
  return values;
}

function distance(found: tf.TypedArray, expected: tf.TypedArray): number {
  let [largest, difference] = [1e-30, 0];
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]));
    difference = Math.max(difference, Math.abs(found[i] - expected[i]));
  }
  return difference / largest;
}

const [engine, folder] = process.argv.slice(2);
const found = engine === 'webgpu' ? await checkWebgpu(folder) : await checkTensorFlow(folder);
process.stdout.write(`${JSON.stringify(found)}\n`);
