import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import { stringify } from 'yaml';
import { Interrupted, UserError } from '../base/errors.js';
import { FILES } from '../store/resultFolder.js';
import { isResult, type Result } from '../store/result.js';
import { writeFileAtomic } from '../base/files.js';
import type { SweepCell } from './summary.js';
import type { QueueAddress } from './address.js';
import { planFor, sweepFolder, type SweepFolder } from './sweepFolder.js';
import {
  cellQueue,
  drop,
  forget,
  handOut,
  jobsOf,
  removeCollected,
  removeFailed,
  withdraw,
  type CellQueue,
  type CellToDo,
  type QueuedJob,
} from './jobs.js';
import type { Cell, Keepable, Plan } from '../config/sweep.js';
import {
  claimEngine,
  closeAll,
  connect,
  contentStore,
  engineKey,
  refusalInWords,
  manifestSchema,
  QUEUE,
  type CarriedFile,
  type ContentStore,
} from './queue.js';
import {
  CANCELLED,
  carryOut,
  type Compute,
  type ComputeHooks,
  type SweepOptions,
} from './sweep.js';

/** Events report at once what has ended; polling finds what they miss. */
const LOOK_EVERY_MS = 15_000;
/** A server that restarts, or whose disk is full, refuses requests for a while. */
const PATIENCE_MS = 600_000;
/** Otherwise a server that loses results would make workers compute for ever. */
const MOST_DAMAGED = 3;
/** High, so that a cell is not given up because its worker is killed several times. */
export const MOST_STALLS = 100;

/**
 * Like `runSweep`, but workers on any machine compute the cells: this process puts them into the queue
 * and collects the results into the folder, each exactly once.
 *
 * @throws UserError or Interrupted like `runSweep`; UserError if the queue cannot be reached
 */
export async function runQueuedSweep(
  wanted: Plan,
  address: QueueAddress,
  options: SweepOptions,
): Promise<SweepCell[]> {
  const { force = false, progress } = options;
  const { plan, before, notes } = await planFor(options.out, wanted, force);
  if (plan.halving) {
    throw new UserError('halving compares cells on one machine: leave it out, or --queue');
  }
  if (plan.cells.some(({ config }) => config.training.snapshots !== undefined)) {
    throw new UserError(
      'training.snapshots: workers do not send them; drop it with --set training.snapshots=null, or leave out --queue',
    );
  }
  const folder = sweepFolder(options.out, plan);
  const client = await connect(address, progress);
  try {
    if (/^aof_enabled:0/m.test(await client.info('persistence'))) {
      progress.note(
        `${address.text} has no append-only file: results that are not collected before it ends are computed again`,
      );
    }
    const compute: Compute = async (cells, _, hooks) => {
      // The jobs of a sweep with other cells are others, and nobody would collect their results.
      if (before) await withdraw(before, address, progress);
      // If the folder already has results, the other cells must use the same engine.
      const engines = plan.cells.flatMap((cell) => {
        const found = folder.state(cell);
        return found.state === 'done' ? [found.result.provenance.engine] : [];
      });
      const { prefix } = address;
      const engine = engines.at(0);
      return collectAll(cells, { plan, folder, client, prefix, engine, hooks, options });
    };
    return await carryOut(plan, folder, compute, { ...options, force, notes });
  } catch (error) {
    throw refusalInWords(error, address.text);
  } finally {
    client.disconnect();
  }
}

/** The state of collecting a sweep. */
interface Collecting {
  queue: CellQueue;
  store: ContentStore;
  folder: SweepFolder;
  hooks: ComputeHooks;
  retries: number;
  /** Cells that have not ended, by the ids of their jobs. */
  open: Map<string, CellToDo>;
  /** Ids of jobs that a worker is known to have. */
  begun: Set<string>;
  /** How many unusable results have come back, by job id. */
  damaged: Map<string, number>;
}

interface Wanted {
  plan: Plan;
  folder: SweepFolder;
  client: Redis;
  prefix: string;
  /** The engine that all cells must use, if it is known. */
  engine: string | undefined;
  hooks: ComputeHooks;
  options: SweepOptions;
}

async function collectAll(cells: readonly Cell[], wanted: Wanted): Promise<void> {
  const { plan, folder, client, prefix, engine, hooks, options } = wanted;
  const { signal } = hooks;
  const jobs = await jobsOf(cells, plan, options);
  const { sweep } = jobs[0].data;
  if (engine !== undefined) await claimEngine(client, prefix, sweep, engine);
  const queue = cellQueue(client, prefix);
  const store = contentStore(client, prefix);
  const open = new Map(jobs.map((job) => [job.id, job]));
  const { retries } = options;
  const collecting: Collecting = {
    ...{ queue, store, folder, hooks, retries, open },
    begun: new Set(),
    damaged: new Map(),
  };
  const looking = lookInTurn(collecting);
  const events = eventsOf(collecting, client, prefix, looking.ask);
  try {
    await removeCollected(queue, store, plan, cells, options);
    for (const { id } of jobs) await removeFailed(queue, id);
    await handOut(queue, jobs, retries);
    let looked = -Infinity;
    while (open.size > 0) {
      if (signal.aborted) {
        if (signal.reason !== CANCELLED) {
          throw new Interrupted('stopped collecting; workers continue with the cells in the queue');
        }
        const left = await drop(queue, [...open.keys()]);
        // If nothing of the sweep is left, any engine may start it over.
        if (left === 0 && engine === undefined) await client.unlink(engineKey(prefix, sweep));
        throw new Interrupted(
          `stopped; ${left === 0 ? 'nothing of it is left in the queue' : `cells that workers have begun or finished (${left}) are kept for resuming`}`,
        );
      }
      looking.throwIfFailed();
      if (performance.now() - looked > LOOK_EVERY_MS) {
        looked = performance.now();
        for (const id of open.keys()) looking.ask(id);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await looking.done();
  } finally {
    // So that a poll in progress does not write to the folder, which another sweep may soon use.
    open.clear();
    await closeAll([queue, events]);
  }
}

/** Events of jobs: asks to look at each that begins or ends, and reports progress. */
function eventsOf(
  { open, hooks }: Collecting,
  client: Redis,
  prefix: string,
  ask: (id: string) => void,
): QueueEvents {
  const events = new QueueEvents(QUEUE, { connection: client, prefix });
  events.on('error', () => undefined);
  for (const name of ['active', 'completed', 'failed'] as const) {
    events.on(name, ({ jobId }: { jobId: string }) => {
      ask(jobId);
    });
  }
  events.on('progress', ({ jobId, data }) => {
    const wanted = open.get(jobId);
    if (wanted && typeof data === 'number') hooks.progress(wanted.cell, data);
  });
  return events;
}

/** Looks at jobs one at a time, since events and polling may ask for the same one. */
function lookInTurn(collecting: Collecting) {
  let failure: unknown;
  let refusedSince: number | undefined;
  let last = Promise.resolve();
  const waiting = new Set<string>();
  return {
    ask: (id: string): void => {
      // Looking at all jobs may take longer than the time between two polls.
      if (!collecting.open.has(id) || waiting.has(id)) return;
      waiting.add(id);
      last = last
        .then(async () => {
          waiting.delete(id);
          await look(id, collecting);
          refusedSince = undefined;
        })
        .catch((error: unknown) => {
          refusedSince ??= performance.now();
          const long = performance.now() - refusedSince > PATIENCE_MS;
          if (error instanceof UserError || long) failure ??= error;
        });
    },
    /** @throws an error that waiting cannot resolve */
    throwIfFailed: (): void => {
      if (failure !== undefined) throw failure as Error;
    },
    done: () => last,
  };
}

/** Handles a job according to its state, and its end only once. */
async function look(id: string, collecting: Collecting): Promise<void> {
  const { queue, store, open, begun, hooks, retries } = collecting;
  const wanted = open.get(id);
  if (!wanted) return;
  // The state is read first: the result of a job is stored before its state changes.
  const state = await queue.getJobState(id);
  const job = await queue.getJob(id);
  if (!open.has(id)) return;
  if (state === 'unknown') {
    // The server lost the job in a crash before it was written to disk.
    await handOut(queue, [wanted], retries);
  } else if (!job) {
    // Lost just now: the next look puts it into the queue again.
  } else if (state === 'completed') {
    await takeResult(job, wanted, collecting);
  } else if (state === 'failed') {
    open.delete(id);
    const { failedReason, attemptsMade } = job;
    const failure = failedReason.startsWith(EXPERIMENT) ? 'experiment' : 'other';
    const error = failedReason.replace(EXPERIMENT, '');
    hooks.ended(wanted.cell, { kind: 'failed', error, failure }, attemptsMade);
    await forget(job, store);
  } else if (state === 'active' && !begun.has(id)) {
    begun.add(id);
    hooks.begun(wanted.cell);
  }
}

/** Puts a result into the folder, or has the cell computed again if the result is unusable. */
async function takeResult(
  job: QueuedJob,
  wanted: CellToDo,
  { queue, store, folder, open, damaged, hooks, retries }: Collecting,
): Promise<void> {
  const { id, cell } = wanted;
  const files = await carried(job.returnvalue, wanted, store);
  if (!open.has(id)) return;
  if (files) {
    put(folder.cell(cell), cell, files);
    open.delete(id);
    hooks.ended(cell, { kind: 'done' }, job.attemptsMade);
  } else {
    const times = (damaged.get(id) ?? 0) + 1;
    damaged.set(id, times);
    hooks.note(cell, 'the result was damaged, lost or of another experiment');
    if (times > MOST_DAMAGED) {
      open.delete(id);
      const error = 'the results from workers were damaged, lost or of another experiment';
      hooks.ended(cell, { kind: 'failed', error, failure: 'other' }, times);
    }
  }
  await forget(job, store);
  if (open.has(id)) await handOut(queue, [wanted], retries);
}

/** The prefix in the queue of the error message of a failed experiment. */
export const EXPERIMENT = 'experiment: ';

/** The files of a cell; undefined if any is missing, damaged or of another cell. */
async function carried(
  manifest: unknown,
  { id, cell, data }: CellToDo,
  store: ContentStore,
): Promise<Map<CarriedFile, Buffer> | undefined> {
  const parsed = manifestSchema.safeParse(manifest);
  if (!parsed.success) return undefined;
  const files = new Map<CarriedFile, Buffer>();
  if (!parsed.data.files.result) return undefined;
  for (const [name, file] of Object.entries(parsed.data.files)) {
    const content = await store.get(id, file);
    if (!content) return undefined;
    files.set(name as CarriedFile, content);
  }
  try {
    const result: unknown = JSON.parse(files.get('result')!.toString('utf8'));
    const same =
      isResult(result) &&
      carriedFiles(result, data.keep).every((name) => files.has(name)) &&
      isDeepStrictEqual(result.config, JSON.parse(JSON.stringify(cell.config))) &&
      result.data.sha256 === data.data.sha256;
    return same ? files : undefined;
  } catch {
    return undefined;
  }
}

/** The files that come back from a worker: those that a local sweep has in a cell's folder. */
export function carriedFiles({ row }: Result, keep: readonly Keepable[]): CarriedFile[] {
  return [
    'result',
    'table',
    ...(row.robustness ? (['robustness'] as const) : []),
    ...(row.masking ? (['masking'] as const) : []),
    ...keep.map((name) => (name === 'per-image' ? 'perImage' : name)),
  ];
}

/** Writes the folder of a cell. The result is last: it means that the cell is complete. */
function put(folder: string, cell: Cell, files: ReadonlyMap<CarriedFile, Buffer>): void {
  writeFileAtomic(path.join(folder, FILES.identity), stringify(cell.config));
  for (const [name, content] of files) {
    if (name !== 'result') writeFileAtomic(path.join(folder, FILES[name]), content);
  }
  writeFileAtomic(path.join(folder, FILES.result), files.get('result')!);
}
