// Compiles the kernels with the compilers' sanitizers, for addresses and undefined behaviour and for
// threads, and runs test/native/kernels.cc on them. A finding ends the program with an error.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileProgram, findCompiler, run } from '../native/build.mjs';
import { inScratch } from './scratch.mjs';

const test = fileURLToPath(new URL('../test/native/kernels.cc', import.meta.url));
const SANITIZERS = [
  { name: 'address,undefined', trials: 30 },
  { name: 'thread', trials: 10 },
];

await inScratch('test:sanitizers', async (folder) => {
  const compiler = await findCompiler();
  for (const { name, trials } of SANITIZERS) {
    const program = path.join(folder, name);
    await compileProgram(compiler, test, program, [
      // Three times as fast to compile as -O1 -g, and no check is optimised away.
      '-Og',
      '-g1',
      `-fsanitize=${name}`,
      '-fno-sanitize-recover=all',
      '-DBANG_EXACT_SCRATCH',
    ]);
    const env = { ...process.env, UBSAN_OPTIONS: 'print_stacktrace=1' };
    process.stdout.write(`${name}\n${await run([program, String(trials)], { env })}`);
  }
});
