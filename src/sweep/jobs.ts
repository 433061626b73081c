import { createHash } from 'node:crypto';
import { Queue, type Job } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Config } from '../config/experiment.js';
import { loadSource, version } from '../store/provenance.js';
import type { Progress } from '../base/progress.js';
import type { QueueAddress } from './address.js';
import type { Cell, Plan } from '../config/sweep.js';
import {
  closeAll,
  connect,
  engineKey,
  refusalInWords,
  KEPT_SECONDS,
  QUEUE,
  type CellJob,
  type ContentStore,
  type Manifest,
} from './queue.js';
import type { SweepOptions } from './sweep.js';

export type CellQueue = Queue<CellJob, Manifest, 'cell'>;
export type QueuedJob = Job<CellJob, Manifest, 'cell'>;

/** The queue on a connection; what there is to say of that is said there. */
export function cellQueue(client: Redis, prefix: string): CellQueue {
  const queue: CellQueue = new Queue(QUEUE, { connection: client, prefix });
  queue.on('error', () => undefined);
  return queue;
}

/** A cell that is to be computed, and the job that says so to workers. */
export interface CellToDo {
  id: string;
  cell: Cell;
  data: CellJob;
}

/** The jobs of some cells of a sweep; those of equal cells, versions, data and wishes have equal names. */
export async function jobsOf(
  cells: readonly Cell[],
  plan: Plan,
  { dataDir, progress, signal }: SweepOptions,
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
  const keep = [...plan.keep];
  const sweep = sha256Of([bang, hashes, configsOf(plan), keep]);
  const idOf = jobNames(plan);
  return cells.map((cell) => ({
    id: sweep.slice(0, 24) + idOf(cell),
    cell,
    data: {
      format: 1,
      sweep,
      config: cell.config,
      data: { name: cell.config.data, sha256: data.get(cell.config.data)! },
      bang,
      keep,
    },
  }));
}

/** The second part of a job's name: of a sweep and its cell, whatever version hands it out. */
function jobNames(plan: Plan): (cell: Cell) => string {
  const whole = sha256Of(configsOf(plan));
  return ({ config }) => `-${sha256Of([whole, config]).slice(0, 24)}`;
}

function configsOf({ cells }: Plan): Config[] {
  return cells.map(({ config }) => config);
}

function sha256Of(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

/** Puts jobs into the queue that are not there yet. */
export async function handOut(
  queue: CellQueue,
  jobs: readonly CellToDo[],
  retries: number,
): Promise<void> {
  await queue.addBulk(
    jobs.map(({ id, data }) => ({
      name: 'cell' as const,
      data,
      opts: {
        jobId: id,
        attempts: 1 + retries,
        removeOnComplete: { age: KEPT_SECONDS },
        removeOnFail: { age: KEPT_SECONDS },
      },
    })),
  );
}

/** Jobs whose results are in the folder: this process was killed before it could say so. */
export async function removeCollected(
  queue: CellQueue,
  store: ContentStore,
  plan: Plan,
  open: readonly Cell[],
  options: SweepOptions,
): Promise<void> {
  const done = plan.cells.filter((cell) => !open.includes(cell));
  if (done.length === 0) return;
  for (const { id } of await jobsOf(done, plan, options)) {
    const job = await queue.getJob(id);
    if (job) await forget(job, store);
  }
}

/** What failed before is tried again. */
export async function removeFailed(queue: CellQueue, id: string): Promise<void> {
  const job = await queue.getJob(id);
  if (job && (await job.isFailed())) await job.remove();
}

export async function forget(job: QueuedJob, store: ContentStore): Promise<void> {
  // The job goes last: as long as it is there, what it left can be found.
  await store.remove(job.id!);
  await job.remove();
}

/**
 * Removes what no worker has begun; what one has is left to it, and what is done to whoever goes on.
 *
 * @returns how many cells are left
 */
export async function drop(queue: CellQueue, ids: readonly string[]): Promise<number> {
  let left = 0;
  for (const id of ids) {
    const job = await queue.getJob(id);
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
  const queue = cellQueue(client, prefix);
  try {
    const ofCells = new Set(plan.cells.map(jobNames(plan)));
    const all = await queue.getRanges(['wait', 'active', 'completed'], 0, -1);
    const ids = all.filter((id) => ofCells.has(id.slice(id.indexOf('-'))));
    const jobs = await Promise.all(ids.map((id) => queue.getJob(id)));
    const left = await drop(queue, ids);
    if (left === 0) {
      for (const job of jobs) if (job) await client.unlink(engineKey(prefix, job.data.sweep));
    }
    return { taken: ids.length - left, left };
  } catch (error) {
    throw refusalInWords(error, address.text);
  } finally {
    await closeAll([queue]);
    client.disconnect();
  }
}
