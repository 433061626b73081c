import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { stringify } from 'yaml';
import { Interrupted, UserError } from '../base/errors.js';
import { FILES } from '../store/resultFolder.js';
import { digestOfTensors } from '../store/provenance.js';
import { isResult, type Result } from '../store/result.js';
import { decodeSafetensors } from '../model/files/safetensors.js';
import type { NamedArray } from '../model/tensors.js';
import { writeFileAtomic } from '../base/files.js';
import type { SweepCell } from './summary.js';
import type { QueueAddress } from './address.js';
import { planFor, sweepFolder, type SweepFolder } from './sweepFolder.js';
import {
  drop,
  forget,
  handOut,
  jobsOf,
  openQueue,
  readJob,
  removeCollected,
  removeDamaged,
  removeFailed,
  withdraw,
  type CellToDo,
  type OpenQueue,
  type QueuedJob,
} from './jobs.js';
import type { Cell, Keepable, Plan } from '../config/sweep.js';
import {
  claimEngine,
  closeAll,
  connect,
  engineKey,
  refusalInWords,
  manifestSchema,
  QUEUE,
  type CarriedFile,
  type ContentStore,
} from './queue.js';
import type { ComputeHooks } from './pool.js';
import {
  CANCELLED,
  carryOut,
  refuseUnqueueable,
  type Compute,
  type SweepOptions,
} from './sweep.js';

/** Events report at once what has ended; polling finds what they miss. */
const LOOK_EVERY_MS = 15_000;
/** A server that restarts, or whose disk is full, refuses requests for a while. */
const PATIENCE_MS = 600_000;
/** Otherwise a server that loses results would make workers compute for ever. */
const MOST_DAMAGED = 3;
const DAMAGED = 'the result was damaged, lost, too large or of another experiment';
/** In characters; a worker may send anything as the reason of a failure. */
const MOST_REASON = 2000;
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
  refuseUnqueueable(plan);
  const folder = sweepFolder(options.out, plan);
  const client = await connect(address, progress);
  try {
    if (/^aof_enabled:0/m.test(await client.info('persistence'))) {
      progress.note(
        `${address.text} has no append-only file: results that are not collected before it ends are computed again`,
      );
    }
    const compute: Compute = async (cells, _, hooks) => {
      // The jobs of the sweep before may be others, and nobody would collect their results.
      if (before) await withdraw(before, address, progress);
      // If the folder already has results, the other cells must use the same engine.
      const engines = plan.cells.flatMap((cell) => {
        const found = folder.state(cell);
        return found.state === 'done' ? (found.result.provenance?.engine ?? []) : [];
      });
      const { prefix } = address;
      const engine = engines.at(0);
      return collectAll(cells, { plan, folder, client, prefix, engine, hooks, options });
    };
    return await carryOut(plan, folder, compute, notes, options);
  } catch (error) {
    throw refusalInWords(error, address.text);
  } finally {
    client.disconnect();
  }
}

/** The state of collecting a sweep. */
interface Collecting extends OpenQueue {
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
  const all = await jobsOf(plan, options);
  const jobs = all.filter(({ cell }) => cells.includes(cell));
  const { sweep } = jobs[0].data;
  if (engine !== undefined) await claimEngine(client, prefix, sweep, engine);
  const opened = openQueue(client, prefix);
  const open = new Map(jobs.map((job) => [job.id, job]));
  const { retries } = options;
  const collecting: Collecting = {
    ...opened,
    ...{ folder, hooks, retries, open },
    begun: new Set(),
    damaged: new Map(),
  };
  const looking = lookInTurn(collecting);
  const unfollow = followEvents(collecting, looking.ask);
  try {
    await removeCollected(
      opened,
      all.filter((job) => !jobs.includes(job)),
    );
    for (const { id, cell } of jobs) {
      if (await removeFailed(opened, id)) hooks.note(cell, DAMAGED);
    }
    await handOut(opened, jobs, retries);
    let looked = -Infinity;
    while (open.size > 0) {
      if (signal.aborted) {
        if (signal.reason !== CANCELLED) {
          throw new Interrupted('stopped collecting; workers continue with the cells in the queue');
        }
        const left = await drop(opened, [...open.keys()]);
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
      await pause(100);
    }
    await looking.done();
  } finally {
    // So that a poll in progress does not write to the folder, which another sweep may soon use.
    open.clear();
    unfollow();
    await closeAll([opened.queue]);
  }
}

/**
 * Follows the queue's events: asks to look at each job that begins or ends, and reports progress. They repeat
 * results, which may be anything, so only short values are read.
 */
function followEvents({ open, hooks, client, prefix }: Collecting, ask: (id: string) => void) {
  // Waiting for events would hold up all other requests.
  const waiting = client.duplicate();
  waiting.on('error', () => undefined);
  const key = `${prefix}:${QUEUE}:events`;
  let following = true;
  const handle = (fields: readonly Buffer[]): void => {
    const value = (name: string): string => {
      const at = fields.findIndex((field, i) => i % 2 === 0 && field.toString('latin1') === name);
      const found = at < 0 ? undefined : fields[at + 1];
      return found && found.length <= 200 ? found.toString('utf8') : '';
    };
    const id = value('jobId');
    const event = value('event');
    if (['active', 'completed', 'failed'].includes(event)) ask(id);
    const wanted = open.get(id);
    const fraction = event === 'progress' ? Number(value('data')) : NaN;
    if (wanted && fraction >= 0 && fraction <= 1) hooks.progress(wanted.cell, fraction);
  };
  const follow = async (): Promise<void> => {
    for (let last = '$'; following;) {
      try {
        const found = await waiting.xreadBuffer('BLOCK', 10_000, 'STREAMS', key, last);
        for (const [id, fields] of found?.[0][1] ?? []) {
          last = id.toString('latin1');
          handle(fields);
        }
      } catch {
        // Polling finds what is missed meanwhile.
        await new Promise((resolve) => setTimeout(resolve, following ? 1000 : 0));
      }
    }
  };
  void follow();
  return (): void => {
    following = false;
    waiting.disconnect();
  };
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
  const { queue, open, begun, hooks, retries } = collecting;
  const wanted = open.get(id);
  if (!wanted) return;
  // The state is read first: the result of a job is stored before its state changes.
  const state = await queue.getJobState(id);
  const job = await readJob(collecting, id);
  if (!open.has(id)) return;
  if (job === 'damaged') {
    await tryAgain(wanted, collecting, () => removeDamaged(collecting, id));
  } else if (state === 'unknown') {
    // The server lost the job in a crash before it was written to disk.
    await handOut(collecting, [wanted], retries);
  } else if (!job) {
    // Lost just now: the next look puts it into the queue again.
  } else if (state === 'completed') {
    await takeResult(job, wanted, collecting);
  } else if (state === 'failed') {
    open.delete(id);
    const reason = (job.failedReason as string | undefined) ?? 'its worker gave no reason';
    const failure = reason.startsWith(EXPERIMENT) ? 'experiment' : 'other';
    const error = reason.replace(EXPERIMENT, '').slice(0, MOST_REASON);
    hooks.ended(wanted.cell, { kind: 'failed', error, failure }, job.attemptsMade);
    await forget(job, collecting);
  } else if (state === 'active' && !begun.has(id)) {
    begun.add(id);
    hooks.begun(wanted.cell);
  }
}

/** Puts a result into the folder, or has the cell computed again if the result is unusable. */
async function takeResult(job: QueuedJob, wanted: CellToDo, collecting: Collecting): Promise<void> {
  const { store, folder, open, hooks } = collecting;
  const { id, cell } = wanted;
  const files = await carried(job.returnvalue, wanted, store);
  if (!open.has(id)) return;
  if (!files) {
    await tryAgain(wanted, collecting, () => forget(job, collecting));
    return;
  }
  put(folder.cell(cell), cell, files);
  open.delete(id);
  hooks.ended(cell, { kind: 'done' }, job.attemptsMade);
  await forget(job, collecting);
}

/** Removes what is unusable, and has the cell computed again, or fails it if that happened too often. */
async function tryAgain(
  wanted: CellToDo,
  collecting: Collecting,
  removeJob: () => Promise<void>,
): Promise<void> {
  const { open, damaged, hooks, retries } = collecting;
  const { id, cell } = wanted;
  const times = (damaged.get(id) ?? 0) + 1;
  damaged.set(id, times);
  hooks.note(cell, DAMAGED);
  if (times > MOST_DAMAGED) {
    open.delete(id);
    const error = 'the results from workers were damaged, lost, too large or of another experiment';
    hooks.ended(cell, { kind: 'failed', error, failure: 'other' }, times);
  }
  await removeJob();
  if (open.has(id)) await handOut(collecting, [wanted], retries);
}

/** The prefix in the queue of the error message of a failed experiment. */
export const EXPERIMENT = 'experiment: ';

/** The files of a cell; undefined if any is missing, damaged or of another cell. */
export async function carried(
  manifest: unknown,
  { id, cell, data }: CellToDo,
  store: Pick<ContentStore, 'get'>,
): Promise<Map<CarriedFile, Buffer> | undefined> {
  const parsed = manifestSchema.safeParse(manifest);
  if (!parsed.success) return undefined;
  const files = new Map<CarriedFile, Buffer>();
  if (!parsed.data.files.result) return undefined;
  for (const [name, file] of Object.entries(parsed.data.files)) {
    if (name === 'training' && file.bytes > mostBytesOfLog(cell)) return undefined;
    const content = await store.get(id, file);
    if (!content) return undefined;
    files.set(name as CarriedFile, content);
  }
  try {
    const result: unknown = JSON.parse(files.get('result')!.toString('utf8'));
    const same =
      isResult(result) &&
      carriedFiles(result, data.keep).every((name) => files.has(name)) &&
      result.name === cell.id &&
      isDeepStrictEqual(result.config, JSON.parse(JSON.stringify(cell.config))) &&
      result.data.sha256 === data.data.sha256 &&
      hasWeights(result, files.get('weights'));
    return same ? files : undefined;
  } catch {
    return undefined;
  }
}

/** A line of the log has some numbers for each layer. */
function mostBytesOfLog({ config: { training } }: Cell): number {
  return 1e5 + (5e3 * training.iterations) / training.logEvery;
}

/** Whether weights, if they are kept, are those that a result is of. */
function hasWeights({ weights }: Result, bytes: Buffer | undefined): boolean {
  if (bytes === undefined) return true;
  const tensors = new Map<string, NamedArray>();
  for (const [name, { shape, data }] of decodeSafetensors(bytes, FILES.weights).tensors) {
    if (!(data instanceof Float32Array)) return false;
    tensors.set(name, { shape, data });
  }
  return digestOfTensors({ tensors }) === weights;
}

/** The files that come back from a worker: those that a local sweep has in a cell's folder. */
export function carriedFiles({ row }: Result, keep: readonly Keepable[]): CarriedFile[] {
  return [
    'result',
    'table',
    ...(row.robustness ? (['robustness'] as const) : []),
    ...(row.masking ? (['masking'] as const) : []),
    ...(row.atBudgets ? (['budgets'] as const) : []),
    ...(row.noise ? (['noise'] as const) : []),
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
