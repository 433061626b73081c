/** The program of a process that computes one cell of a sweep; `pool.ts` starts it. */
import { ExperimentError, Interrupted, messageOf, UserError } from '../base/errors.js';
import { runExperiment, trainUntil } from '../experiment/run.js';
import type { Progress } from '../base/progress.js';
import type { FromCell, ToCell } from './pool.js';

const UPDATE_EVERY_MS = 500;
/** After a sweep was killed, the processes of its cells take a moment to notice. */
const PATIENCE_MS = 30_000;

const controller = new AbortController();

process.on('message', (message: ToCell) => {
  if (message === 'stop') controller.abort();
  else void compute(message);
});
// Ctrl-C reaches every process of a terminal; the parent process decides whether to stop.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('SIGHUP', () => undefined);
// Without the parent nobody needs the result, and another sweep may begin in the folder.
process.on('disconnect', () => process.exit(1));

function send(message: FromCell): void {
  process.send?.(message);
}

async function compute({ config, until, ...given }: Exclude<ToCell, 'stop'>): Promise<void> {
  const options = { ...given, patience: PATIENCE_MS, progress, signal: controller.signal };
  try {
    if (until === undefined) await runExperiment(config, options);
    else await trainUntil(config, until, options);
    end({ kind: 'done' });
  } catch (error) {
    if (error instanceof Interrupted) end({ kind: 'stopped' });
    else end({ kind: 'failed', error: messageOf(error), failure: kindOf(error) });
  }
}

function kindOf(error: unknown): 'experiment' | 'other' {
  if (process.env.BANG_DEBUG && !(error instanceof UserError)) console.error(error);
  return error instanceof ExperimentError ? 'experiment' : 'other';
}

/** Sends the last message, and ends the process after it has left. */
function end(message: FromCell): void {
  process.send?.(message, undefined, undefined, () => process.exit(0));
}

let tasks = 0;
let last = 0;

const progress: Progress = {
  start(label, total) {
    const task = ++tasks;
    const update = (done: number): void => {
      const now = performance.now();
      if (now - last < UPDATE_EVERY_MS) return;
      last = now;
      send({ kind: 'progress', label, task, done, total });
    };
    return { update, finish: () => undefined };
  },
  note(line) {
    send({ kind: 'note', line });
  },
};
