import path from 'node:path';
import type { CommandModule } from 'yargs';
import type { EngineChoice } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { runNoise } from '../experiment/noise.js';
import { loadNoise } from '../config/noise.js';
import { printable } from '../base/text.js';
import { noiseSentences, noiseTable } from '../report/noise.js';
import { ofPair } from '../metrics/noise.js';
import { quotedNoise } from '../store/noise.js';
import {
  engineOption,
  engineSetting,
  interruptible,
  setOptionSuchAs,
  shared,
  textOption,
} from './options.js';
import { print, printFiles } from './print.js';

interface NoiseArguments {
  study: string;
  copies?: string;
  out?: string;
  set: string[];
  engine?: EngineChoice;
  threads?: number;
  dataDir?: string;
  force: boolean;
}

export const noiseCommand: CommandModule<object, NoiseArguments> = {
  builder: (yargs) =>
    yargs
      .positional('study', {
        type: 'string',
        demandOption: true,
        describe: 'YAML file of a noise study, or a name of bang configs',
      })
      // A string, so that a wrong value is quoted as it was typed.
      .options(
        textOption(
          'copies',
          'distortions of each image and σ at all stages, instead of what the study says',
        ),
      )
      .options(textOption('out', 'result folder (default: runs/noise-NAME, after the study)'))
      .option('set', setOptionSuchAs('every=1000'))
      .option('engine', engineOption)
      .options(shared)
      .example('$0 noise noise/lenet', "the paper's study on MNIST")
      .example('$0 noise noise/lenet --copies 100', 'a quick look')
      .example(
        '$0 noise noise/cifar10 --set sigmas=[20,40] --set every=4000',
        'two σ at five stages',
      )
      .epilog(
        'A stopped study continues where it was. A later study with more copies reuses the networks, and what was measured with as many copies.',
      ) as never,
  handler: async ({ study: file, copies, out, set, engine, threads, dataDir, force }) => {
    const settings = [...engineSetting(engine), ...set];
    const overrides = copies === undefined ? settings : [...settings, ...copiesSettings(copies)];
    const { study, sources } = await loadNoise(file, overrides);
    const folder = out ?? path.join('runs', `noise-${study.name}`);
    const result = await interruptible(
      (signal, progress) =>
        runNoise(study, {
          out: folder,
          force,
          inputs: sources,
          dataDir,
          threads,
          progress,
          signal,
        }),
      { force },
    );
    const { networks } = study;
    const titles = ofPair((key) => printable(networks[key].name));
    print(noiseTable(result.rows, titles, quotedNoise(result)));
    noiseSentences(result.rows, result).forEach(print);
    printFiles(folder);
  },
};

function copiesSettings(copies: string): string[] {
  if (!/^[1-9]\d{0,5}$/.test(copies)) {
    throw new UserError(`--copies: expected an integer from 1 to 999999, found ${copies}`);
  }
  return ['last', 'before'].map((key) => `copies.${key}=${copies}`);
}
