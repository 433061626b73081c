import { Queue, type Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { sha256Of } from '../base/digest.js';
import type { Config } from '../config/experiment.js';
import { version } from '../base/version.js';
import { loadSource } from '../store/provenance.js';
import type { Progress } from '../base/progress.js';
import type { QueueAddress } from './address.js';
import type { Cell, Plan } from '../config/sweep.js';
import {
  closeAll,
  connect,
  contentStore,
  engineKey,
  isReadable,
  jobKey,
  refusalInWords,
  KEPT_SECONDS,
  QUEUE,
  type CellJob,
  type ContentStore,
  type Manifest,
} from './queue.js';
import type { SweepOptions } from './sweep.js';

type CellQueue = Queue<CellJob, Manifest, 'cell'>;
export type QueuedJob = Job<CellJob, Manifest, 'cell'>;

/** A queue, its connection, the prefix of its keys, and the files that workers bring back. */
export interface OpenQueue {
  queue: CellQueue;
  client: Redis;
  prefix: string;
  store: ContentStore;
}

/** The queue on a connection, which reports its own errors. */
export function openQueue(client: Redis, prefix: string): OpenQueue {
  const queue: CellQueue = new Queue(QUEUE, { connection: client, prefix });
  queue.on('error', () => undefined);
  return { queue, client, prefix, store: contentStore(client, prefix) };
}

/** A cell to compute, and its job for workers. */
export interface CellToDo {
  id: string;
  cell: Cell;
  data: CellJob;
}

/**
 * The jobs of the cells of a sweep. The same sweep, version of bang, data and kept files give the same ids.
 *
 * @throws UserError if the data cannot be loaded; Interrupted if the signal aborts
 */
export async function jobsOf(
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
  // The id depends on `keep`, since other jobs would bring other files.
  const keep = [...plan.keep];
  const sweep = sha256Of(JSON.stringify([bang, hashes, configsOf(plan), keep]));
  const idOf = jobNames(plan);
  return plan.cells.map((cell) => ({
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

/** The second part of a job's id, which depends on the sweep and the cell but not on the version. */
function jobNames(plan: Plan): (cell: Cell) => string {
  const whole = sha256Of(JSON.stringify(configsOf(plan)));
  return ({ config }) => `-${sha256Of(JSON.stringify([whole, config])).slice(0, 24)}`;
}

function configsOf({ cells }: Plan): Config[] {
  return cells.map(({ config }) => config);
}

/** Puts jobs into the queue unless they are already there. */
export async function handOut(
  { queue }: OpenQueue,
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

/** Reads a job; `damaged` if it is too large or not what BullMQ writes. */
export async function readJob(
  { queue, client, prefix }: OpenQueue,
  id: string,
): Promise<QueuedJob | undefined | 'damaged'> {
  if (!(await isReadable(client, prefix, id))) return 'damaged';
  try {
    return await queue.getJob(id);
  } catch (error) {
    if (error instanceof SyntaxError) return 'damaged';
    throw error;
  }
}

/** Removes a job that cannot be read. */
export async function removeDamaged(
  { client, prefix, store }: OpenQueue,
  id: string,
): Promise<void> {
  await store.remove(id);
  // Whatever else is in its place could not be removed as a job.
  await client.unlink(jobKey(prefix, id), jobKey(prefix, `${id}:lock`));
  for (const list of ['wait', 'active', 'paused']) await client.lrem(jobKey(prefix, list), 0, id);
  for (const set of ['completed', 'failed', 'delayed', 'prioritized']) {
    await client.zrem(jobKey(prefix, set), id);
  }
}

/** Removes jobs whose results are in the folder, left when this process was killed. */
export async function removeCollected(opened: OpenQueue, done: readonly CellToDo[]): Promise<void> {
  for (const { id } of done) {
    const job = await readJob(opened, id);
    if (job === 'damaged') await removeDamaged(opened, id);
    else if (job) await forget(job, opened);
  }
}

/**
 * Removes a job that failed before or cannot be read, so that it can be tried again.
 *
 * @returns whether it could not be read
 */
export async function removeFailed(opened: OpenQueue, id: string): Promise<boolean> {
  const job = await readJob(opened, id);
  if (job === 'damaged') {
    await removeDamaged(opened, id);
    return true;
  }
  if (job && (await job.isFailed())) await job.remove();
  return false;
}

export async function forget(job: QueuedJob, { store }: OpenQueue): Promise<void> {
  // The job is removed last: its files can be found as long as it exists.
  await store.remove(job.id!);
  await job.remove();
}

/**
 * Removes jobs that no worker has begun. Jobs that are begun or finished stay.
 *
 * @returns the number of jobs that are left
 */
export async function drop(opened: OpenQueue, ids: readonly string[]): Promise<number> {
  let left = 0;
  for (const id of ids) {
    const job = await readJob(opened, id);
    if (job === 'damaged') {
      await removeDamaged(opened, id);
      continue;
    }
    if (!job) continue;
    // Delayed: a worker without its engine has put it back.
    const waits = ['waiting', 'delayed'].includes(await job.getState());
    // If a worker is faster, the job is locked.
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
 * Takes a sweep's cells that no worker has begun out of a queue, whatever version put them there.
 *
 * @returns how many cells were taken out, and how many workers have begun or finished
 * @throws UserError if the queue cannot be reached
 */
export async function withdraw(
  plan: Plan,
  address: QueueAddress,
  progress: Progress,
): Promise<{ taken: number; left: number }> {
  const { prefix } = address;
  const client = await connect(address, progress);
  const opened = openQueue(client, prefix);
  const { queue } = opened;
  try {
    const ofCells = new Set(plan.cells.map(jobNames(plan)));
    const all = await queue.getRanges(['wait', 'delayed', 'active', 'completed'], 0, -1);
    const ids = all.filter((id) => ofCells.has(id.slice(id.indexOf('-'))));
    const sweeps = new Set<string>();
    for (const id of ids) {
      const job = await readJob(opened, id);
      if (job && job !== 'damaged') sweeps.add(job.data.sweep);
    }
    const left = await drop(opened, ids);
    if (left === 0) {
      for (const sweep of sweeps) await client.unlink(engineKey(prefix, sweep));
    }
    return { taken: ids.length - left, left };
  } catch (error) {
    throw refusalInWords(error, address.text);
  } finally {
    await closeAll([queue]);
    client.disconnect();
  }
}
