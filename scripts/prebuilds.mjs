// Builds the kernels for other people's machines: prebuilds/bang-<system>-<stamp>.node, which `npm
// pack` ships. Zig is a C++ compiler (Clang) that brings the C libraries of all systems in all
// versions; it links its own C++ library into the result. Nothing else makes a file on a new Linux
// that an old one can load.
import { rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { compileAddon, findZig, kernelFile, PREBUILDS, work } from '../native/build.mjs';

/** The oldest glibc that the binaries of Node 20 run on. */
const GLIBC = '2.28';
/** The oldest macOS that the binaries of Node 20 run on. */
const MACOS = '11.0';
const SYSTEMS = {
  'linux-x64': ['linux', 'x64', `x86_64-linux-gnu.${GLIBC}`],
  'linux-x64-musl': ['linux', 'x64', 'x86_64-linux-musl'],
  'linux-arm64': ['linux', 'arm64', `aarch64-linux-gnu.${GLIBC}`],
  'linux-arm64-musl': ['linux', 'arm64', 'aarch64-linux-musl'],
  'darwin-x64': ['darwin', 'x64', `x86_64-macos.${MACOS}`],
  'darwin-arm64': ['darwin', 'arm64', `aarch64-macos.${MACOS}`],
  'win32-x64': ['win32', 'x64', 'x86_64-windows-gnu'],
};

const zig = await findZig();
if (!zig) {
  process.stderr.write(
    'prebuilds: Zig was not found; install it (pip install ziglang), or set ZIG to its path\n',
  );
  process.exit(2);
}
rmSync(PREBUILDS, { recursive: true, force: true });
for (const [system, [platform, arch, target]] of Object.entries(SYSTEMS)) {
  const file = path.join(PREBUILDS, kernelFile(system));
  await compileAddon(zig, file, {
    platform,
    arch,
    flags: ['-target', target, '-s', '-fno-sanitize=all'],
  });
  const here = system === `${process.platform}-${process.arch}`;
  const works = !here ? '' : (await work(file)) ? ', works here' : ', DOES NOT WORK here';
  if (works.includes('NOT')) process.exitCode = 1;
  process.stdout.write(
    `${path.relative('.', file)}: ${Math.round(statSync(file).size / 1024)} KB${works}\n`,
  );
}
