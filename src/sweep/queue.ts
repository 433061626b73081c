import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { DATA_NAMES } from '../data/sources.js';
import { UserError } from '../errors.js';
import type { Progress } from '../progress.js';
import type { QueueAddress, Server } from './address.js';
import { KEEPABLE } from './folder.js';

/** The queue of all sweeps of a prefix. */
export const QUEUE = 'cells';

/** A connection that was made, or the reason why none can be. */
export async function connect({ redis, text }: QueueAddress): Promise<Redis> {
  const client = new Redis({ ...patient(redis), lazyConnect: true });
  let problem = '';
  client.on('error', (error: Error) => (problem ||= error.message));
  // The first attempt decides: an address that is wrong is not to be tried for ever.
  const once = new Redis({ ...redis, lazyConnect: true, retryStrategy: () => null });
  once.on('error', (error: Error) => (problem ||= error.message));
  try {
    await once.connect();
    await once.ping();
  } catch (error) {
    const why = problem === '' ? (error as Error).message : problem;
    throw new UserError(`cannot reach the queue ${text}: ${why}`);
  } finally {
    once.disconnect();
  }
  await client.connect();
  return client;
}

/** Requests wait for as long as a restart of the server, or a cut, takes. */
export function patient(redis: Server) {
  const retryStrategy = (times: number): number => Math.min(100 * times, 2000);
  return { ...redis, maxRetriesPerRequest: null, retryStrategy } as const;
}

/** What travels to a worker: an experiment and nothing else. No path, and no name that becomes one. */
export const cellJobSchema = z.strictObject({
  format: z.literal(1),
  /** Of all cells of a sweep the same. */
  sweep: z.string().regex(/^[0-9a-f]{64}$/),
  /** Checked by `checkConfig`. */
  config: z.unknown(),
  data: z.strictObject({ name: z.enum(DATA_NAMES), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  /** The version whose meaning of the config holds. */
  bang: z.string().max(100),
  keep: z.array(z.enum(KEEPABLE)).max(KEEPABLE.length),
});

export type CellJob = z.output<typeof cellJobSchema>;

const sha = z.string().regex(/^[0-9a-f]{64}$/);

/** What a worker says of a finished cell: its files, each by the hash of its content. */
export const manifestSchema = z.strictObject({
  files: z.partialRecord(
    z.enum(['result', 'table', 'weights', 'perImage', 'training']),
    z.strictObject({ sha256: sha, bytes: z.int().min(0).max(1e9) }),
  ),
});

export type Manifest = z.output<typeof manifestSchema>;
export type CarriedFile = keyof Manifest['files'];

/** What nobody collects is removed by the server after so long. */
export const KEPT_SECONDS = 14 * 24 * 3600;

/** The files that the job of a cell sends back, by the hash of their content. */
export function contentStore(client: Redis, prefix: string) {
  const key = (job: string, sha256: string): string => `${prefix}:content:${job}:${sha256}`;
  return {
    async put(job: string, content: Buffer): Promise<{ sha256: string; bytes: number }> {
      const sha256 = createHash('sha256').update(content).digest('hex');
      await client.set(key(job, sha256), gzipSync(content), 'EX', KEPT_SECONDS);
      return { sha256, bytes: content.length };
    },
    /** Undefined if it is not there, or not what its name says. */
    async get(
      job: string,
      { sha256, bytes }: { sha256: string; bytes: number },
    ): Promise<Buffer | undefined> {
      const packed = await client.getBuffer(key(job, sha256));
      if (!packed) return undefined;
      try {
        const content = gunzipSync(packed, { maxOutputLength: bytes + 1 });
        const found = createHash('sha256').update(content).digest('hex');
        return found === sha256 ? content : undefined;
      } catch {
        return undefined;
      }
    },
    async remove(job: string, sha256s: readonly string[]): Promise<void> {
      if (sha256s.length > 0) await client.del(...sha256s.map((sha256) => key(job, sha256)));
    },
  };
}

export type ContentStore = ReturnType<typeof contentStore>;

/**
 * The engine of a sweep: that of the worker that asks first, so that all its cells have one.
 *
 * @returns the engine that the sweep has
 */
export async function claimEngine(
  client: Redis,
  prefix: string,
  sweep: string,
  engine: string,
): Promise<string> {
  const key = `${prefix}:engine:${sweep}`;
  await client.set(key, engine, 'EX', KEPT_SECONDS, 'NX');
  return (await client.get(key)) ?? engine;
}

/** A note for the first of many errors of a connection, and one when it is back. */
export function watchConnection(client: Redis, text: string, progress: Progress): void {
  let lost = false;
  client.on('close', () => {
    if (!lost && client.status !== 'end')
      progress.note(`lost the connection to ${text}; trying again`);
    lost = true;
  });
  client.on('ready', () => {
    if (lost) progress.note(`connected to ${text} again`);
    lost = false;
  });
}

interface Closable {
  close(): Promise<unknown>;
  disconnect(): Promise<unknown>;
}

const CLOSE_MS = 5000;

/** Ends connections in order, but waits only for a moment for a server that is away. */
export async function closeAll(parts: readonly Closable[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const soon = new Promise((resolve) => (timer = setTimeout(resolve, CLOSE_MS)));
  await Promise.race([Promise.allSettled(parts.map((part) => part.close())), soon]);
  clearTimeout(timer);
  // What is closed takes no harm.
  for (const part of parts) part.disconnect().catch(() => undefined);
}
