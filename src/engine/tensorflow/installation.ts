import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder } from '../../base/cacheFolder.js';

/** The library, of which any Python wheel carries the part that is needed. */
export const TENSORFLOW_VERSION = '2.21.0';

/** What `bang setup tensorflow` made, as its `setup.json` says. */
export interface Installation {
  /** Of TensorFlow. */
  version: string;
  /** Whether it was made with `--gpu`. */
  gpu: boolean;
  /** The Python package whose libraries these are. */
  wheel: string;
  /** The npm package that computes with them. */
  package: string;
  /** Operating system and processor, as Node names them. */
  platform: string;
  python: string;
  compiler: string;
  /** Largest difference from the CPU kernels that its check found, as a share of the largest value. */
  difference: number;
  /** When, as ISO 8601. */
  made: string;
}

/** Beside the data sets; `$BANG_CACHE` moves it with them. */
export function tensorflowFolder(root = cacheFolder()): string {
  return path.join(root, 'tensorflow');
}

/** The files in it. */
export const INSIDE = {
  record: 'setup.json',
  binding: 'tfjs_binding.node',
  /** The libraries, beside those of CUDA if it was made with `--gpu`, as in a wheel. */
  libraries: path.join('lib', 'tensorflow'),
  package: path.join('node_modules', '@tensorflow', 'tfjs-node-gpu'),
} as const;

export type Installed = { installation: Installation } | { problem: string };

export const SETUP_COMMAND = 'bang setup tensorflow';

/** What is set up, or a clause that says why it cannot be used. */
export function readInstallation(folder = tensorflowFolder()): Installed {
  const record = path.join(folder, INSIDE.record);
  if (!existsSync(record)) return { problem: 'it is not set up' };
  let found: Partial<Installation>;
  try {
    found = JSON.parse(readFileSync(record, 'utf8')) as Partial<Installation>;
  } catch {
    return { problem: `${record} is damaged` };
  }
  if (found.version !== TENSORFLOW_VERSION) {
    return {
      problem: `TensorFlow ${found.version ?? '(unknown)'} is set up, not ${TENSORFLOW_VERSION}`,
    };
  }
  if (found.platform !== platform()) {
    return { problem: `it is set up for ${found.platform ?? 'another system'}, not ${platform()}` };
  }
  return { installation: found as Installation };
}

export function platform(): string {
  return `${process.platform} ${process.arch}`;
}

/** Whether the driver of an NVIDIA GPU is here: on Linux, or in its subsystem of Windows. */
export function hasGpuDriver(): boolean {
  return existsSync('/proc/driver/nvidia/version') || existsSync('/dev/dxg');
}
