import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Interrupted } from '../base/errors.js';
import type { Config } from '../config/experiment.js';
import type { Cell } from '../config/sweep.js';

/** The work of one process: an experiment and its folder. */
export interface Job {
  config: Config;
  /** The result folder. */
  out: string;
  threads: number;
  dataDir?: string;
  /** The iteration at which to stop training with a checkpoint; undefined: the whole experiment. */
  until?: number;
}

export type ToCell = Job | 'stop';

export type FromCell =
  | { kind: 'progress'; label: string; task: number; done: number; total: number }
  | { kind: 'note'; line: string }
  | Ended;

/** How a job ended; `stopped`: on request, after saving. */
export type Ended =
  | { kind: 'done' }
  | { kind: 'stopped' }
  | { kind: 'failed'; error: string; failure: 'experiment' | 'other' };

export interface JobHooks {
  /** @param fraction roughly the share of the job that is done, from 0 to 1 */
  progress: (fraction: number) => void;
  note: (line: string) => void;
  signal: AbortSignal;
}

const MODULE = fileURLToPath(new URL('./cellProcess.js', import.meta.url));

/**
 * Computes a job in a separate process, so that a crash affects nothing else and its memory is freed.
 * Never throws: whatever happens to the process is returned.
 */
export async function runInProcess(job: Job, hooks: JobHooks): Promise<Ended> {
  const { signal } = hooks;
  if (signal.aborted) return { kind: 'stopped' };
  // The process gets neither this one's Node options, such as an inspector's port, nor its secrets.
  const env = { ...process.env, BANG_QUEUE: undefined, BANG_QUEUE_PASSWORD: undefined };
  const child = fork(MODULE, [], { execArgv: [], env, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  const stop = (): void => {
    tell(child, 'stop');
  };
  signal.addEventListener('abort', stop);
  try {
    return await new Promise<Ended>((resolve) => {
      let ended: Ended | undefined;
      let complaints = '';
      child.stderr!.setEncoding('utf8').on('data', (text: string) => {
        complaints = (complaints + text).slice(-2000);
      });
      child.on('message', (message: FromCell) => {
        if (message.kind === 'progress') hooks.progress(fractionOf(message));
        else if (message.kind === 'note') hooks.note(message.line);
        else ended = message;
      });
      child.on('error', (error) => {
        resolve({ kind: 'failed', error: error.message, failure: 'other' });
      });
      child.on('close', (code, killer) => {
        resolve(
          ended ?? { kind: 'failed', error: crashText(code, killer, complaints), failure: 'other' },
        );
      });
      tell(child, job);
    });
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** Sends a message, unless the process has just ended. */
function tell(child: ChildProcess, message: ToCell): void {
  if (child.connected) child.send(message, () => undefined);
}

function crashText(code: number | null, killer: NodeJS.Signals | null, complaints: string): string {
  const how = killer === null ? `ended with code ${code}` : `was killed by ${killer}`;
  const memory = killer === 'SIGKILL' || killer === 'SIGABRT' ? ' (too little memory?)' : '';
  const [last] = complaints
    .trim()
    .split('\n')
    .filter((line) => /\w/.test(line))
    .slice(-1);
  return `its process ${how}${memory}${complaints.trim() === '' ? '' : `: ${last}`}`;
}

/** The share of training in a cell's time, roughly: 0.78 on LeNet, 0.85 on CIFAR-10 quick. */
const TRAINING = 0.8;
/** Tasks after training: predictions, three attacks, PASS of two of them. */
const TASKS_AFTER = 6;

function fractionOf({ label, task, done, total }: FromCell & { kind: 'progress' }): number {
  const part = total === 0 ? 1 : done / total;
  if (label === 'training') return TRAINING * part;
  const behind = Math.min(1, (Math.max(0, task - 2) + part) / TASKS_AFTER);
  return TRAINING + (1 - TRAINING) * behind;
}

export interface ComputeHooks {
  begun: (cell: Cell) => void;
  progress: (cell: Cell, fraction: number) => void;
  note: (cell: Cell, line: string) => void;
  /** Called once for each cell that was not stopped; `attempts` counts from 1. */
  ended: (cell: Cell, end: Exclude<Ended, { kind: 'stopped' }>, attempts: number) => void;
  signal: AbortSignal;
}

/**
 * Computes cells in separate processes, several at once. A failed cell is tried again up to `retries`
 * times, unless the experiment failed, which it would do every time.
 *
 * @throws Interrupted if the signal aborts, after all running cells have saved; errors of hooks
 */
export async function runPool(
  cells: readonly Cell[],
  jobOf: (cell: Cell) => Job,
  { processes, retries }: { processes: number; retries: number },
  hooks: ComputeHooks,
): Promise<void> {
  const waiting = [...cells];
  // If results cannot be written, the other processes stop too.
  const broken = new AbortController();
  const signal = AbortSignal.any([broken.signal, hooks.signal]);
  const work = async (): Promise<void> => {
    for (let cell = waiting.shift(); cell !== undefined; cell = waiting.shift()) {
      const current = cell;
      hooks.begun(current);
      for (let attempt = 1; ; attempt++) {
        const end = await runInProcess(jobOf(current), {
          progress: (fraction) => {
            hooks.progress(current, fraction);
          },
          note: (line) => {
            hooks.note(current, line);
          },
          signal,
        });
        if (end.kind === 'stopped' || signal.aborted) {
          // The job may have finished before the stop reached it.
          if (end.kind === 'done') hooks.ended(current, end, attempt);
          return;
        }
        const again = end.kind === 'failed' && end.failure === 'other' && attempt <= retries;
        if (again) hooks.note(current, `failed (${end.error}); trying again`);
        if (again) continue;
        hooks.ended(current, end, attempt);
        break;
      }
    }
  };
  const guarded = async (): Promise<void> => {
    try {
      await work();
    } catch (error) {
      broken.abort();
      throw error;
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: processes }, guarded));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  if (hooks.signal.aborted) throw new Interrupted('stopped');
}
