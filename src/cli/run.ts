import path from 'node:path';
import type { CommandModule } from 'yargs';
import { UserError } from '../errors.js';
import { loadConfig, type LoadedConfig } from '../experiment/loadConfig.js';
import { entryOf, runExperiment, type Result } from '../experiment/run.js';
import { consoleTable, maskingSentence, protocolSentence } from '../report/table.js';
import { interruptible, once, shared } from './options.js';
import { setOption } from './validate.js';

interface RunArguments {
  config: string[];
  out?: string;
  set?: string[];
  threads?: number;
  dataDir?: string;
  force: boolean;
}

export const runCommand: CommandModule<object, RunArguments> = {
  command: 'run <config..>',
  describe: 'train and evaluate what a config describes, and print its row of the table',
  builder: (yargs) =>
    yargs
      .positional('config', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'YAML files, one experiment each',
      })
      .option('out', {
        type: 'string',
        requiresArg: true,
        coerce: once('out'),
        describe:
          'result folder (default: runs/NAME, after the config); with several configs, the folder that gets one for each',
      })
      .option('set', setOption)
      .options(shared)
      .example('$0 run configs/lenet-b1.yaml', 'a row of Table 1, in runs/lenet-b1')
      .example('$0 run configs/lenet-*.yaml --out results/table1', 'all rows of Table 1')
      .example(
        '$0 run configs/lenet-b1.yaml --set training.bang.beta=1.2 --out runs/beta-1.2',
        'another β',
      )
      .epilog(
        'What a result folder holds already is not computed again: a stopped run goes on where it was, a finished one prints its table at once.',
      ) as never,
  handler: async ({ config: files, out, set, threads, dataDir, force }) => {
    const experiments: LoadedConfig[] = [];
    for (const file of files) experiments.push(await loadConfig(file, set));
    const folderOf = (name: string): string => {
      if (out === undefined) return path.join('runs', name);
      return files.length === 1 ? out : path.join(out, name);
    };
    const names = experiments.map(({ config }) => config.name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) {
      throw new UserError(`two of the configs are named ${twice}: give each a name of its own`);
    }
    const results: Result[] = [];
    await interruptible(
      async (signal, progress) => {
        for (const { config, sources } of experiments) {
          const folder = folderOf(config.name);
          if (experiments.length > 1) progress.note(`${config.name} → ${folder}`);
          const options = { out: folder, force, inputs: sources, dataDir, threads };
          results.push(await runExperiment(config, { ...options, progress, signal }));
        }
      },
      { force },
    );
    printResults(results, out ?? (results.length === 1 ? folderOf(names[0]) : 'runs'));
  },
};

/** The console table, what the FGS column hides, and where the files are. */
export function printResults(results: Result[], folder: string): void {
  process.stdout.write(`${consoleTable(results.map(entryOf))}\n`);
  for (const sentence of new Set(results.map(({ row }) => protocolSentence(row)))) {
    process.stdout.write(`${sentence}\n`);
  }
  for (const { name, row } of results) {
    const sentence = maskingSentence(row);
    if (sentence !== undefined) process.stdout.write(`${name}: ${sentence}\n`);
  }
  process.stdout.write(`Files: ${folder}\n`);
}
