import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import path from 'node:path';
import { Job, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { Interrupted, UserError } from '#bang/base/errors.js';
import { FILES } from '#bang/store/resultFolder.js';
import type { Result } from '#bang/store/result.js';
import { silent, type Progress } from '#bang/base/progress.js';
import type { QueueAddress } from '#bang/sweep/address.js';
import { runQueuedSweep } from '#bang/sweep/collector.js';
import type { Config } from '#bang/config/experiment.js';
import { keeping, loadPlan, type Plan } from '#bang/config/sweep.js';
import {
  connect,
  contentStore,
  KEPT_SECONDS,
  manifestSchema,
  QUEUE,
  type CarriedFile,
  type CellJob,
  type Manifest,
} from '#bang/sweep/queue.js';
import { work } from '#bang/sweep/worker.js';
import { bangInside, tinyConfig, workspace, writeSmallData, type Workspace } from '../cli/bang.js';
import { npmEnv } from '../data/registry.js';
import { startProxy, type Proxy } from './proxy.js';
import { startRedis, type RedisServer } from './redis.js';

const password = 'not for everyone';
let space: Workspace;
let redis: RedisServer;
let proxy: Proxy;
let client: Redis;
let two: Plan;
let one: Plan;
beforeAll(async () => {
  space = workspace();
  writeSmallData(space, 'data', { train: 100, test: 60 });
  space.write('tiny.yaml', tinyConfig());
  space.write('sweep.yaml', 'base: tiny.yaml\ngrid: {training.bang.beta: [1, 1.3]}\n');
  space.write('one.yaml', 'base: tiny.yaml\ngrid: {training.bang.beta: [1.5]}\n');
  const set = ['training.iterations=3', 'evaluation.images=5', 'evaluation.attacks=[fgs]'];
  two = await loadPlan(space.file('sweep.yaml'), set);
  one = await loadPlan(space.file('one.yaml'), set);
  redis = await startRedis(password);
  proxy = await startProxy(redis.port);
  client = new Redis({ port: redis.port, password });
});
afterAll(async () => {
  client.disconnect();
  await proxy.stop();
  await redis.stop();
  space.remove();
});

/** Each test has its own prefix of keys and its own folder. */
let name = '';
let count = 0;
let stopping: AbortController;
let workers: Promise<number>[] = [];
beforeEach(() => {
  name = `{test${++count}}`;
  stopping = new AbortController();
  workers = [];
});
afterEach(async () => {
  stopping.abort();
  await Promise.all(workers);
});

function address(port = redis.port): QueueAddress {
  return { redis: { host: '127.0.0.1', port, db: 0, password }, prefix: name, text: 'the queue' };
}

function listening(): { progress: Progress; said: string[] } {
  const said: string[] = [];
  return { progress: { ...silent, note: (line) => said.push(line) }, said };
}

function startWorker({ port = redis.port, threads = 1, jobs = 1 } = {}) {
  const folder = space.file(name, `work${workers.length}`);
  mkdirSync(folder, { recursive: true });
  const { progress, said } = listening();
  const options = { work: folder, dataDir: space.file('data'), jobs, threads, allowMixed: false };
  const ended = work(address(port), { ...options, progress, signal: stopping.signal });
  workers.push(ended);
  /** Whether a cell was finished in its folder, sent back or not. */
  const computed = (): boolean =>
    readdirSync(folder).some((cell) => existsSync(path.join(folder, cell, FILES.result)));
  return { said, begun: () => said.filter((line) => line.endsWith(': begun')).length, computed };
}

function collect(of: Plan, { port = redis.port, signal = stopping.signal, force = false } = {}) {
  const { progress, said } = listening();
  const out = space.file(name, 'out');
  const options = { out, force, dataDir: space.file('data'), retries: 1 };
  const plan = keeping(of, ['weights']);
  return { said, ended: runQueuedSweep(plan, address(port), { ...options, progress, signal }) };
}

function resultOf(id: string): Result {
  return space.result(name, 'out', 'cells', id);
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}

function makeQueue(): Queue<CellJob> {
  return new Queue(QUEUE, { connection: { port: redis.port, password }, prefix: name });
}

/** Begins a sweep and stops it as soon as its cells wait in the queue, where they stay; returns what it threw. */
async function leaveInQueue(plan: Plan): Promise<unknown> {
  const queue = makeQueue();
  const stopped = new AbortController();
  const { ended } = collect(plan, { signal: stopped.signal });
  await until(async () => (await queue.getWaitingCount()) === plan.cells.length);
  stopped.abort();
  const thrown = await ended.catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(Interrupted);
  await queue.close();
  return thrown;
}

/** `bang sweep cancel` on the test's folder and queue. */
async function cancelInQueue() {
  const queue = ['--queue', redis.url, '--queue-prefix', name.slice(1, -1)];
  vi.stubEnv('BANG_QUEUE_PASSWORD', password);
  const told = await bangInside(['sweep', 'cancel', space.file(name, 'out'), ...queue]);
  vi.unstubAllEnvs();
  return told;
}

/** Makes the server take the worker's cell for lost now, without waiting for a timeout. */
async function takeForLost(): Promise<void> {
  const queue = makeQueue();
  const [job] = await queue.getActive();
  const nobody = new Worker(QUEUE, undefined, {
    connection: { port: redis.port, password },
    prefix: name,
    autorun: false,
    stalledInterval: 1,
    maxStalledCount: 100,
  });
  await client.del(`${name}:${QUEUE}:stalled-check`);
  await nobody.startStalledCheckTimer();
  let given = false;
  nobody.on('stalled', () => (given = true));
  await until(async () => {
    await client.del(`${name}:${QUEUE}:${job.id}:lock`, `${name}:${QUEUE}:stalled-check`);
    return given;
  });
  await nobody.close();
  await queue.close();
}

async function keysOfJobs(): Promise<string[]> {
  const keys = await client.keys(`${name}:*`);
  return keys.filter((key) => /content|:[0-9a-f]{24}-/.test(key));
}

it('loses nothing when the network is cut, and counts nothing twice', async () => {
  const collector = collect(two, proxy);
  const worker = startWorker({ port: proxy.port });
  await until(() => worker.begun() > 0);
  proxy.cut();
  await until(() => worker.computed() && worker.said.some((line) => line.startsWith('lost the')));
  proxy.heal();
  const cells = await collector.ended;
  expect(cells.map(({ state }) => state)).toEqual(['done', 'done']);
  expect(worker.said).toContain('connected to the queue again');
  expect(collector.said).toContain('connected to the queue again');
  expect(await keysOfJobs()).toEqual([]);
});

it('counts the result of the worker that has the cell when it ends, and tells the other that it is late', async () => {
  const collector = collect(one);
  const cut = startWorker({ port: proxy.port });
  await until(() => cut.begun() > 0);
  proxy.silence();
  await takeForLost();
  const other = startWorker({ threads: 2 });
  const [{ id, state }] = await collector.ended;
  expect(state).toBe('done');
  // The two results differ in the number of threads.
  const before = space.contents(path.join(name, 'out', 'cells', id));
  expect(resultOf(id).provenance!.threads).toBe(2);
  await until(cut.computed);
  proxy.heal();
  await until(() => cut.said.some((line) => line.includes('too late to count')));
  expect(space.contents(path.join(name, 'out', 'cells', id))).toEqual(before);
  expect([cut.begun(), other.begun()]).toEqual([1, 1]);
  stopping.abort();
  expect(await Promise.all(workers)).toEqual([0, 1]);
  // Late results that nobody collects expire.
  for (const key of await keysOfJobs()) {
    expect(await client.ttl(key)).toBeGreaterThan(0);
    expect(await client.ttl(key)).toBeLessThanOrEqual(KEPT_SECONDS);
  }
});

it('computes a cell once that a worker gets twice', async () => {
  const queue = makeQueue();
  await leaveInQueue(one);
  const [job] = await queue.getWaiting();
  await queue.add('cell', job.data, { jobId: 'again' });
  const worker = startWorker({ jobs: 2, threads: 2 });
  await until(async () => (await queue.getCompletedCount()) === 2);
  stopping.abort();
  expect(await Promise.all(workers)).toEqual([2]);
  expect(worker.begun()).toBe(1);
  expect(readdirSync(space.file(name, 'work0'))).toEqual([]);
  await queue.close();
});

it('leaves cells in the queue when stopped, and takes out those that nobody has begun when cancelled', async () => {
  const queue = makeQueue();
  const counts = () => queue.getJobCounts('waiting', 'active', 'completed', 'failed');
  expect(String(await leaveInQueue(two))).toContain('workers continue with the cells in the queue');
  expect(await counts()).toMatchObject({ waiting: 2 });

  // One worker finishes a cell while nobody collects; another has begun the other cell.
  const only = startWorker();
  await until(async () => (await counts()).completed === 1);
  stopping.abort();
  await Promise.all(workers);
  const nobody = new Worker<CellJob>(QUEUE, undefined, {
    connection: { port: redis.port, password },
    prefix: name,
    autorun: false,
  });
  // The first worker has put back the cell that it began after that.
  const job = await nobody.getNextJob('a token');
  stopping = new AbortController();
  const again = collect(two);
  await until(() => existsSync(space.file(name, 'out', 'bang.lock')));
  const cancel = bangInside(['sweep', 'cancel', space.file(name, 'out')]);
  await expect(again.ended).rejects.toThrow(
    /^stopped; cells that workers have begun .* are kept for/,
  );
  expect(await cancel).toMatchObject({ code: 0 });
  expect(await counts()).toMatchObject({ waiting: 0, active: 1 });
  await job.moveToWait('a token');

  // If nothing is left, any engine may start the sweep over; finished cells are not computed again.
  const cancelled = collect(two);
  await until(() => existsSync(space.file(name, 'out', 'bang.lock')));
  const stopped = expect(cancelled.ended).rejects.toThrow(/^stopped; nothing of it is left/);
  await bangInside(['sweep', 'cancel', space.file(name, 'out')]);
  await stopped;
  expect(await counts()).toMatchObject({ waiting: 0, active: 0, failed: 0 });
  await nobody.close();
  await queue.close();
  const last = startWorker();
  const cells = await collect(two).ended;
  expect(cells.map(({ state }) => state)).toEqual(['done', 'done']);
  expect(only.said.filter((line) => line.endsWith(': done')).length).toBe(1);
  expect(last.begun()).toBe(1);
  expect((await cancelInQueue()).stdout).toMatch(/^nothing was running$/m);
});

it('takes the cells of a sweep that no longer runs out of the queue, whatever their version', async () => {
  const queue = makeQueue();
  await leaveInQueue(two);
  const other = 'e'.repeat(64);
  for (const job of await queue.getWaiting()) {
    const jobId = other.slice(0, 24) + job.id!.slice(job.id!.indexOf('-'));
    await queue.add('cell', { ...job.data, sweep: other, bang: '99.0.0' }, { jobId });
  }
  await client.set(`${name}:engine:${other}`, 'another engine');
  // These belong to another sweep, which has the same cells and one more, and to none.
  const [{ data }] = await queue.getWaiting();
  const larger = new AbortController();
  const out = space.file(name, 'larger');
  const plan = { ...two, cells: [...two.cells, ...one.cells] };
  const options = { out, dataDir: space.file('data'), retries: 1, progress: silent };
  const others = runQueuedSweep(plan, address(), { ...options, signal: larger.signal });
  await until(async () => (await queue.getWaitingCount()) === 4 + 3);
  larger.abort();
  await expect(others).rejects.toThrow(Interrupted);
  await client.set(`${name}:engine:${'d'.repeat(64)}`, 'an engine');
  await queue.add('cell', data);
  const told = await cancelInQueue();
  expect(told).toMatchObject({ code: 0 });
  expect(told.stdout).toMatch(/^removed from the queue: 4 cells; begun .* by workers: 0$/m);
  expect(told.stdout).toMatch(/^nothing was running; bang sweep retry .* continues$/m);
  expect(await queue.getWaitingCount()).toBe(3 + 1);
  expect(await client.keys(`${name}:engine:*`)).toEqual([`${name}:engine:${'d'.repeat(64)}`]);
  await queue.close();
});

it('handles a cell that fails while the collector looks at it', async () => {
  const nobody = new Worker<CellJob>(QUEUE, undefined, {
    connection: { port: redis.port, password },
    prefix: name,
    autorun: false,
  });
  let fails = false;
  const slow = vi.spyOn(Queue.prototype, 'getJob').mockImplementation(async function (
    this: Queue,
    id: string,
  ) {
    const job = await Job.fromId<CellJob>(this, id);
    // The job that was read before does not have the failure yet.
    if (!fails && (await job?.isActive())) {
      fails = true;
      const same = await Job.fromId<CellJob>(this, id);
      await same!.moveToFailed(new Error('it must fail'), 'a token');
    }
    return job;
  });
  const options = { out: space.file(name, 'out'), dataDir: space.file('data'), retries: 0 };
  const ended = runQueuedSweep(one, address(), {
    ...{ ...options, progress: silent, signal: stopping.signal },
  });
  await until(async () => {
    const job = (await nobody.getNextJob('a token', { block: false })) as Job | undefined;
    return job !== undefined;
  });
  expect(await ended).toMatchObject([{ state: 'failed', error: 'it must fail' }]);
  expect(fails).toBe(true);
  slow.mockRestore();
  await nobody.close();
});

it('puts cells back into the queue if a worker is stopped while fetching data', async () => {
  let asked = false;
  const deaf = createServer(() => (asked = true)).listen(0, '127.0.0.1');
  await once(deaf, 'listening');
  const { port } = deaf.address() as { port: number };
  const env = {
    ...npmEnv(`127.0.0.1:${port}`, space.folder),
    BANG_CACHE: space.file(name, 'cache'),
  };
  const queue = makeQueue();
  const collector = collect(one);
  await until(async () => (await queue.getWaitingCount()) === 1);
  for (const [key, value] of Object.entries(env)) vi.stubEnv(key, value);
  const folder = space.file(name, 'fetching');
  mkdirSync(folder);
  const stop = new AbortController();
  const options = { work: folder, threads: 1, allowMixed: false, progress: silent };
  const worker = work(address(), { ...options, signal: stop.signal });
  await until(() => asked);
  stop.abort();
  expect(await worker).toBe(0);
  expect(await queue.getJobCounts('waiting', 'failed', 'active')).toEqual({
    ...{ waiting: 1, failed: 0, active: 0 },
  });
  vi.unstubAllEnvs();
  deaf.close();
  startWorker();
  expect(await collector.ended).toMatchObject([{ state: 'done' }]);
  await queue.close();
});

it('does not let two workers compute in one folder', async () => {
  startWorker();
  const folder = space.file(name, 'work0');
  await until(() => existsSync(path.join(folder, 'bang.lock')));
  const options = { dataDir: space.file('data'), threads: 1, allowMixed: false, progress: silent };
  const second = work(address(), { ...options, work: folder, signal: stopping.signal });
  await expect(second).rejects.toThrow(/^another worker works there \(process /);
});

it('computes a cell again if its result is damaged', async () => {
  const queue = makeQueue();
  await leaveInQueue(one);
  const worker = startWorker();
  await until(async () => (await queue.getCompletedCount()) === 1);
  const [key] = await client.keys(`${name}:content:*`);
  for (const field of await client.hkeys(key)) await client.hset(key, field, 'damaged');
  const collector = collect(one);
  expect(await collector.ended).toMatchObject([{ state: 'done' }]);
  expect(collector.said.some((line) => line.includes('damaged'))).toBe(true);
  expect(worker.begun()).toBe(2);
  await queue.close();
});

/** All keys of the queue after a worker has computed the cell of `one`, as Redis stores them. */
let computed: { prefix: string; keys: [string, Buffer][] } | undefined;

/** The queue as it is when a worker has computed the cell of `one` while nobody collects; the first call has it do so. */
async function computedBefore(): Promise<{ queue: Queue<CellJob>; id: string; content: string }> {
  const queue = makeQueue();
  await leaveInQueue(one);
  if (computed) {
    const { prefix, keys } = computed;
    await client.del(await client.keys(`${name}:*`));
    for (const [key, bytes] of keys) {
      await client.restore(key.replace(prefix, name), 0, bytes);
    }
  } else {
    startWorker();
    await until(async () => (await queue.getCompletedCount()) === 1);
    stopping.abort();
    await Promise.all(workers);
    stopping = new AbortController();
    const keys: [string, Buffer][] = [];
    for (const key of await client.keys(`${name}:*`))
      keys.push([key, await client.dumpBuffer(key)]);
    computed = { prefix: name, keys };
  }
  startWorker();
  const [{ id }] = await queue.getCompleted();
  return { queue, id: id!, content: `${name}:content:${id}` };
}

/** What a worker says that it has sent. */
async function manifestOf(id: string): Promise<Manifest> {
  const text = await client.hget(`${name}:${QUEUE}:${id}`, 'returnvalue');
  return manifestSchema.parse(JSON.parse(text!));
}

/** Puts a file in the place of one that a worker has sent, with its right hash and length. */
async function exchange(id: string, file: CarriedFile, bytes: Buffer): Promise<void> {
  const manifest = await manifestOf(id);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  manifest.files[file] = { sha256, bytes: bytes.length };
  await client.hset(`${name}:content:${id}`, sha256, gzipSync(bytes));
  await client.hset(`${name}:${QUEUE}:${id}`, 'returnvalue', JSON.stringify(manifest));
}

async function sentFile(id: string, file: CarriedFile): Promise<Buffer> {
  const { sha256 } = (await manifestOf(id)).files[file]!;
  return gunzipSync((await client.hgetBuffer(`${name}:content:${id}`, sha256))!);
}

it.each<[string, (id: string) => Promise<unknown>]>([
  [
    'is another cell by its name',
    async (id) => {
      const result = JSON.parse((await sentFile(id, 'result')).toString()) as Result;
      await exchange(id, 'result', Buffer.from(JSON.stringify({ ...result, name: 'beta-1' })));
    },
  ],
  [
    'comes with other weights',
    async (id) => {
      const weights = await sentFile(id, 'weights');
      weights[weights.length - 1] ^= 1;
      await exchange(id, 'weights', weights);
    },
  ],
  [
    'is too large to be one',
    async (id) => {
      await exchange(id, 'result', Buffer.from(`[${'0,'.repeat(2_500_000)}0]`));
    },
  ],
  [
    'is far longer than it says',
    async (id) => {
      const { sha256 } = (await manifestOf(id)).files.table!;
      await client.hset(`${name}:content:${id}`, sha256, Buffer.alloc(2_000_000));
    },
  ],
  [
    'is of another kind',
    async (id) => {
      await client.del(`${name}:content:${id}`);
      await client.set(`${name}:content:${id}`, 'a text');
    },
  ],
  [
    'is a list of millions',
    async (id) => {
      await client.hset(`${name}:${QUEUE}:${id}`, 'returnvalue', `[${'0,'.repeat(2_500_000)}0]`);
    },
  ],
  [
    'belongs to a job that is not JSON',
    async (id) => {
      await client.hset(`${name}:${QUEUE}:${id}`, 'opts', '{"never closed');
    },
  ],
  [
    'belongs to a job of another kind',
    async (id) => {
      await client.del(`${name}:${QUEUE}:${id}`);
      await client.set(`${name}:${QUEUE}:${id}`, 'a text');
    },
  ],
])('computes a cell again if its result %s', async (_, change) => {
  const { queue, id } = await computedBefore();
  await change(id);
  const collector = collect(one);
  expect(await collector.ended).toMatchObject([{ state: 'done' }]);
  expect(collector.said.filter((line) => line.includes('the result was damaged'))).toHaveLength(1);
  expect(resultOf('beta-1.5').name).toBe('beta-1.5');
  await queue.close();
});

it('fails the cell, not the sweep, if its results are never usable', async () => {
  const queue = makeQueue();
  const liar = new Worker<CellJob, unknown>(
    QUEUE,
    ({ data }) =>
      Promise.resolve((data.config as { name: string }).name === 'beta-1' ? 'a lie' : {}),
    { connection: { port: redis.port, password }, prefix: name },
  );
  const collector = collect(one);
  expect(await collector.ended).toMatchObject([
    {
      state: 'failed',
      error: expect.stringMatching(/^the results from workers were damaged/) as string,
    },
  ]);
  await liar.close();
  await queue.close();
});

it('goes on after events with any values', async () => {
  const collector = collect(one);
  const queue = makeQueue();
  await until(async () => (await queue.getWaitingCount()) === 1);
  const events = `${name}:${QUEUE}:events`;
  const [{ id }] = await queue.getWaiting();
  await client.xadd(events, '*', 'event', 'completed', 'jobId', id!, 'returnvalue', '{"never');
  await client.xadd(events, '*', 'event', 'progress', 'jobId', id!, 'data', `[${'0,'.repeat(1e6)}`);
  await client.xadd(events, '*', 'odd', 'fields');
  startWorker();
  expect(await collector.ended).toMatchObject([{ state: 'done' }]);
  await queue.close();
});

it('takes the jobs of a sweep that has grown out of the queue', async () => {
  const queue = makeQueue();
  await leaveInQueue(one);
  space.write('grown.yaml', 'base: tiny.yaml\ngrid: {training.bang.beta: [1.25, 1.5]}\n');
  const set = ['training.iterations=3', 'evaluation.images=5', 'evaluation.attacks=[fgs]'];
  const grown = collect(await loadPlan(space.file('grown.yaml'), set));
  await until(async () => (await queue.getWaitingCount()) === 2);
  startWorker();
  expect((await grown.ended).map(({ id, state }) => `${id} ${state}`)).toEqual([
    'beta-1.25 done',
    'beta-1.5 done',
  ]);
  expect(await queue.getWaitingCount()).toBe(0);
  expect(await keysOfJobs()).toEqual([]);
  await queue.close();
});

it('takes the jobs of the sweep before out of the queue when it starts over, if its record can be read', async () => {
  const queue = makeQueue();
  await leaveInQueue(two);
  const over = new AbortController();
  const { ended } = collect(one, { signal: over.signal, force: true });
  const names = async () =>
    (await queue.getWaiting()).map(({ data }) => (data.config as Config).name);
  await until(async () => (await names()).join() === 'beta-1.5');
  over.abort();
  await expect(ended).rejects.toThrow(Interrupted);

  space.write(path.join(name, 'out', 'sweep.yaml'), 'not a sweep');
  startWorker();
  expect(await collect(one, { force: true }).ended).toMatchObject([{ state: 'done' }]);
  expect(await keysOfJobs()).toEqual([]);
  await queue.close();
});

it('replaces a connection that has gone silent, and does not wait for a server that never answers', async () => {
  const { progress, said } = listening();
  const silenced = await connect(address(proxy.port), progress, { beatMs: 100 });
  proxy.silence();
  await silenced.set(`${name}:key`, 'value');
  expect(await client.get(`${name}:key`)).toBe('value');
  expect(said).toContain('connected to the queue again');
  silenced.disconnect();

  const deaf = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
  await once(deaf, 'listening');
  const { port } = deaf.address() as { port: number };
  const attempt = connect(address(port), silent, { answerMs: 100 });
  await expect(attempt).rejects.toThrow('cannot reach the queue the queue: it does not answer');
  deaf.close();
});

it('refuses a server that may drop data, waits for one that is full, and warns of one that stores nothing on disk', async () => {
  await client.config('SET', 'maxmemory-policy', 'volatile-lru');
  const forgetful = connect(address(), silent);
  await expect(forgetful).rejects.toThrow(UserError);
  await expect(forgetful).rejects.toThrow(/set its maxmemory-policy to noeviction \(it is volatil/);
  await client.config('SET', 'maxmemory-policy', 'noeviction');

  const { progress, said } = listening();
  const content = Buffer.from('a result');
  await client.config('SET', 'maxmemory', '1');
  await expect(collect(one).ended).rejects.toThrow(/^the queue the queue refuses: OOM /);
  const store = contentStore(client, name);
  const put = store.put('job', content, { progress, signal: stopping.signal });
  await until(() => said.length > 0);
  expect(said).toEqual(['the memory of the queue is full; waiting until there is room']);
  await client.config('SET', 'maxmemory', '0');
  expect(await store.get('job', await put)).toEqual(content);
  await store.remove('job');

  await client.config('SET', 'appendonly', 'no');
  const stopped = new AbortController();
  const collector = collect(one, { signal: stopped.signal });
  await until(() => collector.said.some((line) => line.includes('has no append-only file')));
  stopped.abort();
  await expect(collector.ended).rejects.toThrow(Interrupted);
});
