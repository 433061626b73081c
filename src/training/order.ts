import { makeRandom, permutation } from '../base/random.js';

/** Names the images of each iteration's batch, so that any iteration can be the first. */
export type Order = (iteration: number) => Uint32Array;

/**
 * The order of training. Caffe reads its database round and round, and makes batches across the end
 * of an epoch; with `shuffle` each epoch has an order of its own.
 */
export function trainingOrder(count: number, batch: number, shuffle: boolean, seed: number): Order {
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
      return shuffle ? orderOf(Math.floor(position / count))[inEpoch] : inEpoch;
    });
}
