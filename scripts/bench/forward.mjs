// A forward pass of many images: `NETWORK.forward.512`.
import * as tf from '@tensorflow/tfjs-core';
import { makeRandom } from '#bang/base/random.js';
import { batchOf } from '#bang/data/batch.js';
import { read } from '#bang/engine/ops/read.js';
import { logitsOf, makeNetwork } from '#bang/model/network.js';
import { disposeWeights, initialWeights } from '#bang/model/parameters.js';
import { multiplications } from '#bang/setup/speed.js';
import { entryOf, timed } from './timing.mjs';

const BATCH = 512;

/** The logits of noise, by initial weights: no value of either changes how long it takes. */
export async function forward(spec, options) {
  const network = networkOf(spec);
  const weights = initialWeights(network, 1);
  const data = randomImages(spec, BATCH);
  const { pixels, labels } = batchOf(data, Uint32Array.from(data.labels.keys()));
  const [times] = await timed([() => read(() => logitsOf(network, weights, pixels))], options);
  tf.dispose([pixels, labels]);
  network.mean?.dispose();
  disposeWeights(weights);
  const flops = 2 * BATCH * multiplications(network);
  return [entryOf(`${spec.name}.forward.${BATCH}`, times, flops, { batch: BATCH })];
}

/** A network, with an empty mean image if it takes one: what is subtracted costs the same. */
function networkOf(spec) {
  return { ...makeNetwork(spec), ...(spec.subtractMean && { mean: tf.zeros(spec.input) }) };
}

/** A data set of noise in the network's shape. */
function randomImages({ input, classes }, count) {
  const [height, width, channels] = input;
  const random = makeRandom(1, 'bench');
  const images = new Uint8Array(count * height * width * channels).map(() => random.bits() >>> 24);
  const labels = new Uint8Array(count).map(() => random.bits() % classes);
  return { height, width, channels, classes, count, images, labels };
}
