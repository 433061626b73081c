import type { Options } from 'yargs';
import { UserError } from '../base/errors.js';
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
  if (args.queue !== undefined) return requiredAddress(args);
  const { queuePrefix, queuePasswordFile } = args;
  if (queuePrefix === queueOptions['queue-prefix'].default && queuePasswordFile === undefined) {
    return undefined;
  }
  throw new UserError(
    '--queue-prefix and --queue-password-file are of a queue: name it with --queue',
  );
}

/** @throws UserError if neither the command line nor the environment names a queue */
export function requiredAddress(args: QueueArguments): QueueAddress {
  const { queue, queuePrefix: prefix, queuePasswordFile: passwordFile } = args;
  return queueAddress(queue, { prefix, passwordFile });
}
