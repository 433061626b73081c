import path from 'node:path';
import type { CommandModule } from 'yargs';
import type { EngineChoice } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import type { Config } from '../config/experiment.js';
import { loadConfig } from '../config/yamlFiles.js';
import { entryOf } from '../store/result.js';
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
import { print, printEntries } from './print.js';
import { setOptionSuchAs } from './validate.js';

interface EvalArguments extends ProtocolArguments {
  weights: string;
  model?: NetworkName;
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
      ) as never,
  handler: async ({ weights, model, row, out, set = [], threads, dataDir, force, ...chosen }) => {
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
          progress,
          signal,
        }),
      { force },
    );
    printEntries([entryOf([result])]);
    print(`Files: ${folder}`);
  },
};

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
