import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
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
import { freePort, startRedis, type RedisServer } from './redis.js';

const password = 'not for everyone';
const env = { BANG_QUEUE_PASSWORD: password };
const CELLS = ['beta-1', 'beta-1.5'];
const sets = ['training.iterations=5', 'evaluation.images=8', 'evaluation.attacks=[fgs]'];
const sweep = [
  ...['sweep', 'sweep.yaml', '--data-dir', 'data', '--keep', 'weights'],
  ...sets.flatMap((one) => ['--set', one]),
];

let space: Workspace;
beforeAll(async () => {
  space = workspace();
  writeSmallData(space, 'data', { train: 100, test: 60 });
  space.write('tiny.yaml', tinyConfig());
  space.write('sweep.yaml', 'base: tiny.yaml\ngrid: {training.bang.beta: [1, 1.5]}\n');
  await bangOk([...sweep, '--out', 'local'], { cwd: space.folder });
});
afterAll(() => {
  space.remove();
});

/** Has a worker compute the sweep through queues, which may be addresses of the same one, and compares all numbers. */
async function sweepThrough(queue: string, ofWorker: string, out: string): Promise<void> {
  const options = { cwd: space.folder, env };
  const args = ['worker', '--queue', ofWorker, '--data-dir', 'data', '--work', `work-${out}`];
  const worker = spawn(process.execPath, [executable(), ...args], {
    ...{ cwd: space.folder, env: { ...process.env, ...env, BANG_THREADS: '1' } },
  });
  let said = '';
  worker.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = once(worker, 'close');
  try {
    const { stderr } = await bangOk([...sweep, '--queue', queue, '--out', out], options);
    expect(stderr).toMatch(/^sweep: 2 of 2 cells done$/m);
  } finally {
    worker.kill('SIGTERM');
    expect(await ended, said).toEqual([130, null]);
  }
  expect(said).not.toMatch(/not for everyone|^ +at /m);
  const lines = (folder: string) =>
    readCsv(space.file(folder, 'sweep.csv')).map((line) => ({
      ...line,
      ...{ seconds: '', seconds_training: '', finished: '' },
    }));
  expect(lines(out)).toEqual(lines('local'));
  for (const cell of CELLS) {
    const [ours, local] = [out, 'local'].map((folder) => path.join(folder, 'cells', cell));
    expect(tensors(space, ours)).toEqual(tensors(space, local));
  }
}

/** Three servers that share the keys, and the one that has those of the queue. */
async function startCluster(): Promise<{ servers: RedisServer[]; owner: number }> {
  const servers: RedisServer[] = [];
  const buses: number[] = [];
  for (let i = 0; i < 3; i++) {
    // By default it is 10 000 above the port, which may not exist.
    buses.push(await freePort());
    const more = {
      'cluster-enabled': 'yes',
      'cluster-port': buses[i],
      'cluster-node-timeout': 5000,
    };
    servers.push(await startRedis(password, undefined, more));
  }
  const clients = servers.map(({ port }) => new Redis({ port, password }));
  try {
    const bound = [0, 5461, 10_923, 16_384];
    for (const [i, client] of clients.entries()) {
      await client.call('CLUSTER', 'ADDSLOTSRANGE', bound[i], bound[i + 1] - 1);
      await clients[0].call('CLUSTER', 'MEET', '127.0.0.1', servers[i].port, buses[i]);
    }
    const isWhole = async (client: Redis): Promise<boolean> => {
      const info = String(await client.call('CLUSTER', 'INFO'));
      return /^cluster_state:ok/m.test(info) && /^cluster_known_nodes:3/m.test(info);
    };
    for (const client of clients) {
      while (!(await isWhole(client))) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const slot = Number(await clients[0].call('CLUSTER', 'KEYSLOT', '{bang}:cells:meta'));
    return { servers, owner: bound.findIndex((_, i) => slot < bound[i + 1]) };
  } finally {
    for (const client of clients) client.disconnect();
  }
}

it('a Redis Cluster gives the results of a local sweep, whichever of its servers is named', async () => {
  const { servers, owner } = await startCluster();
  try {
    const [one, other] = servers.filter((_, i) => i !== owner);
    await sweepThrough(one.url, other.url, 'cluster');
    const counts = await Promise.all(
      servers.map(async ({ port }) => {
        const client = new Redis({ port, password });
        const count = await client.dbsize();
        client.disconnect();
        return count;
      }),
    );
    expect(counts.map((count) => count > 0)).toEqual(servers.map((_, i) => i === owner));
  } finally {
    for (const server of servers) await server.stop();
  }
});

it('a user with the rights that docs/scaling.md names can do all of it, and nothing with other keys', async () => {
  const doc = readFileSync(path.join(packageRoot, 'docs', 'scaling.md'), 'utf8');
  const rights = /^ACL SETUSER bang on >PASSWORD (.+)$/m.exec(doc)![1].split(' ');
  const redis = await startRedis('of the administrator');
  try {
    const client = new Redis({ port: redis.port, password: 'of the administrator' });
    await client.call('ACL', 'SETUSER', 'bang', 'on', `>${password}`, ...rights);
    const url = redis.url.replace('redis://', 'redis://bang@');
    await sweepThrough(url, url, 'rights');
    const options = { cwd: space.folder, env };
    const cancel = await bangOk(['sweep', 'cancel', 'rights', '--queue', url], options);
    expect(cancel.stderr).not.toMatch(/NOPERM|does not allow/);
    // Nothing that the user was not allowed was asked for.
    const log = (await client.call('ACL', 'LOG')) as unknown[];
    expect(log).toEqual([]);
    client.disconnect();

    const elsewhere = [...sweep, '--queue', url, '--queue-prefix', 'other', '--out', 'elsewhere'];
    const refused = await bang(elsewhere, options);
    expect(refused.stderr).toMatch(
      /^bang: the queue .* does not allow its user .*: give the user the rights in docs\/scaling\.md$/m,
    );
    expect(refused).toMatchObject({ code: 2, stdout: '' });
  } finally {
    await redis.stop();
  }
});
