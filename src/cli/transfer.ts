import path from 'node:path';
import type { CommandModule } from 'yargs';
import type { EngineChoice } from '../engine/engine.js';
import { transfer } from '../experiment/transfer.js';
import { drawGrid } from '../report/grid.js';
import { transferGrid } from '../report/transfer.js';
import {
  engineOption,
  engineSetting,
  interruptible,
  type ProtocolArguments,
  protocolOptions,
  protocolSettings,
  setOptionSuchAs,
  shared,
  textOption,
} from './options.js';
import { print, printFiles } from './print.js';
import { nameOfWeights, settingsOf } from './weights.js';

interface TransferArguments extends ProtocolArguments {
  a: string;
  b: string;
  engine?: EngineChoice;
  out?: string;
  set?: string[];
  threads?: number;
  dataDir?: string;
  force: boolean;
}

const DEFAULT_ATTACKS = 'fgs-unmasked,hc1,apgd';

export const transferCommand: CommandModule<object, TransferArguments> = {
  builder: (yargs) =>
    yargs
      .positional('a', {
        type: 'string',
        demandOption: true,
        describe: 'weights, or the folder of a run',
      })
      .positional('b', {
        type: 'string',
        demandOption: true,
        describe: 'another on the same data',
      })
      .options(textOption('out', 'result folder (default: runs/transfer-A-B, after the weights)'))
      .option('engine', engineOption)
      .option('set', setOptionSuchAs('evaluation.images=1000'))
      .options({
        ...protocolOptions,
        attacks: {
          ...protocolOptions.attacks,
          describe: `which attacks (default: ${DEFAULT_ATTACKS})`,
        },
      })
      .options(shared)
      .example('$0 transfer runs/lenet-r0 runs/lenet-b1', 'regular training against BANG')
      .example(
        '$0 transfer lenet.caffemodel.h5 runs/lenet-b1 --set evaluation.images=1000',
        'on the first 1000 test images',
      )
      .epilog(
        'The attacks run on the test images that both networks classify correctly. Each finds the smallest perturbations that it can.',
      ) as never,
  handler: async ({ a, b, out, set = [], threads, dataDir, force, ...chosen }) => {
    const { attacks = DEFAULT_ATTACKS, ...rest } = chosen;
    const { evaluation, engine } = await settingsOf([
      ...engineSetting(rest.engine),
      ...protocolSettings({ attacks, ...rest }),
      ...set,
    ]);
    const folder = out ?? path.join('runs', `transfer-${nameOfWeights(a)}-${nameOfWeights(b)}`);
    const transfers = await interruptible(
      (signal, progress) =>
        transfer([a, b], {
          out: folder,
          evaluation,
          engine,
          force,
          dataDir,
          threads,
          progress,
          signal,
        }),
      { force },
    );
    print(drawGrid(transferGrid(transfers)));
    print(
      '"fooled, too": perturbations that fool the network they were made on and the one they were tried on.',
    );
    printFiles(folder);
  },
};
