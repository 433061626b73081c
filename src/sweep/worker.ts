import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { setTimeout } from 'node:timers/promises';
import {
  DelayedError,
  ErrorCode,
  UnrecoverableError,
  WaitingError,
  Worker,
  type Job,
} from 'bullmq';
import { counted } from '../base/text.js';
import { sha256Of } from '../base/digest.js';
import { startEngine } from '../engine/engine.js';
import { Interrupted, UserError } from '../base/errors.js';
import { checkConfig } from '../config/parse.js';
import type { Config } from '../config/experiment.js';
import { FILES } from '../store/resultFolder.js';
import { makeWritable } from '../base/folders.js';
import { version } from '../base/version.js';
import { loadSource } from '../store/provenance.js';
import type { Result } from '../store/result.js';
import type { Progress } from '../base/progress.js';
import { carriedFiles, EXPERIMENT, MOST_STALLS } from './collector.js';
import { LOCK_FILE, takeLock } from '../store/lock.js';
import { runInProcess } from './pool.js';
import type { QueueAddress } from './address.js';
import {
  cellJobSchema,
  claimEngine,
  closeAll,
  connect,
  contentStore,
  QUEUE,
  type CarriedFile,
  type CellJob,
  type Manifest,
} from './queue.js';
import { sharing } from './sweep.js';

export interface WorkerOptions {
  /** The folder in which cells are computed; only data are read from elsewhere. */
  work: string;
  jobs?: number;
  threads?: number;
  dataDir?: string;
  /** Whether to also take cells of another version, or of sweeps with another engine. */
  allowMixed: boolean;
  /** Seconds without a cell after which the worker ends; undefined: never. */
  idle?: number;
  progress: Progress;
  signal: AbortSignal;
}

/**
 * Computes the cells of a queue until the signal aborts or the queue has been empty for a while. Each cell
 * is computed in a separate process, so that this one can keep renewing its locks. Unfinished cells are put
 * back into the queue at the end.
 *
 * @returns the number of cells computed
 * @throws UserError if the queue cannot be reached or has cells that this worker must not compute, or if
 *   another worker uses its folder
 */
export async function work(address: QueueAddress, options: WorkerOptions): Promise<number> {
  const { work: folder, progress } = options;
  const shares = sharing(Infinity, options);
  const client = await connect(address, progress);
  try {
    makeWritable(folder);
    const stopping = new AbortController();
    const lock = takeLock(path.join(folder, LOCK_FILE), 'worker', () => {
      progress.note(`${folder} was taken over by another worker; stopping`);
      stopping.abort();
    });
    try {
      return await workOff(address, client, shares, stopping, options);
    } finally {
      lock.release();
    }
  } finally {
    client.disconnect();
  }
}

async function workOff(
  address: QueueAddress,
  client: Context['client'],
  { processes, threads }: ReturnType<typeof sharing>,
  stopping: AbortController,
  options: WorkerOptions,
): Promise<number> {
  const { progress } = options;
  const signal = AbortSignal.any([options.signal, stopping.signal]);
  const { description } = await startEngine({ threads });
  const context: Context = {
    ...{ client, address, options, signal, threads },
    hashes: new Map(),
    running: new Map(),
  };
  const activity: Activity = { active: 0, empty: false, since: performance.now() };
  let done = 0;
  const worker = new Worker<CellJob, Manifest>(QUEUE, jobHandler(context, activity, stopping), {
    connection: client,
    prefix: address.prefix,
    concurrency: processes,
    // A killed worker is noticed within a minute.
    lockDuration: LOCK_MS,
    stalledInterval: LOCK_MS,
    maxStalledCount: MOST_STALLS,
  });
  worker.on('completed', ({ data }) => {
    done++;
    progress.note(`${nameOf(data)}: done`);
  });
  worker.on('active', () => {
    activity.empty = false;
  });
  worker.on('drained', () => {
    activity.empty = true;
    activity.since = performance.now();
  });
  // Errors of the connection are reported for `client`.
  let late = '';
  worker.on('error', (error) => {
    const { code, message } = error as { code?: ErrorCode; message: string };
    // The error comes twice for a cell: when it ends, and when that fails.
    if (code === undefined || !LOST.includes(code) || message === late) return;
    late = message;
    progress.note(
      'a cell ended too late to count: it was considered lost and given to another worker',
    );
  });
  signal.addEventListener('abort', () => {
    worker.pause(true).catch(() => undefined);
  });
  progress.note(
    `waiting for cells from ${address.text}: ${processes} at once with ${counted(threads, 'thread')} each, ${description}`,
  );
  try {
    while (!signal.aborted) {
      await setTimeout(100);
      // A server that is away has no cells either.
      const { active, empty, since } = activity;
      const nothing = active === 0 && (empty || client.status !== 'ready');
      const idle = nothing ? (performance.now() - since) / 1000 : 0;
      if (options.idle !== undefined && idle > options.idle) break;
    }
    stopping.abort();
    // Cells save what they have, and go back into the queue.
    const begun = performance.now();
    while (activity.active > 0 && performance.now() - begun < SAVE_MS) {
      await setTimeout(50);
    }
  } finally {
    await closeAll([worker]);
  }
  if (activity.refusal) throw activity.refusal;
  return done;
}

/** What a worker is doing. */
interface Activity {
  /** How many cells it computes. */
  active: number;
  /** Whether the queue is: the next cell may be on its way for long on a busy machine, so only the server knows. */
  empty: boolean;
  /** When that was, or when the last cell ended: a time of `performance.now()`. */
  since: number;
  /** Why the worker ends, if it must not compute a cell. */
  refusal?: UserError;
}

/** Computes the cells of jobs; those that it leaves to others go back into the queue. */
function jobHandler(context: Context, activity: Activity, stopping: AbortController) {
  const lacking = new Set<string>();
  return async (job: Job<CellJob, Manifest>, token?: string): Promise<Manifest> => {
    activity.active++;
    try {
      return await computeJob(job, context);
    } catch (error) {
      if (error instanceof NoEngine) {
        const { engine } = job.data.config as Config;
        if (!lacking.has(engine)) {
          const what = `cells for the engine ${engine} are left to other workers`;
          context.options.progress.note(`${what}: ${error.message}`);
        }
        lacking.add(engine);
        // Otherwise this worker would get it again at once.
        await job.moveToDelayed(Date.now() + OTHERS_MS, token);
        throw new DelayedError();
      }
      if (error instanceof UserError) activity.refusal ??= error;
      if (!(error instanceof UserError) && !(error instanceof Interrupted)) throw error;
      stopping.abort();
      // The next worker can take the cell at once.
      await job.moveToWait(token);
      throw new WaitingError();
    } finally {
      activity.active--;
      activity.since = performance.now();
    }
  };
}

/** Errors if another worker has the job of a cell, or had it and its result was collected. */
const LOST = [ErrorCode.JobNotExist, ErrorCode.JobLockNotExist, ErrorCode.JobLockMismatch];

const LOCK_MS = 15_000;
/** How long a cell that this worker cannot compute is left to others. */
const OTHERS_MS = 20_000;
/** A configuration has some thousand characters, which come back in the result. */
const MOST_CHARACTERS = 1e6;
const SAVE_MS = 60_000;

interface Context {
  client: Awaited<ReturnType<typeof connect>>;
  address: QueueAddress;
  options: WorkerOptions;
  signal: AbortSignal;
  threads: number;
  /** The hashes of the local data by name. */
  hashes: Map<string, Promise<string>>;
  /** The cells that are being computed, by folder. */
  running: Map<string, Promise<CellFiles>>;
}

type CellFiles = Map<CarriedFile, Buffer>;

async function computeJob(job: Job<CellJob, Manifest>, context: Context): Promise<Manifest> {
  const { client, address, options, signal, running } = context;
  const { progress } = options;
  const data = cellIn(job.data);
  refuseOtherVersion(data, options);
  const config = checkedConfig(data);
  await refuseMixed(data, config, context);
  // The folder's name is a hash, so that a job cannot choose a path.
  const hash = sha256Of(JSON.stringify(data));
  const out = path.join(options.work, `cell-${hash.slice(0, 24)}`);
  // After a network failure, a worker may get a cell that it is already computing.
  const again = running.get(out);
  const files = again ?? computeFiles(job, { data, config, out }, context);
  running.set(out, files);
  try {
    const store = contentStore(client, address.prefix);
    const manifest: Manifest = { files: {} };
    for (const [name, content] of await files) {
      manifest.files[name] = await store.put(job.id!, content, { progress, signal });
    }
    if (!again) rmSync(out, { recursive: true, force: true });
    return manifest;
  } finally {
    if (!again) running.delete(out);
  }
}

async function computeFiles(
  job: Job<CellJob, Manifest>,
  { data, config, out }: { data: CellJob; config: Config; out: string },
  { options, signal, threads }: Context,
): Promise<CellFiles> {
  const { dataDir, progress } = options;
  progress.note(`${config.name}: begun`);
  const report = throttled((fraction) => job.updateProgress(fraction));
  const end = await runInProcess(
    { config, out, threads, dataDir },
    {
      signal,
      progress: report,
      note: (line) => {
        progress.note(`${config.name}: ${line}`);
      },
    },
  );
  if (end.kind === 'stopped') throw new Interrupted('stopped after saving');
  if (end.kind === 'failed') {
    progress.note(`${config.name}: failed: ${end.error}`);
    // The same seed would fail again.
    if (end.failure === 'experiment') throw new UnrecoverableError(EXPERIMENT + end.error);
    throw new Error(end.error);
  }
  const result: unknown = JSON.parse(readFileSync(path.join(out, FILES.result), 'utf8'));
  const files = carriedFiles(result as Result, data.keep).map((name) => {
    return [name, readFileSync(path.join(out, FILES[name]))] as const;
  });
  return new Map(files);
}

function nameOf({ config }: CellJob): string {
  return (config as Config).name;
}

/** @throws UnrecoverableError if what is in the queue, where anyone may have put it, is not a job for a worker */
export function cellIn(value: unknown): CellJob {
  const parsed = cellJobSchema.safeParse(value);
  if (!parsed.success) throw new UnrecoverableError('the job is not a cell of a sweep');
  if (JSON.stringify(parsed.data).length > MOST_CHARACTERS)
    throw new UnrecoverableError('the job is too large for a cell');
  return parsed.data;
}

/** @throws UnrecoverableError if a job's configuration is not as this version would write it */
export function checkedConfig({ config, data }: CellJob): Config {
  const checked = checkConfig(config);
  const plain = 'config' in checked ? (JSON.parse(JSON.stringify(checked.config)) as unknown) : {};
  if (!('config' in checked) || !isDeepStrictEqual(plain, config)) {
    throw new UnrecoverableError('the configuration of the cell is not valid here');
  }
  if (checked.config.data !== data.name) {
    throw new UnrecoverableError('the job names other data than its configuration');
  }
  // Snapshots would fill the disk and are not sent back.
  if (checked.config.training.snapshots !== undefined) {
    throw new UnrecoverableError('the cell asks for training.snapshots, which workers do not make');
  }
  // Whoever fills the queue must not have files of this machine read.
  if (checked.config.training.from !== undefined) {
    throw new UnrecoverableError('the cell asks for training.from, which workers do not read');
  }
  return checked.config;
}

const ALLOW = '--allow-mixed computes them anyway';

function refuseOtherVersion({ bang }: CellJob, { allowMixed }: WorkerOptions): void {
  if (bang === version() || allowMixed) return;
  throw new UserError(
    `the queue holds cells of bang ${bang}, but this is ${version()}: ${ALLOW}, bang sweep cancel FOLDER --queue removes them`,
  );
}

/**
 * Refuses cells with other data, or of a sweep with another engine, which would give other numbers.
 *
 * @throws UserError with the difference
 */
async function refuseMixed(
  { sweep, data }: CellJob,
  config: Config,
  { client, address, options, threads, hashes, signal }: Context,
): Promise<void> {
  const { dataDir, progress, allowMixed } = options;
  const hash =
    hashes.get(data.name) ??
    loadSource(data.name, { dataDir, progress, signal }).then(({ sha256 }) => sha256);
  hashes.set(data.name, hash);
  // What failed once may succeed for the next cell.
  hash.catch(() => hashes.delete(data.name));
  if ((await hash) !== data.sha256) {
    throw new UserError(`the data ${data.name} differ from those of the sweep: see --data-dir`);
  }
  // Last, so that a worker that cannot compute the sweep does not claim its engine.
  const { description: here } = await engineOf(config, threads);
  const claimed = await claimEngine(client, address.prefix, sweep, here);
  if (claimed !== here && !allowMixed) {
    throw new UserError(
      `cells of a sweep in the queue are computed by ${claimed}, but this is ${here}: ${ALLOW}`,
    );
  }
}

/** This worker lacks the engine that a cell asks for by name; another may have it. */
class NoEngine extends Error {}

async function engineOf({ engine }: Config, threads: number) {
  try {
    return await startEngine({ engine, threads });
  } catch (error) {
    if (error instanceof UserError && engine !== 'auto') throw new NoEngine(error.message);
    throw error;
  }
}

const PROGRESS_MS = 10_000;

/** Sends progress at most every ten seconds, and ignores failures. */
function throttled(send: (fraction: number) => Promise<void>): (fraction: number) => void {
  let last = -Infinity;
  return (fraction) => {
    const now = performance.now();
    if (now - last < PROGRESS_MS) return;
    last = now;
    send(fraction).catch(() => undefined);
  };
}
