import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder } from '../../base/cacheFolder.js';
import { type Adapter } from './messages.js';

/** The package: Dawn, which implements WebGPU on Vulkan, Metal and Direct3D 12. */
export const WEBGPU_VERSION = '0.6.2';

/** An installation by `bang setup webgpu`, as recorded in its `setup.json`. */
export interface Installation {
  /** Of the package. */
  version: string;
  /** The GPU that was found. */
  gpu: string;
  /** Whether this was a driver that computes on the CPU. */
  software: boolean;
  /** Largest difference from the CPU kernels found during setup, relative to the largest value. */
  difference: number;
  /** How many times as fast as the fastest engine on the CPU a training step was. */
  faster: number;
  /** Time of the setup, in ISO 8601. */
  made: string;
}

/** The folder of the installation, in the cache. */
export function webgpuFolder(root = cacheFolder()): string {
  return path.join(root, 'webgpu');
}

/** The paths in this folder. */
export const INSIDE = {
  record: 'setup.json',
  package: path.join('node_modules', 'webgpu'),
} as const;

export type Installed = { installation: Installation } | { problem: string };

export const SETUP_COMMAND = 'bang setup webgpu';

/** The installation in `folder`, or a clause that says why it cannot be used. */
export function readInstallation(folder = webgpuFolder()): Installed {
  const record = path.join(folder, INSIDE.record);
  if (!existsSync(record)) return { problem: 'it is not set up' };
  let found: Partial<Installation>;
  try {
    found = JSON.parse(readFileSync(record, 'utf8')) as Partial<Installation>;
  } catch {
    return { problem: `${record} is damaged` };
  }
  if (found.version !== WEBGPU_VERSION) {
    return { problem: `webgpu ${found.version ?? '(unknown)'} is set up, not ${WEBGPU_VERSION}` };
  }
  return { installation: found as Installation };
}

/** What the GPU is called. */
export function nameOf({ description, device, vendor, architecture }: Adapter): string {
  const name = device || description || [vendor, architecture].filter(Boolean).join(' ');
  return name || 'an unnamed GPU';
}
