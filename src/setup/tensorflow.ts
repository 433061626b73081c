import { rename, stat, writeFile } from 'node:fs/promises';
import { extractPackage, type NpmPackage } from '../base/npm.js';
import { UserError } from '../base/errors.js';
import { makeFolder } from '../base/files.js';
import type { Progress } from '../base/progress.js';
import { SHARED_CORE } from '../engine/tensorflow/backend.js';
import { buildBinding, LIBRARY, requireCompiler } from './tensorflowBinding.js';
import { type CheckedTensorFlow, compared, install, keptIf, type SetUp } from './installing.js';
import {
  hasGpuDriver,
  INSIDE,
  platform,
  readInstallation,
  TENSORFLOW_VERSION,
  tensorflowFolder,
  type TensorFlowInstallation,
} from '../engine/tensorflow/installation.js';
import { findPython, installWheel, WHEELS } from './python.js';
import path from 'node:path';

/** The package with the kernels, and their only dependency besides tfjs. */
export const PACKAGES = {
  tfjs: {
    name: '@tensorflow/tfjs-node-gpu',
    version: '4.22.0',
    integrity:
      'sha512-p//NN6DGiN4hInUmIkRffaFVMcdTREUMjPyjW04J7OXvB2zBlQimj61eFKSgRrH3f5TnOfKzb0n56he/B6a4bw==',
  },
  protobuf: {
    name: 'google-protobuf',
    version: '3.21.4',
    integrity:
      'sha512-MnG7N936zcKTco4Jd2PX2U96Kf9PxygAPKBug+74LHzmHXmceN16MmRcdgZv+DGef/S9YvQAfRsNCn4cjf9yyQ==',
  },
} as const satisfies Record<string, NpmPackage>;

/**
 * Sets up the `tensorflow` engine: TensorFlow's library from its Python wheel, tfjs-node-gpu from its npm
 * package, and the package's addon, compiled here. It is built in another folder, compared with the CPU
 * kernels, and moved to its place in one step. An installation that works is kept.
 *
 * @throws UserError with what is missing or wrong; Interrupted if `signal` aborts
 */
export async function setUpTensorFlow(
  gpu: boolean,
  progress: Progress,
  signal: AbortSignal,
): Promise<SetUp<TensorFlowInstallation>> {
  const folder = tensorflowFolder();
  const found = readInstallation(folder);
  if ('installation' in found && found.installation.gpu === gpu) {
    const works = await keptIf(progress, () => checked(folder, gpu, progress, signal));
    if (works) return { installation: found.installation, already: true };
  }
  requirePlatform();
  if (gpu && !hasGpuDriver()) {
    throw new UserError(
      'there is no driver for an NVIDIA GPU: install one, or set up without --gpu to compute on the CPU',
    );
  }
  const compiler = await requireCompiler();
  const python = await findPython(signal);
  const wheel = gpu ? WHEELS.gpu : WHEELS.cpu;
  const made = await install(
    { folder, gigabytes: wheel.diskGB },
    async (fresh, scratch): Promise<TensorFlowInstallation> => {
      const packages = await installWheel(python, wheel, scratch, progress, signal);
      await fetchPackages(fresh, signal);
      const headers = path.join(packages, 'tensorflow', 'include');
      const building = progress.start('build the binding', 1, 'step');
      await buildBinding(compiler, { folder: fresh, headers, scratch }, signal);
      building.finish(`with ${compiler}`);
      await moveLibraries(packages, fresh);
      const { difference } = await checked(fresh, gpu, progress, signal);
      return {
        version: TENSORFLOW_VERSION,
        gpu,
        wheel: `${wheel.name}==${TENSORFLOW_VERSION}`,
        package: `${PACKAGES.tfjs.name}@${PACKAGES.tfjs.version}`,
        platform: platform(),
        python: python.version,
        compiler,
        difference,
        made: new Date().toISOString(),
      };
    },
  );
  return { installation: made, already: false };
}

/** @throws UserError on platforms without a wheel that this Node can load */
function requirePlatform(): void {
  const report = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const { glibcVersionRuntime } = report.header;
  if (process.platform !== 'linux' || process.arch !== 'x64' || !glibcVersionRuntime) {
    const here = `${platform()}${process.platform === 'linux' && !glibcVersionRuntime ? ' without glibc' : ''}`;
    throw new UserError(
      `the tensorflow engine needs Linux on x64 with glibc, but this is ${here}: use the native engine`,
    );
  }
}

/** Fetches the npm packages, and adds stand-ins that give them this program's tfjs-core. */
async function fetchPackages(folder: string, signal: AbortSignal): Promise<void> {
  for (const each of Object.values(PACKAGES)) {
    await extractPackage(each, path.join(folder, 'node_modules', each.name), signal);
  }
  for (const name of ['tfjs', 'tfjs-core']) {
    const standIn = path.join(folder, 'node_modules', '@tensorflow', name);
    makeFolder(standIn);
    const line = `module.exports = globalThis[Symbol.for('${SHARED_CORE}')];\n`;
    await writeFile(path.join(standIn, 'index.js'), line);
  }
}

/** Moves the libraries out of the wheel: TensorFlow's, and CUDA's to where TensorFlow finds them. */
async function moveLibraries(packages: string, folder: string): Promise<void> {
  const libraries = path.join(folder, INSIDE.libraries);
  makeFolder(libraries);
  for (const name of [LIBRARY, 'libtensorflow_framework.so.2']) {
    await rename(path.join(packages, 'tensorflow', name), path.join(libraries, name));
  }
  const cuda = path.join(packages, 'nvidia');
  const isThere = await stat(cuda).then(
    () => true,
    () => false,
  );
  if (isThere) await rename(cuda, path.join(path.dirname(libraries), 'nvidia'));
}

/** @throws UserError if it cannot be loaded, computes other values, or sees no GPU with `gpu` */
async function checked(
  folder: string,
  gpu: boolean,
  progress: Progress,
  signal: AbortSignal,
): Promise<CheckedTensorFlow> {
  const found = await compared<CheckedTensorFlow>('tensorflow', folder, progress, signal);
  if (gpu && !found.gpu) {
    throw new UserError(
      'TensorFlow sees no GPU that it can use: its CUDA 12 needs a driver of version 525 or newer (nvidia-smi shows it)',
    );
  }
  return found;
}
