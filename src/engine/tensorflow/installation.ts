import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder } from '../../base/cacheFolder.js';

/** The version of TensorFlow; any of its Python wheels contains the libraries needed. */
export const TENSORFLOW_VERSION = '2.21.0';

/** An installation by `bang setup tensorflow`, as recorded in its `setup.json`. */
export interface Installation {
  /** Of TensorFlow. */
  version: string;
  /** Whether it was set up with `--gpu`. */
  gpu: boolean;
  /** The Python package that the libraries come from. */
  wheel: string;
  /** The npm package that uses them. */
  package: string;
  /** Operating system and processor, as Node names them. */
  platform: string;
  python: string;
  compiler: string;
  /** Largest difference from the CPU kernels found during setup, relative to the largest value. */
  difference: number;
  /** Time of the setup, in ISO 8601. */
  made: string;
}

/** The folder of the installation, in the cache. */
export function tensorflowFolder(root = cacheFolder()): string {
  return path.join(root, 'tensorflow');
}

/** The paths in this folder. */
export const INSIDE = {
  record: 'setup.json',
  binding: 'tfjs_binding.node',
  /** The libraries, laid out as in a wheel; with `--gpu`, those of CUDA are beside them. */
  libraries: path.join('lib', 'tensorflow'),
  package: path.join('node_modules', '@tensorflow', 'tfjs-node-gpu'),
} as const;

export type Installed = { installation: Installation } | { problem: string };

export const SETUP_COMMAND = 'bang setup tensorflow';

/** The installation in `folder`, or a clause that says why it cannot be used. */
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

/** Whether an NVIDIA GPU driver is present, on Linux or in the Windows Subsystem for Linux. */
export function hasGpuDriver(): boolean {
  return existsSync('/proc/driver/nvidia/version') || existsSync('/dev/dxg');
}
