import path from 'node:path';
import { cacheFolder } from '../../base/cacheFolder.js';
import { type Installation, type Installed, readRecord } from '../installation.js';
import { type Adapter } from './messages.js';

/** The package: Dawn, which implements WebGPU on Vulkan, Metal and Direct3D 12. */
export const WEBGPU_VERSION = '0.6.2';

/** An installation by `bang setup webgpu`. The version is that of the package. */
export interface WebgpuInstallation extends Installation {
  /** The GPU that was found. */
  gpu: string;
  /** Whether this was a driver that computes on the CPU. */
  software: boolean;
  /** How many times as fast as the fastest engine on the CPU a training step was. */
  faster: number;
}

/** The folder of the installation, in the cache. */
export function webgpuFolder(): string {
  return path.join(cacheFolder(), 'webgpu');
}

/** The package in this folder. */
export const PACKAGE = path.join('node_modules', 'webgpu');

export const SETUP_COMMAND = 'bang setup webgpu';

/** The installation in `folder`, or a clause that says why it cannot be used. */
export function readInstallation(folder = webgpuFolder()): Installed<WebgpuInstallation> {
  return readRecord(folder, 'webgpu', WEBGPU_VERSION);
}

/** What the GPU is called. */
export function nameOf({ description, device, vendor, architecture }: Adapter): string {
  const name = device || description || [vendor, architecture].filter(Boolean).join(' ');
  return name || 'an unnamed GPU';
}
