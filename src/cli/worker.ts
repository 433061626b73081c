import type { CommandModule } from 'yargs';
import { counted } from '../base/text.js';
import { Interrupted, UserError } from '../base/errors.js';
import { inTemporaryFolder } from '../base/folders.js';
import { flag, interruptible, processOptions, textOption } from './options.js';
import { print } from './print.js';
import { queueOptions, requiredAddress, type QueueArguments } from './queueOptions.js';

interface WorkerArguments extends QueueArguments {
  jobs?: number;
  threads?: number;
  dataDir?: string;
  work?: string;
  idle?: number;
  allowMixed: boolean;
}

export const workerCommand: CommandModule<object, WorkerArguments> = {
  builder: (yargs) =>
    yargs
      .options(queueOptions)
      .options(processOptions)
      .options(
        textOption(
          'work',
          'the folder to compute in; cells begun there continue after a restart (default: a temporary folder)',
        ),
      )
      .option('idle', {
        requiresArg: true,
        describe: 'end after so many seconds without a cell (default: never)',
      })
      .option(
        'allow-mixed',
        flag('also take cells of another version of bang, or of a sweep with another engine'),
      )
      .example('$0 worker --queue redis://host:6379', 'until Ctrl-C')
      .example('BANG_QUEUE=rediss://host:6380 $0 worker --idle 60', 'until nothing is left to do')
      .epilog(
        'When stopped with Ctrl-C or SIGTERM, a worker puts its cells back into the queue; if it is killed, the queue notices within a minute. BANG_QUEUE is the default of --queue, and BANG_QUEUE_PASSWORD the password.',
      ) as never,
  handler: async (args) => {
    const { jobs, threads, dataDir, work: given, allowMixed } = args;
    const address = requiredAddress(args);
    const idle = secondsIn(args.idle);
    const { work } = await import('../sweep/worker.js');
    const computed = await interruptible(
      async (signal, progress) => {
        const options = { jobs, threads, dataDir, allowMixed, idle, progress, signal };
        const inside = (folder: string) => work(address, { ...options, work: folder });
        const count = await (given === undefined
          ? inTemporaryFolder('bang-worker-', inside)
          : inside(given));
        if (signal.aborted) throw new Interrupted(`stopped after ${counted(count, 'cell')}`);
        return count;
      },
      { resumes: given !== undefined },
    );
    print(`${counted(computed, 'cell')} computed`);
  },
};

function secondsIn(idle: number | undefined): number | undefined {
  if (idle === undefined || (typeof idle === 'number' && idle >= 0)) return idle;
  throw new UserError(`--idle must be a number of seconds, 0 or more, not ${String(idle)}`);
}
