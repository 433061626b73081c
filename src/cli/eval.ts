import path from 'node:path';
import type { CommandModule } from 'yargs';
import { LOGIT_SCALES } from '../config/fields.js';
import type { EngineChoice } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import type { ImageFormat } from '../store/savedImages.js';
import { entryOf } from '../store/entry.js';
import { countErrors, OTHER_IMAGES } from '../experiment/misclassified.js';
import { evaluateWeights } from '../experiment/evaluateWeights.js';
import { publishedRowNames } from '../paper/published.js';
import {
  engineOption,
  engineSetting,
  interruptible,
  likeOneOf,
  type ProtocolArguments,
  protocolOptions,
  protocolSettings,
  type ReadingArguments,
  readingIn,
  readingOptions,
  saveImagesOption,
  setOptionSuchAs,
  shared,
  textOption,
} from './options.js';
import { errorTable } from '../report/misclassified.js';
import { beginning, print, printEntries, printFiles } from './print.js';
import { nameOfWeights, settingsOf } from './weights.js';

interface EvalArguments extends ProtocolArguments, ReadingArguments {
  weights: string;
  accuracy?: number;
  on: 'test' | (typeof OTHER_IMAGES)[number];
  row?: string;
  logitScale?: string;
  out?: string;
  set?: string[];
  engine?: EngineChoice;
  threads?: number;
  dataDir?: string;
  force: boolean;
  saveImages?: ImageFormat;
}

export const evalCommand: CommandModule<object, EvalArguments> = {
  builder: (yargs) =>
    yargs
      .positional('weights', {
        type: 'string',
        demandOption: true,
        describe: 'safetensors, ONNX, or Caffe HDF5 (.caffemodel.h5), or the folder of a run',
      })
      .options(readingOptions)
      .option('accuracy', {
        type: 'string',
        requiresArg: true,
        coerce: percentage,
        describe: 'what is known of it, in percent: a warning says if it is far from that',
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
        coerce: likeOneOf([...publishedRowNames(1), ...publishedRowNames(2)]),
        describe: 'the published row to compare with: R0, R1, B0 … B5',
      })
      .option('logit-scale', {
        type: 'string',
        requiresArg: true,
        coerce: logitScale,
        describe: 'multiply the logits: what does a surer network change? (the same predictions)',
      })
      .options(textOption('out', 'result folder (default: runs/eval-NAME, after the weights)'))
      .option('set', setOptionSuchAs('evaluation.images=1000'))
      .options(protocolOptions)
      .option('save-images', saveImagesOption)
      .option('engine', engineOption)
      .options(shared)
      .example(
        '$0 eval runs/lenet-b1',
        "a run's network on all test images, with the paper's attacks",
      )
      .example('$0 eval lenet.caffemodel.h5 --row R0', "the authors' weights next to their row")
      .example('$0 eval net.onnx --scale 1/255', 'a network from elsewhere, for images from 0 to 1')
      .example(
        '$0 eval resnet.safetensors --model resnet.yaml',
        "PyTorch's weights, and the layers that they are for",
      )
      .example(
        '$0 eval weights.safetensors --search scan --set evaluation.images=1000',
        'the exhaustive search, on the first 1000 test images',
      )
      .example(
        '$0 eval weights.safetensors --attacks auto --set evaluation.budgets=[8/255,0.3]',
        'the accuracy that the strongest attacks leave within L∞ budgets',
      )
      .example(
        '$0 eval weights.safetensors --attacks fgs,fgs-unmasked,apgd,square',
        'the smallest perturbations, by attacks that take steps as well',
      )
      .example(
        '$0 eval lenet.caffemodel.h5 --logit-scale 6.5',
        "B1's FGS columns of Table 1 out of R0, without any training",
      )
      .example(
        '$0 eval weights.safetensors --on train',
        'errors on the training images: is it better on some of them?',
      )
      .epilog(
        'With --on train or --on validation nothing is attacked and no folder is written. Validation images are those of the training files that the network was not trained on.',
      ) as never,
  handler: async (given) => {
    const {
      weights,
      on,
      row,
      out,
      set = [],
      threads,
      dataDir,
      force,
      logitScale,
      saveImages,
      accuracy,
      ...chosen
    } = given;
    if (on !== 'test') return printErrors(given, on);
    const { evaluation, engine } = await settingsOf([
      ...engineSetting(chosen.engine),
      ...protocolSettings(chosen),
      ...(logitScale === undefined ? [] : [`evaluation.logitScale=${logitScale}`]),
      ...set,
    ]);
    const folder = out ?? path.join('runs', `eval-${nameOfWeights(weights)}`);
    const result = await interruptible(
      (signal, progress) =>
        evaluateWeights(weights, {
          out: folder,
          ...readingIn(given),
          accuracy,
          evaluation,
          engine,
          row,
          force,
          dataDir,
          threads,
          saveImages,
          begins: (engine) => {
            progress.note(beginning(weights, [], folder, engine, { evaluation }));
          },
          progress,
          signal,
        }),
      { force },
    );
    printEntries([entryOf([result])]);
    printFiles(folder);
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
  'logit-scale',
  'accuracy',
  'out',
  'force',
  'save-images',
] as const;

async function printErrors(given: EvalArguments, on: (typeof OTHER_IMAGES)[number]): Promise<void> {
  const { weights, threads, dataDir, engine = 'auto' } = given;
  const isGiven = (value: unknown): boolean =>
    Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false;
  const byName: Record<string, unknown> = { ...given };
  const foreign = OF_ATTACKS.find((name) => isGiven(byName[name]));
  if (foreign !== undefined) {
    throw new UserError(
      `--${foreign}: with --on ${on} errors are counted and nothing else, so leave out --${foreign}`,
    );
  }
  const counts = await interruptible(
    (signal, progress) =>
      countErrors(weights, {
        ...{ on, engine, threads, dataDir, progress, signal },
        ...readingIn(given),
      }),
    { resumes: false },
  );
  print(errorTable(counts));
}

/** For `coerce`: what logits may be multiplied by, as it was written. */
function logitScale(text: string): string {
  const { from, to, inWords } = LOGIT_SCALES;
  if (Number(text) >= from && Number(text) <= to) return text;
  throw new UserError(`--logit-scale: expected ${inWords}, found ${text}`);
}

/** For `coerce`: a percentage. */
function percentage(text: string): number {
  const number = Number(text.replace(/%$/, ''));
  if (number > 0 && number <= 1) {
    const meant = Number((100 * number).toFixed(6));
    throw new UserError(`--accuracy: ${number} is in percent: did you mean ${meant}?`);
  }
  if (number > 0 && number <= 100) return number;
  throw new UserError(`--accuracy: expected a percentage, such as 99.1, found ${text}`);
}
