// Sees to it that there are kernels: takes those that are built or prebuilt, if they work here, and
// else builds native/ with the C++ compiler of the machine. Node-API needs nothing but a compiler and
// its own headers (from npm), so no node-gyp: that would want Python and a download of Node's headers.
//
// Runs during `npm ci` and never fails it: where there is no compiler the program computes with
// WebAssembly (kernels.wasm). With --force (npm run build:native) it builds in any case, and an
// error is an error.
import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import {
  BUILD,
  compileAddon,
  findCompiler,
  findZig,
  kernelFile,
  kernelFiles,
  WINDOWS_FLAGS,
  work,
} from '../native/build.mjs';

const force = process.argv.includes('--force');

/** Removes a file; where that fails, says so and goes on. */
function removed(file) {
  try {
    rmSync(file, { recursive: true, force: true });
  } catch (error) {
    process.stderr.write(`bang: cannot remove ${file} (${error.code}): remove it\n`);
  }
}

async function haveKernels() {
  for (const file of kernelFiles()) {
    if (await work(file)) return true;
    // A damaged file may end the process that loads it, which must not be the program's.
    removed(file);
  }
  return false;
}

async function build() {
  const name = kernelFile();
  const options = {};
  let compiler;
  if (process.platform === 'win32') {
    // Whose linker can make a list of what Node exports.
    compiler = await findZig();
    if (!compiler) throw new Error('Zig was not found (pip install ziglang)');
    options.flags = WINDOWS_FLAGS;
  } else {
    compiler = await findCompiler();
  }
  await compileAddon(compiler, path.join(BUILD, name), options);
  // Those of earlier sources.
  for (const other of readdirSync(BUILD)) {
    if (other.endsWith('.node') && other !== name) removed(path.join(BUILD, other));
  }
}

if (force || !(await haveKernels())) {
  try {
    await build();
  } catch (error) {
    process.stderr.write(`bang: the native kernels were not built: ${error.message}\n`);
    process.stderr.write(
      'bang: it will compute with WebAssembly, two to three times slower; with a C++ compiler, npm run build:native makes them\n',
    );
    if (force) process.exitCode = 1;
  }
}
