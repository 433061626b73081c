import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../base/errors.js';
import type { Progress } from '../base/progress.js';
import { CommandFailed, lastLine, runCommand } from './command.js';
import { TENSORFLOW_VERSION } from '../engine/tensorflow/installation.js';

/** A Python for which there is a wheel. */
export interface Python {
  command: string;
  /** Such as 3.11.7. */
  version: string;
}

/** The minor versions of Python 3 for which this TensorFlow has wheels. */
const SUPPORTED = { first: 10, last: 13 };

/** What Python says of itself, isolated from the user's own modules and settings. */
const PROBE = `
import json, platform, importlib.util as u
print(json.dumps([platform.python_version(), bool(u.find_spec("venv") and u.find_spec("ensurepip"))]))
`;

/**
 * The first Python that will do: `$PYTHON` alone if that is set, else what is usual.
 *
 * @throws UserError that says what is missing
 */
export async function findPython(signal?: AbortSignal): Promise<Python> {
  const { PYTHON } = process.env;
  const versions = [13, 12, 11, 10].map((minor) => `python3.${minor}`);
  const supported = `Python 3.${SUPPORTED.first} to 3.${SUPPORTED.last}`;
  const unfit: string[] = [];
  for (const command of PYTHON ? [PYTHON] : ['python3', ...versions, 'python']) {
    const found = await probe(command, signal);
    if (found === undefined) continue;
    const { version, venv } = found;
    const [major, minor] = version.split('.').map(Number) as [number, number];
    if (major !== 3 || minor < SUPPORTED.first || minor > SUPPORTED.last) {
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
      ? `PYTHON is set to ${PYTHON}, which is not a Python: set it to ${supported}, or to nothing`
      : `there is no Python: install ${supported} with venv (on Debian and Ubuntu: apt install python3-venv)`,
  );
}

async function probe(
  command: string,
  signal?: AbortSignal,
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

/** What is fetched: with CUDA and what it needs, or the library alone, which runs no Python. */
export const WHEELS = {
  gpu: { name: 'tensorflow[and-cuda]', options: [], downloadMB: 3600, diskGB: 12 },
  cpu: { name: 'tensorflow-cpu', options: ['--no-deps'], downloadMB: 274, diskGB: 2 },
} as const;

/**
 * Installs the wheel into a virtual environment of its own and returns the folder of its packages.
 *
 * @param folder exists; everything that is fetched and unpacked stays in it
 * @throws UserError that says what is wrong, if pip fails; Interrupted if `signal` aborts
 */
export async function installWheel(
  { command, version }: Python,
  wheel: (typeof WHEELS)['cpu' | 'gpu'],
  folder: string,
  { progress, signal }: { progress: Progress; signal?: AbortSignal },
): Promise<string> {
  const environment = path.join(folder, 'venv');
  const settings = {
    // pip downloads into it: there its progress can be seen, and there it is removed.
    TMPDIR: folder,
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    PIP_NO_INPUT: '1',
  };
  const task = progress.start(`fetch ${wheel.name}`, wheel.downloadMB, 'MB');
  const begun = performance.now();
  let [said, highest] = ['', 0];
  const watch = setInterval(() => {
    void megabytesOfWheels(folder, 'venv').then((now) => {
      // What is unpacked then is counted no more.
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

/** A failure of pip or venv in one sentence, by what it said. */
export function pipProblem(output: string, wheel: string): string {
  const cannot = `cannot install ${wheel} ${TENSORFLOW_VERSION}`;
  if (/No space left on device|Errno 28|Disk quota exceeded/.test(output)) {
    return `${cannot}: the disk is full; make room or set BANG_CACHE to a folder with more`;
  }
  // Before the next: without a network pip says both.
  const network =
    /NewConnectionError|NameResolutionError|Name or service not known|name resolution|Connection refused|Network is unreachable|ConnectTimeout|ReadTimeout|timed out|ProxyError|SSLError|SSLCertVerificationError|Connection aborted|IncompleteRead/;
  if (network.test(output)) {
    return `${cannot}: the package index cannot be reached; check the network and pip's index and proxy settings (pip config list)`;
  }
  if (/No matching distribution|Could not find a version/.test(output)) {
    return `${cannot}: pip's package index has no wheel of it for this Python and system; set pip's index to one that has`;
  }
  const error = output.split(/[\r\n]+/).findLast((line) => line.startsWith('ERROR:'));
  return `${cannot}: pip failed (${(error ?? lastLine(output)).replace(/^ERROR: /, '')})`;
}

/** Megabytes of the wheels in a folder and those in it, but for one. */
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
