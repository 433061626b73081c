import { Interrupted } from './errors.js';

/**
 * Lets signals and timers run between two batches.
 *
 * @throws Interrupted if `signal` has aborted
 */
export async function breathe(signal?: AbortSignal): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  if (signal?.aborted) throw new Interrupted('stopped');
}
