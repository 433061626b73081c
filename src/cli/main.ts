import {
  codeOf,
  DefectFound,
  ExperimentError,
  Interrupted,
  messageOf,
  UserError,
} from '../base/errors.js';
import { reason, shortageIn } from '../base/files.js';
import { printableText, wrapped } from '../base/text.js';
import { version } from '../base/version.js';
import { allUsages, COMMANDS, whenUsed } from './commands.js';
import { YARGS_STRINGS } from './yargsStrings.js';
import yargs, { type FallbackCompletionFunction } from 'yargs';

/** Exit codes: an interface that scripts rely on. */
const EXIT = { ok: 0, failed: 1, badInput: 2, defect: 70, interrupted: 130 } as const;

/**
 * Runs one command line and returns its exit code. Only a second Ctrl-C ends the
 * process itself; otherwise files are written and workers end first.
 */
export async function main(args: string[]): Promise<number> {
  surviveClosedPipes();
  try {
    await parse(await argsOfHelp(args));
    return EXIT.ok;
  } catch (error) {
    return report(error);
  }
}

const COMPLETION = 'print a script for bash, zsh or fish that completes commands and options';

/** What yargs says of a command line, before it is put into words. */
class WrongUsage extends Error {
  constructor(
    message: string,
    /** Those that the command has. */
    readonly options: readonly string[],
  ) {
    super(message);
  }
}

/**
 * Runs the command of a command line.
 *
 * @param before sees the arguments as the command gets them; what it throws ends the work before it begins
 * @throws UserError if they do not fit the command
 */
export async function parse(
  args: string[],
  before?: (parsed: Record<string, unknown>) => void,
): Promise<void> {
  demandFolder();
  demandWords(args);
  const parser = yargs(args)
    .scriptName('bang')
    .usage('$0 <command>\n\nTrain with BANG, attack, and print the tables of arXiv 1612.00138.')
    .command(COMMANDS.map(whenUsed))
    .example('$0 run lenet-b1', 'train, evaluate, print the row of Table 1')
    .example('$0 eval weights.safetensors', 'attack an existing network')
    .example('$0 table runs', "all runs in a folder, as the paper's tables")
    .example('$0 doctor', 'which engine is used here, and how fast it is')
    .demandCommand(1, 'which command?')
    .strict()
    // `--no-out` would give false to an option that wants a text.
    .parserConfiguration({ 'boolean-negation': false })
    .updateStrings(YARGS_STRINGS as never)
    .exitProcess(false)
    .version(version())
    .alias('v', 'version')
    .help()
    .alias('h', 'help')
    .wrap(Math.min(100, process.stdout.columns || 100))
    .fail((message: string | null, error: Error | undefined) => {
      if (error && error.name !== 'YError') throw error;
      throw new WrongUsage(message ?? 'the arguments do not fit', optionsOf());
    });
  // With --help, yargs would print the script all the same.
  if (args[0] === 'completion' && args.length > 1) parser.command('completion', COMPLETION);
  else parser.completion('completion', COMPLETION, complete);
  // Public, but missing from the types.
  const known = () => (parser as unknown as { getOptions(): KnownOptions }).getOptions();
  adaptHelp(parser, known);
  const optionsOf = (): string[] => Object.keys(known().key);
  // Before what is given is checked and coerced.
  parser.middleware((given) => {
    refuseSwitchValues(args, known().boolean);
    const wrong = valueProblem(args, given, known());
    if (wrong !== undefined) throw new WrongUsage(wrong, optionsOf());
  }, true);
  if (before) parser.middleware(before);
  if (args.length === 0) process.stderr.write(`${await parser.getHelp()}\n\n`);
  try {
    await parser.parseAsync();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const isYargs = error.name === 'YError';
    if (!isYargs && !(error instanceof WrongUsage)) throw error;
    const options = error instanceof WrongUsage ? error.options : optionsOf();
    const { usageProblem, withHelp } = await import('./usage.js');
    const commands = await allUsages();
    // Ours have tabs; the others are what `coerce` refuses.
    if (isYargs && !error.message.includes('\t')) {
      throw new UserError(withHelp(error.message, args, commands));
    }
    throw new UserError(usageProblem(error.message, args, { commands, options }));
  }
}

/**
 * yargs lays out the help of each command that it runs, in case it is asked for once that has begun. Nothing here asks,
 * and it takes 60 ms. And it says of each switch and list that it is `[default: false]` or `[default: []]`.
 */
function adaptHelp(parser: object, known: () => KnownOptions): void {
  interface Internals {
    getInternalMethods(): {
      getUsageInstance(): { cacheHelpMessage: () => void; help: () => string };
    };
  }
  // Missing from the types.
  const usage = (parser as Internals).getInternalMethods().getUsageInstance();
  usage.cacheHelpMessage = () => undefined;
  const { help } = usage;
  usage.help = () => {
    const { default: defaults } = known();
    for (const [name, value] of Object.entries(defaults)) {
      if (value === false || (Array.isArray(value) && value.length === 0)) {
        Reflect.deleteProperty(defaults, name);
      }
    }
    return help();
  };
}

/** `data pull --help` for `help data pull`; any other command line as it is. */
async function argsOfHelp(args: string[]): Promise<string[]> {
  if (args[0] !== 'help') return args;
  const { helpArgs } = await import('./usage.js');
  return helpArgs(args.slice(1), await allUsages());
}

/** As yargs, but where a word is empty, options would hide the names of files, which the shell completes. */
const complete: FallbackCompletionFunction = (current, _argv, known, done) => {
  known((_error, words = []) => {
    done(current.startsWith('-') ? words : words.filter((word) => !word.startsWith('-')));
  });
};

/** @throws UserError if the working folder was removed: then every relative path is a defect */
function demandFolder(): void {
  try {
    process.cwd();
  } catch (error) {
    throw new UserError(
      codeOf(error) === 'ENOENT'
        ? 'the working folder no longer exists: cd to another'
        : `the working folder cannot be used (${reason(error)}): cd to another`,
    );
  }
}

/**
 * yargs loses words that begin like an option and are none, and empty ones: a list of files would lack them, and
 * the rest count as all. Empty values of options are `valueProblem`'s.
 *
 * @throws UserError if there is one
 */
function demandWords(args: readonly string[]): void {
  // A shell asks for the completions of a word that is still empty.
  if (args[0]?.startsWith('--get-yargs-completions')) return;
  const end = args.includes('--') ? args.indexOf('--') : Infinity;
  const lost = args.find((arg, i) => (i > end ? arg.startsWith('-') : /^-$|^---+(=|$)/.test(arg)));
  if (lost !== undefined) {
    throw new UserError(`${lost} is no option: a file of that name is given as ./${lost}`);
  }
  const empty = args.findIndex((arg, i) => arg === '' && !args[i - 1]?.startsWith('-'));
  if (empty >= 0) {
    throw new UserError(`argument ${empty + 1} is empty: give a path, or leave it out`);
  }
}

/** @throws UserError if an option that is a switch is given a value, which yargs takes for false */
function refuseSwitchValues(args: readonly string[], switches: readonly string[]): void {
  const end = args.includes('--') ? args.indexOf('--') : args.length;
  const wrong = args.slice(0, end).find((arg) => {
    const [, name = '', value = ''] = /^--?([^=]+)=(.*)$/s.exec(arg) ?? [];
    return switches.includes(name) && !/^(true|false)$/.test(value);
  });
  if (wrong === undefined) return;
  throw new UserError(`${wrong.split('=')[0]} takes no value: found ${wrong}`);
}

/** The options that a command has. */
interface KnownOptions {
  key: Record<string, unknown>;
  boolean: string[];
  string: string[];
  array: string[];
  default: Record<string, unknown>;
}

/** These may be given more than once, though they are no lists, which would also take the file names that follow. */
const REPEATABLE = ['set', 'keep', 'format'];

/** What is wrong with an option that has no value, or of which yargs made a list since it is given more than once. */
function valueProblem(
  args: readonly string[],
  given: Record<string, unknown>,
  { key, boolean, string, array }: KnownOptions,
): string | undefined {
  for (const name of Object.keys(key)) {
    if (array.includes(name) || boolean.includes(name)) continue;
    // Of `--retries 1 --retries 1`, yargs makes 2.
    const times = args.filter((arg) => arg.split('=')[0] === `--${name}`).length;
    if ((times > 1 || Array.isArray(given[name])) && !REPEATABLE.includes(name)) {
      return `--${name} is given more than once`;
    }
    if (given[name] === '' && string.includes(name)) return `--${name} is empty`;
  }
  return undefined;
}

function report(error: unknown): number {
  const shortage = shortageIn(error);
  const message = shortage ?? messageOf(error);
  const width = process.stderr.isTTY ? process.stderr.columns || Infinity : Infinity;
  process.stderr.write(`${wrapped(`bang: ${printableText(message)}`, width)}\n`);
  if (error instanceof UserError || shortage !== undefined) return EXIT.badInput;
  if (error instanceof Interrupted) return EXIT.interrupted;
  if (error instanceof ExperimentError) return EXIT.failed;
  if (error instanceof DefectFound) return EXIT.defect;
  if (process.env.BANG_DEBUG && error instanceof Error) {
    process.stderr.write(`${error.stack ?? ''}\n`);
  } else {
    process.stderr.write('bang: this is a defect of the program; BANG_DEBUG=1 shows where\n');
  }
  return EXIT.defect;
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
  let isTold = false;
  process.stdout.on('error', (error) => {
    // EIO: the terminal was closed.
    const isGone = codeOf(error) === 'EPIPE' || (codeOf(error) === 'EIO' && process.stdout.isTTY);
    if (isGone || isTold) return;
    isTold = true;
    process.stderr.write(`bang: cannot write to the standard output: ${reason(error)}\n`);
    process.once('exit', () => {
      process.exitCode = EXIT.failed;
    });
  });
}
