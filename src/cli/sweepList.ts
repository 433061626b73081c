import { duration, silent } from '../base/progress.js';
import { counted } from '../base/text.js';
import { groupedBy } from '../base/groups.js';
import { trainingSettings } from '../experiment/training.js';
import { canonical } from '../store/identity.js';
import type { Cell, Plan } from '../config/sweep.js';
import { medianOf } from '../metrics/statistics.js';
import { estimateSeconds } from '../sweep/estimate.js';
import {
  refuseCellsOnOtherData,
  refuseUnqueueable,
  secondsTaken,
  sharing,
  statesIn,
} from '../sweep/sweep.js';
import { cellText } from '../sweep/summary.js';
import { planFor, sweepFolder } from '../sweep/sweepFolder.js';
import { print, printNotes } from './print.js';

interface ListArguments {
  force: boolean;
  queue?: string;
  jobs?: number;
  threads?: number;
  dataDir?: string;
}

/** `--dry-run`: the cells, their states, and how long the rest will take. */
export async function listSweep(wanted: Plan, out: string, args: ListArguments): Promise<void> {
  const { plan, notes } = await planFor(out, wanted, args.force);
  if (args.queue !== undefined) refuseUnqueueable(plan);
  printNotes(notes);
  const { force, dataDir } = args;
  const folder = sweepFolder(out, plan);
  const states = force ? undefined : statesIn(plan, folder);
  if (states && dataDir !== undefined) {
    await refuseCellsOnOtherData(folder, states, { dataDir, progress: silent });
  }
  const cells = plan.cells.map((cell) => ({ cell, state: states?.get(cell) }));
  const open = cells.filter(({ state }) => !['done', 'stopped'].includes(state?.state ?? 'open'));
  const { processes, threads } = sharing(open.length, args);
  const known = cells.flatMap(({ state }) =>
    state?.state === 'done' ? (secondsTaken(state.result) ?? []) : [],
  );
  const estimated =
    known.length > 0
      ? open.map(() => medianOf(known)) // not the mean: some were stopped and continued
      : await estimateSeconds(
          open.map(({ cell }) => cell.config),
          threads,
        );
  const secondsOf = new Map(open.map(({ cell }, i) => [cell, estimated[i]]));
  for (const { cell, state } of cells) {
    const seconds = secondsOf.get(cell);
    const text = seconds === undefined ? state!.state : `about ${duration(1000 * seconds)}`;
    print(`${cellText(plan.keys, cell)}: ${text}`);
  }
  const total = estimated.reduce((sum, seconds) => sum + seconds, 0) / processes;
  const how = known.length > 0 ? 'judging by the finished ones' : 'a rough estimate';
  const count = (wanted: string): number =>
    cells.filter(({ state }) => state?.state === wanted).length;
  const words = [
    `${count('done')} done`,
    ...(count('stopped') > 0 ? [`${count('stopped')} stopped early`] : []),
  ];
  const before = `${counted(cells.length, 'cell')} in ${out}, ${words.join(', ')}`;
  if (open.length === 0) {
    print(`${before}: nothing is left to compute`);
    return;
  }
  printNotes(sameExperiments(open.map(({ cell }) => cell)));
  print(
    `${before}: ${plan.halving ? 'at most' : 'about'} ${duration(1000 * total)} for the rest, ${how}; ` +
      `${processes} at once with ${counted(threads, 'thread')} each` +
      (args.queue === undefined ? '' : ', as one worker like this machine'),
  );
}

/** Cells in which BANG is none, since its β is 0, and that therefore are one experiment. */
function sameExperiments(cells: readonly Cell[]): string[] {
  const alike = groupedBy(cells, ({ config }) =>
    canonical({ ...config, name: '', training: trainingSettings(config) }),
  );
  return [...alike.values()].flatMap((group) => {
    if (group.length === 1) return [];
    const others = group.length > 2 ? `${group[1].id} and ${group.length - 2} more` : group[1].id;
    return [
      `${group[0].id} and ${others} are the same experiment, as β 0 is regular training whatever ε is; each is computed`,
    ];
  });
}
