import { Interrupted } from './errors.js';

/** Lets signals and timers be heard between two batches. */
export async function breathe(signal?: AbortSignal): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  if (signal?.aborted) throw new Interrupted('stopped');
}
