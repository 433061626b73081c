import { makeRandom, permutation } from '../base/random.js';

/** The order of the data (false), one random order for all epochs (`once`), or one for each epoch (true). */
export type Shuffle = boolean | 'once';

/** The positions of the images in an iteration's batch; iterations can be queried in any order. */
export type Order = (iteration: number) => Uint32Array;

/**
 * The order of the training images. As in Caffe, the data are read cyclically and a batch may span two
 * epochs.
 */
export function trainingOrder(count: number, batch: number, shuffle: Shuffle, seed: number): Order {
  const orders = new Map<number, Uint32Array>();
  const orderOf = (epoch: number): Uint32Array => {
    let order = orders.get(epoch);
    if (!order) {
      order = permutation(count, makeRandom(seed, 'shuffle', epoch));
      for (const old of orders.keys()) if (old < epoch - 1) orders.delete(old);
      orders.set(epoch, order);
    }
    return order;
  };
  return (iteration) =>
    Uint32Array.from({ length: batch }, (_, i) => {
      const position = iteration * batch + i;
      const inEpoch = position % count;
      if (shuffle === false) return inEpoch;
      return orderOf(shuffle === 'once' ? 0 : Math.floor(position / count))[inEpoch];
    });
}
