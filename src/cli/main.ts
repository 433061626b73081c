import { readFileSync } from 'node:fs';
import path from 'node:path';
import yargs from 'yargs';
import { ExperimentError, Interrupted, messageOf, UserError } from '../errors.js';
import { packageRoot } from '../files.js';
import { dataCommand } from './data.js';
import { doctorCommand } from './doctor.js';
import { evalCommand } from './eval.js';
import { initCommand } from './init.js';
import { runCommand } from './run.js';
import { schemaCommand } from './schema.js';
import { validateCommand } from './validate.js';

/** Exit codes: an interface that scripts rely on. */
export const EXIT = { ok: 0, failed: 1, badInput: 2, interrupted: 130 } as const;

/**
 * Runs one command line and returns its exit code. Nothing below calls `process.exit`, so that
 * files are written and workers end before the process does.
 */
export async function main(args: string[]): Promise<number> {
  const { version } = JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8')) as {
    version: string;
  };
  let usage: string | undefined;
  const parser = yargs(args)
    .scriptName('bang')
    .usage('$0 <command>\n\nTrain with BANG, attack, and print the tables of arXiv 1612.00138.')
    .command(runCommand)
    .command(evalCommand)
    .command(dataCommand)
    .command(validateCommand)
    .command(initCommand)
    .command(schemaCommand)
    .command(doctorCommand)
    .example('$0 run configs/lenet-b1.yaml', 'train, evaluate, print the row of Table 1')
    .example('$0 eval weights.safetensors', 'attack a network that exists already')
    .example('$0 doctor', 'which engine computes here, and how fast')
    .demandCommand(1, 'which command?')
    .recommendCommands()
    .strict()
    .exitProcess(false)
    .version(version)
    .help()
    .wrap(Math.min(100, process.stdout.columns || 100))
    .fail((message: string | null, error: Error | undefined) => {
      if (error) throw error;
      usage = message ?? 'the arguments do not fit';
      throw new UserError(`${usage} (see bang --help)`);
    });
  try {
    await parser.parseAsync();
    return EXIT.ok;
  } catch (error) {
    return report(error);
  }
}

function report(error: unknown): number {
  process.stderr.write(`bang: ${messageOf(error)}\n`);
  if (error instanceof UserError) return EXIT.badInput;
  if (error instanceof Interrupted) return EXIT.interrupted;
  if (error instanceof ExperimentError) return EXIT.failed;
  if (process.env.BANG_DEBUG && error instanceof Error) {
    process.stderr.write(`${error.stack ?? ''}\n`);
  } else {
    process.stderr.write('bang: this is a defect of the program; BANG_DEBUG=1 shows where\n');
  }
  return EXIT.failed;
}
