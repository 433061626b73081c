import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../base/errors.js';
import type { Progress } from '../base/progress.js';
import { CommandFailed, lastLine, runCommand } from './command.js';
import { TENSORFLOW_VERSION } from '../engine/tensorflow/installation.js';

/** A Python for which TensorFlow has a wheel. */
export interface Python {
  command: string;
  /** Such as 3.11.7. */
  version: string;
}

/** The minor versions of Python 3 for which this TensorFlow has wheels. */
const SUPPORTED = [13, 12, 11, 10];

/** Prints Python's version, and whether it has venv and pip. */
const PROBE = `
import json, platform, importlib.util as u
print(json.dumps([platform.python_version(), bool(u.find_spec("venv") and u.find_spec("ensurepip"))]))
`;

/**
 * The first suitable Python: `$PYTHON` if that is set, else one with a usual name.
 *
 * @throws UserError with what is missing; Interrupted if `signal` aborts
 */
export async function findPython(signal: AbortSignal): Promise<Python> {
  const { PYTHON } = process.env;
  const versions = SUPPORTED.map((minor) => `python3.${minor}`);
  const supported = `Python 3.${Math.min(...SUPPORTED)} to 3.${Math.max(...SUPPORTED)}`;
  const unfit: string[] = [];
  for (const command of PYTHON ? [PYTHON] : ['python3', ...versions, 'python']) {
    const found = await probe(command, signal);
    if (found === undefined) continue;
    const { version, venv } = found;
    const [major, minor] = version.split('.').map(Number) as [number, number];
    if (major !== 3 || !SUPPORTED.includes(minor)) {
      unfit.push(
        `${command} is ${version}, for which there is no TensorFlow ${TENSORFLOW_VERSION}`,
      );
    } else if (!venv) {
      unfit.push(`${command} has no venv and pip (on Debian and Ubuntu: apt install python3-venv)`);
    } else {
      return { command, version };
    }
  }
  if (unfit.length > 0) {
    throw new UserError(`${unfit[0]}; install ${supported}, or set PYTHON to one`);
  }
  throw new UserError(
    PYTHON
      ? `PYTHON is set to ${PYTHON}, which is not a Python: set it to ${supported}, or unset it`
      : `there is no Python: install ${supported} with venv (on Debian and Ubuntu: apt install python3-venv)`,
  );
}

async function probe(
  command: string,
  signal: AbortSignal,
): Promise<{ version: string; venv: boolean } | undefined> {
  try {
    const said = await runCommand(command, ['-I', '-c', PROBE], { signal });
    const [version, venv] = JSON.parse(said) as [string, boolean];
    return { version, venv };
  } catch (error) {
    if (error instanceof CommandFailed || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The wheels: with CUDA and its dependencies, or the library alone, since no Python code is run. */
export const WHEELS = {
  gpu: { name: 'tensorflow[and-cuda]', options: [], downloadMB: 3600, diskGB: 12 },
  cpu: { name: 'tensorflow-cpu', options: ['--no-deps'], downloadMB: 274, diskGB: 2 },
} as const;

/**
 * Installs the wheel into a new virtual environment and returns the folder of its packages.
 *
 * @param folder an existing folder for everything that is fetched and unpacked
 * @throws UserError with the reason if pip fails; Interrupted if `signal` aborts
 */
export async function installWheel(
  { command, version }: Python,
  wheel: (typeof WHEELS)['cpu' | 'gpu'],
  folder: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<string> {
  const environment = path.join(folder, 'venv');
  const settings = {
    // pip downloads into this folder, where the progress is measured and from which it is removed.
    TMPDIR: folder,
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    PIP_NO_INPUT: '1',
  };
  const task = progress.start(`fetch ${wheel.name}`, wheel.downloadMB, 'MB');
  const begun = performance.now();
  let [said, highest] = ['', 0];
  const watch = setInterval(() => {
    void megabytesOfWheels(folder, 'venv').then((now) => {
      // Files are unpacked from here on, which does not count.
      if (said.startsWith('Installing')) return;
      highest = Math.max(highest, Math.min(now, wheel.downloadMB));
      task.update(highest, said.slice(0, 60));
    });
  }, 500);
  let summary: string | undefined;
  try {
    await runCommand(command, ['-I', '-m', 'venv', environment], { env: settings, signal });
    await runCommand(
      path.join(environment, 'bin', 'python'),
      [
        ...['-I', '-m', 'pip', 'install', '--no-user', '--no-compile', '--only-binary=:all:'],
        ...wheel.options,
        `${wheel.name}==${TENSORFLOW_VERSION}`,
      ],
      { env: settings, signal, said: (line) => (said = line) },
    );
    summary = `TensorFlow ${TENSORFLOW_VERSION} in ${((performance.now() - begun) / 1000).toFixed(0)} s`;
  } catch (error) {
    if (error instanceof CommandFailed) throw new UserError(pipProblem(error.output, wheel.name));
    throw error;
  } finally {
    clearInterval(watch);
    task.finish(summary);
  }
  const [major, minor] = version.split('.') as [string, string];
  return path.join(environment, 'lib', `python${major}.${minor}`, 'site-packages');
}

/** A sentence about a failure of pip or venv, from its output. */
function pipProblem(output: string, wheel: string): string {
  const cannot = `cannot install ${wheel} ${TENSORFLOW_VERSION}`;
  if (/No space left on device|Errno 28|Disk quota exceeded/.test(output)) {
    return `${cannot}: the disk is full; make room or set BANG_CACHE to a folder with more`;
  }
  // Before the next test: without a network pip prints both errors.
  const network =
    /NewConnectionError|NameResolutionError|Name or service not known|name resolution|Connection refused|Network is unreachable|ConnectTimeout|ReadTimeout|timed out|ProxyError|SSLError|SSLCertVerificationError|Connection aborted|IncompleteRead/;
  if (network.test(output)) {
    return `${cannot}: the package index cannot be reached; check the network and pip's index and proxy settings (pip config list)`;
  }
  if (/No matching distribution|Could not find a version/.test(output)) {
    return `${cannot}: pip's package index has no wheel of it for this Python and system; use an index that has one`;
  }
  const error = output.split(/[\r\n]+/).findLast((line) => line.startsWith('ERROR:'));
  return `${cannot}: pip failed (${(error ?? lastLine(output)).replace(/^ERROR: /, '')})`;
}

/** The megabytes of all wheels in a folder and its subfolders, except for the subfolder `but`. */
async function megabytesOfWheels(folder: string, but: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const sizes = entries.map(async ({ name }) => {
    const place = path.join(folder, name);
    if (!name.endsWith('.whl')) return name === but ? 0 : await megabytesOfWheels(place, but);
    return await stat(place).then(
      ({ size }) => size / 1e6,
      () => 0,
    );
  });
  const sum = (await Promise.all(sizes)).reduce((total, size) => total + size, 0);
  return Math.round(sum);
}
