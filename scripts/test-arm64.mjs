// Compiles the kernels for 64-bit Arm and runs test/native/kernels.cc on them: on such a machine as it is, elsewhere
// with Debian's cross compiler and QEMU (g++-aarch64-linux-gnu, qemu-user-static).
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileProgram, findCompiler, firstCommand, run } from '../native/build.mjs';
import { inScratch } from './scratch.mjs';

const TRIALS = 20;
const test = fileURLToPath(new URL('../test/native/kernels.cc', import.meta.url));
const emulated = process.arch !== 'arm64';

async function found(command, packageName) {
  if (await firstCommand([[command]])) return command;
  throw new Error(`${command} was not found; install the package ${packageName}`);
}

await inScratch('test:arm64', async (folder) => {
  const compiler = emulated
    ? [await found('aarch64-linux-gnu-g++', 'g++-aarch64-linux-gnu')]
    : await findCompiler();
  const machine = emulated ? [await found('qemu-aarch64-static', 'qemu-user-static')] : [];
  const program = path.join(folder, 'kernels');
  await compileProgram(compiler, test, program, ['-O2', '-static'], 'arm64');
  process.stdout.write(`arm64\n${await run([...machine, program, String(TRIALS)])}`);
});
