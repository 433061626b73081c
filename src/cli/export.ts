import path from 'node:path';
import type { CommandModule } from 'yargs';
import { UserError } from '../base/errors.js';
import { EXPORT_FORMATS, convertWeights, type ExportFormat } from '../experiment/export.js';
import { isFolder, writeFileAtomic } from '../base/files.js';
import { INPUT, OUTPUT } from '../model/files/onnx/encode.js';
import { FILES } from '../store/resultFolder.js';
import {
  flag,
  interruptible,
  likeOneOf,
  type ReadingArguments,
  readingIn,
  readingOptions,
  refuseExisting,
  shared,
  textOption,
} from './options.js';

interface ExportArguments extends ReadingArguments {
  weights: string;
  to: ExportFormat;
  out?: string;
  dataDir?: string;
  force: boolean;
}

const ENDINGS: Record<ExportFormat, string> = {
  onnx: '.onnx',
  safetensors: '.safetensors',
  'caffe-hdf5': '.caffemodel.h5',
};

export const exportCommand: CommandModule<object, ExportArguments> = {
  builder: (yargs) =>
    yargs
      .positional('weights', {
        type: 'string',
        demandOption: true,
        describe: 'safetensors, ONNX, or Caffe HDF5 (.caffemodel.h5), or the folder of a run',
      })
      .option('to', {
        choices: EXPORT_FORMATS,
        demandOption: true,
        requiresArg: true,
        coerce: likeOneOf(EXPORT_FORMATS),
        describe: 'onnx: the network, from pixels to logits; the others: its weights',
      })
      .options(
        textOption(
          'out',
          'the file to write (default: next to WEIGHTS, with the extension of the format)',
        ),
      )
      .options(readingOptions)
      .option('data-dir', shared['data-dir'])
      .option('force', flag('overwrite the file'))
      .example('$0 export runs/lenet-b1 --to onnx', 'write weights.onnx into that folder')
      .example('$0 export lenet.caffemodel.h5 --to safetensors', "read Caffe's weights in Python")
      .example("onnx2torch.convert('weights.onnx').eval()", 'in Python: the network in PyTorch')
      .example(
        'foolbox.PyTorchModel(…, bounds=(0, 255))',
        'and in Foolbox: see docs/export.md',
      ) as never,
  handler: async ({ weights, to, out: given, dataDir, force, ...reading }) => {
    const source = isFolder(weights) ? path.join(weights, FILES.weights) : weights;
    const out = given ?? outBeside(source, to);
    if (path.resolve(out) === path.resolve(source)) {
      throw new UserError(`${out} is the file to read: choose another to write with --out`);
    }
    refuseExisting(out, force);
    const { bytes, spec } = await interruptible(
      (signal, progress) =>
        convertWeights(weights, { ...{ to, dataDir, progress, signal }, ...readingIn(reading) }),
      { resumes: false },
    );
    writeFileAtomic(out, bytes);
    const { name, input, classes } = spec;
    const [height, width, channels] = input;
    const interfaces = `: ${INPUT} float32 [N, ${channels}, ${height}, ${width}], 0 to 255; ${OUTPUT} [N, ${classes}]`;
    process.stdout.write(`wrote ${out}, ${name}${to === 'onnx' ? interfaces : ''}\n`);
  },
};

/** Next to the weights, named after them. */
function outBeside(weights: string, to: ExportFormat): string {
  const stem = path.basename(weights).replace(/(\.caffemodel)?\.(h5|safetensors|onnx)$/, '');
  return path.join(path.dirname(weights), `${stem}${ENDINGS[to]}`);
}
