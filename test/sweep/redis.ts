import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';

/** The paths of PEM files. */
export interface Certificate {
  key: string;
  cert: string;
  /** The certificate of the authority that signed it. */
  ca: string;
}

export interface RedisServer {
  url: string;
  port: number;
  /** Kills it, like a power cut, and starts it again from its append-only file. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts a Redis server for tests on a free port, with an append-only file.
 *
 * @param more further settings of redis.conf
 */
export async function startRedis(
  password: string,
  tls?: Certificate,
  more: Record<string, string | number> = {},
): Promise<RedisServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'bang-redis-'));
  const port = await freePort();
  let server = await start(folder, port, password, tls, more);
  const kill = async (): Promise<void> => {
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  };
  return {
    url: tls ? `rediss://localhost:${port}` : `redis://127.0.0.1:${port}`,
    port,
    async restart() {
      await kill();
      server = await start(folder, port, password, tls, more);
    },
    async stop() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function start(
  folder: string,
  port: number,
  password: string,
  tls: Certificate | undefined,
  more: Record<string, string | number>,
): Promise<ChildProcess> {
  const settings = {
    ...(tls
      ? {
          ...{ port: 0, 'tls-port': port, 'tls-auth-clients': 'no' },
          ...{ 'tls-key-file': tls.key, 'tls-cert-file': tls.cert, 'tls-ca-cert-file': tls.ca },
        }
      : { port }),
    ...{ dir: folder, bind: '127.0.0.1', appendonly: 'yes', save: '', requirepass: password },
    ...more,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const server = spawn('redis-server', args, { stdio: 'ignore' });
  const failed = once(server, 'error').then(([error]) => {
    throw new Error(`these tests need redis-server (Debian's package): ${String(error)}`);
  });
  const secure = tls && { tls: { ca: readFileSync(tls.ca), servername: 'localhost' } };
  const client = new Redis({ port, password, maxRetriesPerRequest: null, ...secure });
  client.on('error', () => undefined);
  try {
    await Promise.race([client.ping(), failed]);
  } finally {
    client.disconnect();
  }
  return server;
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
