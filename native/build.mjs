// How native/ is compiled, and the names of the results. Used by the build scripts and by the program, which
// loads the results.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const native = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(native);

/** Folders of kernels compiled on this machine, and of prebuilt ones. */
export const BUILD = path.join(root, 'build');
export const PREBUILDS = path.join(root, 'prebuilds');

/** One object per instruction set level; the best that the processor supports is chosen at run time. */
const LEVELS = {
  x64: {
    avx512: { cpu: 'x86-64-v4', flags: ['-mprefer-vector-width=512'] },
    avx2: { cpu: 'x86-64-v3' },
    baseline: { cpu: 'x86-64' },
  },
  others: { baseline: {} },
};

/** Sources that are compiled with Node's headers. */
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
// Clang's scheduler would load more values than fit in the registers, and spill in the innermost loop.
const CLANG_FLAGS = ['-mllvm', '-enable-misched=false'];

/**
 * A hash of this folder's content. It is part of the file name of the kernels, so that kernels built from
 * other sources, whose interface may differ, are not loaded.
 */
function stamp() {
  const hash = createHash('sha256');
  for (const name of readdirSync(native).sort()) {
    const content = readFileSync(path.join(native, name));
    hash.update(`${name}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex').slice(0, 16);
}

/** The file name of the kernels for a system: platform, architecture and, with musl, C library. */
export function kernelFile(system = `${process.platform}-${process.arch}`) {
  return `bang-${system}-${stamp()}.node`;
}

/**
 * The existing files of kernels for this system, in order of preference. The C library need not be known:
 * kernels for another one cannot be loaded.
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
 * Runs a command (an array).
 *
 * @returns its output, standard error included
 * @throws Error with that output, if it fails
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

/** The first of these commands (arrays) that supports `--version`, or undefined. */
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

/**
 * The C++ compiler of this machine, as a command.
 *
 * @throws Error if there is none
 */
export async function findCompiler() {
  const { CXX } = process.env;
  const compiler = await firstCommand((CXX ? [CXX] : ['c++', 'g++', 'clang++']).map((c) => [c]));
  if (compiler) return compiler;
  const tried = CXX ? `CXX is ${CXX}` : 'c++, g++, clang++ or $CXX';
  throw new Error(`no C++ compiler was found (${tried})`);
}

/**
 * Compiles the kernels of all levels, the thread pool and `more`: [source, flags][].
 *
 * @param compiler a command; `flags` are for compiling and linking
 * @param target the result, which is written atomically
 */
export async function compile(compiler, { arch = process.arch, flags, more, link, target }) {
  const clang = (await run([...compiler, '--version'])).includes('clang');
  // Zig, whose command has several words, names processors differently: x86_64_v3.
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

/** Compiles the addon for Node; `platform`, `arch` and `flags` can select another system than this one. */
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
 * Whether kernels can be loaded here and can multiply. Tested in another process, because kernels for
 * another processor or C library may crash it.
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
