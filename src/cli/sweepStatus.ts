import type { CommandModule } from 'yargs';
import type { Plan } from '../config/sweep.js';
import { sweepReport } from '../report/sweep.js';
import { trendReport } from '../report/trends.js';
import { readLock } from '../store/lock.js';
import { bestOf, progressText, type SweepCell } from '../sweep/summary.js';
import { cellsOf, statesIn } from '../sweep/sweep.js';
import { planIn, sweepFolder } from '../sweep/sweepFolder.js';
import { print, terminalWidth } from './print.js';

export interface InFolder {
  folder: string;
}

export const folderArgument = {
  type: 'string',
  demandOption: true,
  describe: 'the folder of a sweep',
} as const;

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
  const cells = cellsOf(plan, statesIn(plan, folder));
  const lock = readLock(folder.file('lock'));
  const running =
    lock?.live === true
      ? `process ${lock.holder.pid} on ${lock.holder.host} has been running since ${lock.holder.since}`
      : 'not running';
  print(`${plan.name}: ${progressText(cells)}, ${running}`);
  bestOf(plan.keys, cells).forEach(print);
  for (const { id, state, error } of cells) if (state === 'failed') print(`${id} failed: ${error}`);
  if (!cells.some(({ state }) => state === 'done')) return;
  print('');
  printPoints(plan, cells);
}

/** The maps or the table, and the trends. */
export function printPoints({ keys }: Plan, cells: readonly SweepCell[]): void {
  print(sweepReport(keys, cells, terminalWidth()));
  const trends = trendReport(keys, cells);
  if (trends !== undefined) print(`\n${trends}`);
}
