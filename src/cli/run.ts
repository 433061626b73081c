import { existsSync } from 'node:fs';
import path from 'node:path';
import type { CommandModule } from 'yargs';
import { counted } from '../base/text.js';
import type { Engine, EngineChoice } from '../engine/engine.js';
import { ExperimentError, UserError } from '../base/errors.js';
import { withoutPatterns } from '../config/builtIn.js';
import { loadConfig, type LoadedConfig } from '../config/yamlFiles.js';
import type { ImageFormat } from '../store/savedImages.js';
import { type Config, trainingInWords } from '../config/experiment.js';
import { loadData } from '../data/load.js';
import type { DataName } from '../data/sources.js';
import { FILES } from '../store/resultFolder.js';
import { entryOf } from '../store/entry.js';
import type { Result } from '../store/result.js';
import { runExperiment } from '../experiment/run.js';
import type { RunOptions } from '../experiment/runOptions.js';
import { runsOf, type SeedRun } from '../store/seeds.js';
import {
  engineOption,
  engineSetting,
  interruptible,
  type ProtocolArguments,
  protocolOptions,
  protocolSettings,
  saveImagesOption,
  setOption,
  shared,
  textOption,
} from './options.js';
import { beginning, printEntries, printFiles } from './print.js';

interface RunArguments extends ProtocolArguments {
  config: string[];
  out?: string;
  set?: string[];
  engine?: EngineChoice;
  threads?: number;
  dataDir?: string;
  force: boolean;
  saveImages?: ImageFormat;
}

export const runCommand: CommandModule<object, RunArguments> = {
  builder: (yargs) =>
    yargs
      .positional('config', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'YAML files or names of bang configs, one experiment each',
      })
      .options(
        textOption(
          'out',
          'result folder (default: runs/NAME, after the config); with several configs, the parent of their folders',
        ),
      )
      .option('set', setOption)
      .options(protocolOptions)
      .option('save-images', saveImagesOption)
      .option('engine', engineOption)
      .options(shared)
      .example('$0 run lenet-b1', 'a row of Table 1, in runs/lenet-b1')
      .example('$0 run mine.yaml', 'a configuration of your own: bang init writes one')
      .example("$0 run 'lenet-*' --out runs/table1", 'all rows of Table 1')
      .example('$0 run lenet-b1 --set training.bang.beta=1.2 --out runs/beta-1.2', 'another β')
      .example(
        '$0 run lenet-b1 --set seeds=[1,2,3]',
        'three runs, in runs/lenet-b1/seed-1 and so on, and a table of their means',
      )
      .epilog(
        'Names of configurations: bang configs. Nothing is computed twice: a stopped run continues where it was, and a finished one prints its table at once.',
      ) as never,
  handler: async ({
    config: given,
    out,
    set = [],
    engine,
    threads,
    dataDir,
    force,
    saveImages,
    ...chosen
  }) => {
    const overrides = [...engineSetting(engine), ...protocolSettings(chosen), ...set];
    const files = withoutPatterns(given);
    const experiments: LoadedConfig[] = [];
    for (const file of files) experiments.push(await loadConfig(file, overrides));
    const folderOf = (name: string): string => {
      if (out === undefined) return path.join('runs', name);
      return files.length === 1 ? out : path.join(out, name);
    };
    const names = experiments.map(({ config }) => config.name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) {
      throw new UserError(`two of the configs are named ${twice}: give each a different name`);
    }
    const planned = experiments.map((experiment) => ({
      runs: runsOf(experiment, folderOf(experiment.config.name)),
      inputs: experiment.sources,
    }));
    const all = planned.flatMap(({ runs }) => runs);
    const finished = planned.map((): Result[] => []);
    const failed: string[] = [];
    try {
      await interruptible(
        async (signal, progress) => {
          // Better to fail before hours of computing than between them.
          for (const name of planned.length > 1 ? dataToLoad(all, force) : []) {
            await loadData(name, { dataDir, progress, signal });
          }
          for (const [i, { runs, inputs }] of planned.entries()) {
            const options = { force, inputs, dataDir, threads, saveImages, progress, signal };
            for (const run of runs) {
              const result = await resultOf(run, options, all.length > 1);
              if (result) finished[i].push(result);
              else failed.push(run.folder);
            }
          }
        },
        { force },
      );
    } finally {
      // What is finished is shown also where the rest failed or was stopped.
      const entries = finished.filter((results) => results.length > 0).map(entryOf);
      if (entries.length > 0) {
        printEntries(entries);
        printFiles(out ?? (planned.length === 1 ? folderOf(names[0]) : 'runs'));
      }
    }
    if (failed.length === 0) return;
    throw new ExperimentError(
      `${failed.length} of ${counted(all.length, 'run')} failed: ${failed.join(', ')}`,
    );
  },
};

/** Carries out one run; undefined if its experiment failed, and others are to go on. */
async function resultOf(
  { config, folder }: SeedRun,
  options: Omit<RunOptions, 'out' | 'begins'>,
  othersGoOn: boolean,
): Promise<Result | undefined> {
  const { progress } = options;
  const begins = (engine: Engine): void => {
    progress.note(beginning(config.name, [trainingText(config)], folder, engine, config));
  };
  try {
    return await runExperiment(config, { ...options, out: folder, begins });
  } catch (error) {
    if (!othersGoOn || !(error instanceof ExperimentError)) throw error;
    progress.note(`${folder} failed: ${error.message}`);
    return undefined;
  }
}

/** The data sets of the runs that have not been finished. */
function dataToLoad(runs: readonly SeedRun[], force: boolean): Set<DataName> {
  const left = runs.filter(({ folder }) => force || !existsSync(path.join(folder, FILES.result)));
  return new Set(left.map(({ config }) => config.data));
}

function trainingText(config: Config): string {
  return `${trainingInWords(config.training, 'regular training')}, ${counted(config.training.iterations, 'iteration')}`;
}
