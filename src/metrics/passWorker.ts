import { parentPort } from 'node:worker_threads';
import type { ImageSize } from '../data/shapes.js';
import { createPassMeter } from './pass.js';

/** What a worker of {@link passOf} is sent; all memory is shared. */
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

/** A worker's message after each chunk: the number of pairs in it; 0 when no pairs are left. */
export type PassMessage = number;

const say = (message: PassMessage): void => parentPort?.postMessage(message);

parentPort?.on('message', (job: PassJob) => {
  // An error ends the thread, which whoever sent the job hears.
  void measure(job);
});

async function measure(job: PassJob): Promise<void> {
  const { shape, originals, adversarials, pass, aligned, next, chunk } = job;
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
    say(end - first);
  }
  meter.close();
  say(0);
}
