import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startEngine } from '#bang/engine/engine.js';
import { UserError } from '#bang/base/errors.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { version } from '#bang/base/version.js';
import { loadSource } from '#bang/store/provenance.js';
import type { Result } from '#bang/store/result.js';
import { silent, type Progress } from '#bang/base/progress.js';
import type { QueueAddress } from '#bang/sweep/address.js';
import {
  claimEngine,
  contentStore,
  manifestSchema,
  QUEUE,
  type CellJob,
} from '#bang/sweep/queue.js';
import { work } from '#bang/sweep/worker.js';
import {
  bang,
  bangOk,
  executable,
  tensors,
  tinyConfig,
  workspace,
  writeSmallData,
  type Workspace,
} from '../cli/bang.js';
import { readCsv } from '../fixtures.js';
import { startRedis, type RedisServer } from './redis.js';

const password = 'not for everyone';
let space: Workspace;
let redis: RedisServer;
beforeAll(async () => {
  space = workspace();
  writeSmallData(space, 'data', { train: 100, test: 60 });
  space.write('tiny.yaml', tinyConfig());
  redis = await startRedis(password);
});
afterAll(async () => {
  await redis.stop();
  space.remove();
});

const env = { BANG_QUEUE_PASSWORD: password };

/** Starts a worker as a separate process; `said` returns its output. */
function startWorker(work: string): { child: ChildProcess; said: () => string } {
  const args = ['worker', '--queue', redis.url, '--data-dir', 'data', '--work', work];
  const child = spawn(process.execPath, [executable(), ...args], {
    cwd: space.folder,
    env: { ...process.env, ...env, BANG_THREADS: '1' },
  });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (some: string) => (text += some));
  return { child, said: () => text };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('workers of a queue', () => {
  it('give the results of a local sweep, each cell once, despite kill -9 and a restart of Redis', async () => {
    space.write('sweep.yaml', 'base: tiny.yaml\ngrid: {training.bang.beta: [1, 1.3, 1.6]}\n');
    const set = [
      ...['training.iterations=10', 'evaluation.images=20'],
      ...['evaluation.attacks=[fgs,pgd]', 'evaluation.pgd.steps=2', 'evaluation.pgd.restarts=1'],
    ];
    const common = ['sweep', 'sweep.yaml', ...set.flatMap((one) => ['--set', one])];
    const args = [...common, '--data-dir', 'data', '--keep', 'weights,per-image'];
    const queued = [...args, '--queue', redis.url, '--out', 'queued'];
    const options = { cwd: space.folder, env };

    // The collector is killed, too, and must count nothing twice.
    const workers = ['one', 'two', 'three'].map(startWorker);
    let restarted: Promise<void> | undefined;
    const done = () => existsSync(space.file('queued/sweep.csv'));
    try {
      const first = bang(queued, { ...options, when: done, signal: 'SIGKILL' });
      // Any worker that has begun: on a busy machine a late one may find no cell.
      const busy = () => workers.find(({ said }) => said().includes('begun'));
      await until(() => busy() !== undefined);
      busy()!.child.kill('SIGKILL');
      expect((await first).code).toBeNull();
      restarted = redis.restart();
      const second = await bangOk(queued, options);
      expect(second.stderr).toMatch(/^sweep: 3 of 3 cells done$/m);
    } finally {
      await restarted;
      const left = workers.filter(({ child }) => !child.killed);
      const ended = left.map(({ child }) => once(child, 'close'));
      for (const { child } of left) child.kill('SIGTERM');
      expect(await Promise.all(ended)).toEqual([
        [130, null],
        [130, null],
      ]);
    }
    for (const { said } of workers) expect(said()).not.toMatch(/not for everyone|^ +at /m);

    await bangOk([...args, '--jobs', '2', '--out', 'local'], options);
    const rows = ['queued', 'local'].map((name) => readCsv(space.file(name, 'sweep.csv')));
    const facts = rows.map((some) =>
      some.map((row) => {
        for (const name of ['seconds', 'seconds_training', 'finished']) row[name] = '';
        return row;
      }),
    );
    expect(facts[0]).toEqual(facts[1]);
    expect(facts[0].map(({ cell, state }) => [cell, state])).toEqual(
      ['beta-1', 'beta-1.3', 'beta-1.6'].map((cell) => [cell, 'done']),
    );
    for (const { cell } of facts[0]) {
      const [far, near] = ['queued', 'local'].map((name) => `${name}/cells/${cell}`);
      expect(space.list(far)).toEqual(space.list(near));
      expect(tensors(space, far)).toEqual(tensors(space, near));
      for (const name of ['per-image.csv', 'table.csv', 'robustness.csv', 'config.yaml']) {
        expect(space.read(far, name)).toBe(space.read(near, name));
      }
      const result = JSON.parse(space.read(far, 'result.json')) as Result;
      expect(result.provenance!.bang).toBe(version());
    }
    // Nothing of the sweep is left in the queue.
    const client = new Redis({ port: redis.port, password });
    expect((await client.keys('*')).filter((key) => /content|:[0-9a-f]{24}-/.test(key))).toEqual(
      [],
    );
    client.disconnect();
  });
});

describe('a worker', () => {
  const address = (): QueueAddress => ({
    redis: { host: '127.0.0.1', port: redis.port, db: 1, password },
    prefix: 'tests',
    text: 'the queue of the tests',
  });
  beforeAll(() => {
    mkdirSync(space.file('work'));
  });
  const options = () => ({
    work: space.file('work'),
    dataDir: space.file('data'),
    threads: 1,
    allowMixed: false,
    // Ends as soon as the queue is empty, however long fetching a cell takes.
    idle: 0,
    progress: silent,
    signal: new AbortController().signal,
  });

  async function validJob(): Promise<CellJob> {
    const { config } = await loadConfig(space.file('tiny.yaml'));
    const { sha256 } = await loadSource('mnist', { dataDir: space.file('data') });
    const sweep = 'a'.repeat(64);
    const data = { name: 'mnist' as const, sha256 };
    return { format: 1, sweep, config, data, bang: version(), keep: [] };
  }

  interface Offer {
    allowMixed: boolean;
    dataDir: string;
    progress: Progress;
    /** Changes the jobs in Redis, by their keys. */
    change: (client: Redis, keys: string[]) => Promise<unknown>;
  }

  /** Puts jobs into the queue, lets a worker handle them, and returns their states and results. */
  async function offered(
    jobs: readonly unknown[],
    { change, ...more }: Partial<Offer> = {},
  ): Promise<{ states: string[]; results: unknown[]; error: unknown }> {
    const { redis: connection, prefix } = address();
    const queue = new Queue(QUEUE, { connection, prefix });
    const client = new Redis(connection);
    try {
      await queue.obliterate({ force: true });
      const added = await queue.addBulk(jobs.map((data) => ({ name: 'cell', data })));
      await change?.(
        client,
        added.map(({ id }) => `${prefix}:${QUEUE}:${id}`),
      );
      const error: unknown = await work(address(), { ...options(), ...more }).catch(
        (thrown: unknown) => thrown,
      );
      const states = added.map(async ({ id }) => {
        const reason = await client.hget(`${prefix}:${QUEUE}:${id}`, 'failedReason');
        return `${await queue.getJobState(id!)} ${reason ?? ''}`.trim();
      });
      const results = added.map(async ({ id }) => {
        const value = await client.hget(`${prefix}:${QUEUE}:${id}`, 'returnvalue');
        if (value === null) return undefined;
        const { files } = manifestSchema.parse(JSON.parse(value));
        const content = await contentStore(client, prefix).get(id!, files.result!);
        return JSON.parse(content!.toString('utf8')) as unknown;
      });
      return { states: await Promise.all(states), results: await Promise.all(results), error };
    } finally {
      await queue.close();
      client.disconnect();
    }
  }

  it('refuses jobs that are not valid experiments, without touching any file', async () => {
    const valid = await validJob();
    const config = valid.config as Record<string, unknown>;
    const training = config.training as object;
    const { states } = await offered([
      { nothing: true },
      { ...valid, out: '/tmp/elsewhere' },
      { ...valid, config: { ...config, name: '../../elsewhere' } },
      { ...valid, config: { ...config, dataDir: '/etc' } },
      { ...valid, config: { ...config, extends: '/etc/passwd' } },
      { ...valid, config: { ...config, evaluation: {} } },
      { ...valid, data: { ...valid.data, name: 'cifar10' } },
      { ...valid, keep: ['../result.json'] },
      { ...valid, config: { ...config, training: { ...training, snapshots: 1 } } },
    ]);
    const [no, bad, other, many] = [
      'failed the job is not a cell of a sweep',
      'failed the configuration of the cell is not valid here',
      'failed the job names other data than its configuration',
      'failed the cell asks for training.snapshots, which workers do not make',
    ];
    expect(states).toEqual([no, no, bad, bad, bad, bad, other, no, many]);
    expect(readdirSync(space.file('work'))).toEqual([]);
  });

  it('continues after jobs that are huge or not JSON', async () => {
    const valid = await validJob();
    const config = valid.config as Record<string, unknown>;
    const training = { ...(config.training as object), iterations: 2 };
    const evaluation = { ...(config.evaluation as object), images: 5, attacks: ['fgs'] };
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    const { states, results, error } = await offered(
      [
        { ...valid, config: { ...config, description: 'x'.repeat(50_000_000) } },
        { ...valid, keep: Array.from({ length: 1_000_000 }, () => 'weights') },
        { to: 'be made deep' },
        { to: 'be made no JSON' },
        { ...valid, config: { ...config, training, evaluation } },
      ],
      {
        async change(client, [, , third, fourth]) {
          await client.hset(third, 'data', `{"format":1,"config":${deep}}`);
          await client.hset(fourth, 'data', '{"never closed');
        },
      },
    );
    expect(error).toBe(1);
    expect(states[4]).toBe('completed');
    expect(results[4]).toMatchObject({ config: { training } });
    for (const state of states.slice(0, 3)) expect(state).toMatch(/^failed \S/);
    // It cannot be read, so it is taken and abandoned until that has happened too often.
    expect(states[3]).toBe('active');
    expect(readdirSync(space.file('work'))).toEqual([]);
  });

  it('computes cells of another version and engine with allowMixed, and records its own', async () => {
    const valid = await validJob();
    const config = valid.config as Record<string, unknown>;
    const training = { ...(config.training as object), iterations: 2 };
    const evaluation = { ...(config.evaluation as object), images: 5, attacks: ['fgs'] };
    const job = { ...valid, sweep: 'd'.repeat(64), config: { ...config, training, evaluation } };
    const { redis: server, prefix } = address();
    const client = new Redis(server);
    await claimEngine(client, prefix, job.sweep, 'another engine');
    client.disconnect();
    const { states, results } = await offered([{ ...job, bang: '99.0.0' }], { allowMixed: true });
    expect(states).toEqual(['completed']);
    const { description } = await startEngine({ threads: 1 });
    expect(results).toMatchObject([{ provenance: { bang: version(), engine: description } }]);
  });

  it('leaves a cell for an engine that it lacks to others, and computes the next one', async () => {
    const valid = await validJob();
    const config = valid.config as Record<string, unknown>;
    const training = { ...(config.training as object), iterations: 2 };
    const evaluation = { ...(config.evaluation as object), images: 5, attacks: ['fgs'] };
    const small = { ...valid, sweep: 'f'.repeat(64), config: { ...config, training, evaluation } };
    const other = { ...small, config: { ...small.config, engine: 'tensorflow' } };
    vi.stubEnv('BANG_CACHE', space.file('empty'));
    const said: string[] = [];
    const progress = { ...silent, note: (line: string) => said.push(line) };
    const { states, error } = await offered([other, small], { progress });
    vi.unstubAllEnvs();
    expect(states).toEqual(['delayed', 'completed']);
    expect(error).toBe(1);
    expect(said.filter((line) => line.includes('are left to other workers'))).toEqual([
      expect.stringMatching(/^cells for the engine tensorflow are left to other workers: \S/),
    ]);
  });

  it.each<[string, (job: CellJob) => CellJob, RegExp]>([
    [
      'another version',
      (job) => ({ ...job, bang: '99.0.0' }),
      /^the queue holds cells of bang 99\.0\.0, but this is .*: --allow-mixed computes them anyway, bang sweep cancel FOLDER --queue removes them$/,
    ],
    [
      'another engine',
      (job) => ({ ...job, sweep: 'b'.repeat(64) }),
      /^cells of a sweep in the queue are computed by another engine, but this is .*: --allow-mixed/,
    ],
    [
      'other data',
      (job) => ({ ...job, data: { ...job.data, sha256: 'c'.repeat(64) } }),
      /^the data mnist differ from those of the sweep/,
    ],
  ])('leaves cells of %s to others, and says so', async (_, change, message) => {
    const { redis: server, prefix } = address();
    const client = new Redis(server);
    await claimEngine(client, prefix, 'b'.repeat(64), 'another engine');
    client.disconnect();
    const { states, error } = await offered([change(await validJob())]);
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(message);
    expect(states).toEqual(['waiting']);
    expect(readdirSync(space.file('work'))).toEqual([]);
  });

  it('says so if the queue cannot be reached or refuses the password', async () => {
    const wrong = { ...address(), redis: { ...address().redis, password: 'wrong' } };
    await expect(work(wrong, options())).rejects.toThrow(/^cannot reach .*: WRONGPASS/);
    const nobody = { ...address(), redis: { host: '127.0.0.1', port: 1, db: 0 } };
    await expect(work(nobody, options())).rejects.toThrow(/^cannot reach .*ECONNREFUSED/);
    const none = { ...address(), redis: { ...address().redis, db: 99 } };
    await expect(work(none, options())).rejects.toThrow(/^cannot reach .*DB index is out of range/);
  });
});
