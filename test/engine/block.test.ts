import * as tf from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, it } from 'vitest';
import { allFinite, assign, type Block, disposeBlock, makeBlock } from '#bang/engine/block.js';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import { digestOfWeights } from '#bang/store/provenance.js';
import { makeNetwork } from '#bang/model/network.js';
import { NETWORKS } from '#bang/model/networks.js';
import { disposeWeights, initialWeights, makeWeights } from '#bang/model/parameters.js';
import { makeRandom } from '#bang/base/random.js';
import { applyGradients } from '#bang/training/step.js';
import { ENGINE } from '../engine.js';
import { between } from '../random.js';
import { randomNetwork } from '../randomNetworks.js';

const ENGINES = [ENGINE, 'cpu'] as const;

afterAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
});

const random = makeRandom(1, 'block');
const floats = (count: number): Float32Array =>
  Float32Array.from({ length: count }, () => random.gaussian());

function randomBlock(): Block {
  const group = () =>
    Array.from({ length: between(random, 1, 5) }, () => {
      const shape = Array.from({ length: between(random, 1, 4) }, () => between(random, 1, 6));
      return { shape, data: floats(tf.util.sizeFromShape(shape)) };
    });
  return makeBlock(Array.from({ length: between(random, 1, 3) }, group));
}

describe.each(ENGINES)('a block, engine %s', (engine) => {
  it('is one memory: what is written to a tensor is in its run, and the other way round', async () => {
    await startEngine({ engine });
    const before = tf.memory().numTensors;
    for (let trial = 0; trial < 50; trial++) {
      const block = randomBlock();
      block.runs.forEach(([run], g) => {
        const inOrder = () => block.views[g].flatMap((view) => [...view.dataSync()]);
        expect([...run.dataSync()]).toEqual(inOrder());
        for (const view of block.views[g]) {
          tf.tidy(() => {
            assign(view, tf.tensor(floats(view.size), view.shape));
          });
          expect([...run.dataSync()]).toEqual(inOrder());
        }
        tf.tidy(() => {
          assign(run, tf.tensor(floats(run.size)));
        });
        expect([...run.dataSync()]).toEqual(inOrder());
      });
      disposeBlock(block);
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it('outlives a tidy', async () => {
    await startEngine({ engine });
    let block!: Block;
    tf.tidy(() => {
      block = randomBlock();
    });
    expect(block.views[0][0].dataSync()[0]).toBe(block.runs[0][0].dataSync()[0]);
    disposeBlock(block);
  });

  it('is finite, unless one value anywhere is not', async () => {
    await startEngine({ engine });
    const block = randomBlock();
    expect(allFinite(block)).toBe(true);
    for (const view of block.views.flat()) {
      const values = view.dataSync<'float32'>().slice();
      const put = (changed: Float32Array) => {
        tf.tidy(() => {
          assign(view, tf.tensor(changed, view.shape));
        });
      };
      for (let i = 0; i < values.length; i++) {
        for (const bad of [NaN, Infinity, -Infinity]) {
          put(values.with(i, bad));
          expect(allFinite(block)).toBe(false);
        }
      }
      put(values);
    }
    expect(allFinite(block)).toBe(true);
    disposeBlock(block);
  });

  it('of initial weights has the digest that results were recorded with', async () => {
    await startEngine({ engine });
    const network = makeNetwork(NETWORKS.lenet);
    const weights = initialWeights(network, 1);
    // Computed when each tensor had a memory of its own.
    expect(digestOfWeights({ network, weights })).toBe(
      'bcca39723f37c2495cf8d5481e85b89e484e710525500fc3f86b4d028956e54f',
    );
    disposeWeights(weights);
  });

  it('moves by SGD as each tensor alone would, bit for bit', async () => {
    await startEngine({ engine, threads: 2 });
    const binding = kernelBinding();
    for (const level of binding?.levels() ?? ['']) {
      binding?.setLevel(level);
      for (let seed = 1; seed <= 20; seed++) {
        // One of them is large enough for several threads.
        const network = makeNetwork(seed === 1 ? NETWORKS.lenet : randomNetwork(seed));
        const [weights, velocities, gradients] = Array.from({ length: 3 }, () =>
          makeWeights(
            network,
            network.weighted.map(({ weightShape }) => ({
              weight: floats(tf.util.sizeFromShape(weightShape)),
              bias: floats(weightShape.at(-1)!),
            })),
          ),
        );
        const sgd = { rate: 0.013, momentum: 0.9, weightDecay: 0.07 };
        const alone = network.weighted.map(({ name }) => {
          const of = (values: typeof weights) => {
            const { weight, bias } = values.layers.get(name)!;
            return [weight, bias].map((tensor) => tensor.dataSync().slice());
          };
          return { name, w: of(weights), v: of(velocities), g: of(gradients) };
        });
        applyGradients(weights, velocities, gradients, sgd);
        for (const { name, w, v, g } of alone) {
          const { weight, bias } = weights.layers.get(name)!;
          [weight, bias].forEach((tensor, i) => {
            step(w[i], v[i], g[i], sgd.rate * (i + 1), sgd.momentum, sgd.weightDecay);
            expect(tensor.dataSync().every((value, at) => value === w[i][at])).toBe(true);
          });
        }
        for (const some of [weights, velocities, gradients]) disposeWeights(some);
      }
    }
    binding?.setLevel(binding.levels()[0]);
  });
});

/** A step of SGD on one tensor: the kernel on its own arrays, or tfjs's operations on its own tensors. */
function step(
  w: tf.TypedArray,
  v: tf.TypedArray,
  g: tf.TypedArray,
  rate: number,
  momentum: number,
  decay: number,
): void {
  const binding = kernelBinding();
  if (binding) {
    const [weight, velocity, gradient] = [w, v, g] as Float32Array[];
    binding.sgd(w.length, weight, velocity, gradient, rate, momentum, decay);
    return;
  }
  const moved = tf.tidy(() => {
    const push = tf.mul(tf.add(tf.tensor(g), tf.mul(tf.tensor(w), decay)), rate);
    return tf.sub(tf.tensor(w), tf.add(tf.mul(tf.tensor(v), momentum), push));
  });
  w.set(moved.dataSync());
  moved.dispose();
}
