// How native/ is compiled, and what the results are called. Used by the scripts that build, and by
// the program, which loads what they built.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const native = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(native);

/** What the machine compiles for itself, and what was compiled elsewhere. */
export const BUILD = path.join(root, 'build');
export const PREBUILDS = path.join(root, 'prebuilds');

/** One object for each level of instruction set; the best that the processor has is chosen at run time. */
const LEVELS = {
  x64: {
    avx512: { cpu: 'x86-64-v4', flags: ['-mprefer-vector-width=512'] },
    avx2: { cpu: 'x86-64-v3' },
    baseline: { cpu: 'x86-64' },
  },
  others: { baseline: {} },
};

/** What is compiled with Node's headers. */
const ADDON = ['addon.cc', 'arguments.cc', 'border_geometry.cc', 'border_rows.cc'];

// No -ffast-math: ties, denormals and the order of sums are part of the experiment.
const FLAGS = [
  '-std=c++17',
  '-fPIC',
  '-pthread',
  '-fvisibility=hidden',
  '-ffp-contract=fast',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-Wall',
  '-Wextra',
];
// Clang's scheduler would load more than fits the registers, and spill sums in the innermost loop.
const CLANG_FLAGS = ['-mllvm', '-enable-misched=false'];

/**
 * A name for what is in this folder. The kernels' files carry it, so those of other sources, whose
 * interface may be another, are not found.
 */
function stamp() {
  const hash = createHash('sha256');
  for (const name of readdirSync(native).sort()) {
    const content = readFileSync(path.join(native, name));
    hash.update(`${name}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex').slice(0, 16);
}

/** The name of the kernels for a system: its platform, architecture and, with musl, C library. */
export function kernelFile(system = `${process.platform}-${process.arch}`) {
  return `bang-${system}-${stamp()}.node`;
}

/**
 * Where the kernels may be, the best first. Those for a C library that is not the system's cannot be
 * loaded, so nobody has to find out which it is.
 */
export function kernelFiles() {
  const system = `${process.platform}-${process.arch}`;
  return [
    path.join(BUILD, kernelFile(system)),
    path.join(PREBUILDS, kernelFile(system)),
    path.join(PREBUILDS, kernelFile(`${system}-musl`)),
  ].filter((file) => existsSync(file));
}

/**
 * Runs a command (an array) to its end.
 *
 * @returns what it printed
 * @throws Error with all of that, if it fails
 */
export function run(command, options = {}) {
  return new Promise((resolve, reject) => {
    const [name, ...args] = command;
    const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let output = '';
    child.stdout.on('data', (data) => (output += data));
    child.stderr.on('data', (data) => (output += data));
    child.on('error', reject);
    child.on('close', (code, signal) =>
      code === 0
        ? resolve(output)
        : reject(new Error(`${command.join(' ')}: ${signal ?? `exit code ${code}`}\n${output}`)),
    );
  });
}

/** The first of these commands (arrays) that tells its version, or undefined. */
export async function firstCommand(commands) {
  for (const command of commands) {
    try {
      await run([...command, '--version']);
      return command;
    } catch {
      // Not this one.
    }
  }
  return undefined;
}

/** The compiler of this machine, as a command. */
export async function findCompiler() {
  const { CXX } = process.env;
  const compiler = await firstCommand((CXX ? [CXX] : ['c++', 'g++', 'clang++']).map((c) => [c]));
  if (compiler) return compiler;
  const tried = CXX ? `CXX is ${CXX}` : 'c++, g++, clang++ or $CXX';
  throw new Error(`no C++ compiler was found (${tried})`);
}

/**
 * Compiles the kernels of all levels and the thread pool, and with them `more`: [source, flags][].
 *
 * @param compiler a command; `flags` are for compiling and linking
 * @param target where the result goes, in one piece
 */
export async function compile(compiler, { arch = process.arch, flags, more, link, target }) {
  const clang = (await run([...compiler, '--version'])).includes('clang');
  // Zig, a command of several words, has other names of processors: x86_64_v3.
  const march = (cpu) => `-march=${compiler.length > 1 ? cpu.replaceAll('-', '_') : cpu}`;
  const all = [...FLAGS, ...(clang ? CLANG_FLAGS : []), ...flags];
  const units = [
    ...Object.entries(LEVELS[arch] ?? LEVELS.others).map(([level, own]) => [
      path.join(native, 'level.cc'),
      [...(own.cpu ? [march(own.cpu)] : []), ...(own.flags ?? []), `-DBANG_LEVEL=${level}`],
    ]),
    [path.join(native, 'levels.cc'), []],
    [path.join(native, 'threads.cc'), []],
    ...more,
  ];
  mkdirSync(path.dirname(target), { recursive: true });
  const temporary = `${target}.${process.pid}.tmp`;
  mkdirSync(temporary);
  try {
    const objects = units.map((_, i) => path.join(temporary, `${i}.o`));
    const outputs = await Promise.all(
      units.map(([source, own], i) =>
        run([...compiler, ...all, ...own, '-c', source, '-o', objects[i]]),
      ),
    );
    process.stderr.write(outputs.join(''));
    const linked = path.join(temporary, 'linked');
    await run([...compiler, ...flags, '-pthread', ...link, ...objects, '-o', linked]);
    renameSync(linked, target);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** Compiles the addon for Node, with flags that choose another system than this one if need be. */
export async function compileAddon(compiler, target, { platform, arch, flags = [] } = {}) {
  const require = createRequire(import.meta.url);
  const headers = (name, folder) =>
    path.join(path.dirname(require.resolve(`${name}/package.json`)), folder);
  const include = [
    `-I${headers('node-api-headers', 'include')}`,
    `-I${headers('node-addon-api', '.')}`,
  ];
  await compile(compiler, {
    arch,
    flags: ['-O3', ...flags],
    more: ADDON.map((source) => [
      path.join(native, source),
      [...include, '-DNAPI_CPP_EXCEPTIONS', '-DNAPI_VERSION=8'],
    ]),
    link:
      (platform ?? process.platform) === 'darwin'
        ? ['-bundle', '-undefined', 'dynamic_lookup']
        : ['-shared'],
    target,
  });
}

/**
 * Whether kernels can be loaded here and can multiply. In another process: what was made for another
 * processor or C library may end the one that it is loaded into.
 */
export async function work(file) {
  const script = `
    const product = new Float32Array(1);
    const [a, b] = [Float32Array.of(3), Float32Array.of(2)];
    require(${JSON.stringify(file)}).matMul(1, 1, 1, a, false, b, false, null, null, false, product);
    process.exit(product[0] === 6 ? 0 : 1);`;
  return run([process.execPath, '-e', script]).then(
    () => true,
    () => false,
  );
}
