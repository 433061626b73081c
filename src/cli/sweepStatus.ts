import type { CommandModule } from 'yargs';
import { readLock } from '../store/lock.js';
import { bestOf, pointsOf, progressText } from '../sweep/summary.js';
import { cellsIn } from '../sweep/sweep.js';
import { planIn, sweepFolder } from '../sweep/sweepFolder.js';
import { print, printPoints } from './print.js';
import { folderArgument, type InFolder } from './options.js';

export const statusCommand: CommandModule<object, InFolder> = {
  command: 'status <folder>',
  describe: 'show the progress of a sweep, and its best cells',
  builder: (yargs) =>
    yargs
      .positional('folder', folderArgument)
      .example('$0 sweep status runs/lenet', 'while it runs, or later'),
  handler: status,
};

async function status({ folder: out }: InFolder): Promise<void> {
  const plan = await planIn(out);
  const folder = sweepFolder(out, plan);
  const cells = cellsIn(plan, folder);
  const lock = readLock(folder.file('lock'));
  const running =
    lock?.live === true
      ? `process ${lock.holder.pid} on ${lock.holder.host} has been running since ${lock.holder.since}`
      : 'not running';
  print(`${plan.name}: ${progressText(cells)}, ${running}`);
  const points = pointsOf(cells);
  bestOf(plan.keys, points).forEach(print);
  for (const { id, state, error } of cells) if (state === 'failed') print(`${id} failed: ${error}`);
  if (!cells.some(({ state }) => state === 'done')) return;
  print('');
  printPoints(plan, points);
}
