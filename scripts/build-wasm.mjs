// Compiles native/ to native/kernels.wasm, which computes where there are no kernels for the machine. It is
// committed, because few have the compiler: Zig, of the version in native/zig.txt.
//
//   build-wasm.mjs           makes it
//   build-wasm.mjs --check   makes it elsewhere; fails if the bytes differ
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileWasm, findZig, run, wasmFile } from '../native/build.mjs';
import { inScratch } from './scratch.mjs';

const REQUIREMENTS = fileURLToPath(new URL('../native/zig.txt', import.meta.url));
const [, VERSION] = /^ziglang==(\S+)/m.exec(readFileSync(REQUIREMENTS, 'utf8'));

await inScratch('build-wasm', async (folder) => {
  const zig = await findZig();
  const found = zig && (await run([...zig.slice(0, -1), 'version'])).trim();
  if (found !== VERSION) {
    throw new Error(
      `Zig ${VERSION} is needed, found ${found ?? 'none'}; install it (pip install -r native/zig.txt), or set ZIG to its path`,
    );
  }
  const check = process.argv.includes('--check');
  const target = check ? path.join(folder, 'kernels.wasm') : wasmFile;
  await compileWasm(zig, target);
  if (check && !readFileSync(target).equals(readFileSync(wasmFile))) {
    throw new Error(`${wasmFile} is not what its sources make: npm run build:wasm`);
  }
});
