import path from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import type { EngineChoice } from '../engine/engine.js';
import { ExperimentError, UserError } from '../base/errors.js';
import { counted, shellWord } from '../base/text.js';
import { type Keepable, KEEPABLE, keeping, loadPlan, type Plan } from '../config/sweep.js';
import { paretoLines } from '../report/pointGrid.js';
import type { QueueAddress } from '../sweep/address.js';
import { axisText, pointsOf, robustnessAxis, type SweepCell } from '../sweep/summary.js';
import { runSweep, type SweepOptions } from '../sweep/sweep.js';
import { planIn } from '../sweep/sweepFolder.js';
import {
  engineOption,
  engineSetting,
  flag,
  folderArgument,
  type InFolder,
  interruptible,
  namesIn,
  processOptions,
  setOption,
  shared,
  textOption,
} from './options.js';
import { print, printFiles, printNotes, printPoints } from './print.js';
import { addressIn, type QueueArguments, queueOptions } from './queueOptions.js';
import { cancelCommand } from './sweepCancel.js';
import { compareCommand } from './sweepCompare.js';
import { listSweep } from './sweepList.js';
import { statusCommand } from './sweepStatus.js';

/** Options for computing cells. */
const computing = {
  ...processOptions,
  retries: {
    default: 1,
    requiresArg: true,
    describe: 'how often a cell whose process crashes is tried again',
  },
  keep: {
    type: 'string',
    requiresArg: true,
    coerce: namesIn('keep', KEEPABLE),
    describe: `files of each cell to keep besides config, result and table row, such as weights,per-image (${KEEPABLE.join(', ')})`,
  },
} as const;

interface Computing {
  jobs?: number;
  threads?: number;
  dataDir?: string;
  retries: number;
  keep?: Keepable[];
}

interface SweepArguments extends Computing, QueueArguments {
  config: string;
  out?: string;
  set: string[];
  engine?: EngineChoice;
  dryRun: boolean;
  force: boolean;
}

interface RetryArguments extends InFolder, Computing, QueueArguments {}

const startCommand: CommandModule<object, SweepArguments> = {
  command: '$0 <config>',
  describe: 'run a sweep; finished cells in its folder are not computed again',
  builder: (yargs) => options(yargs) as never,
  handler: run,
};

const retryCommand: CommandModule<object, RetryArguments> = {
  command: 'retry <folder>',
  describe: 'compute the missing and failed cells of a sweep, from its folder alone',
  builder: (yargs) =>
    yargs
      .positional('folder', folderArgument)
      .options(computing)
      .options(queueOptions)
      .example('$0 sweep retry runs/lenet', 'failed cells once more') as never,
  handler: retry,
};

/** Commands on the folder of a sweep. */
export const sweepActions = [
  statusCommand,
  retryCommand,
  cancelCommand,
  compareCommand,
] as CommandModule[];

export const sweepCommand: CommandModule = {
  builder: (yargs) => yargs.command(startCommand).command(sweepActions),
  handler: () => undefined,
};

function options(args: Argv): Argv {
  return args
    .positional('config', {
      type: 'string',
      demandOption: true,
      describe: 'a YAML file that says what to vary, or a name of bang configs',
    })
    .options(textOption('out', 'the folder of the sweep (default: runs/NAME, after the config)'))
    .option('set', setOption)
    .option('engine', engineOption)
    .options(computing)
    .option('dry-run', flag('only list the cells, and estimate how long they take'))
    .option('force', shared.force)
    .options(queueOptions)
    .example('$0 sweep grids/lenet', "the paper's grid on LeNet, in runs/lenet")
    .example('$0 sweep grids/lenet --dry-run', 'what that would do')
    .example('$0 sweep mine.yaml --set evaluation.images=1000', 'a key changed in every cell')
    .example(
      '$0 sweep grids/lenet --queue redis://host:6379',
      'the same, computed by every bang worker of that queue',
    )
    .example('$0 sweep status runs/lenet', 'its progress; also: retry, cancel, compare')
    .epilog(
      'The same command continues a stopped sweep: finished cells are kept, unfinished ones continue from their last checkpoint. Each cell gives the same results, bit for bit, as bang run on its config.yaml.',
    );
}

async function run(args: SweepArguments): Promise<void> {
  const { config, out, set, engine, dryRun, force } = args;
  const all = await loadPlan(config, [...engineSetting(engine), ...set]);
  const plan = keeping(all, args.keep ?? []);
  const folder = out ?? path.join('runs', plan.name);
  const options = computingIn(args);
  if (dryRun) await listSweep(plan, folder, { ...args, ...options });
  else await carryOn(plan, folder, options, force);
}

async function retry({ folder, ...args }: RetryArguments): Promise<void> {
  const plan = keeping(await planIn(folder), args.keep ?? []);
  await carryOn(plan, folder, computingIn(args), false);
}

type ComputingOptions = Pick<SweepOptions, 'jobs' | 'threads' | 'dataDir' | 'retries'> & {
  address: QueueAddress | undefined;
};

/** @throws UserError if an option is wrong, or is of no use beside another */
function computingIn({
  jobs,
  threads,
  dataDir,
  ...args
}: Computing & QueueArguments): ComputingOptions {
  const retries = retriesIn(args.retries);
  const address = addressIn(args);
  const local = Object.entries({ jobs, threads }).find(([, value]) => value !== undefined);
  if (address && local) {
    throw new UserError(
      `--${local[0]} is of no use with --queue: bang worker computes, and has --${local[0]} of its own`,
    );
  }
  return { jobs, threads, dataDir, retries, address };
}

async function carryOn(
  plan: Plan,
  out: string,
  { address, ...computing }: ComputingOptions,
  force: boolean,
): Promise<void> {
  const options = { out, force, ...computing };
  const cells = await interruptible(
    async (signal, progress) => {
      if (!address) return runSweep(plan, { ...options, signal, progress });
      const { runQueuedSweep } = await import('../sweep/collector.js');
      return runQueuedSweep(plan, address, { ...options, signal, progress });
    },
    { force },
  );
  report(plan, cells);
  printFiles(out);
  refuseFailed(cells, out);
}

function retriesIn(retries: number): number {
  if (Number.isInteger(retries) && retries >= 0 && retries <= 100) return retries;
  throw new UserError(`--retries must be a whole number from 0 to 100, not ${retries}`);
}

/** @throws ExperimentError if cells failed, so that a script notices */
function refuseFailed(cells: readonly SweepCell[], out: string): void {
  const failed = cells.filter(({ state }) => state === 'failed');
  if (failed.length === 0) return;
  const [{ id, error }] = failed;
  const more = failed.length > 1 ? ` and ${failed.length - 1} more` : '';
  const advice = failed.some(({ failure }) => failure !== 'experiment')
    ? `bang sweep retry ${shellWord(out)} tries them again`
    : `with the same values ${failed.length === 1 ? 'it' : 'they'} would fail again, so change those`;
  throw new ExperimentError(
    `${failed.length} of ${counted(cells.length, 'cell')} failed, ${id} (${error})${more}: ${advice}`,
  );
}

function report(plan: Plan, cells: readonly SweepCell[]): void {
  const points = pointsOf(cells);
  printPoints(plan, points);
  const front = paretoLines(plan.keys, points);
  if (front.length > 0) {
    print(`\nPareto front of accuracy and ${axisText(robustnessAxis(points))}:`);
    front.forEach(print);
  }
  printNotes(mixtures(cells));
}

/** Numbers of different engines or versions can differ in their last bits, or more. */
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
