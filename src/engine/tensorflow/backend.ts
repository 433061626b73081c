import { createRequire } from 'node:module';
import { INSIDE } from './installation.js';
import { registerPaddedKernels, TENSORFLOW, type TensorFlowBackend } from './kernels.js';
import path from 'node:path';
import util from 'node:util';
import * as tf from '@tensorflow/tfjs-core';

/** Where the stand-in for `@tensorflow/tfjs` in the folder finds the program's tfjs-core. */
export const SHARED_CORE = 'bang.tfjs-core';

/**
 * TensorFlow reads its settings from the environment when it is loaded; what is there already is the
 * user's wish.
 */
function prepareEnvironment(threads: number): void {
  const settings = {
    TF_NUM_INTRAOP_THREADS: String(threads),
    TF_NUM_INTEROP_THREADS: '1',
    // Silent but for what ends the process.
    TF_CPP_MIN_LOG_LEVEL: '3',
    // Eigen's kernels, which sum in one order at every position: the ties of max pooling need that.
    TF_ENABLE_ONEDNN_OPTS: '0',
    // On a GPU: the same result each time, whole float32, and no more memory than it takes.
    TF_DETERMINISTIC_OPS: '1',
    NVIDIA_TF32_OVERRIDE: '0',
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
  };
  for (const [name, value] of Object.entries(settings)) process.env[name] ??= value;
}

/** What tfjs-node 4.22 calls, and Node warns of since 22 and has not had since 23. */
function restoreUtil(): void {
  Object.assign(util, {
    isArray: Array.isArray,
    isNullOrUndefined: (value: unknown) => value === null || value === undefined,
  });
}

let backend: TensorFlowBackend | undefined;

/**
 * tfjs-node-gpu's backend and kernels on the libraries in `folder`, registered for this process. Its
 * entry point is left aside: that brings all of `@tensorflow/tfjs`, with a tfjs-core of its own. What
 * it needs of that is the program's own instance of tfjs-core, which the folder's stand-in hands it.
 *
 * @param threads only the first call of a process can choose
 * @throws an error of the system if it cannot be loaded
 */
export function loadTensorFlow(folder: string, threads: number): TensorFlowBackend {
  if (backend) return backend;
  prepareEnvironment(threads);
  restoreUtil();
  const core: unknown = createRequire(import.meta.url)('@tensorflow/tfjs-core');
  (globalThis as Record<symbol, unknown>)[Symbol.for(SHARED_CORE)] = core;
  const load = createRequire(path.join(folder, INSIDE.record));
  const binding: unknown = load(path.join(folder, INSIDE.binding));
  const part = (name: string): unknown => load(path.join(folder, INSIDE.package, 'dist', name));
  part('register_all_kernels.js');
  const { NodeJSKernelBackend } = part('nodejs_kernel_backend.js') as {
    NodeJSKernelBackend: new (binding: unknown, name: string) => TensorFlowBackend;
  };
  const made = new NodeJSKernelBackend(binding, '@tensorflow/tfjs-node-gpu');
  tf.registerBackend(TENSORFLOW, () => made);
  registerPaddedKernels();
  return (backend = made);
}
