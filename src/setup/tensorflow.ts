import { mkdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { extractPackage, type NpmPackage } from '../base/npm.js';
import { codeOf, messageOf, UserError } from '../base/errors.js';
import { cacheError, cacheFolder, ownFolder } from '../base/cacheFolder.js';
import { type Progress, silent } from '../base/progress.js';
import { SHARED_CORE } from '../engine/tensorflow/backend.js';
import { buildBinding, requireCompiler } from './tensorflowBinding.js';
import { CommandFailed, lastLine, runCommand } from './command.js';
import {
  hasGpuDriver,
  INSIDE,
  type Installation,
  platform,
  readInstallation,
  TENSORFLOW_VERSION,
  tensorflowFolder,
} from '../engine/tensorflow/installation.js';
import { findPython, installWheel, WHEELS } from './python.js';
import path from 'node:path';

/** The package that computes, and the one of its dependencies that its kernels load beside tfjs. */
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

/** How far float32 sums in another order may lie apart, as a share of the largest value. */
const TOLERANCE = 1e-4;

export interface SetupOptions {
  gpu?: boolean;
  /** The folder of the cache; `cacheFolder()` unless told. */
  root?: string;
  progress?: Progress;
  signal?: AbortSignal;
}

export interface SetUp {
  installation: Installation;
  /** Whether it was there already. */
  already: boolean;
}

/**
 * Makes the `tensorflow` engine: TensorFlow's library out of its Python wheel, tfjs-node-gpu out of
 * its npm package, and between them the package's addon, compiled here. Made beside its place,
 * compared with the CPU kernels, and put there in one step. What is there and computes is kept.
 *
 * @throws UserError that says what is missing or wrong; Interrupted if `signal` aborts
 */
export async function setUpTensorFlow({
  gpu = false,
  root = cacheFolder(),
  progress = silent,
  signal,
}: SetupOptions = {}): Promise<SetUp> {
  const folder = tensorflowFolder(root);
  const found = readInstallation(folder);
  if ('installation' in found && found.installation.gpu === gpu) {
    try {
      await checked(folder, gpu, progress, signal);
      return { installation: found.installation, already: true };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      progress.note(`${messageOf(error)}; it is made again`);
    }
  }
  requirePlatform();
  if (gpu && !hasGpuDriver()) {
    throw new UserError(
      'there is no driver of an NVIDIA GPU: install it, or set up without --gpu to compute on the CPU',
    );
  }
  const compiler = await requireCompiler();
  const python = await findPython(signal);
  const wheel = gpu ? WHEELS.gpu : WHEELS.cpu;
  let own: string | undefined;
  try {
    own = await ownFolder(root);
    await requireSpace(root, wheel.diskGB);
    const fresh = path.join(own, 'new');
    const scratch = path.join(own, 'scratch');
    await mkdir(scratch);
    const packages = await installWheel(python, wheel, scratch, { progress, signal });
    await fetchPackages(fresh, signal);
    const headers = path.join(packages, 'tensorflow', 'include');
    const building = progress.start('build the binding', 1, 'step');
    await buildBinding(compiler, { folder: fresh, headers, scratch }, signal);
    building.finish(`with ${compiler}`);
    await moveLibraries(packages, fresh);
    const { difference } = await checked(fresh, gpu, progress, signal);
    const installation: Installation = {
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
    await writeFile(path.join(fresh, INSIDE.record), `${JSON.stringify(installation, null, 2)}\n`);
    await putAway(folder, own);
    await rename(fresh, folder);
    return { installation, already: false };
  } catch (error) {
    throw cacheError(error, root);
  } finally {
    // What cannot be removed now is a leftover, which the next time removes.
    if (own !== undefined) await rm(own, { recursive: true, force: true }).catch(() => undefined);
  }
}

/**
 * Removes what `setUpTensorFlow` made, and says whether there was anything.
 *
 * @throws UserError if it cannot be removed
 */
export async function removeTensorFlow(root = cacheFolder()): Promise<boolean> {
  try {
    // In one step out of its place, so that no half of it can be found there.
    const own = await ownFolder(root);
    const removed = await putAway(tensorflowFolder(root), own);
    await rm(own, { recursive: true, force: true });
    return removed;
  } catch (error) {
    throw cacheError(error, root);
  }
}

/** Moves what lies there into `own`; false if nothing does. */
async function putAway(folder: string, own: string): Promise<boolean> {
  try {
    await rename(folder, path.join(own, 'old'));
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** @throws UserError where there is no wheel, or none that this Node could load */
function requirePlatform(): void {
  const report = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const { glibcVersionRuntime } = report.header;
  if (process.platform !== 'linux' || process.arch !== 'x64' || !glibcVersionRuntime) {
    const here = `${platform()}${process.platform === 'linux' && !glibcVersionRuntime ? ' without glibc' : ''}`;
    throw new UserError(
      `the tensorflow engine needs Linux on x64 with glibc, and this is ${here}: use the native engine`,
    );
  }
}

async function requireSpace(root: string, gigabytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(root);
  const free = (bavail * bsize) / 1e9;
  if (free >= gigabytes) return;
  throw new UserError(
    `${root} has ${free.toFixed(1)} GB left and setting up needs ${gigabytes} GB: ` +
      'make room or set BANG_CACHE to a folder with more',
  );
}

/** The npm packages, and stand-ins that hand them the program's own tfjs-core. */
async function fetchPackages(folder: string, signal: AbortSignal | undefined): Promise<void> {
  for (const each of Object.values(PACKAGES)) {
    await extractPackage(each, path.join(folder, 'node_modules', each.name), signal);
  }
  for (const name of ['tfjs', 'tfjs-core']) {
    const standIn = path.join(folder, 'node_modules', '@tensorflow', name);
    await mkdir(standIn, { recursive: true });
    const line = `module.exports = globalThis[Symbol.for('${SHARED_CORE}')];\n`;
    await writeFile(path.join(standIn, 'index.js'), line);
  }
}

/** Of the wheel's gigabytes, the libraries: TensorFlow's own, and CUDA's where they find it. */
async function moveLibraries(packages: string, folder: string): Promise<void> {
  const libraries = path.join(folder, INSIDE.libraries);
  await mkdir(libraries, { recursive: true });
  for (const name of ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2']) {
    await rename(path.join(packages, 'tensorflow', name), path.join(libraries, name));
  }
  const cuda = path.join(packages, 'nvidia');
  const isThere = await stat(cuda).then(
    () => true,
    () => false,
  );
  if (isThere) await rename(cuda, path.join(path.dirname(libraries), 'nvidia'));
}

/** What the comparison with the CPU kernels says. */
export interface Checked {
  version: string;
  gpu: boolean;
  /** The largest difference, as a share of its tensor's largest value. */
  difference: number;
}

/** @throws UserError if it cannot be loaded, computes something else, or sees no GPU but should */
async function checked(
  folder: string,
  gpu: boolean,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<Checked> {
  const task = progress.start('compare with the CPU kernels', 1, 'step');
  let found: Checked;
  let summary: string | undefined;
  try {
    const program = fileURLToPath(new URL('verify.js', import.meta.url));
    found = JSON.parse(
      lastLine(await runCommand(process.execPath, [program, folder], { signal })),
    ) as Checked;
    summary = `they differ by ${found.difference.toExponential(1)} of the largest value`;
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    throw new UserError(`tfjs-node-gpu does not run on this machine (${complaint(error)})`);
  } finally {
    task.finish(summary);
  }
  // Written so that a NaN fails, too.
  if (!(found.difference <= TOLERANCE)) {
    throw new UserError(
      `tfjs-node-gpu computes something else than the CPU kernels: they differ by ${found.difference.toExponential(1)} of the largest value`,
    );
  }
  if (gpu && !found.gpu) {
    throw new UserError(
      'TensorFlow sees no GPU that it can use: its CUDA 12 needs a driver of version 525 or newer (nvidia-smi shows it)',
    );
  }
  return found;
}

function complaint({ output, signal }: CommandFailed): string {
  if (signal !== null) return `it was ended by ${signal}`;
  const error = output.split('\n').find((line) => /^\w*Error/.test(line));
  return error ?? lastLine(output);
}
