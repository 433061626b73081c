// A forward pass of many images: `NETWORK.forward.512`.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { makeRandom } from '#bang/base/random.js';
import { version } from '#bang/base/version.js';
import { batchOf } from '#bang/engine/ops/batch.js';
import { read } from '#bang/engine/ops/read.js';
import { logitsOf, makeNetwork } from '#bang/model/network.js';
import { encodeOnnx } from '#bang/model/files/onnx/encode.js';
import { disposeNetwork, exportNetwork, initialWeights } from '#bang/model/parameters.js';
import { multiplications } from '#bang/setup/speed.js';
import { entryOf, timed } from './timing.mjs';

const BATCH = 512;

/** The logits of noise, by initial weights: no value of either changes how long it takes. */
export async function forward(spec, options) {
  const { network, weights, pixels, dispose } = prepared(spec);
  const [times] = await timed([() => read(() => logitsOf(network, weights, pixels))], options);
  dispose();
  const flops = 2 * BATCH * multiplications(network);
  return [entryOf(`${spec.name}.forward.${BATCH}`, times, flops, { batch: BATCH })];
}

/**
 * The same as files, for peers: the network as `bang export` writes it, pixels [N,C,H,W], our logits [N,classes].
 *
 * @returns the arguments that name them
 */
export function forwardFiles(spec, folder) {
  const { network, weights, pixels, dispose } = prepared(spec);
  const tensors = exportNetwork({ network, weights });
  const model = encodeOnnx(spec, tensors, { version: version() });
  const files = {
    'model.onnx': model,
    'pixels.f32': read(() => tf.transpose(pixels, [0, 3, 1, 2])),
    'logits.f32': read(() => logitsOf(network, weights, pixels)),
  };
  dispose();
  for (const [name, values] of Object.entries(files)) {
    writeFileSync(path.join(folder, name), values);
  }
  return ['--files', folder, '--shape', ...spec.input.map(String)];
}

function prepared(spec) {
  const network = networkOf(spec);
  const weights = initialWeights(network, 1);
  const data = randomImages(spec, BATCH);
  const { pixels, labels } = batchOf(data, Uint32Array.from(data.labels.keys()));
  const dispose = () => {
    tf.dispose([pixels, labels]);
    disposeNetwork({ network, weights });
  };
  return { network, weights, pixels, dispose };
}

/** A network, with a mean image if it takes one. It is grey, not empty: a peer may leave out what does nothing. */
function networkOf(spec) {
  return { ...makeNetwork(spec), ...(spec.subtractMean && { mean: tf.fill(spec.input, 120) }) };
}

/** A data set of noise in the network's shape. */
function randomImages({ input, classes }, count) {
  const [height, width, channels] = input;
  const random = makeRandom(1, 'bench');
  const images = new Uint8Array(count * height * width * channels).map(() => random.bits() >>> 24);
  const labels = new Uint8Array(count).map(() => random.bits() % classes);
  return { height, width, channels, classes, count, images, labels };
}
