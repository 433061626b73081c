import path from 'node:path';
import Table from 'cli-table3';
import type { Argv, CommandModule } from 'yargs';
import type { EngineChoice } from '../engine/engine.js';
import { ExperimentError, UserError } from '../base/errors.js';
import { writeFileAtomic } from '../base/files.js';
import { medianOf } from '../metrics/statistics.js';
import { duration } from '../base/progress.js';
import { COLUMNS } from '../report/lines.js';
import { printable, signed } from '../base/text.js';
import { bestOf, pointText, type SweepCell } from '../sweep/summary.js';
import { paretoLines } from '../report/pointGrid.js';
import { compareSweeps } from '../sweep/compareSweeps.js';
import { sweepReport } from '../report/sweep.js';
import { trendReport } from '../report/trends.js';
import { estimateSeconds } from '../sweep/estimate.js';
import { planFor, planIn, sweepFolder, type SweepFolder } from '../sweep/sweepFolder.js';
import { readLock } from '../store/lock.js';
import { type Keepable, KEEPABLE, keeping, loadPlan, type Plan } from '../config/sweep.js';
import { cellsOf, runSweep, sharing, statesIn } from '../sweep/sweep.js';
import type { QueueAddress } from '../sweep/address.js';
import { engineOption, engineSetting, interruptible, once, shared } from './options.js';
import { print, terminalWidth } from './print.js';
import { consoleProgress } from './consoleProgress.js';
import { addressIn, type QueueArguments, queueOptions } from './queueOptions.js';
import { setOption } from './validate.js';

/** Options of what computes cells. */
const computing = {
  jobs: {
    describe: 'processes at once, a cell in each (default: one for each thread)',
    requiresArg: true,
  },
  threads: {
    describe:
      'computing threads of all processes together (default: $BANG_THREADS, else all cores)',
    requiresArg: true,
  },
  'data-dir': shared['data-dir'],
  retries: {
    default: 1,
    requiresArg: true,
    describe: 'how often a cell whose process crashes is tried again',
  },
  keep: {
    type: 'string',
    requiresArg: true,
    describe: `what to keep of each cell besides config, result and table row, such as weights,per-image (${KEEPABLE.join(', ')})`,
  },
} as const;

interface Computing {
  jobs?: number;
  threads?: number;
  dataDir?: string;
  retries: number;
  keep?: string | string[];
}

interface SweepArguments extends Computing, QueueArguments {
  config: string;
  out?: string;
  set: string[];
  engine?: EngineChoice;
  dryRun: boolean;
  force: boolean;
}

interface InFolder {
  folder: string;
}

interface RetryArguments extends InFolder, Computing, QueueArguments {}

interface CompareArguments {
  first: string;
  second: string;
  out?: string;
}

const folderArgument = {
  type: 'string',
  demandOption: true,
  describe: 'the folder of a sweep',
} as const;

const startCommand: CommandModule<object, SweepArguments> = {
  command: '$0 <config>',
  describe: 'run what a sweep describes; what its folder holds already is not computed again',
  builder: (yargs) => options(yargs) as never,
  handler: run,
};

const statusCommand: CommandModule<object, InFolder> = {
  command: 'status <folder>',
  describe: 'how far a sweep is, and its best cells',
  builder: (yargs) =>
    yargs
      .positional('folder', folderArgument)
      .example('$0 sweep status runs/lenet', 'while it runs, or later'),
  handler: status,
};

const retryCommand: CommandModule<object, RetryArguments> = {
  command: 'retry <folder>',
  describe: 'compute what is missing or failed of a sweep, from its folder alone',
  builder: (yargs) =>
    yargs
      .positional('folder', folderArgument)
      .options(computing)
      .options(queueOptions)
      .example('$0 sweep retry runs/lenet', 'what failed, once more') as never,
  handler: retry,
};

const cancelCommand: CommandModule<object, InFolder & QueueArguments> = {
  command: 'cancel <folder>',
  describe: 'stop a sweep that runs, wherever it was started; it can be gone on with',
  builder: (yargs) =>
    yargs
      .positional('folder', folderArgument)
      .options(queueOptions)
      .example('$0 sweep cancel runs/lenet', 'as Ctrl-C does where it runs')
      .example(
        '$0 sweep cancel runs/lenet --queue redis://host:6379',
        'and take its cells out of the queue, also where it does not run any more',
      ) as never,
  handler: cancel,
};

const compareCommand: CommandModule<object, CompareArguments> = {
  command: 'compare <first> <second>',
  describe: 'what moved from one sweep to another, point by point',
  builder: (yargs) =>
    yargs
      .positional('first', folderArgument)
      .positional('second', folderArgument)
      .option('out', {
        type: 'string',
        requiresArg: true,
        coerce: once('out'),
        describe: 'a CSV file for the differences at each point',
      })
      .example('$0 sweep compare runs/before runs/after', 'second minus first'),
  handler: compare,
};

/** What is done with the folder of a sweep. */
export const sweepActions = [statusCommand, retryCommand, cancelCommand, compareCommand];

export const sweepCommand: CommandModule = {
  command: 'sweep <config>',
  describe: 'run a grid, a list or a random sample of experiments',
  builder: (yargs) => yargs.command(startCommand).command(sweepActions as CommandModule[]),
  handler: () => undefined,
};

function options(args: Argv): Argv {
  return args
    .positional('config', {
      type: 'string',
      demandOption: true,
      describe: 'a YAML file that says what to vary',
    })
    .option('out', {
      type: 'string',
      requiresArg: true,
      coerce: once('out'),
      describe: 'the folder of the sweep (default: runs/NAME, after the config)',
    })
    .option('set', setOption)
    .option('engine', engineOption)
    .options(computing)
    .option('dry-run', {
      type: 'boolean',
      default: false,
      describe: 'only list the cells, and how long they will take',
    })
    .option('force', shared.force)
    .options(queueOptions)
    .example('$0 sweep configs/grids/lenet.yaml', "the paper's grid on LeNet, in runs/lenet")
    .example('$0 sweep configs/grids/lenet.yaml --dry-run', 'what that would do')
    .example('$0 sweep mine.yaml --set evaluation.images=1000', 'a key changed in every cell')
    .example(
      '$0 sweep configs/grids/lenet.yaml --queue redis://host:6379',
      'the same, computed by every bang worker of that queue',
    )
    .example('$0 sweep status runs/lenet', 'how far it is; also: retry, cancel, compare')
    .epilog(
      'Stopped at any time, the same command goes on: finished cells are kept, unfinished ones go on from their last checkpoint. Each cell gives the same figures, bit for bit, as bang run on its config.yaml.',
    );
}

async function run(args: SweepArguments): Promise<void> {
  const { config, out, set, engine, dryRun, force } = args;
  const all = await loadPlan(config, [...engineSetting(engine), ...set]);
  const plan = keeping(all, keepIn(args.keep));
  const folder = out ?? path.join('runs', plan.name);
  if (dryRun) await list(plan, folder, args);
  else await carryOn(plan, folder, args, force, addressIn(args));
}

async function retry({ folder, ...args }: RetryArguments): Promise<void> {
  const plan = keeping(await planIn(folder), keepIn(args.keep));
  await carryOn(plan, folder, args, false, addressIn(args));
}

async function carryOn(
  plan: Plan,
  out: string,
  { jobs, threads, dataDir, retries }: Computing,
  force: boolean,
  address: QueueAddress | undefined,
): Promise<void> {
  const options = { out, force, jobs, threads, dataDir, retries: retriesIn(retries) };
  const cells = await interruptible(
    async (signal, progress) => {
      if (!address) return runSweep(plan, { ...options, signal, progress });
      const { runQueuedSweep } = await import('../sweep/collector.js');
      return runQueuedSweep(plan, address, { ...options, signal, progress });
    },
    { force },
  );
  report(plan, cells);
  print(`Files: ${out}`);
  refuseFailed(cells, out);
}

function retriesIn(retries: number): number {
  if (Number.isInteger(retries) && retries >= 0 && retries <= 100) return retries;
  throw new UserError(`--retries must be a whole number from 0 to 100, not ${retries}`);
}

function keepIn(keep: string | string[] = []): Keepable[] {
  const names = [keep].flat().flatMap((text) => text.split(','));
  const unknown = names.find((name) => !(KEEPABLE as readonly string[]).includes(name));
  if (unknown === undefined) return names as Keepable[];
  throw new UserError(`--keep: expected ${KEEPABLE.join(', ')}, found ${unknown}`);
}

/** @throws ExperimentError if cells failed, so that a script notices */
function refuseFailed(cells: readonly SweepCell[], out: string): void {
  const failed = cells.filter(({ state }) => state === 'failed');
  if (failed.length === 0) return;
  const [{ id, error }] = failed;
  const more = failed.length > 1 ? ` and ${failed.length - 1} more` : '';
  throw new ExperimentError(
    `${failed.length} of ${cells.length} cells failed, ${id} (${error})${more}: bang sweep retry ${out} tries them again`,
  );
}

/** The maps or the table, and the trends. */
function printPoints({ keys }: Plan, cells: readonly SweepCell[]): void {
  print(sweepReport(keys, cells, terminalWidth()));
  const trends = trendReport(keys, cells);
  if (trends !== undefined) print(`\n${trends}`);
}

function report(plan: Plan, cells: readonly SweepCell[]): void {
  printPoints(plan, cells);
  const front = paretoLines(plan.keys, cells);
  if (front.length > 0) {
    print('\nPareto front of accuracy and the mean L∞ that unmasked FGS needs:');
    front.forEach(print);
  }
  for (const note of mixtures(cells)) process.stderr.write(`note: ${printable(note)}\n`);
}

/** Figures of different engines or versions can differ in their last bits, or in more. */
function mixtures(cells: readonly SweepCell[]): string[] {
  const notes: string[] = [];
  const of = (what: string, values: (string | undefined)[]): void => {
    const distinct = [...new Set(values.flatMap((value) => value ?? []))];
    if (distinct.length > 1) notes.push(`cells were made by ${what}: ${distinct.join(', ')}`);
  };
  of(
    'several versions',
    cells.map(({ origin }) => origin?.bang),
  );
  of(
    'several engines',
    cells.map(({ origin }) => origin?.engine),
  );
  return notes;
}

async function list(plan: Plan, out: string, args: SweepArguments): Promise<void> {
  await planFor(out, plan, args.force);
  const states = args.force ? undefined : statesIn(plan, sweepFolder(out, plan));
  const cells = plan.cells.map((cell) => ({ cell, state: states?.get(cell) }));
  const open = cells.filter(({ state }) => !['done', 'stopped'].includes(state?.state ?? 'open'));
  const { processes, threads } = sharing(open.length, args);
  const known = cells.flatMap(({ state }) =>
    state?.state === 'done' ? state.result.provenance.seconds.total : [],
  );
  const estimated =
    known.length > 0
      ? open.map(() => medianOf(known)) // not the mean: some were stopped and gone on with
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
  const how = known.length > 0 ? 'as the finished ones took' : 'a rough estimate';
  const done = cells.length - open.length;
  print(
    `${cells.length} cells in ${out}, ${done} done: ${plan.halving ? 'at most' : 'about'} ${duration(1000 * total)} for the rest, ${how}; ` +
      `${processes} at once with ${threads === 1 ? 'one thread' : `${threads} threads`} each` +
      (args.queue === undefined ? '' : ', as one worker like this machine'),
  );
}

async function status({ folder: out }: InFolder): Promise<void> {
  const plan = await planIn(out);
  const folder = sweepFolder(out, plan);
  const cells = cellsOf(plan, statesIn(plan, folder));
  const count = (state: SweepCell['state']): number =>
    cells.filter((cell) => cell.state === state).length;
  const lock = readLock(folder.file('lock'));
  const words = [`${count('done')} of ${cells.length} cells done`];
  if (count('failed') > 0) words.push(`${count('failed')} failed`);
  if (count('stopped') > 0) words.push(`${count('stopped')} stopped early`);
  words.push(
    lock?.live === true
      ? `process ${lock.holder.pid} on ${lock.holder.host} is at work since ${lock.holder.since}`
      : 'nothing runs',
  );
  print(`${plan.name}: ${words.join(', ')}`);
  bestOf(plan.keys, cells).forEach(print);
  for (const { id, state, error } of cells) if (state === 'failed') print(`${id} failed: ${error}`);
  if (count('done') === 0) return;
  print('');
  printPoints(plan, cells);
}

const WAIT_MS = 120_000;

async function cancel({ folder: out, ...args }: InFolder & QueueArguments): Promise<void> {
  const plan = await planIn(out);
  const address = addressIn(args);
  const folder = sweepFolder(out, plan);
  const working = (): boolean => readLock(folder.file('lock'))?.live === true;
  const runs = working();
  if (!runs && !address) throw new UserError(`no sweep is at work in ${out}`);
  if (runs) await stop(out, folder, working);
  if (address) {
    const { withdraw } = await import('../sweep/jobs.js');
    const { taken, left } = await withdraw(plan, address, consoleProgress());
    print(`taken out of the queue: ${taken} cells; begun or finished by workers: ${left}`);
  }
  print(`${runs ? 'stopped' : 'nothing was at work'}; bang sweep retry ${out} goes on`);
}

async function stop(out: string, folder: SweepFolder, working: () => boolean): Promise<void> {
  writeFileAtomic(folder.file('cancel'), '');
  const begun = Date.now();
  while (working()) {
    if (Date.now() - begun > WAIT_MS) {
      throw new ExperimentError(`the sweep in ${out} was told to stop, but is still at work`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function compare({ first, second, out }: CompareArguments): Promise<void> {
  const [a, b] = [await planIn(first), await planIn(second)];
  const keys = [...a.keys].sort();
  if (keys.join() !== [...b.keys].sort().join()) {
    throw new UserError(
      `${first} varies ${a.keys.join(', ')}, ${second} varies ${b.keys.join(', ')}: they have no points in common`,
    );
  }
  const cellsIn = (folder: string, plan: Plan): SweepCell[] =>
    cellsOf(plan, statesIn(plan, sweepFolder(folder, plan))).map((cell) => ({
      ...cell,
      // Both in one order of keys.
      values: keys.map((key) => cell.values[plan.keys.indexOf(key)]),
    }));
  const found = compareSweeps(keys, cellsIn(first, a), cellsIn(second, b));
  const { common, onlyFirst, onlySecond, identical, changes } = found;
  if (common === 0) throw new UserError(`no point is done in both ${first} and ${second}`);
  print(
    `${common} points are done in both, ${onlyFirst} only in ${first}, ${onlySecond} only in ${second}; ` +
      `${identical.cells} of ${identical.of} cells of the same seed are the same bit for bit`,
  );
  const table = new Table({
    head: [`${second} minus ${first}`, 'mean', 'most', 'where'],
    style: { head: [], border: [] },
    colAligns: ['left', 'right', 'right', 'left'],
  });
  for (const { quantity, title, digits } of COLUMNS) {
    const change = changes[quantity];
    if (!change) continue;
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
  print(`Files: ${out}`);
}
