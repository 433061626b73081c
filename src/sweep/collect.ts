import { createHash } from 'node:crypto';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Queue, QueueEvents, type Job } from 'bullmq';
import { Interrupted, UserError } from '../errors.js';
import { FILES } from '../experiment/folder.js';
import { isResult, type Result } from '../experiment/result.js';
import { loadSource, version } from '../experiment/provenance.js';
import { writeFileAtomic } from '../files.js';
import { stringify } from 'yaml';
import { sweepFolder, refuseOtherSweep, type Keepable } from './folder.js';
import type { Config } from '../experiment/config.js';
import type { Progress } from '../progress.js';
import type { Cell, Plan } from './plan.js';
import type { QueueAddress } from './address.js';
import {
  claimEngine,
  connect,
  contentStore,
  closeAll,
  engineKey,
  inWords,
  manifestSchema,
  QUEUE,
  KEPT_SECONDS,
  type CarriedFile,
  type CellJob,
  type ContentStore,
  type Manifest,
} from './queue.js';
import {
  CANCELLED,
  carryOut,
  type Compute,
  type ComputeHooks,
  type SweepOptions,
} from './sweep.js';
import type { SweepCell } from '../report/sweep.js';

/** Events say at once what has ended; what they miss is found by looking, every so often. */
const LOOK_EVERY_MS = 15_000;
/** A server that starts again, or whose disk is full, refuses for a while. */
const PATIENCE_MS = 600_000;
/** A server that loses what it is given would make workers compute for ever. */
const MOST_DAMAGED = 3;
/** A worker that is killed again and again is no reason to give a cell up. */
export const MOST_STALLS = 100;

/**
 * The same as `runSweep`, but that workers compute the cells, wherever they are: this process hands
 * them out, collects what comes back into the folder, and sees that each is there exactly once.
 *
 * @throws UserError, Interrupted as `runSweep` does; UserError if the queue cannot be reached
 */
export async function runQueuedSweep(
  plan: Plan,
  address: QueueAddress,
  options: SweepOptions,
): Promise<SweepCell[]> {
  const { force = false, progress } = options;
  if (plan.halving) {
    throw new UserError('halving compares cells on one machine: leave it out, or --queue');
  }
  if (plan.cells.some(({ config }) => config.training.snapshots !== undefined)) {
    throw new UserError(
      'training.snapshots: workers do not send them; drop it with --set training.snapshots=null, or leave out --queue',
    );
  }
  if (!force) await refuseOtherSweep(options.out, plan);
  const folder = sweepFolder(options.out, plan);
  const client = await connect(address, progress);
  try {
    if (/^aof_enabled:0/m.test(await client.info('persistence'))) {
      progress.note(
        `${address.text} has no append-only file: what is not collected when it ends is computed again`,
      );
    }
    const compute: Compute = (cells, _, hooks) => {
      // One machine's results may be in the folder already: the others shall be of its engine.
      const engines = plan.cells.flatMap((cell) => {
        const found = folder.state(cell);
        return found.state === 'done' ? [found.result.provenance.engine] : [];
      });
      return collectAll(cells, { plan, client, address, engine: engines.at(0), hooks, options });
    };
    return await carryOut(plan, folder, compute, { ...options, force });
  } catch (error) {
    throw inWords(error, address.text);
  } finally {
    client.disconnect();
  }
}

interface Collecting {
  plan: Plan;
  client: Awaited<ReturnType<typeof connect>>;
  address: QueueAddress;
  engine: string | undefined;
  hooks: ComputeHooks;
  options: SweepOptions;
}

async function collectAll(cells: readonly Cell[], collecting: Collecting): Promise<void> {
  const { plan, client, address, engine, hooks, options } = collecting;
  const { prefix } = address;
  const { signal } = hooks;
  const folder = sweepFolder(options.out, plan);
  const jobs = await jobsOf(cells, plan, options);
  if (engine !== undefined) await claimEngine(client, prefix, jobs[0].data.sweep, engine);
  const store = contentStore(client, prefix);
  const queue = new Queue<CellJob, Manifest, 'cell'>(QUEUE, { connection: client, prefix });
  const events = new QueueEvents(QUEUE, { connection: client, prefix });
  // What there is to say of the connection is said of `client`.
  queue.on('error', () => undefined);
  events.on('error', () => undefined);

  const open = new Map(jobs.map((job) => [job.id, job]));
  const begun = new Set<string>();
  const damaged = new Map<string, number>();
  const add = async (some: readonly CellToDo[]): Promise<void> => {
    await queue.addBulk(
      some.map(({ id, data }) => ({
        name: 'cell' as const,
        data,
        opts: {
          jobId: id,
          attempts: 1 + options.retries,
          removeOnComplete: { age: KEPT_SECONDS },
          removeOnFail: { age: KEPT_SECONDS },
        },
      })),
    );
  };
  /** Takes what a job has left, once. */
  const look = async (id: string): Promise<void> => {
    const wanted = open.get(id);
    if (!wanted) return;
    const job = (await queue.getJob(id)) as Job<CellJob, Manifest> | undefined;
    const state = await job?.getState();
    if (!open.has(id)) return;
    if (!job || state === 'unknown') {
      // The server lost it in a crash before it was on its disk.
      await add([wanted]);
    } else if (state === 'completed') {
      const files = await carried(job.returnvalue, wanted, store);
      if (!open.has(id)) return;
      if (files) {
        put(folder.cell(wanted.cell), wanted.cell, files);
        open.delete(id);
        hooks.ended(wanted.cell, { kind: 'done' }, job.attemptsMade);
      } else {
        const times = (damaged.get(id) ?? 0) + 1;
        damaged.set(id, times);
        hooks.note(wanted.cell, 'what came back was damaged, lost or of another experiment');
        if (times > MOST_DAMAGED) {
          open.delete(id);
          const error = 'what workers sent back was damaged, lost or of another experiment';
          hooks.ended(wanted.cell, { kind: 'failed', error, failure: 'other' }, times);
        }
      }
      await forget(job, store);
      if (open.has(id)) await add([wanted]);
    } else if (state === 'failed') {
      const error = job.failedReason;
      if (!open.delete(id)) return;
      const failure = error.startsWith(EXPERIMENT) ? 'experiment' : 'other';
      hooks.ended(
        wanted.cell,
        { kind: 'failed', error: error.replace(EXPERIMENT, ''), failure },
        job.attemptsMade,
      );
      await forget(job, store);
    } else if (state === 'active' && !begun.has(id)) {
      begun.add(id);
      hooks.begun(wanted.cell);
    }
  };
  let failure: unknown;
  let refusedSince: number | undefined;
  // One after the other: a job's end is told by an event and found by looking, too.
  let last = Promise.resolve();
  const soon = (id: string): void => {
    if (!open.has(id)) return;
    last = last
      .then(async () => {
        await look(id);
        refusedSince = undefined;
      })
      .catch((error: unknown) => {
        refusedSince ??= performance.now();
        const long = performance.now() - refusedSince > PATIENCE_MS;
        if (error instanceof UserError || long) failure ??= error;
      });
  };
  events.on('active', ({ jobId }) => {
    soon(jobId);
  });
  events.on('completed', ({ jobId }) => {
    soon(jobId);
  });
  events.on('failed', ({ jobId }) => {
    soon(jobId);
  });
  events.on('progress', ({ jobId, data }) => {
    const wanted = open.get(jobId);
    if (wanted && typeof data === 'number') hooks.progress(wanted.cell, data);
  });
  try {
    await removeCollected(queue, store, plan, cells, options);
    for (const { id } of jobs) await removeFailed(queue, id);
    await add(jobs);
    let looked = -Infinity;
    while (open.size > 0) {
      if (signal.aborted) {
        if (signal.reason !== CANCELLED) {
          throw new Interrupted('stopped collecting; workers go on with what is in the queue');
        }
        const left = await drop(queue, [...open.keys()]);
        // Where nothing is left of a sweep, any engine may begin it anew.
        if (left === 0 && engine === undefined) {
          await client.unlink(engineKey(prefix, jobs[0].data.sweep));
        }
        throw new Interrupted(
          `stopped; ${left === 0 ? 'nothing of it is left in the queue' : `what workers have begun or finished (cells: ${left}) is kept for whoever goes on`}`,
        );
      }
      if (failure !== undefined) throw failure as Error;
      if (performance.now() - looked > LOOK_EVERY_MS) {
        looked = performance.now();
        for (const id of open.keys()) soon(id);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await last;
  } finally {
    // A look that has begun puts nothing into the folder any more: it may soon be another's.
    open.clear();
    await closeAll([queue, events]);
  }
}

/** How the message of an experiment that failed begins on its way through the queue. */
export const EXPERIMENT = 'experiment: ';

interface CellToDo {
  id: string;
  cell: Cell;
  data: CellJob;
}

async function jobsOf(
  cells: readonly Cell[],
  plan: Plan,
  { dataDir, progress, signal, keep }: SweepOptions,
): Promise<CellToDo[]> {
  const data = new Map<string, string>();
  for (const { config } of plan.cells) {
    if (data.has(config.data)) continue;
    const { sha256 } = await loadSource(config.data, { dataDir, progress, signal });
    data.set(config.data, sha256);
  }
  const hashes = [...data].sort();
  const bang = version();
  // What is kept is part of it: a job of another wish would bring other files.
  const configs = plan.cells.map(({ config }) => config);
  const sweep = sha256Of([bang, hashes, configs, [...keep].sort()]);
  return cells.map((cell) => ({
    id: jobIdOf(sweep, cell.config),
    cell,
    data: {
      format: 1,
      sweep,
      config: cell.config,
      data: { name: cell.config.data, sha256: data.get(cell.config.data)! },
      bang,
      keep: [...keep],
    },
  }));
}

/** The second part is of the cell alone: of all versions the same. */
function jobIdOf(sweep: string, config: Config): string {
  return `${sweep.slice(0, 24)}-${sha256Of(config).slice(0, 24)}`;
}

function sha256Of(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

/** Jobs whose results are in the folder: this process was killed before it could say so. */
async function removeCollected(
  queue: Queue,
  store: ContentStore,
  plan: Plan,
  open: readonly Cell[],
  options: SweepOptions,
): Promise<void> {
  const done = plan.cells.filter((cell) => !open.includes(cell));
  if (done.length === 0) return;
  for (const { id } of await jobsOf(done, plan, options)) {
    const job = (await queue.getJob(id)) as Job<CellJob, Manifest> | undefined;
    if (job) await forget(job, store);
  }
}

/** What failed before is tried again. */
async function removeFailed(queue: Queue, id: string): Promise<void> {
  const job = (await queue.getJob(id)) as Job | undefined;
  if (job && (await job.isFailed())) await job.remove();
}

async function forget(job: Job<CellJob, Manifest>, store: ContentStore): Promise<void> {
  // The job goes last: as long as it is there, what it left can be found.
  await store.remove(job.id!);
  await job.remove();
}

/**
 * Removes what no worker has begun; what one has is left to it, and what is done to whoever goes on.
 *
 * @returns how many cells are left
 */
async function drop(queue: Queue, ids: readonly string[]): Promise<number> {
  let left = 0;
  for (const id of ids) {
    const job = (await queue.getJob(id)) as Job | undefined;
    if (!job) continue;
    const waits = (await job.getState()) === 'waiting';
    // A worker may be faster: then it is locked.
    const removed =
      waits &&
      (await job.remove().then(
        () => true,
        () => false,
      ));
    if (!removed) left++;
  }
  return left;
}

/**
 * Takes the cells of a sweep out of a queue that no worker has begun, whatever version put them there.
 *
 * @returns how many were taken out, and how many workers have begun or finished
 * @throws UserError if the queue cannot be reached
 */
export async function withdraw(
  plan: Plan,
  address: QueueAddress,
  progress: Progress,
): Promise<{ taken: number; left: number }> {
  const { prefix } = address;
  const client = await connect(address, progress);
  const queue = new Queue<CellJob, Manifest>(QUEUE, { connection: client, prefix });
  queue.on('error', () => undefined);
  try {
    const ofCells = new Set(plan.cells.map(({ config }) => jobIdOf('', config)));
    const all = await queue.getRanges(['wait', 'active', 'completed'], 0, -1);
    const ids = all.filter((id) => ofCells.has(id.slice(id.indexOf('-'))));
    const jobs = (await Promise.all(ids.map((id) => queue.getJob(id)))) as (
      Job<CellJob> | undefined
    )[];
    const left = await drop(queue, ids);
    if (left === 0) {
      for (const job of jobs) if (job) await client.unlink(engineKey(prefix, job.data.sweep));
    }
    return { taken: ids.length - left, left };
  } catch (error) {
    throw inWords(error, address.text);
  } finally {
    await closeAll([queue]);
    client.disconnect();
  }
}

/** The files of a cell, if all of them came as they left, and are of this cell. */
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

/** What comes back of a cell: what a local sweep has in its folder. */
export function carriedFiles({ row }: Result, keep: readonly Keepable[]): CarriedFile[] {
  return [
    'result',
    'table',
    ...(row.robustness ? (['robustness'] as const) : []),
    ...(row.masking ? (['masking'] as const) : []),
    ...keep.map((name) => (name === 'per-image' ? 'perImage' : name)),
  ];
}

/** Writes the folder of a cell; the result last, as it means that the rest is there. */
function put(folder: string, cell: Cell, files: ReadonlyMap<CarriedFile, Buffer>): void {
  writeFileAtomic(path.join(folder, FILES.identity), stringify(cell.config));
  for (const [name, content] of files) {
    if (name !== 'result') writeFileAtomic(path.join(folder, FILES[name]), content);
  }
  writeFileAtomic(path.join(folder, FILES.result), files.get('result')!);
}
