import { configSchema } from '../config/experimentSchema.js';
import { noiseSchema } from '../config/noise.js';
import { keysOf } from '../config/problems.js';
import { UserError } from '../base/errors.js';
import { inWords, nearest } from '../base/text.js';

/** The commands and options that a command line may have. */
export interface Usage {
  /** Commands and subcommands with their arguments, as in yargs: `run <config..>`, `data list`. */
  commands: readonly string[];
  /** The options of the recognised command, without dashes. */
  options: readonly string[];
}

/** What is wrong with a command line, in one sentence that quotes it and names the help to read. */
export function usageProblem(
  message: string,
  args: readonly string[],
  { commands, options }: Usage,
): string {
  const words = args.filter((arg) => !arg.startsWith('-'));
  const command = commandIn(words, commands);
  const name = command === undefined ? undefined : nameOf(command);
  return withHelp(sentence(), args, commands);

  function sentence(): string {
    const [kind, ...said] = message.trimStart().split('\n')[0].split('\t');
    if (kind === 'no value') return `--${said[0]} needs a value`;
    if (kind === 'no choice') return notAmong(said);
    if (command === undefined && words.length > 0) return unknownCommand(words[0], commands);
    // yargs reports missing arguments first, but the cause may be a mistyped option.
    const unknown = args.find(isUnknownOption);
    if (unknown !== undefined) return unknownOption(unknown);
    if (kind === 'unexpected') return unexpectedArgument(said[0].split(', ')[0]);
    if (kind === 'missing option') return `--${said[0].split(', ')[0]} is missing`;
    if (kind === 'missing') {
      return `an argument is missing${command === undefined ? '' : `: bang ${command}`}`;
    }
    return message;
  }

  function notAmong([name, given, choices]: readonly string[]): string {
    const isOption = args.some((arg) => arg.startsWith('-') && nameIn(arg) === name);
    const names = JSON.parse(`[${choices}]`) as string[];
    const near = nearest(given.replace(/^"|"$/g, ''), names);
    const hint = near === undefined ? '' : `, did you mean ${near}?`;
    return `${isOption ? '--' : ''}${name}: expected ${inWords(names)}, found ${given}${hint}`;
  }

  function unexpectedArgument(argument: string): string {
    const near = nearest(words.slice(0, 2).join(' '), commands.map(nameOf));
    const isBelow = near?.startsWith(`${name} `) === true;
    return `unexpected argument ${argument}${isBelow ? `, did you mean bang ${near}?` : ''}`;
  }

  function isUnknownOption(arg: string, i: number): boolean {
    const isOption = /^--?[a-z]/i.test(arg) && !args.slice(0, i).includes('--');
    return isOption && !options.includes(inDashes(nameIn(arg)));
  }

  function unknownOption(arg: string): string {
    const option = nameIn(arg);
    const text = `unknown option ${arg.split('=')[0]}`;
    if (option === 'set' && name === 'check') {
      return `${text}: files are checked as they are, so change the file, or one that extends it`;
    }
    const keys = options.includes('set') ? keysToSet(name) : [];
    const key = keys.find((one) => inDashes(one.split('.').at(-1)!) === inDashes(option));
    if (key !== undefined) {
      const value = arg.split(/=(.*)/s).at(1) ?? args.slice(args.indexOf(arg) + 1).at(0);
      const list = value !== undefined && /^[^[{]*,/.test(value) ? `[${value}]` : value;
      const given = list === undefined || list.startsWith('-') ? '…' : list;
      return `${text}; keys of the configuration are changed by --set ${key}=${given}`;
    }
    const near = nearest(option.replace(/^no-/, ''), options) ?? nearest(option, options);
    return `${text}${near === undefined ? '' : `, did you mean --${near}?`}`;
  }
}

/** A sentence about a command line that also names the help to read. */
export function withHelp(
  sentence: string,
  args: readonly string[],
  commands: readonly string[],
): string {
  const words = args.filter((arg) => !arg.startsWith('-'));
  const command = commandIn(words, commands);
  return `${sentence} (see bang ${command === undefined ? '' : `${nameOf(command)} `}--help)`;
}

/** The longest: `data pull` before `data`. */
function commandIn(words: readonly string[], commands: readonly string[]): string | undefined {
  return commands
    .filter((usage) => `${words.join(' ')} `.startsWith(`${nameOf(usage)} `))
    .toSorted((a, b) => nameOf(b).length - nameOf(a).length)
    .at(0);
}

/**
 * `data pull --help` for the arguments of `bang help data pull`.
 *
 * @param commands with their arguments, as in yargs
 * @throws UserError if there is no such command
 */
export function helpArgs(args: readonly string[], commands: readonly string[]): string[] {
  const words = args.filter((arg) => !arg.startsWith('-'));
  const name = words.join(' ');
  if (words.length > 0 && !commands.some((usage) => nameOf(usage) === name)) {
    throw new UserError(`${unknownCommand(name, commands)} (see bang --help)`);
  }
  return [...words, '--help'];
}

function unknownCommand(word: string, commands: readonly string[]): string {
  const near = nearest(word, commands.map(nameOf));
  return `unknown command ${word}${near === undefined ? '' : `, did you mean ${near}?`}`;
}

/** `data pull` of `data pull <name>`. */
function nameOf(usage: string): string {
  return usage.split(/ [<[]/)[0];
}

/** The option that an argument gives: `set` of `--set=a`. */
function nameIn(arg: string): string {
  return arg.replace(/^-+/, '').split('=')[0];
}

/** yargs also accepts options in camel case. */
function inDashes(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The keys that `--set` of a command can change. */
function keysToSet(command: string | undefined): string[] {
  if (command === 'noise') return keysOf(noiseSchema);
  const weightsExist = command === 'eval' || command === 'transfer';
  return keysOf(configSchema).filter((key) => !weightsExist || key.startsWith('evaluation.'));
}
