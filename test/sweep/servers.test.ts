import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { silent } from '#bang/base/progress.js';
import type { Server } from '#bang/sweep/address.js';
import { connect } from '#bang/sweep/queue.js';
import { startRedis, type RedisServer } from './redis.js';

const password = 'not for everyone';
let redis: RedisServer;
let other: RedisServer;
let client: Redis;
beforeAll(async () => {
  redis = await startRedis(password);
  other = await startRedis(password);
  client = new Redis({ port: redis.port, password });
});
afterAll(async () => {
  client.disconnect();
  await redis.stop();
  await other.stop();
});

/** The message with which a server is refused; nothing is written to the console. */
async function refusal(more: Partial<Server>): Promise<string> {
  const server = { host: '127.0.0.1', port: redis.port, db: 0, password, ...more };
  const said = (['log', 'warn', 'error'] as const).map((kind) =>
    vi.spyOn(console, kind).mockImplementation(() => undefined),
  );
  const address = { redis: server, prefix: '{tests}', text: 'of the tests' };
  const found: unknown = await connect(address, silent, { answerMs: 3000 }).catch(
    (error: unknown) => error,
  );
  for (const one of said) expect(one).not.toHaveBeenCalled();
  vi.restoreAllMocks();
  expect(found).toMatchObject({ name: 'UserError' });
  return (found as Error).message;
}

it('says that a port does not speak TLS', async () => {
  expect(await refusal({ tls: {} })).toMatch(
    /^cannot reach the queue of the tests: it does not speak TLS on this port: use redis:/,
  );
});

it('says which command a user may not use', async () => {
  await client.call('ACL', ...'SETUSER few on >pw ~* +@all -info'.split(' '));
  expect(await refusal({ username: 'few', password: 'pw' })).toBe(
    'the queue of the tests does not allow its user the command info: give the user the rights in docs/scaling.md',
  );
});

it('says that a server is a replica, and of which one', async () => {
  const replica = new Redis({ port: other.port, password });
  await replica.replicaof('127.0.0.1', redis.port);
  expect(await refusal({ port: other.port })).toBe(
    `the queue of the tests is a replica, which workers cannot write to: give the address of its master, 127.0.0.1:${redis.port}`,
  );
  await replica.call('REPLICAOF', 'NO', 'ONE');
  replica.disconnect();
});
