import Table from 'cli-table3';
import type { CommandModule } from 'yargs';
import { UserError } from '../base/errors.js';
import { writeFileAtomic } from '../base/files.js';
import { countedIfAny, signed } from '../base/text.js';
import type { Plan } from '../config/sweep.js';
import { columnOf } from '../report/lines.js';
import type { MeasuredQuantity } from '../metrics/quantities.js';
import { type Change, compareSweeps } from '../sweep/compareSweeps.js';
import { pointText, type SweepCell } from '../sweep/summary.js';
import { cellsIn } from '../sweep/sweep.js';
import { planIn, sweepFolder } from '../sweep/sweepFolder.js';
import { folderArgument, refuseToReplace, textOption } from './options.js';
import { print, printFiles } from './print.js';

interface CompareArguments {
  first: string;
  second: string;
  out?: string;
}

export const compareCommand: CommandModule<object, CompareArguments> = {
  command: 'compare <first> <second>',
  describe: 'show what changed between two sweeps, point by point',
  builder: (yargs) =>
    yargs
      .positional('first', folderArgument)
      .positional('second', folderArgument)
      .options(textOption('out', 'a CSV file for the differences at each point'))
      .example('$0 sweep compare runs/before runs/after', 'second minus first'),
  handler: compare,
};

async function compare({ first, second, out }: CompareArguments): Promise<void> {
  const [a, b] = [await planIn(first), await planIn(second)];
  const keys = [...a.keys].sort();
  if (keys.join() !== [...b.keys].sort().join()) {
    throw new UserError(
      `${first} varies ${a.keys.join(', ')}, ${second} varies ${b.keys.join(', ')}: they have no points in common`,
    );
  }
  const inOneOrder = (folder: string, plan: Plan): SweepCell[] =>
    cellsIn(plan, sweepFolder(folder, plan)).map((cell) => ({
      ...cell,
      values: keys.map((key) => cell.values[plan.keys.indexOf(key)]),
    }));
  const found = compareSweeps(keys, inOneOrder(first, a), inOneOrder(second, b));
  if (out !== undefined) {
    const [columns] = found.csv.split('\n');
    const isOne = (text: string): boolean => text.split('\n', 1)[0] === columns;
    refuseToReplace('--out', out, 'a comparison of such sweeps', isOne);
  }
  const { common, onlyFirst, onlySecond, reference, leftOut, identical, changes } = found;
  const both = [
    ...countedIfAny(common, 'point', 'points'),
    ...(reference ? ['the reference'] : []),
  ];
  if (both.length === 0) throw new UserError(`no point is done in both ${first} and ${second}`);
  const left = countedIfAny(
    leftOut,
    'cell with a seed that only one of them has done',
    'cells with seeds that only one of them has done',
  );
  print(
    `${both.join(' and ')} ${common + Number(reference) === 1 ? 'is' : 'are'} done in both, ${onlyFirst} only in ${first}, ${onlySecond} only in ${second}; ` +
      `${identical.cells} of ${identical.of} cells of the same seed are the same bit for bit` +
      left.map((words) => `; left out: ${words}`).join(''),
  );
  const table = new Table({
    head: [`${second} minus ${first}`, 'mean', 'most', 'where'],
    style: { head: [], border: [] },
    colAligns: ['left', 'right', 'right', 'left'],
  });
  for (const [quantity, change] of Object.entries(changes) as [MeasuredQuantity, Change][]) {
    const { title, digits } = columnOf(quantity);
    table.push([
      title.join(' '),
      signed(change.mean, digits),
      signed(change.most, digits),
      pointText(keys, change.where),
    ]);
  }
  print(table.toString());
  if (out === undefined) return;
  writeFileAtomic(out, found.csv);
  printFiles(out);
}
