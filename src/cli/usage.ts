import { configKeys } from '../config/experimentSchema.js';
import { noiseSchema } from '../config/noise.js';
import { keysOf } from '../config/problems.js';
import { inWords, nearest } from '../base/text.js';

/** What a command line could have been. */
export interface Usage {
  /** As yargs has them, and what commands have below them: `run <config..>`, `data list`. */
  commands: readonly string[];
  /** The options of the command that was found, without dashes. */
  options: readonly string[];
}

/** What yargs says of a command line, in one sentence that quotes it and names the help to read. */
export function usageProblem(
  message: string,
  args: readonly string[],
  { commands, options }: Usage,
): string {
  const nameOf = (usage: string): string => usage.split(/ [<[]/)[0];
  const words = args.filter((arg) => !arg.startsWith('-'));
  // The longest: `data pull` before `data`.
  const command = commands
    .filter((usage) => `${words.join(' ')} `.startsWith(`${nameOf(usage)} `))
    .toSorted((a, b) => nameOf(b).length - nameOf(a).length)
    .at(0);
  const name = command === undefined ? undefined : nameOf(command);
  const help = name === undefined ? 'bang --help' : `bang ${name} --help`;
  return `${sentence()} (see ${help})`;

  function sentence(): string {
    const option = /^Not enough arguments following: (.*)$/.exec(message)?.[1];
    if (option !== undefined) return `--${option} needs a value`;
    const choice = /Argument: (.*), Given: (.*), Choices: (.*)$/.exec(message);
    if (choice) {
      const [, name, given, choices] = choice;
      const isOption = args.some((arg) => arg.startsWith('-') && nameIn(arg) === name);
      const place = isOption ? `--${name}` : name;
      const names = choices.replaceAll('"', '').split(', ');
      return `${place}: expected ${inWords(names)}, found ${given}`;
    }
    if (command === undefined && words.length > 0) return unknownCommand(words[0]);
    // yargs finds what is missing first: that may be what a mistyped option was meant to be.
    const unknown = args.find(isUnknownOption);
    if (unknown !== undefined) return unknownOption(unknown);
    const unexpected = /^Unknown arguments?: (.*)$/.exec(message)?.[1];
    if (unexpected !== undefined) return unexpectedArgument(unexpected.split(', ')[0]);
    const missing = /^Missing required arguments?: (.*)$/.exec(message)?.[1];
    if (missing !== undefined) return `--${missing.split(', ')[0]} is missing`;
    if (message.startsWith('Not enough non-option arguments')) {
      return `an argument is missing${command === undefined ? '' : `: bang ${command}`}`;
    }
    return message;
  }

  function unknownCommand(word: string): string {
    const near = nearest(word, commands.map(nameOf));
    return `unknown command ${word}${near === undefined ? '' : `, did you mean ${near}?`}`;
  }

  function unexpectedArgument(argument: string): string {
    const near = nearest(words.slice(0, 2).join(' '), commands.map(nameOf));
    const isBelow = near?.startsWith(`${name} `) === true;
    return `unexpected argument ${argument}${isBelow ? `, did you mean bang ${near}?` : ''}`;
  }

  function isUnknownOption(arg: string, i: number): boolean {
    const isOption = /^--?[a-z]/i.test(arg) && !args.slice(0, i).includes('--');
    return isOption && !options.includes(inDashes(nameIn(arg)).replace(/^no-/, ''));
  }

  function unknownOption(arg: string): string {
    const option = nameIn(arg);
    const text = `unknown option ${arg.split('=')[0]}`;
    const keys = options.includes('set') ? keysToSet(name) : [];
    const key = keys.find((one) => inDashes(one.split('.').at(-1)!) === inDashes(option));
    if (key !== undefined) {
      const value = arg.split(/=(.*)/s).at(1) ?? args.slice(args.indexOf(arg) + 1).at(0);
      const given = value === undefined || value.startsWith('-') ? '…' : value;
      return `${text}; keys of the configuration are changed by --set ${key}=${given}`;
    }
    const near = nearest(option, options);
    return `${text}${near === undefined ? '' : `, did you mean --${near}?`}`;
  }
}

/** The option that an argument gives: `set` of `--set=a`. */
function nameIn(arg: string): string {
  return arg.replace(/^-+/, '').split('=')[0];
}

/** yargs takes options in camel case, too. */
function inDashes(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The keys that `--set` of a command can change. */
function keysToSet(command: string | undefined): string[] {
  if (command === 'noise') return keysOf(noiseSchema);
  const weightsExist = command === 'eval' || command === 'transfer';
  return configKeys().filter((key) => !weightsExist || key.startsWith('evaluation.'));
}
