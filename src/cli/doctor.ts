import os from 'node:os';
import type { CommandModule } from 'yargs';
import { readCache } from '../data/cache.js';
import { FETCHED_NAMES, sources, type FetchedName } from '../data/sources.js';
import {
  kernelBinding,
  startEngine,
  tensorFlowInstalled,
  webgpuInstalled,
  type Engine,
  type EngineChoice,
} from '../engine/engine.js';
import { forwardSpeed } from '../setup/speed.js';
import { SETUP_COMMAND as SETUP_WEBGPU, webgpuFolder } from '../engine/webgpu/installation.js';
import { SETUP_COMMAND, tensorflowFolder } from '../engine/tensorflow/installation.js';
import { messageOf, UserError } from '../base/errors.js';
import { processors } from '../base/processors.js';
import { version } from '../base/version.js';
import { cacheFolder } from '../base/cacheFolder.js';
import { engineOption, shared } from './options.js';
import { print as printLine } from './print.js';

interface DoctorArguments {
  engine?: EngineChoice;
  threads?: number;
}

export const doctorCommand: CommandModule<object, DoctorArguments> = {
  builder: (yargs) =>
    yargs
      .option('engine', {
        ...engineOption,
        describe: 'the engine; auto: the best available (default: auto)',
      })
      .option('threads', shared.threads)
      .example('$0 doctor', 'the engine of this machine')
      .example('$0 doctor --threads 1', 'the same with one thread') as never,
  handler: async ({ engine: wanted, threads }) => {
    const options = threads === undefined ? {} : { threads };
    const engine = await startEngine({ ...options, engine: wanted ?? 'auto' });
    const print = (name: string, value: string): void => {
      printLine(`${name.padEnd(11)} ${value}`);
    };
    const { cores, quota, usable } = processors();
    print('bang', version());
    print('node', `${process.version}, ${process.platform} ${process.arch}`);
    print(
      'cpu',
      `${os.cpus()[0]?.model.trim() ?? 'unknown'}, ${cores} cores${quotaText(quota, cores)}`,
    );
    print('engine', engine.description);
    print('threads', `${engine.threads} (--threads, or BANG_THREADS; by default ${usable})`);
    const binding = kernelBinding();
    const forward = await forwardSpeed();
    const peak = binding && 2 * binding.peak(0.2);
    const share =
      peak === undefined
        ? ''
        : `, ${percent(forward, peak)} of the ${(peak / 1e9).toFixed(0)} that multiply-adds alone reach`;
    print('speed', `LeNet forward ${gigaflops(forward)}${share}`);
    const advice = advices(engine, usable);
    print('webgpu', await webgpuState(engine, options));
    print('tensorflow', await tensorFlowState(engine, options));
    for (const name of FETCHED_NAMES) print('data', `${name}: ${await dataState(name)}`);
    for (const line of advice) print('advice', line);
  },
};

/** Whether the data set is in the cache, and where that is. */
async function dataState(name: FetchedName): Promise<string> {
  try {
    return `${(await readCache(sources[name])).state}, in ${cacheFolder()}`;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return error.message;
  }
}

/** Whether WebGPU is set up, on what, why it is or is not chosen, and, if another engine is in use, how fast it is. */
function webgpuState(used: Engine, options: { threads?: number }): string | Promise<string> {
  const installed = webgpuInstalled();
  if ('problem' in installed) return `${installed.problem} (${SETUP_WEBGPU})`;
  const { version, gpu, software, faster } = installed.installation;
  const choice = software
    ? 'not chosen by itself, because this driver computes on the CPU'
    : `a training step was ${faster.toFixed(1)} times as fast as on the CPU, so it is ${faster > 1 ? '' : 'not '}chosen by itself`;
  const what = `${version} for ${gpu}, in ${webgpuFolder()}; ${choice}`;
  return withSpeed('webgpu', what, used, options);
}

/** Whether TensorFlow is set up, and, if another engine is in use, how fast it is. */
function tensorFlowState(used: Engine, options: { threads?: number }): string | Promise<string> {
  const installed = tensorFlowInstalled();
  if ('problem' in installed) return `${installed.problem} (${SETUP_COMMAND})`;
  const { version, gpu, package: npmPackage } = installed.installation;
  const what = `${version} for the ${gpu ? 'GPU' : 'CPU'} with ${npmPackage}, in ${tensorflowFolder()}`;
  return withSpeed('tensorflow', what, used, options);
}

async function withSpeed(
  engine: 'webgpu' | 'tensorflow',
  what: string,
  used: Engine,
  options: { threads?: number },
): Promise<string> {
  if (used.name === engine) return what;
  try {
    await startEngine({ ...options, engine });
    return `${what}: LeNet forward ${gigaflops(await forwardSpeed())}`;
  } catch (error) {
    return messageOf(error);
  }
}

function gigaflops(speed: number): string {
  return `${(speed / 1e9).toFixed(1)} GFLOP/s`;
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(0)} %`;
}

function quotaText(quota: number | undefined, cores: number): string {
  if (quota === undefined || quota >= cores) return '';
  return `, of which the CPU quota of the control group allows ${Number(quota.toFixed(2))}`;
}

function advices(
  { name, description, threads, warning, advice }: Engine,
  usable: number,
): string[] {
  const found: string[] = [];
  if (warning !== undefined) found.push(warning);
  else if (advice !== undefined) found.push(advice);
  else if (name === 'cpu') found.push('the native engine is some hundred times faster');
  else if (name === 'wasm') found.push('the native engine is two to three times faster');
  else if (name === 'tensorflow' && description.includes('CPU')) {
    found.push('on a CPU the native engine is several times faster');
  }
  if (name !== 'cpu' && threads < usable) {
    found.push(`only ${threads} of ${usable} cores are used: --threads ${usable}`);
  } else if (threads > usable) {
    found.push(`more threads than can compute at once slow each other down: --threads ${usable}`);
  }
  const binding = kernelBinding();
  if (binding && process.arch === 'x64' && binding.level() === 'baseline') {
    found.push(
      'this processor has neither AVX2 nor AVX-512; one with them is several times faster',
    );
  }
  return found.length > 0 ? found : ['none: this is as fast as this machine gets'];
}
