import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { findCompiler } from '../../native/build.mjs';
import { UserError } from '../base/errors.js';
import { makeFolder } from '../base/files.js';
import { CommandFailed, lastLine, runCommand } from './command.js';
import { INSIDE } from '../engine/tensorflow/installation.js';

/** @throws UserError if there is no C++ compiler */
export async function requireCompiler(): Promise<string> {
  try {
    const [compiler] = await findCompiler();
    return compiler;
  } catch {
    const { CXX } = process.env;
    throw new UserError(
      CXX
        ? `CXX is set to ${CXX}, which is not a C++ compiler: set it to one, or unset it`
        : 'there is no C++ compiler: install g++ or clang++ (on Debian and Ubuntu: apt install g++)',
    );
  }
}

/** The library with TensorFlow's C interface. */
export const LIBRARY = 'libtensorflow_cc.so.2';

/**
 * Builds tfjs-node's addon, which uses Node-API and so does not need node-gyp.
 *
 * @param folder the folder of the package and of the addon
 * @param headers the folder of TensorFlow's headers
 * @param scratch a folder for temporary files
 * @throws UserError if the compiler fails; Interrupted if `signal` aborts
 */
export async function buildBinding(
  compiler: string,
  { folder, headers, scratch }: { folder: string; headers: string; scratch: string },
  signal: AbortSignal,
): Promise<void> {
  const nodeHeaders = createRequire(import.meta.url).resolve('node-api-headers/package.json');
  const source = path.join(folder, INSIDE.package);
  // Linking with the library itself would read 80 MB of symbols. An empty library with the same name
  // is enough, as symbols are resolved when the addon is loaded.
  const named = path.join(scratch, LIBRARY);
  const empty = path.join(scratch, 'empty.cc');
  makeFolder(scratch);
  await writeFile(empty, '');
  try {
    await runCommand(compiler, ['-shared', empty, `-Wl,-soname,${LIBRARY}`, '-o', named], {
      signal,
    });
    await runCommand(
      compiler,
      [
        ...['-std=c++17', '-O2', '-fPIC', '-fvisibility=hidden', '-w', '-DNAPI_VERSION=8'],
        ...[source, headers, path.join(path.dirname(nodeHeaders), 'include')].map((i) => `-I${i}`),
        ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => path.join(source, 'binding', name)),
        ...['-shared', '-Wl,--no-as-needed', named, `-Wl,-rpath,$ORIGIN/${INSIDE.libraries}`],
        ...['-o', path.join(folder, INSIDE.binding)],
      ],
      { signal },
    );
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    if (error.output.includes('No space left on device')) {
      throw new UserError(`cannot write ${folder}: the disk is full; make room`);
    }
    const complaint = error.output.split('\n').find((line) => line.includes('error')) ?? '';
    throw new UserError(
      `${compiler} cannot build the binding of tfjs-node-gpu: ${complaint || lastLine(error.output)}`,
    );
  }
}
