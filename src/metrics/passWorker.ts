import { parentPort, workerData } from 'node:worker_threads';
import type { ImageSize } from '../data/shapes.js';
import { createPassMeter } from './pass.js';

/** The data of a worker of {@link passOf}; all memory is shared. */
export interface PassJob {
  shape: ImageSize;
  /** N images each. */
  originals: Uint8Array;
  adversarials: Uint8Array;
  /** N results each, written by the workers. */
  pass: Float32Array;
  aligned: Uint8Array;
  /** One number: the first pair that no worker has taken. */
  next: Int32Array;
  /** The number of pairs that a worker takes at once. */
  chunk: number;
}

/** A worker's message after each chunk: the number of pairs in it. */
export type PassMessage = number;

const { shape, originals, adversarials, pass, aligned, next, chunk } = workerData as PassJob;
const size = shape.height * shape.width * shape.channels;
const meter = await createPassMeter(shape);
for (;;) {
  const first = Atomics.add(next, 0, chunk);
  if (first >= pass.length) break;
  const end = Math.min(first + chunk, pass.length);
  for (let i = first; i < end; i++) {
    const result = meter.measure(
      originals.subarray(i * size, (i + 1) * size),
      adversarials.subarray(i * size, (i + 1) * size),
    );
    pass[i] = result.pass;
    aligned[i] = result.aligned ? 1 : 0;
  }
  parentPort?.postMessage((end - first) satisfies PassMessage);
}
meter.close();
