import { Interrupted } from './errors.js';

/** Milliseconds for which signals and timers can wait. */
const HOLD = 25;
let breathed = performance.now();

/**
 * Lets signals and timers run between two batches, if they have waited for some milliseconds.
 *
 * @throws Interrupted if `signal` has aborted
 */
export async function breathe(signal?: AbortSignal): Promise<void> {
  if (performance.now() - breathed >= HOLD) {
    await new Promise((resolve) => setImmediate(resolve));
    breathed = performance.now();
  }
  if (signal?.aborted) throw new Interrupted('stopped');
}
