import {
  codeOf,
  DefectFound,
  ExperimentError,
  Interrupted,
  messageOf,
  UserError,
} from '../base/errors.js';
import { reason } from '../base/files.js';
import { printableText } from '../base/text.js';
import { version } from '../store/provenance.js';
import { checkCommand } from './check.js';
import { dataActions, dataCommand } from './data.js';
import { diffCommand } from './diff.js';
import { doctorCommand } from './doctor.js';
import { evalCommand } from './eval.js';
import { exportCommand } from './export.js';
import { figureCommand } from './figure.js';
import { initCommand } from './init.js';
import { noiseCommand } from './noise.js';
import { reportCommand } from './report.js';
import { runCommand } from './run.js';
import { schemaCommand } from './schema.js';
import { setupCommand } from './setup.js';
import { sweepActions, sweepCommand } from './sweep.js';
import { tableCommand } from './table.js';
import { transferCommand } from './transfer.js';
import { usageProblem, YARGS_STRINGS } from './usage.js';
import { validateCommand } from './validate.js';
import { viewCommand } from './view.js';
import { workerCommand } from './worker.js';
import yargs, { type CommandModule } from 'yargs';

/** Exit codes: an interface that scripts rely on. */
export const EXIT = { ok: 0, failed: 1, badInput: 2, defect: 70, interrupted: 130 } as const;

const COMMANDS = [
  runCommand,
  evalCommand,
  noiseCommand,
  transferCommand,
  tableCommand,
  figureCommand,
  reportCommand,
  viewCommand,
  sweepCommand,
  checkCommand,
  diffCommand,
  workerCommand,
  exportCommand,
  dataCommand,
  validateCommand,
  initCommand,
  schemaCommand,
  setupCommand,
  doctorCommand,
];

/** With their arguments: `run <config..>`, `data list`. */
const USAGES = [
  ...COMMANDS.map(({ command }) => String(command)),
  ...dataActions.map(({ command }) => `data ${String(command)}`),
  ...sweepActions.map(({ command }) => `sweep ${String(command)}`),
];

/**
 * Runs one command line and returns its exit code. Only a second Ctrl-C ends the
 * process itself; otherwise files are written and workers end first.
 */
export async function main(args: string[]): Promise<number> {
  surviveClosedPipes();
  const parser = yargs(args)
    .scriptName('bang')
    .usage('$0 <command>\n\nTrain with BANG, attack, and print the tables of arXiv 1612.00138.')
    .command(COMMANDS as CommandModule[])
    .example('$0 run configs/lenet-b1.yaml', 'train, evaluate, print the row of Table 1')
    .example('$0 eval weights.safetensors', 'attack an existing network')
    .example('$0 table runs', "all runs in a folder, as the paper's tables")
    .example('$0 doctor', 'which engine is used here, and how fast it is')
    .demandCommand(1, 'which command?')
    .strict()
    .updateStrings(YARGS_STRINGS as never)
    .exitProcess(false)
    .version(version())
    .help()
    .alias('h', 'help')
    .wrap(Math.min(100, process.stdout.columns || 100))
    .fail((message: string | null, error: Error | undefined) => {
      if (error && error.name !== 'YError') throw error;
      // Public, but missing from the types.
      const { key } = (parser as unknown as { getOptions(): { key: object } }).getOptions();
      const usage = { commands: USAGES, options: Object.keys(key) };
      throw new UserError(usageProblem(message ?? 'the arguments do not fit', args, usage));
    });
  try {
    await parser.parseAsync();
    return EXIT.ok;
  } catch (error) {
    return report(error);
  }
}

function report(error: unknown): number {
  process.stderr.write(`bang: ${printableText(messageOf(error))}\n`);
  if (error instanceof UserError) return EXIT.badInput;
  if (error instanceof Interrupted) return EXIT.interrupted;
  if (error instanceof ExperimentError) return EXIT.failed;
  if (error instanceof DefectFound) return EXIT.defect;
  if (process.env.BANG_DEBUG && error instanceof Error) {
    process.stderr.write(`${error.stack ?? ''}\n`);
  } else {
    process.stderr.write('bang: this is a defect of the program; BANG_DEBUG=1 shows where\n');
  }
  return EXIT.failed;
}

let surviving = false;

/**
 * A reader that goes away (`| head`) does not stop the work, since the files hold everything. A full disk
 * makes it fail.
 */
function surviveClosedPipes(): void {
  if (surviving) return;
  surviving = true;
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error) => {
    if (codeOf(error) === 'EPIPE') return;
    process.stderr.write(`bang: cannot write to the standard output: ${reason(error)}\n`);
    process.once('exit', () => {
      process.exitCode = EXIT.failed;
    });
  });
}
