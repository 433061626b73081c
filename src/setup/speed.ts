import { tf } from '../base/tf.js';
import { deviceInUse, usesGpu } from '../engine/engine.js';
import { medianOf } from '../metrics/statistics.js';
import { logitsOf, makeNetwork } from '../model/network.js';
import { NETWORKS } from '../model/networks.js';
import { disposeWeights, initialWeights, zeroWeights } from '../model/parameters.js';
import { applyGradients, computeGradients } from '../training/step.js';
import { initialState } from '../training/train.js';
import { read } from '../engine/ops/read.js';

/** Enough for the engine to be at its best; little where it is slow. */
function batchFor(): number {
  const device = deviceInUse();
  if (tf.getBackend() === 'cpu' || device?.adapter.software === true) return 8;
  return usesGpu() ? 4096 : 256;
}

/**
 * The speed of LeNet's forward pass on the current engine, in floating-point operations per second.
 * Takes about half a second.
 */
export async function forwardSpeed(): Promise<number> {
  const network = makeNetwork(NETWORKS.lenet);
  const weights = initialWeights(network, 1);
  const batch = batchFor();
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

/** Images in a training step. */
const BATCH = 64;

/** The seconds of a training step of LeNet with BANG on the current engine. Takes about a second. */
export async function stepSeconds(): Promise<number> {
  const network = makeNetwork(NETWORKS.lenet);
  const { weights, velocities } = initialState(network, 1);
  const gradients = zeroWeights(network);
  const labels = tf.tensor1d(new Int32Array(BATCH), 'int32');
  const pixels = tf.fill<tf.Rank.R4>([BATCH, ...network.spec.input], 100);
  const step = (): void => {
    tf.tidy(() => {
      const bang = { beta: 1, epsilon: 0.8, ratio: 1 };
      computeGradients(network, weights, gradients, { pixels, labels }, { bang });
      // Rate 0, so that all steps are alike.
      applyGradients(weights, velocities, gradients, { rate: 0, momentum: 0, weightDecay: 0 });
    });
  };
  const times: number[] = [];
  const steps = deviceInUse()?.adapter.software === true ? 1 : 20;
  const begun = performance.now();
  while (times.length < 3 || performance.now() - begun < 700) {
    const start = performance.now();
    for (let i = 0; i < steps; i++) step();
    // All that was begun is done when this is read.
    gradients.block.runs[1][0].dataSync();
    times.push((performance.now() - start) / 1000 / steps);
    await new Promise((resolve) => setImmediate(resolve));
  }
  tf.dispose([labels, pixels]);
  for (const some of [weights, velocities, gradients]) disposeWeights(some);
  return Math.min(...times);
}

/** The number of multiply-adds in the forward pass of one image. */
export function multiplications({ weighted }: ReturnType<typeof makeNetwork>): number {
  return weighted.reduce(
    (sum, { windows, weightShape }) => sum + windows * tf.util.sizeFromShape(weightShape),
    0,
  );
}
