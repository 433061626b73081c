import { existsSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder } from '../../base/cacheFolder.js';
import { type Installation, type Installed, readRecord } from '../installation.js';

/** The version of TensorFlow; any of its Python wheels contains the libraries needed. */
export const TENSORFLOW_VERSION = '2.21.0';

/** An installation by `bang setup tensorflow`. The version is that of TensorFlow. */
export interface TensorFlowInstallation extends Installation {
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
}

/** The folder of the installation, in the cache. */
export function tensorflowFolder(): string {
  return path.join(cacheFolder(), 'tensorflow');
}

/** The paths in this folder. */
export const INSIDE = {
  binding: 'tfjs_binding.node',
  /** The libraries, laid out as in a wheel; with `--gpu`, those of CUDA are beside them. */
  libraries: path.join('lib', 'tensorflow'),
  package: path.join('node_modules', '@tensorflow', 'tfjs-node-gpu'),
} as const;

export const SETUP_COMMAND = 'bang setup tensorflow';

/** The installation in `folder`, or a clause that says why it cannot be used. */
export function readInstallation(folder = tensorflowFolder()): Installed<TensorFlowInstallation> {
  const found = readRecord<TensorFlowInstallation>(folder, 'TensorFlow', TENSORFLOW_VERSION);
  if ('problem' in found) return found;
  const { platform: made = 'another system' } =
    found.installation as Partial<TensorFlowInstallation>;
  return made === platform() ? found : { problem: `it is set up for ${made}, not ${platform()}` };
}

export function platform(): string {
  return `${process.platform} ${process.arch}`;
}

/** Whether an NVIDIA GPU driver is present, on Linux or in the Windows Subsystem for Linux. */
export function hasGpuDriver(): boolean {
  return existsSync('/proc/driver/nvidia/version') || existsSync('/dev/dxg');
}
