import { Worker } from 'node:worker_threads';
import { codeOf, Interrupted, messageOf, UserError } from '../base/errors.js';
import { silent, type Progress } from '../base/progress.js';
import { isWasmShortage, wasmShortage } from '../base/wasm.js';
import type { ImageSize } from '../data/shapes.js';
import type { PassJob, PassMessage } from './passWorker.js';

export interface PassOptions {
  /** The maximum number of threads. */
  workers: number;
  progress?: Progress;
  /** The label of the progress; `PASS` by default. */
  label?: string;
  /** Stops the work. */
  signal?: AbortSignal;
}

export interface PassScores {
  /** PASS of each pair. */
  pass: Float32Array;
  /** 1 where the pair could be aligned, else 0. */
  aligned: Uint8Array;
}

/** Pairs that a thread takes at once: about 30 ms of work, so that all threads finish almost together. */
const CHUNK = 64;

/**
 * PASS of N pairs of images, in several threads; see `createPassMeter`. The scores do not depend on the
 * number of threads.
 *
 * @param originals N × height × width × channels grey or RGB levels
 * @param adversarials the same
 * @throws RangeError if the sizes do not fit
 * @throws Interrupted if the signal aborts
 * @throws UserError if the system cannot start even one thread, or has no memory for it
 */
export async function passOf(
  originals: Uint8Array,
  adversarials: Uint8Array,
  shape: ImageSize,
  options: PassOptions,
): Promise<PassScores> {
  const size = shape.height * shape.width * shape.channels;
  const count = originals.length / size;
  if (!Number.isInteger(count) || originals.length !== adversarials.length) {
    throw new RangeError(
      `${originals.length} and ${adversarials.length} values are not pairs of images of ${size}`,
    );
  }
  if (options.signal?.aborted === true) throw new Interrupted('stopped while measuring PASS');
  const job: PassJob = {
    shape,
    originals: shared(originals),
    adversarials: shared(adversarials),
    pass: new Float32Array(new SharedArrayBuffer(4 * count)),
    aligned: new Uint8Array(new SharedArrayBuffer(count)),
    next: new Int32Array(new SharedArrayBuffer(4)),
    chunk: CHUNK,
  };
  const threads = Math.min(Math.max(1, Math.floor(options.workers)), Math.ceil(count / CHUNK));
  const task = (options.progress ?? silent).start(options.label ?? 'PASS', count, 'pairs');
  const workers: Worker[] = [];
  let stop: (() => void) | undefined;
  let finished = false;
  try {
    await new Promise<void>((resolve, reject) => {
      let done = 0;
      let running = 0;
      let failure: Error | undefined;
      if (threads === 0) resolve();
      stop = () => {
        reject(new Interrupted('stopped while measuring PASS'));
      };
      options.signal?.addEventListener('abort', stop);
      const ended = (): void => {
        running--;
        if (running > 0) return;
        if (done === count) resolve();
        else reject(failure ?? new Error('a thread that measured PASS ended early'));
      };
      for (let i = 0; i < threads; i++) {
        const worker = takeWorker(i > 0);
        // The threads that were started measure all pairs.
        if (!worker) break;
        workers.push(worker);
        running++;
        worker.on('message', (pairs: PassMessage) => {
          if (pairs === 0) ended();
          done += pairs;
          task.update(done);
        });
        worker.on('error', (error) => {
          // Refused its memory before it took any pairs: the others measure them.
          if (isWasmShortage(error)) failure ??= wasmShortage('PASS');
          else reject(error);
        });
        worker.on('exit', ended);
        worker.postMessage(job);
      }
    });
    finished = true;
  } finally {
    if (stop !== undefined) options.signal?.removeEventListener('abort', stop);
    if (finished) keepWorkers(workers);
    else await Promise.all(workers.map((worker) => worker.terminate()));
    task.finish();
  }
  return { pass: Float32Array.from(job.pass), aligned: Uint8Array.from(job.aligned) };
}

/**
 * Threads without work. To start one takes as long as the PASS of thousands of pairs, and the next attack is often
 * not far.
 */
const idle: Worker[] = [];
const IDLE_MS = 10_000;
let idleEnd: NodeJS.Timeout | undefined;

/** Keeps threads for the next pairs, for a while, unless the program ends before. */
function keepWorkers(workers: readonly Worker[]): void {
  for (const worker of workers) {
    // Without a name, Node's own listeners would be removed, too.
    for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event);
    // It has ended already where it was refused its memory.
    if (worker.threadId < 0) continue;
    worker.unref();
    idle.push(worker);
  }
  clearTimeout(idleEnd);
  idleEnd = setTimeout(() => {
    for (const worker of idle.splice(0)) void worker.terminate();
  }, IDLE_MS).unref();
}

/**
 * A thread that has no work, or a new one. If the system refuses, returns undefined if there are `others`.
 *
 * @throws UserError if the system refuses and there are no others
 */
function takeWorker(others: boolean): Worker | undefined {
  const kept = idle.pop();
  if (kept) {
    kept.ref();
    return kept;
  }
  try {
    return new Worker(new URL('./passWorker.js', import.meta.url));
  } catch (error) {
    if (codeOf(error) !== 'ERR_WORKER_INIT_FAILED') throw error;
    if (others) return undefined;
    throw new UserError(
      `the system refuses a thread for PASS (${messageOf(error)}): choose fewer with --threads or BANG_THREADS`,
    );
  }
}

/** A copy of the values in shared memory. */
function shared(values: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(values.length));
  copy.set(values);
  return copy;
}
