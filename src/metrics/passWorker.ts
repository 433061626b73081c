import { parentPort, workerData } from 'node:worker_threads';
import { createPassMeter, type ImageShape } from './pass.js';

/** What a worker of {@link passOf} gets; all memory is shared. */
export interface PassJob {
  shape: ImageShape;
  /** N images each, one after the other. */
  originals: Uint8Array;
  adversarials: Uint8Array;
  /** N results, to be filled in. */
  pass: Float32Array;
  aligned: Uint8Array;
  /** One number: the first pair that nobody has taken yet. */
  next: Int32Array;
  /** How many pairs a worker takes at once. */
  chunk: number;
}

/** What a worker says after each chunk: how many pairs were in it. */
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
