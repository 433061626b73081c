import type { Options } from 'yargs';
import { queueAddress, type QueueAddress } from '../sweep/address.js';
import { textOption } from './options.js';

/** Options of commands that use a queue. */
export const queueOptions = {
  ...textOption(
    'queue',
    'a Redis server, redis://HOST:PORT, or rediss:// for TLS: bang worker computes there',
  ),
  'queue-prefix': {
    type: 'string',
    requiresArg: true,
    default: 'bang',
    describe: 'prefix of all keys on that server',
  },
  ...textOption(
    'queue-password-file',
    'a file with the password of the server (or set BANG_QUEUE_PASSWORD)',
  ),
} as const satisfies Record<string, Options>;

export interface QueueArguments {
  queue?: string;
  queuePrefix: string;
  queuePasswordFile?: string;
}

/** The queue of `--queue`, if given. */
export function addressIn(args: QueueArguments): QueueAddress | undefined {
  if (args.queue === undefined) return undefined;
  return requiredAddress(args);
}

/** @throws UserError if neither the command line nor the environment names a queue */
export function requiredAddress(args: QueueArguments): QueueAddress {
  const { queue, queuePrefix: prefix, queuePasswordFile: passwordFile } = args;
  return queueAddress(queue, { prefix, passwordFile });
}
