import path, { sep } from 'node:path';
import { counted } from '../base/text.js';
import { tf } from '../base/tf.js';
import { messageOf, UserError } from '../base/errors.js';
import { packageRoot } from '../base/files.js';
import { processors } from '../base/processors.js';
import type { Installation, Installed } from './installation.js';
import { KernelBackend } from './kernels/backend.js';
import type { Binding } from './kernels/binding.js';
import { registerKernels } from './kernels/register.js';
import { loadNative } from './native/binding.js';
import { loadTensorFlow } from './tensorflow/backend.js';
import { TENSORFLOW, type TensorFlowBackend } from './tensorflow/kernels.js';
import {
  hasGpuDriver,
  readInstallation,
  SETUP_COMMAND,
  tensorflowFolder,
  type TensorFlowInstallation,
} from './tensorflow/installation.js';
import { loadWasm } from './wasm/binding.js';
import { registerDevice, WebgpuBackend } from './webgpu/backend.js';
import { Device } from './webgpu/device.js';
import {
  nameOf,
  PACKAGE,
  readInstallation as readWebgpu,
  SETUP_COMMAND as SETUP_WEBGPU,
  webgpuFolder,
  type WebgpuInstallation,
} from './webgpu/installation.js';

export const ENGINE_NAMES = ['webgpu', 'tensorflow', 'native', 'wasm', 'cpu'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

/** The accepted choices; `auto` selects the best available engine. */
export const ENGINE_CHOICES = ['auto', ...ENGINE_NAMES] as const;
export type EngineChoice = (typeof ENGINE_CHOICES)[number];

export interface EngineOptions {
  engine?: EngineChoice;
  /** Number of computing threads; default `$BANG_THREADS`, else all cores that the CPU quota allows. */
  threads?: number;
}

/** The engine in use, as recorded in every result. */
export interface Engine {
  name: EngineName;
  /** For display: which kernels are used. */
  description: string;
  threads: number;
  /** A sentence for the user if a better engine could not be used. */
  warning?: string;
  /** What would be faster, and why it is not used. */
  advice?: string;
}

/** What makes the native kernels, in a clone or as an installed package. */
const BUILD = packageRoot.includes(`${sep}node_modules${sep}`)
  ? 'npm rebuild bang-gradients'
  : 'npm run build:native';
const COMPILER =
  process.platform === 'win32' ? 'Zig (pip install ziglang)' : 'a C++ compiler (g++ or clang++)';
const REMEDY = `install ${COMPILER}, then: ${BUILD}`;

/** Engines whose kernels tfjs knows. */
const registered = new Set<EngineName>();

/**
 * Chooses the engine for this process and makes tfjs use it. `auto` chooses `webgpu` or
 * `tensorflow` if it is set up for a GPU and finds one, else `native` if its kernels are built, else `wasm`.
 *
 * @throws UserError if the requested engine is not available, or the number of threads is not a whole
 *   number from 1 to 256 or exceeds what the system allows
 */
export async function startEngine(options: EngineOptions = {}): Promise<Engine> {
  const wanted = options.engine ?? 'auto';
  const threads = threadCount(options.threads);
  silenceGreeting();
  if (wanted === 'tensorflow') return await startTensorFlow(threads);
  if (wanted === 'webgpu') return await startWebgpu(threads);
  const onWebgpu = wanted === 'auto' && webgpuIsFaster();
  const onTensorFlow = wanted === 'auto' && !onWebgpu && tensorFlowHasGpu();
  if (!onWebgpu && !onTensorFlow) return await startOwn(wanted, threads);
  try {
    const engine = await (onWebgpu ? startWebgpu : startTensorFlow)(threads);
    if (usesGpu()) return engine;
    const found = onWebgpu
      ? `WebGPU is set up for a GPU but finds only ${engine.description}`
      : 'TensorFlow is set up for the GPU but sees none';
    throw new UserError(`${found}; see: bang doctor`);
  } catch (error) {
    return { ...(await startOwn('auto', threads)), warning: messageOf(error) };
  }
}

async function startOwn(
  wanted: 'auto' | 'native' | 'wasm' | 'cpu',
  threads: number,
): Promise<Engine> {
  if (wanted === 'cpu') return await startCpu();
  if (wanted === 'wasm') return await startWasm(threads);
  const native = loadNative();
  if ('problem' in native) {
    if (wanted === 'auto') return await startWasm(threads, native.problem);
    throw new UserError(`the native engine cannot be used: ${native.problem}; ${REMEDY}`);
  }
  await startKernels('native', native.binding, threads);
  return { name: 'native', description: `native kernels (${native.binding.level()})`, threads };
}

/** `noNative`: why the native engine, which is faster, cannot be used, if that is why this one is. */
async function startWasm(threads: number, noNative = ''): Promise<Engine> {
  const loaded = loadWasm();
  if ('problem' in loaded) {
    const others = noNative && `, nor the native engine: ${noNative}; ${REMEDY}`;
    throw new UserError(
      `the wasm engine cannot be used: ${loaded.problem}${others}; --engine cpu computes some hundred times slower`,
    );
  }
  await startKernels('wasm', loaded.binding, threads);
  return {
    name: 'wasm',
    description: 'WebAssembly kernels',
    threads,
    ...(noNative && {
      advice: `the native engine would be two to three times faster, but ${noNative}; ${REMEDY}`,
    }),
  };
}

async function startCpu(): Promise<Engine> {
  await tf.setBackend('cpu');
  return { name: 'cpu', description: "tfjs's own CPU kernels", threads: 1 };
}

async function startKernels(name: EngineName, binding: Binding, threads: number): Promise<void> {
  if (!registered.has(name)) registerKernels(name, binding);
  registered.add(name);
  try {
    binding.setThreads(threads);
  } catch (error) {
    throw new UserError(
      `the system refuses ${counted(threads, 'thread')} (${messageOf(error)}): choose fewer with --threads or BANG_THREADS`,
    );
  }
  await tf.setBackend(name);
}

async function startTensorFlow(threads: number): Promise<Engine> {
  const installed = tensorFlowInstalled();
  if ('problem' in installed) {
    throw new UserError(
      `the tensorflow engine cannot be used: ${installed.problem}; set it up with: ${SETUP_COMMAND}`,
    );
  }
  let backend: TensorFlowBackend;
  try {
    backend = loadTensorFlow(tensorflowFolder(), threads);
  } catch (error) {
    throw new UserError(
      `the tensorflow engine cannot be loaded (${messageOf(error)}); make it again with: ${SETUP_COMMAND}`,
    );
  }
  await tf.setBackend(TENSORFLOW);
  const device = backend.isUsingGpuDevice ? 'GPU' : 'CPU';
  return {
    name: 'tensorflow',
    description: `TensorFlow ${backend.binding.TF_Version} on the ${device}, through tfjs-node-gpu`,
    threads,
  };
}

async function startWebgpu(threads: number): Promise<Engine> {
  const installed = webgpuInstalled();
  if ('problem' in installed) {
    throw new UserError(
      `the webgpu engine cannot be used: ${installed.problem}; set it up with: ${SETUP_WEBGPU}`,
    );
  }
  const device = await openWebgpu(path.join(webgpuFolder(), PACKAGE));
  return { name: 'webgpu', description: descriptionOf(device), threads };
}

/** Whether WebGPU is set up for a GPU that took a training step faster than the CPU. */
function webgpuIsFaster(): boolean {
  const installed = webgpuInstalled();
  return (
    'installation' in installed &&
    !installed.installation.software &&
    installed.installation.faster > 1
  );
}

function descriptionOf({ adapter }: Device): string {
  return `WebGPU on ${nameOf(adapter)}${adapter.software ? ', a driver that computes on the CPU' : ''}`;
}

/**
 * Makes tfjs use the GPU that the package `webgpu` in this folder finds. One process opens it once.
 *
 * @param timed whether `Device.times` shall say how long kernels take
 * @throws UserError if there is none
 */
export async function openWebgpu(folder: string, timed = false): Promise<Device> {
  const before = tf.findBackend('webgpu') as tf.KernelBackend | null;
  if (!(before instanceof WebgpuBackend)) {
    const device = await Device.open(folder, timed);
    if (typeof device === 'string') {
      throw new UserError(`the webgpu engine cannot be used: ${device}`);
    }
    registerDevice('webgpu', device);
  }
  await tf.setBackend('webgpu');
  return deviceInUse()!;
}

/** The GPU, if the engine in use is `webgpu`. */
export function deviceInUse(): Device | undefined {
  const backend = tf.backend();
  return backend instanceof WebgpuBackend ? backend.device : undefined;
}

/** The installation made by `bang setup webgpu`, or why it cannot be used. */
export function webgpuInstalled(): Installed<WebgpuInstallation> {
  return orProblem(readWebgpu);
}

/** Whether TensorFlow is set up for a GPU and a GPU driver is present. */
function tensorFlowHasGpu(): boolean {
  const installed = tensorFlowInstalled();
  return 'installation' in installed && installed.installation.gpu && hasGpuDriver();
}

/** Whether the engine in use computes on a GPU. */
export function usesGpu(): boolean {
  const device = deviceInUse();
  if (device) return !device.adapter.software;
  return tf.getBackend() === TENSORFLOW && (tf.backend() as TensorFlowBackend).isUsingGpuDevice;
}

/** The installation made by `bang setup tensorflow`, or why it cannot be used. */
export function tensorFlowInstalled(): Installed<TensorFlowInstallation> {
  return orProblem(readInstallation);
}

/** Where the cache is, may be unknown, too. */
function orProblem<I extends Installation>(read: () => Installed<I>): Installed<I> {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { problem: error.message };
  }
}

/** The kernels of `native/`, if the engine in use computes with them. */
export function kernelBinding(): Binding | undefined {
  const backend = tf.findBackend(tf.getBackend());
  return backend instanceof KernelBackend ? backend.binding : undefined;
}

/**
 * The number of threads: `asked`, else `$BANG_THREADS`, else as many as can compute at once here.
 *
 * @throws UserError if it is not a whole number from 1 to 256
 */
export function threadCount(asked?: number): number {
  const text = process.env.BANG_THREADS;
  const [value, source] =
    asked !== undefined
      ? [asked, '--threads']
      : text !== undefined && text !== ''
        ? [Number(text), 'BANG_THREADS']
        : [Math.min(processors().usable, 256), ''];
  if (!Number.isInteger(value) || value < 1 || value > 256) {
    throw new UserError(`${source} must be a whole number from 1 to 256, not ${asked ?? text}`);
  }
  return value;
}

/** Suppresses the advice about another package that tfjs's CPU backend prints on first use. */
function silenceGreeting(): void {
  const cpu = tf.findBackend('cpu') as { firstUse?: boolean } | null;
  if (cpu) cpu.firstUse = false;
}
