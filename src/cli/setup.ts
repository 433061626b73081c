import type { CommandModule } from 'yargs';
import { tensorflowFolder } from '../engine/tensorflow/installation.js';
import { removeTensorFlow, setUpTensorFlow } from '../setup/tensorflow.js';
import { UserError } from '../base/errors.js';
import { interruptible, likeOneOf } from './options.js';
import { print } from './print.js';

interface SetupArguments {
  engine: 'tensorflow';
  gpu: boolean;
  uninstall: boolean;
}

export const setupCommand: CommandModule<object, SetupArguments> = {
  builder: (yargs) =>
    yargs
      .positional('engine', {
        choices: ['tensorflow'] as const,
        coerce: likeOneOf(['tensorflow']),
        demandOption: true,
        describe: 'tensorflow: tfjs-node-gpu on a current TensorFlow, for --engine tensorflow',
      })
      .option('gpu', {
        type: 'boolean',
        default: false,
        describe: 'with CUDA, for an NVIDIA GPU (gigabytes)',
      })
      .option('uninstall', {
        type: 'boolean',
        default: false,
        describe: 'remove the engine',
      })
      .example('$0 setup tensorflow', 'on the CPU: needs Python with venv, and a C++ compiler')
      .example('$0 setup tensorflow --gpu', 'on the GPU: also needs its driver')
      .example('$0 setup tensorflow --uninstall', 'remove it')
      .epilog(
        "It is installed only next to the data sets ($BANG_CACHE, or bang in the system's cache folder). A working installation is kept.",
      ) as never,
  handler: async ({ gpu, uninstall }) => {
    if (uninstall) {
      if (gpu) throw new UserError('--uninstall removes everything: leave out --gpu');
      const removed = await removeTensorFlow();
      print(removed ? 'tensorflow is removed' : 'tensorflow is not set up');
      return;
    }
    const { installation, already } = await interruptible(
      (signal, progress) => setUpTensorFlow({ gpu, progress, signal }),
      { force: false },
    );
    const { version, package: npmPackage } = installation;
    const device = installation.gpu ? 'GPU' : 'CPU';
    print(
      `TensorFlow ${version} with ${npmPackage} on the ${device} ${already ? 'was set up already' : 'is set up'} in ${tensorflowFolder()}`,
    );
    print('Use it with --engine tensorflow, or engine: tensorflow in a configuration.');
  },
};
