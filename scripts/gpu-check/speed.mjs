// Training steps and forward passes on an engine, as JSON: node speed.mjs ENGINE all|tiny.
import * as tf from '@tensorflow/tfjs-core';
import { deviceInUse, startEngine } from '../../dist/engine/engine.js';
import { logitsOf, makeNetwork } from '../../dist/model/network.js';
import { NETWORKS } from '../../dist/model/networks.js';
import { initialState } from '../../dist/training/train.js';
import { stepSeconds } from '../../dist/setup/speed.js';

const [engine, what] = process.argv.slice(2);
await startEngine({ engine });
const found = [];
const networks =
  what === 'tiny'
    ? [['lenet', 4, 16]]
    : [
        ['lenet', 64, 8192],
        ['cifar10-quick', 100, 4096],
      ];
for (const [name, batch, images] of networks) {
  const device = deviceInUse();
  const { seconds, dispatches } = await stepSeconds(name, batch);
  found.push({ name: `${name}, BANG step of ${batch}`, ms: 1000 * seconds, dispatches });

  const network = makeNetwork(NETWORKS[name]);
  const shape = network.spec.input;
  if (network.spec.subtractMean) network.mean = tf.zeros(shape);
  const { weights } = initialState(network, 1);
  const count = device ? images : 512;
  const pixels = tf.fill([count, ...shape], 100);
  const times = [];
  for (let i = 0; i < (what === 'tiny' ? 2 : 12); i++) {
    const begun = performance.now();
    tf.tidy(() => logitsOf(network, weights, pixels).dataSync());
    times.push(performance.now() - begun);
  }
  found.push({ name: `${name}, forward ${count}`, ms: Math.min(...times) });
  pixels.dispose();
}
console.log(JSON.stringify(found));
