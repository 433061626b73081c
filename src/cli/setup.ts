import type { CommandModule } from 'yargs';
import { type WebgpuInstallation, webgpuFolder } from '../engine/webgpu/installation.js';
import { setUpWebgpu } from '../setup/webgpu.js';
import {
  type TensorFlowInstallation,
  tensorflowFolder,
} from '../engine/tensorflow/installation.js';
import { removeFolder, type SetUp } from '../setup/installing.js';
import { setUpTensorFlow } from '../setup/tensorflow.js';
import { UserError } from '../base/errors.js';
import { flag, interruptible, likeOneOf } from './options.js';
import { print } from './print.js';

interface SetupArguments {
  engine: 'tensorflow' | 'webgpu';
  gpu: boolean;
  uninstall: boolean;
}

export const setupCommand: CommandModule<object, SetupArguments> = {
  builder: (yargs) =>
    yargs
      .positional('engine', {
        choices: ['webgpu', 'tensorflow'] as const,
        coerce: likeOneOf(['webgpu', 'tensorflow']),
        demandOption: true,
        describe:
          'webgpu: any GPU, through Dawn; tensorflow: tfjs-node-gpu on a current TensorFlow',
      })
      .option('gpu', flag('tensorflow: with CUDA, for an NVIDIA GPU (gigabytes)'))
      .option('uninstall', flag('remove the engine'))
      .example('$0 setup webgpu', 'a GPU of any make: fetches 130 MB')
      .example('$0 setup tensorflow', 'on the CPU: needs Python with venv, and a C++ compiler')
      .example('$0 setup tensorflow --gpu', 'on the GPU: also needs its driver')
      .example('$0 setup tensorflow --uninstall', 'remove it')
      .epilog(
        "It is installed only next to the data sets ($BANG_CACHE, or bang in the system's cache folder). A working installation is kept.",
      ) as never,
  handler: async ({ engine, gpu, uninstall }) => {
    if (engine === 'webgpu' && gpu) {
      throw new UserError('--gpu is for tensorflow: webgpu uses a GPU in any case');
    }
    if (uninstall) {
      if (gpu) throw new UserError('--uninstall removes everything: leave out --gpu');
      const removed = await removeFolder(FOLDERS[engine]());
      print(`${engine} is ${removed ? 'removed' : 'not set up'}`);
      return;
    }
    const words = await interruptible(
      async (signal, progress) =>
        engine === 'webgpu'
          ? webgpuWords(await setUpWebgpu(progress, signal))
          : tensorflowWords(await setUpTensorFlow(gpu, progress, signal)),
      { resumes: false },
    );
    words.forEach(print);
  },
};

const FOLDERS = { webgpu: webgpuFolder, tensorflow: tensorflowFolder };

function tensorflowWords({ installation, already }: SetUp<TensorFlowInstallation>): string[] {
  const { version, gpu, package: npmPackage } = installation;
  return [
    `TensorFlow ${version} with ${npmPackage} on the ${gpu ? 'GPU' : 'CPU'} ${isSetUp(already)} in ${tensorflowFolder()}`,
    'Use it with --engine tensorflow, or engine: tensorflow in a configuration.',
  ];
}

function webgpuWords({ installation, already }: SetUp<WebgpuInstallation>): string[] {
  const { version, gpu } = installation;
  return [
    `webgpu ${version} on ${gpu} ${isSetUp(already)} in ${webgpuFolder()}`,
    useOf(installation),
  ];
}

function isSetUp(already: boolean): string {
  return already ? 'was set up already' : 'is set up';
}

/** When it is used. */
function useOf({ software, faster }: WebgpuInstallation): string {
  const asked = 'Use it with --engine webgpu, or engine: webgpu in a configuration.';
  if (software)
    return `This driver computes on the CPU, slowly: it is used only where asked for. ${asked}`;
  const times = `A training step of LeNet is ${faster.toFixed(1)} times as fast as on the CPU`;
  return faster > 1 ? `${times}, so it is now chosen by itself.` : `${times}. ${asked}`;
}
