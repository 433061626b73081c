import type { Options } from 'yargs';

/** Options that several commands share. */
export const shared = {
  threads: {
    type: 'number',
    describe: 'computing threads (default: $BANG_THREADS, else all cores)',
    requiresArg: true,
  },
  'data-dir': {
    type: 'string',
    describe: "a folder with the data set's original files, instead of the cache",
    requiresArg: true,
  },
  force: {
    type: 'boolean',
    default: false,
    describe: 'start over in a folder that holds results already',
  },
} as const satisfies Record<string, Options>;

/**
 * Runs work that Ctrl-C and SIGTERM stop in order: the first signal lets it save what it has, the
 * second ends the process at once.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write('\nstopping after saving (once more to stop at once)\n');
    controller.abort();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}
