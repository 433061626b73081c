import type { CommandModule } from 'yargs';
import { builtInNames, builtInText } from '../config/builtIn.js';
import { print } from './print.js';

/** The commands that take the configurations, and the folder that these are in. */
const USES: readonly { command: string; prefix: string }[] = [
  { command: 'check', prefix: 'ci/' },
  { command: 'sweep', prefix: 'grids/' },
  { command: 'noise', prefix: 'noise/' },
  { command: 'run', prefix: '' },
];

/** The command that takes the configuration of this name. */
export function commandOf(name: string): string {
  return USES.find(({ prefix }) => name.startsWith(prefix))!.command;
}

export const configsCommand: CommandModule = {
  builder: (yargs) =>
    yargs
      .example('$0 configs', 'their names, and what each is')
      .example('$0 run lenet-b1', 'a name stands in the place of a file')
      .example('$0 init --example lenet-b1', 'take a copy, to change it')
      .epilog(
        "A name also works after extends: in a file of your own. Where a file of yours has the same path, the file is used. A pattern in quotes, such as 'lenet-*', stands for all names that fit.",
      ),
  handler: () => {
    print(configList(builtInNames()));
  },
};

/** The names by the command that takes them, each with the first sentence of its comment. */
function configList(names: readonly string[]): string {
  const width = Math.max(...names.map((name) => name.length));
  const blocks = USES.toReversed().map(({ command }) => {
    const lines = names
      .filter((name) => commandOf(name) === command)
      .map((name) => `  ${name.padEnd(width)}  ${firstSentence(builtInText(name))}`);
    return [`bang ${command} NAME`, ...lines].join('\n');
  });
  return blocks.join('\n\n');
}

/** The first sentence of a file's comment, after the line for editors. */
function firstSentence(yaml: string): string {
  const lines = yaml.split('\n').filter((line) => !line.startsWith('# yaml-language-server'));
  const end = lines.findIndex((line) => !line.startsWith('#'));
  const comment = lines.slice(0, end).map((line) => line.slice(1).trim());
  return /^.*?\.(?= |$)/.exec(comment.join(' '))?.[0] ?? '';
}
