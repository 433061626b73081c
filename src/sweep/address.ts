import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { UserError } from '../base/errors.js';
import { reason } from '../base/files.js';

/** How to connect to a Redis server. */
export interface Server {
  host: string;
  port: number;
  db: number;
  username?: string;
  password?: string;
  tls?: { servername?: string };
}

/** The server of a queue, and the prefix of its keys. */
export interface QueueAddress {
  redis: Server;
  prefix: string;
  /** For messages: without user and password. */
  text: string;
}

/**
 * The address of a queue. The password comes from a file or the environment, which other users cannot
 * read.
 *
 * @param url `redis://host:port/db` or `rediss://…`; undefined: `$BANG_QUEUE`
 * @throws UserError if the address is missing or invalid, has a password on the command line, or the
 *   password's file cannot be read
 */
export function queueAddress(
  url: string | undefined,
  { prefix, passwordFile }: { prefix: string; passwordFile?: string },
  env: NodeJS.ProcessEnv = process.env,
): QueueAddress {
  const text = url ?? env.BANG_QUEUE;
  if (text === undefined || text === '') {
    throw new UserError('no queue is given: use --queue redis://HOST:PORT or set BANG_QUEUE');
  }
  const source = url === undefined ? 'BANG_QUEUE' : '--queue';
  // After these, the rest of a password would be taken for a path, and part of it shown.
  const odd = /^rediss?:\/\/[^@]*?([/#?])[^@]*@/.exec(text)?.[1];
  if (odd !== undefined) {
    const how = `encode it as ${encodeURIComponent(odd)}, or put the password into BANG_QUEUE_PASSWORD`;
    throw new UserError(`${source}: the user or password has a "${odd}": ${how}`);
  }
  let parsed: URL;
  try {
    parsed = new URL(text);
  } catch {
    throw new UserError(`${source} is not an address such as redis://localhost:6379`);
  }
  const { protocol, hostname, port, pathname, search, hash } = parsed;
  const database = pathname.replace(/^\//, '');
  const plain = /^\d{0,4}$/.test(database) && search === '' && hash === '';
  if (!['redis:', 'rediss:'].includes(protocol) || hostname === '' || !plain) {
    throw new UserError(
      `${source} is not an address such as redis://localhost:6379/0, or rediss:// for TLS`,
    );
  }
  if (url !== undefined && parsed.password !== '') {
    throw new UserError(
      'other users can read a password in --queue: put it into BANG_QUEUE_PASSWORD, or into a file for --queue-password-file',
    );
  }
  if (!/^[\w.:-]{1,100}$/.test(prefix)) {
    throw new UserError(
      `--queue-prefix: expected letters, digits, ".", ":", "_" and "-", found ${prefix}`,
    );
  }
  const password =
    passwordFile === undefined
      ? (env.BANG_QUEUE_PASSWORD ?? decoded(parsed.password, source))
      : secretIn(passwordFile);
  const username = decoded(parsed.username, source);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    redis: {
      host,
      port: port === '' ? 6379 : Number(port),
      db: Number(database),
      ...(username !== '' && { username }),
      ...(password !== '' && { password }),
      // An IP address is not a server name: the certificate must contain it as an address.
      ...(protocol === 'rediss:' && { tls: isIP(host) === 0 ? { servername: host } : {} }),
    },
    // A Redis Cluster keeps all keys with the same text in braces on the same server.
    prefix: `{${prefix}}`,
    text: `${protocol}//${hostname}:${port === '' ? 6379 : port}/${Number(database)}`,
  };
}

function decoded(text: string, source: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new UserError(`${source}: write "%" in a user or password as %25`);
  }
}

function secretIn(file: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new UserError(`cannot read ${file}: ${reason(error)}`);
  }
}
