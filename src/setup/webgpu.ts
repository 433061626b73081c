import path from 'node:path';
import { extractPackage, type NpmPackage } from '../base/npm.js';
import type { Progress } from '../base/progress.js';
import {
  PACKAGE,
  readInstallation,
  WEBGPU_VERSION,
  webgpuFolder,
  type WebgpuInstallation,
} from '../engine/webgpu/installation.js';
import {
  type CheckedWebgpu,
  compared,
  install,
  keptIf,
  type SetUp,
  writeRecord,
} from './installing.js';

/** Dawn for Node, with a binary for each system. Its dependencies are types and what only its own build needs. */
export const WEBGPU_PACKAGE: NpmPackage = {
  name: 'webgpu',
  version: WEBGPU_VERSION,
  integrity:
    'sha512-3L4GfmqJLvYUIEWJngEQY+2HQiUlAFkg8+P8NDDj3Xx5hHHIFO/r8JW+ynfqBj7kHN4mbnwO74uB+lrRtLhp4Q==',
};

/** Room for the package, packed and unpacked. */
const DISK_GB = 0.3;

/**
 * Sets up the `webgpu` engine: its package from npm, compared with the CPU kernels, and moved to its place in one
 * step. An installation that works is kept.
 *
 * @throws UserError if the package cannot be fetched, finds no GPU, or computes other values; Interrupted if
 *   `signal` aborts
 */
export async function setUpWebgpu(
  progress: Progress,
  signal: AbortSignal,
): Promise<SetUp<WebgpuInstallation>> {
  const folder = webgpuFolder();
  if ('installation' in readInstallation(folder)) {
    const installation = await keptIf(progress, () => checked(folder, progress, signal));
    if (installation) {
      await writeRecord(folder, installation);
      return { installation, already: true };
    }
  }
  const made = await install({ folder, gigabytes: DISK_GB }, async (fresh) => {
    const fetching = progress.start(`fetch ${WEBGPU_PACKAGE.name} ${WEBGPU_VERSION}`, 1, 'step');
    await extractPackage(WEBGPU_PACKAGE, path.join(fresh, PACKAGE), signal);
    fetching.finish();
    return await checked(fresh, progress, signal);
  });
  return { installation: made, already: false };
}

async function checked(
  folder: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<WebgpuInstallation> {
  const found = await compared<CheckedWebgpu>('webgpu', folder, progress, signal);
  return { version: WEBGPU_VERSION, ...found, made: new Date().toISOString() };
}
