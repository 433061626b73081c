import { inWords, nearest } from '../experiment/problems.js';

/** What a command line could have been. */
export interface Usage {
  /** As yargs has them: `run <config..>`. */
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
  const nameOf = (usage: string): string => usage.split(' ')[0];
  const first = args.find((arg) => !arg.startsWith('-'));
  const command = commands.find((usage) => first === nameOf(usage));
  const help = command === undefined ? 'bang --help' : `bang ${nameOf(command)} --help`;
  return `${sentence()} (see ${help})`;

  function sentence(): string {
    const unknown = /^Unknown arguments?: (.*)$/.exec(message)?.[1];
    if (unknown !== undefined) return unknownArgument(unknown.split(', '));
    const option = /^Not enough arguments following: (.*)$/.exec(message)?.[1];
    if (option !== undefined) return `--${option} needs a value`;
    const missing = /^Missing required arguments?: (.*)$/.exec(message)?.[1];
    if (missing !== undefined) return `--${missing.split(', ')[0]} is missing`;
    if (message.startsWith('Not enough non-option arguments')) {
      const none = command !== undefined && (args[1] ?? '-').startsWith('-');
      return `an argument is missing${none ? `: bang ${command}` : ''}`;
    }
    const choice = /Argument: (.*), Given: (.*), Choices: (.*)$/.exec(message);
    if (choice) {
      const [, name, given, choices] = choice;
      const place = isOption(name) ? `--${name}` : name;
      const names = choices.replaceAll('"', '').split(', ');
      return `${place}: expected ${inWords(names)}, found ${given}`;
    }
    return message;
  }

  function isOption(name: string): boolean {
    return args.some((arg) => arg.replace(/^--?/, '').split('=')[0] === name && arg !== name);
  }

  /** yargs names what is not known as it was typed, and in camel case, too. */
  function unknownArgument(names: string[]): string {
    const option = names.find(isOption);
    if (option !== undefined) {
      const near = nearest(option, options);
      const dashes = args.includes(`-${option}`) ? '-' : '--';
      return `unknown option ${dashes}${option}${near === undefined ? '' : `, did you mean --${near}?`}`;
    }
    if (command !== undefined) return `unexpected argument ${names[0]}`;
    const near = nearest(names[0], commands.map(nameOf));
    return `unknown command ${names[0]}${near === undefined ? '' : `, did you mean ${near}?`}`;
  }
}
