import { createRequire } from 'node:module';
import { RECORD } from '../installation.js';
import { INSIDE } from './installation.js';
import { registerPaddedKernels, TENSORFLOW, type TensorFlowBackend } from './kernels.js';
import path from 'node:path';
import util from 'node:util';
import { tf } from '../../base/tf.js';

/** The global symbol under which the folder's stand-in for `@tensorflow/tfjs` finds the program's tfjs-core. */
export const SHARED_CORE = 'bang.tfjs-core';

/**
 * Sets the environment variables that TensorFlow reads when it is loaded, except those that the user has
 * set.
 */
function prepareEnvironment(threads: number): void {
  const settings = {
    TF_NUM_INTRAOP_THREADS: String(threads),
    TF_NUM_INTEROP_THREADS: '1',
    // Only fatal errors are logged.
    TF_CPP_MIN_LOG_LEVEL: '3',
    // Eigen's kernels sum in the same order at every position, which max pooling needs for its ties.
    TF_ENABLE_ONEDNN_OPTS: '0',
    // On a GPU: deterministic results, full float32 precision, and memory allocated as needed.
    TF_DETERMINISTIC_OPS: '1',
    NVIDIA_TF32_OVERRIDE: '0',
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
  };
  for (const [name, value] of Object.entries(settings)) process.env[name] ??= value;
}

/** Restores functions that tfjs-node 4.22 calls, which Node deprecated in 22 and removed in 23. */
function restoreUtil(): void {
  Object.assign(util, {
    isArray: Array.isArray,
    isNullOrUndefined: (value: unknown) => value === null || value === undefined,
  });
}

let backend: TensorFlowBackend | undefined;

/**
 * Registers tfjs-node-gpu's backend and kernels, with the libraries in `folder`. Its entry point is not
 * used, because that loads all of `@tensorflow/tfjs` with a second tfjs-core. Instead, the folder's
 * stand-in gives it the program's own instance of tfjs-core.
 *
 * @param threads takes effect only in the first call of a process
 * @throws an error if the libraries cannot be loaded
 */
export function loadTensorFlow(folder: string, threads: number): TensorFlowBackend {
  if (backend) return backend;
  prepareEnvironment(threads);
  restoreUtil();
  const core: unknown = createRequire(import.meta.url)('@tensorflow/tfjs-core');
  (globalThis as Record<symbol, unknown>)[Symbol.for(SHARED_CORE)] = core;
  const load = createRequire(path.join(folder, RECORD));
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
