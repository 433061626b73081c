import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { CommandModule } from 'yargs';
import { UserError } from '../base/errors.js';
import { isFolder, writeFileAtomic } from '../base/files.js';
import { nearest, shellWord } from '../base/text.js';
import { builtInFile, builtInNames, builtInText } from '../config/builtIn.js';
import { commandOf } from './configs.js';
import { flag, refuseExisting, textOption } from './options.js';

interface InitArguments {
  file?: string;
  example?: string;
  force: boolean;
  stdout: boolean;
}

export const initCommand: CommandModule<object, InitArguments> = {
  builder: (yargs) =>
    yargs
      .positional('file', {
        type: 'string',
        describe: 'where to write it (default: bang.yaml, or after the example)',
      })
      .options(
        textOption(
          'example',
          'copy a configuration that comes with the program: a name of bang configs',
        ),
      )
      .option('force', flag('overwrite the file'))
      .option('stdout', flag('print it, write nothing'))
      .example('$0 init', 'write bang.yaml, ready for bang run bang.yaml')
      .example('$0 init experiments/first.yaml', 'write it elsewhere')
      .example('$0 init --example lenet-b1', 'write lenet-b1.yaml, a row of Table 1')
      .example('$0 init --example ci/lenet-b1', 'a check, with its baseline')
      .example('$0 init --stdout | less', 'only read it'),
  handler: ({ file: given, example, force, stdout }) => {
    const chosen =
      example === undefined
        ? { ...exampleNamed('examples/start'), name: 'bang.yaml' }
        : exampleNamed(example);
    const { text, name, beside, command } = given === undefined ? chosen : named(chosen, given);
    if (stdout) {
      process.stdout.write(text);
      return;
    }
    const file = given ?? name;
    const files = new Map([[file, text]]);
    for (const [other, content] of beside) files.set(path.join(path.dirname(file), other), content);
    for (const one of files.keys()) {
      if (/[\\/]$/.test(one) || isFolder(one)) {
        const inside = path.join(one, name);
        throw new UserError(`${one} is a folder: name a file, such as ${inside}`);
      }
      refuseExisting(one, force);
    }
    if (!['', '.yaml', '.yml'].includes(path.extname(file))) {
      throw new UserError(
        `${file}: a configuration is YAML, so name it ${path.parse(file).name}.yaml`,
      );
    }
    for (const [one, content] of files) writeFileAtomic(one, content);
    const names = [...files.keys()].join(' and ');
    process.stdout.write(`wrote ${names}; run it with: bang ${command} ${shellWord(file)}\n`);
  },
};

/** A configuration to write. */
interface Example {
  text: string;
  /** The file's name, if none is given. */
  name: string;
  /** The files that it needs beside it. */
  beside: ReadonlyMap<string, string>;
  /** The command that runs it. */
  command: string;
}

/** The example with a baseline of its own, and its file's name as its name, so that two copies share neither. */
function named(example: Example, file: string): Example {
  if (path.parse(file).name === path.parse(example.name).name) return example;
  const { text, beside } = example;
  const baseline = `${path.parse(file).name}.baseline.json`;
  return {
    ...example,
    text: text
      .replace(/^name: \S+\n/m, '')
      .replace(/^( {2}baseline: )\S+/m, (_, key: string) => key + JSON.stringify(baseline)),
    beside: new Map([...beside.values()].map((content) => [baseline, content])),
  };
}

/** @throws UserError if no configuration of this name comes with the program */
function exampleNamed(name: string): Example {
  const file = builtInFile(name);
  if (file === undefined) {
    const near = nearest(name, builtInNames());
    const hint = near === undefined ? 'bang configs lists the names' : `did you mean ${near}?`;
    throw new UserError(`--example ${name}: no such configuration comes with the program, ${hint}`);
  }
  const text = copyOf(name);
  const baseline = /^ {2}baseline: (\S+)/m.exec(text)?.[1];
  const beside = new Map<string, string>();
  if (baseline !== undefined) {
    beside.set(baseline, readFileSync(path.join(path.dirname(file), baseline), 'utf8'));
  }
  return { text, name: path.basename(file), beside, command: commandOf(name) };
}

/**
 * The text of a configuration for another folder: other configurations are named, not found by their paths,
 * and the line for editors, whose schema stays behind, is left out.
 */
function copyOf(name: string): string {
  return builtInText(name)
    .replace(/^# yaml-language-server: .*\n/, '')
    .replace(
      /^((?:extends|base|regular|bang): )(\S+)\.yaml$/gm,
      (_, key: string, other: string) => {
        return key + path.posix.join(path.posix.dirname(name), other);
      },
    );
}
