import { duration } from '../base/progress.js';
import { counted } from '../base/text.js';
import type { Plan } from '../config/sweep.js';
import { medianOf } from '../metrics/statistics.js';
import { estimateSeconds } from '../sweep/estimate.js';
import { refuseUnqueueable, secondsTaken, sharing, statesIn } from '../sweep/sweep.js';
import { planFor, sweepFolder } from '../sweep/sweepFolder.js';
import { print, printNotes } from './print.js';

interface ListArguments {
  force: boolean;
  queue?: string;
  jobs?: number;
  threads?: number;
}

/** `--dry-run`: the cells, their states, and how long the rest will take. */
export async function listSweep(wanted: Plan, out: string, args: ListArguments): Promise<void> {
  const { plan, notes } = await planFor(out, wanted, args.force);
  if (args.queue !== undefined) refuseUnqueueable(plan);
  printNotes(notes);
  const states = args.force ? undefined : statesIn(plan, sweepFolder(out, plan));
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
    print(`${cell.id}: ${text}`);
  }
  const total = estimated.reduce((sum, seconds) => sum + seconds, 0) / processes;
  const how = known.length > 0 ? 'judging by the finished ones' : 'a rough estimate';
  const count = (wanted: string): number =>
    cells.filter(({ state }) => state?.state === wanted).length;
  const words = [
    `${count('done')} done`,
    ...(count('stopped') > 0 ? [`${count('stopped')} stopped early`] : []),
  ];
  print(
    `${counted(cells.length, 'cell')} in ${out}, ${words.join(', ')}: ${plan.halving ? 'at most' : 'about'} ${duration(1000 * total)} for the rest, ${how}; ` +
      `${processes} at once with ${counted(threads, 'thread')} each` +
      (args.queue === undefined ? '' : ', as one worker like this machine'),
  );
}
