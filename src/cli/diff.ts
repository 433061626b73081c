import type { CommandModule } from 'yargs';
import { readBaseline } from '../check/baseline.js';
import { diffRuns, readSide } from '../check/diff.js';
import { diffJson, diffText } from '../report/diff.js';
import { flag, textOption } from './options.js';
import { print } from './print.js';

interface DiffArguments {
  a: string;
  b: string;
  baseline?: string;
  json: boolean;
}

export const diffCommand: CommandModule<object, DiffArguments> = {
  builder: (yargs) =>
    yargs
      .positional('a', {
        type: 'string',
        demandOption: true,
        describe: 'a result folder, its result.json, or a folder with a run for each seed',
      })
      .positional('b', {
        type: 'string',
        demandOption: true,
        describe: 'the same for the other run',
      })
      .options(
        textOption(
          'baseline',
          'a baseline of bang check, for the scatter of the numbers over seeds',
        ),
      )
      .option('json', flag('print it as JSON'))
      .example('$0 diff runs/before runs/after', 'config, numbers, and how many images changed')
      .example('$0 diff results/table1/lenet-b1 runs/lenet-b1', 'several seeds on either side')
      .epilog('The exit code is 0 whatever changed; use bang check to fail on changes.'),
  handler: async ({ a, b, baseline: file, json }) => {
    const [before, after] = [readSide(a), readSide(b)];
    const baseline = file === undefined ? undefined : await readBaseline(file);
    const diff = diffRuns(before, after, baseline);
    if (json) process.stdout.write(diffJson(a, b, diff));
    else print(diffText(a, b, diff));
  },
};
