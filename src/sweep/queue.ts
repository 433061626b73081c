import { createConnection } from 'node:net';
import { gunzipSync, gzipSync } from 'node:zlib';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { sha256Of } from '../base/digest.js';
import { DATA_NAMES } from '../data/sources.js';
import { messageOf, UserError } from '../base/errors.js';
import type { Progress } from '../base/progress.js';
import type { QueueAddress, Server } from './address.js';
import { KEEPABLE } from '../config/sweep.js';

/** The queue of all sweeps with a prefix. */
export const QUEUE = 'cells';

/**
 * A connection that survives restarts of the server and network failures: requests wait until it is back.
 *
 * @param options.beatMs milliseconds after which a silent connection is replaced
 * @param options.answerMs milliseconds to wait for the first answer
 * @throws UserError if the server cannot be reached, or may drop data when its memory is full
 */
export async function connect(
  address: QueueAddress,
  progress: Progress,
  { beatMs = BEAT_MS, answerMs = ANSWER_MS } = {},
): Promise<Redis> {
  const { redis, text } = await serverOf(address, answerMs);
  const retryStrategy = (times: number): number => Math.min(100 * times, 2000);
  const client = new Redis({
    ...redis,
    lazyConnect: true,
    maxRetriesPerRequest: null,
    retryStrategy,
  });
  watchConnection(client, text, progress);
  replaceSilent(client, beatMs);
  await client.connect();
  return client;
}

/** The server that has the queue's keys: the given one, or, in a Redis Cluster, another. */
async function serverOf(address: QueueAddress, answerMs: number): Promise<QueueAddress> {
  const moved = await refuseUnfit(address, answerMs);
  if (moved === undefined) return address;
  const { redis, text } = address;
  // An empty host means the same one.
  const at = moved.lastIndexOf(':');
  const host = moved.slice(0, at) || redis.host;
  const port = Number(moved.slice(at + 1));
  const server = { ...address, redis: { ...redis, host, port }, text: `${text} (${moved})` };
  if ((await refuseUnfit(server, answerMs)) === undefined) return server;
  throw new UserError(`the cluster ${text} is moving the keys of the queue: try again`);
}

/**
 * Tries once, so that a wrong address is not tried for ever.
 *
 * @returns the server that has the queue's keys, if it is another one of a cluster
 */
async function refuseUnfit(
  { redis, text, prefix }: QueueAddress,
  answerMs: number,
): Promise<string | undefined> {
  const cannot = (why: string): UserError =>
    new UserError(`cannot reach the queue ${text}: ${why}`);
  // The library's own check of readiness writes to stderr if it is not allowed.
  const once = new Redis({
    ...{ ...redis, db: 0, lazyConnect: true, retryStrategy: () => null },
    enableReadyCheck: false,
  });
  let problem = '';
  once.on('error', (error: Error) => (problem ||= error.message));
  const timer = setTimeout(() => {
    problem ||= 'it does not answer';
    once.disconnect();
  }, answerMs);
  let info: string;
  let moved: string | undefined;
  try {
    await once.connect();
    info = await once.info();
    while (/^loading:1/m.test(info)) {
      await pause(200);
      info = await once.info();
    }
    if (/^redis_mode:sentinel/m.test(info)) {
      throw cannot('it is a Redis Sentinel: give the address of the server that it watches');
    }
    // Otherwise a number that the server does not have would silently mean database 0.
    await once.select(redis.db);
    moved = await once.exists(`${prefix}:${QUEUE}:meta`).then(
      () => undefined,
      (error: unknown) => {
        const to = /^MOVED \d+ (\S+)$/.exec(messageOf(error))?.[1];
        if (to === undefined) throw error;
        return to;
      },
    );
  } catch (error) {
    if (error instanceof UserError) throw error;
    const why = problem === '' ? messageOf(error) : problem;
    if (why.startsWith('NOPERM')) throw notAllowed(text, why);
    throw cannot(redis.tls && (await answersPlainly(redis)) ? NO_TLS : whyInWords(why, redis));
  } finally {
    clearTimeout(timer);
    once.disconnect();
  }
  if (/^role:slave/m.test(info)) {
    const value = (name: string): string =>
      new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1] ?? 'unknown';
    const master = `${value('master_host')}:${value('master_port')}`;
    throw new UserError(
      `the queue ${text} is a replica, which workers cannot write to: give the address of its master, ${master}`,
    );
  }
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? 'noeviction';
  if (policy === 'noeviction') return moved;
  throw new UserError(
    `the queue ${text} may drop cells and results when its memory is full: set its maxmemory-policy to noeviction (it is ${policy})`,
  );
}

const NO_TLS =
  'it does not speak TLS on this port: use redis:// instead of rediss://, or the port for TLS';

/** Whether a server answers without TLS. One that expects a line waits silently for a TLS greeting to end. */
async function answersPlainly({ host, port }: Server): Promise<boolean> {
  const socket = createConnection({ host, port });
  const answer = new Promise<boolean>((resolve) => {
    socket.setTimeout(1000, () => {
      resolve(false);
    });
    socket.on('error', () => {
      resolve(false);
    });
    socket.on('close', () => {
      resolve(false);
    });
    socket.on('data', (bytes) => {
      resolve(/^[+-]/.test(bytes.toString('latin1')));
    });
  });
  socket.write('PING\r\n');
  try {
    return await answer;
  } finally {
    socket.destroy();
  }
}

/** Why a server cannot be reached, with what to do where the library's words do not say it. */
function whyInWords(why: string, { tls, db }: Server): string {
  if (!tls && /Connection is closed|ECONNRESET|Protocol error/.test(why)) {
    return `it does not answer like a Redis server on this port (${why}): if it expects TLS, use rediss://`;
  }
  if (why.includes('SELECT is not allowed in cluster mode')) {
    return `a cluster has only database 0: leave out /${db}`;
  }
  return why;
}

function notAllowed(text: string, message: string): UserError {
  const what = /the '(\S+?)' command/.exec(message)?.[1];
  const right = what === undefined ? 'what the queue needs' : `the command ${what}`;
  return new UserError(
    `the queue ${text} does not allow its user ${right}: give the user the rights in docs/scaling.md`,
  );
}

/** The time limit for the first answer. */
const ANSWER_MS = 15_000;
/** A result with weights may take this long on a slow line, and a ping waits for it. */
const BEAT_MS = 30_000;

/**
 * Replaces a connection that has gone silent without being closed, as when a firewall drops it; the
 * operating system would take a quarter of an hour to notice. Pending requests are sent again.
 */
function replaceSilent(client: Redis, beatMs: number): void {
  let asked = false;
  /** Ending a silent connection takes a moment, in which it must not be replaced again. */
  let replaced: unknown;
  const timer = setInterval(() => {
    if (client.status === 'end') clearInterval(timer);
    else if (client.status === 'ready' && !asked) {
      asked = true;
      client.ping().then(
        () => (asked = false),
        () => (asked = false),
      );
    } else if (['ready', 'connect'].includes(client.status) && client.stream !== replaced) {
      replaced = client.stream;
      client.disconnect(true);
    }
  }, beatMs);
  timer.unref();
}

/** A UserError for an error reply of the server; other errors unchanged. */
export function refusalInWords(error: unknown, text: string): unknown {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return error;
  if (error.message.startsWith('NOPERM')) return notAllowed(text, error.message);
  return new UserError(`the queue ${text} refuses: ${error.message}`);
}

/** A job for a worker: an experiment without any path, or name that becomes one. */
export const cellJobSchema = z.strictObject({
  format: z.literal(1),
  /** The same for all cells of a sweep. */
  sweep: z.string().regex(/^[0-9a-f]{64}$/),
  /** Checked by `checkConfig`. */
  config: z.unknown(),
  data: z.strictObject({ name: z.enum(DATA_NAMES), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  /** The version of bang that made the job. */
  bang: z.string().max(100),
  keep: z.array(z.enum(KEEPABLE)).max(KEEPABLE.length),
});

export type CellJob = z.output<typeof cellJobSchema>;

/** More is never asked of the server, unpacked or parsed: a mistake or an attack. */
export const MOST_BYTES = {
  /** It repeats the configuration, whose job is bounded as well. */
  result: 4e6,
  table: 1e6,
  robustness: 1e6,
  masking: 1e6,
  budgets: 1e6,
  noise: 1e6,
  /** 10 000 lines. */
  perImage: 2e7,
  /** A network of one's own has at most 2²⁴ parameters. */
  weights: 9e7,
  training: 1e8,
} as const;

/** A job with its result or the reason of its failure, as the server holds it. */
const MOST_JOB_BYTES = 4e6;

const sha = z.string().regex(/^[0-9a-f]{64}$/);

/** A worker's reply for a finished cell: its files, by the hashes of their contents. */
export const manifestSchema = z.strictObject({
  files: z
    .partialRecord(
      z.enum(Object.keys(MOST_BYTES) as [CarriedFile, ...CarriedFile[]]),
      z.strictObject({ sha256: sha, bytes: z.int().min(0) }),
    )
    .refine((files) =>
      Object.entries(files).every(([name, { bytes }]) => bytes <= MOST_BYTES[name as CarriedFile]),
    ),
});

export type Manifest = z.output<typeof manifestSchema>;
export type CarriedFile = keyof typeof MOST_BYTES;

/** After this time the server removes results that nobody collects. */
export const KEPT_SECONDS = 14 * 24 * 3600;

/** A script, so that content is never stored without an expiry, which would keep it for ever. */
const PUT = `redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])`;
const ROOM_MS = 2000;

/**
 * The files that workers of a job send back, by the hash of their content. If two workers send files, both
 * are stored until the job is removed, and the manifest says which count.
 */
export function contentStore(client: Redis, prefix: string) {
  const key = (job: string): string => `${prefix}:content:${job}`;
  return {
    /** Waits while the server's memory is full, unless the signal aborts. */
    async put(
      job: string,
      content: Buffer,
      { progress, signal }: { progress: Progress; signal: AbortSignal },
    ): Promise<{ sha256: string; bytes: number }> {
      const sha256 = sha256Of(content);
      const packed = gzipSync(content);
      for (let noted = false; ; noted = true) {
        try {
          await client.eval(PUT, 1, key(job), sha256, packed, KEPT_SECONDS);
          return { sha256, bytes: content.length };
        } catch (error) {
          if (!messageOf(error).startsWith('OOM') || signal.aborted) throw error;
          if (!noted) progress.note('the memory of the queue is full; waiting until there is room');
          await pause(ROOM_MS);
        }
      }
    },
    /** Undefined if the content is missing, larger than it says, or does not have this hash. */
    async get(
      job: string,
      { sha256, bytes }: { sha256: string; bytes: number },
    ): Promise<Buffer | undefined> {
      const packed = await unlessOther(async () => {
        // Compressing makes a file that cannot be compressed a little longer.
        const length = await client.hstrlen(key(job), sha256);
        return length > 1.01 * bytes + 1000 ? null : client.hgetBuffer(key(job), sha256);
      });
      if (!packed) return undefined;
      try {
        const content = gunzipSync(packed, { maxOutputLength: bytes + 1 });
        const found = sha256Of(content);
        return found === sha256 ? content : undefined;
      } catch {
        return undefined;
      }
    },
    async remove(job: string): Promise<void> {
      await client.unlink(key(job));
    },
  };
}

/** The value of work, or null if the server has something of another kind in its place. */
async function unlessOther<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (messageOf(error).includes('WRONGTYPE')) return null;
    throw error;
  }
}

/** The lengths of all names and values of a hash. */
const LENGTH = `local sum = 0
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  sum = sum + #name + redis.call('HSTRLEN', KEYS[1], name)
end
return sum`;

/** Whether a job can be read, which parses all of it: it is a hash, and not too large. */
export async function isReadable(client: Redis, prefix: string, job: string): Promise<boolean> {
  const length = await unlessOther(() => client.eval(LENGTH, 1, jobKey(prefix, job)));
  return length !== null && Number(length) <= MOST_JOB_BYTES;
}

export function jobKey(prefix: string, job: string): string {
  return `${prefix}:${QUEUE}:${job}`;
}

export type ContentStore = ReturnType<typeof contentStore>;

/**
 * Claims an engine for a sweep unless it has one, so that all its cells use the same.
 *
 * @returns the engine of the sweep
 */
export async function claimEngine(
  client: Redis,
  prefix: string,
  sweep: string,
  engine: string,
): Promise<string> {
  const key = engineKey(prefix, sweep);
  await client.set(key, engine, 'EX', KEPT_SECONDS, 'NX');
  // Each request renews its expiry.
  return (await client.getex(key, 'EX', KEPT_SECONDS)) ?? engine;
}

export function engineKey(prefix: string, sweep: string): string {
  return `${prefix}:engine:${sweep}`;
}

/** Notes when a connection is lost, once, and when it is back. */
function watchConnection(client: Redis, text: string, progress: Progress): void {
  let lost = false;
  client.on('error', () => undefined);
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

/** Closes connections, but waits only `CLOSE_MS` for a server that is away. */
export async function closeAll(parts: readonly Closable[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const soon = new Promise((resolve) => (timer = setTimeout(resolve, CLOSE_MS)));
  await Promise.race([Promise.allSettled(parts.map((part) => part.close())), soon]);
  clearTimeout(timer);
  // Harmless for those that are closed.
  for (const part of parts) part.disconnect().catch(() => undefined);
}
