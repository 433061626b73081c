import path from 'node:path';
import type { CommandModule } from 'yargs';
import type { EngineChoice } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import type { Config } from '../config/experiment.js';
import { loadConfig } from '../config/yamlFiles.js';
import { entryOf } from '../store/result.js';
import { countErrors, OTHER_IMAGES } from '../experiment/errors.js';
import { evaluateWeights } from '../experiment/evaluateWeights.js';
import { NETWORKS, type NetworkName } from '../model/networks.js';
import { publishedRowNames } from '../paper/published.js';
import { packageRoot } from '../base/files.js';
import {
  engineOption,
  engineSetting,
  interruptible,
  likeOneOf,
  once,
  protocolOptions,
  protocolSettings,
  shared,
  type ProtocolArguments,
} from './options.js';
import { errorTable } from '../report/errors.js';
import { beginning, print, printEntries } from './print.js';
import { setOptionSuchAs } from './validate.js';

interface EvalArguments extends ProtocolArguments {
  weights: string;
  model?: NetworkName;
  on: 'test' | (typeof OTHER_IMAGES)[number];
  row?: string;
  out?: string;
  set?: string[];
  engine?: EngineChoice;
  threads?: number;
  dataDir?: string;
  force: boolean;
}

export const evalCommand: CommandModule<object, EvalArguments> = {
  builder: (yargs) =>
    yargs
      .positional('weights', {
        type: 'string',
        demandOption: true,
        describe: 'safetensors, or Caffe HDF5 (.caffemodel.h5)',
      })
      .option('model', {
        choices: Object.keys(NETWORKS) as NetworkName[],
        coerce: likeOneOf(Object.keys(NETWORKS)),
        describe: 'the network (default: the one that fits the file)',
      })
      .option('on', {
        choices: ['test', ...OTHER_IMAGES] as const,
        coerce: likeOneOf(['test', ...OTHER_IMAGES]),
        default: 'test' as const,
        describe:
          'test: attack test images; train, validation: only count errors on training images',
      })
      .option('row', {
        type: 'string',
        requiresArg: true,
        coerce: rowNamed,
        describe: 'the published row to compare with: R0, R1, B0 … B5',
      })
      .option('out', {
        type: 'string',
        requiresArg: true,
        coerce: once('out'),
        describe: 'result folder (default: runs/eval-NAME, after the weights)',
      })
      .option('set', setOptionSuchAs('evaluation.images=1000'))
      .options(protocolOptions)
      .option('engine', engineOption)
      .options(shared)
      .example('$0 eval runs/lenet-b1/weights.safetensors', 'as `bang run` evaluates')
      .example('$0 eval lenet.caffemodel.h5 --row R0', "the authors' weights next to their row")
      .example(
        '$0 eval weights.safetensors --search scan --set evaluation.images=1000',
        'the exhaustive search, on the first 1000 test images',
      )
      .example(
        '$0 eval weights.safetensors --attacks fgs,fgs-unmasked,pgd,square',
        'with attacks that take steps, and robust accuracy',
      )
      .example(
        '$0 eval weights.safetensors --on train',
        'errors on the training images: is it better on some of them?',
      )
      .epilog(
        'With --on train or --on validation nothing is attacked and no folder is written. Validation images are those of the training files that the network was not trained on.',
      ) as never,
  handler: async (given) => {
    const { weights, model, on, row, out, set = [], threads, dataDir, force, ...chosen } = given;
    if (on !== 'test') return printErrors(given, on);
    const { evaluation, engine } = await settingsOf([
      ...engineSetting(chosen.engine),
      ...protocolSettings(chosen),
      ...set,
    ]);
    const folder = out ?? path.join('runs', `eval-${nameOfWeights(weights)}`);
    const result = await interruptible(
      (signal, progress) =>
        evaluateWeights(weights, {
          out: folder,
          model,
          evaluation,
          engine,
          row,
          force,
          dataDir,
          threads,
          begins: (engine) => {
            progress.note(beginning(weights, [], folder, engine, { evaluation }));
          },
          progress,
          signal,
        }),
      { force },
    );
    printEntries([entryOf([result])]);
    print(`Files: ${folder}`);
  },
};

/** Options that have no meaning where errors are counted. */
const OF_ATTACKS = [
  'attacks',
  'protocol',
  'search',
  'channels',
  'set',
  'row',
  'model',
  'out',
  'force',
] as const;

async function printErrors(given: EvalArguments, on: (typeof OTHER_IMAGES)[number]): Promise<void> {
  const { weights, threads, dataDir, engine = 'auto' } = given;
  const isGiven = (value: unknown): boolean =>
    Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false;
  const foreign = OF_ATTACKS.find((name) => isGiven(given[name]));
  if (foreign !== undefined) {
    throw new UserError(
      `--${foreign}: with --on ${on} errors are counted and nothing else, so leave out --${foreign}`,
    );
  }
  const counts = await interruptible(
    (signal, progress) => countErrors(weights, { on, engine, threads, dataDir, progress, signal }),
    { force: false, resumes: false },
  );
  print(errorTable(counts));
}

function rowNamed(value: string | string[] | undefined): string | undefined {
  const rows = [...publishedRowNames(1), ...publishedRowNames(2)];
  return likeOneOf(rows)(once('row')(value));
}

/** The name for the folder of results on these weights. */
export function nameOfWeights(file: string): string {
  const parts = path.resolve(file).split(path.sep);
  const stem = parts.at(-1)!.replace(/\..*$/, '');
  // All runs' weights have this name, so use the folder's.
  return stem === 'weights' && parts.length > 1 ? parts.at(-2)! : stem;
}

/** A config's defaults with `--set`, of which only the evaluation and the engine apply here. */
export async function settingsOf(set: string[]): Promise<Config> {
  const foreign = set.find((one) => !/^(evaluation\.|engine=)/.test(one));
  if (foreign !== undefined) {
    throw new UserError(
      `--set ${foreign}: the weights are trained already, so only evaluation.… and engine can be set`,
    );
  }
  const base = path.join(packageRoot, 'configs', 'base', 'lenet.yaml');
  return (await loadConfig(base, set)).config;
}
