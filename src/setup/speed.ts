import * as tf from '@tensorflow/tfjs-core';
import { medianOf } from '../metrics/statistics.js';
import { logitsOf, makeNetwork } from '../model/network.js';
import { NETWORKS } from '../model/networks.js';
import { disposeWeights, initialWeights } from '../model/parameters.js';
import { read } from '../engine/ops/read.js';

/**
 * The speed of LeNet's forward pass on the current engine, in floating-point operations per second.
 * Takes about half a second.
 */
export async function forwardSpeed(): Promise<number> {
  const network = makeNetwork(NETWORKS.lenet);
  const weights = initialWeights(network, 1);
  const batch = tf.getBackend() === 'cpu' ? 8 : 256;
  const pixels = tf.tensor4d(new Float32Array(batch * 784).fill(100), [batch, 28, 28, 1]);
  const operations = 2 * batch * multiplications(network);
  const times: number[] = [];
  const begun = performance.now();
  while (times.length < 3 || performance.now() - begun < 300) {
    const start = performance.now();
    read(() => logitsOf(network, weights, pixels));
    times.push((performance.now() - start) / 1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  pixels.dispose();
  disposeWeights(weights);
  return operations / medianOf(times);
}

/** The number of multiply-adds in the forward pass of one image. */
export function multiplications({ weighted }: ReturnType<typeof makeNetwork>): number {
  return weighted.reduce(
    (sum, { windows, weightShape }) => sum + windows * tf.util.sizeFromShape(weightShape),
    0,
  );
}
