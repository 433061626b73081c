import { setTimeout } from 'node:timers/promises';
import type { CommandModule } from 'yargs';
import { ExperimentError, UserError } from '../base/errors.js';
import { writeFileAtomic } from '../base/files.js';
import { counted, shellWord } from '../base/text.js';
import { readLock } from '../store/lock.js';
import { statesIn } from '../sweep/sweep.js';
import { planIn, sweepFolder, type SweepFolder } from '../sweep/sweepFolder.js';
import { consoleProgress } from './consoleProgress.js';
import { print } from './print.js';
import { addressIn, type QueueArguments, queueOptions } from './queueOptions.js';
import { folderArgument, type InFolder, textOption } from './options.js';

export const cancelCommand: CommandModule<object, InFolder & QueueArguments> = {
  command: 'cancel <folder>',
  describe: 'stop a running sweep, wherever it was started; it can be continued',
  builder: (yargs) =>
    yargs
      .positional('folder', folderArgument)
      .options(queueOptions)
      .options(
        textOption('queue', 'the Redis server of its queue: redis://HOST:PORT, or rediss://'),
      )
      .example('$0 sweep cancel runs/lenet', 'like Ctrl-C where it runs')
      .example(
        '$0 sweep cancel runs/lenet --queue redis://host:6379',
        'and remove its cells from the queue, even if it is not running',
      ) as never,
  handler: cancel,
};

const WAIT_MS = 120_000;

async function cancel({ folder: out, ...args }: InFolder & QueueArguments): Promise<void> {
  const plan = await planIn(out);
  const address = addressIn(args);
  const folder = sweepFolder(out, plan);
  const working = (): boolean => readLock(folder.file('lock'))?.live === true;
  const runs = working();
  if (!runs && !address) throw new UserError(`no sweep is running in ${out}`);
  if (runs) await stop(out, folder, working);
  if (address) {
    const { withdraw } = await import('../sweep/jobs.js');
    const { taken, left } = await withdraw(plan, address, consoleProgress());
    print(
      `removed from the queue: ${counted(taken, 'cell')}; begun or finished by workers: ${left}`,
    );
  }
  const open = [...statesIn(plan, folder).values()].some(({ state }) => state === 'open');
  const more = open ? `; bang sweep retry ${shellWord(out)} continues` : '';
  print(`${runs ? 'stopped' : 'nothing was running'}${more}`);
}

async function stop(out: string, folder: SweepFolder, working: () => boolean): Promise<void> {
  writeFileAtomic(folder.file('cancel'), '');
  const begun = Date.now();
  while (working()) {
    if (Date.now() - begun > WAIT_MS) {
      throw new ExperimentError(`the sweep in ${out} was told to stop, but is still running`);
    }
    await setTimeout(200);
  }
}
