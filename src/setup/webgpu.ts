import { rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cacheError, cacheFolder, ownFolder } from '../base/cacheFolder.js';
import { messageOf, UserError } from '../base/errors.js';
import { extractPackage, type NpmPackage } from '../base/npm.js';
import { type Progress, silent } from '../base/progress.js';
import {
  INSIDE,
  type Installation,
  readInstallation,
  WEBGPU_VERSION,
  webgpuFolder,
} from '../engine/webgpu/installation.js';
import { compared, putAway, removeFolder, requireSpace } from './installing.js';

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
export async function setUpWebgpu({
  root = cacheFolder(),
  progress = silent,
  signal,
}: { root?: string; progress?: Progress; signal?: AbortSignal } = {}): Promise<{
  installation: Installation;
  already: boolean;
}> {
  const folder = webgpuFolder(root);
  if ('installation' in readInstallation(folder)) {
    try {
      const installation = await checked(folder, progress, signal);
      await writeRecord(folder, installation);
      return { installation, already: true };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      progress.note(`${messageOf(error)}; setting it up again`);
    }
  }
  let own: string | undefined;
  try {
    own = await ownFolder(root);
    await requireSpace(root, DISK_GB);
    const fresh = path.join(own, 'new');
    const fetching = progress.start(`fetch ${WEBGPU_PACKAGE.name} ${WEBGPU_VERSION}`, 1, 'step');
    await extractPackage(WEBGPU_PACKAGE, path.join(fresh, INSIDE.package), signal);
    fetching.finish();
    const installation = await checked(fresh, progress, signal);
    await writeRecord(fresh, installation);
    await putAway(folder, own);
    await rename(fresh, folder);
    return { installation, already: false };
  } catch (error) {
    throw cacheError(error, root);
  } finally {
    // Whatever cannot be removed now is removed next time.
    if (own !== undefined) await rm(own, { recursive: true, force: true }).catch(() => undefined);
  }
}

/**
 * Removes the installation of `setUpWebgpu`.
 *
 * @returns whether there was one
 * @throws UserError if it cannot be removed
 */
export async function removeWebgpu(root = cacheFolder()): Promise<boolean> {
  return await removeFolder(webgpuFolder(root), root);
}

async function writeRecord(folder: string, installation: Installation): Promise<void> {
  await writeFile(path.join(folder, INSIDE.record), `${JSON.stringify(installation, null, 2)}\n`);
}

async function checked(
  folder: string,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<Installation> {
  const { gpu, software, faster, difference } = await compared('webgpu', folder, progress, signal);
  return {
    version: WEBGPU_VERSION,
    gpu,
    software,
    faster,
    difference,
    made: new Date().toISOString(),
  };
}
