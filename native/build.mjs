// How native/ is compiled, and the names of the results. Used by the build scripts and by the program, which
// loads the results.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const native = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(native);

/** Folders of kernels compiled on this machine, and of prebuilt ones. */
export const BUILD = path.join(root, 'build');
export const PREBUILDS = path.join(root, 'prebuilds');
const SYSTEM = `${process.platform}-${process.arch}`;
/** The kernels as WebAssembly, for any machine. */
export const wasmFile = path.join(native, 'kernels.wasm');

/** What x86-64-v3 has beside AVX2; older compilers do not know that name. */
const V3_FLAGS = '-mfma -mbmi -mbmi2 -mlzcnt -mpopcnt -mmovbe -mf16c -mcx16 -msahf'.split(' ');
/** One object per instruction set level, with these flags; the best that the processor supports is chosen at run time. */
const LEVELS = {
  x64: {
    avx512: [
      ...V3_FLAGS,
      ...['f', 'bw', 'cd', 'dq', 'vl'].map((part) => `-mavx512${part}`),
      '-mprefer-vector-width=512',
    ],
    avx2: [...V3_FLAGS, '-mavx2'],
    // Where a compiler takes a newer processor for granted.
    baseline: ['-mno-avx'],
  },
  others: { baseline: [] },
};

/** What checks the arguments of JavaScript. */
const BORDER = ['arguments.cc', 'border_control.cc', 'border_geometry.cc', 'border_rows.cc'];

// No -ffast-math: ties, denormals and the order of sums are part of the experiment.
const FLAGS = [
  '-std=c++17',
  '-fvisibility=hidden',
  '-ffp-contract=off',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-Wall',
  '-Wextra',
];
// Clang's scheduler would load more values than fit in the registers, and spill in the innermost loop.
const CLANG_FLAGS = ['-mllvm', '-enable-misched=false'];
/** With Zig: its own C and C++ library, linked into the result. */
export const WINDOWS_FLAGS = ['-target', 'x86_64-windows-gnu', '-s', '-fno-sanitize=all'];
/** For the machine's own threads and dynamic linker. */
const SYSTEM_FLAGS = ['-fPIC', '-pthread'];

/**
 * Without relaxed SIMD, whose results depend on the processor: what WebAssembly computes is the same bit for
 * bit everywhere.
 */
const WASM_FLAGS = [
  '-target',
  'wasm32-wasi',
  '-O3',
  '-msimd128',
  '-matomics',
  '-mbulk-memory',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-sanitize=all',
];
const WASM_LINK = [
  '-mexec-model=reactor',
  // The kernels need nothing of it, and Zig would compile it first.
  '-nostdlib++',
  '-s',
  `-Wl,${[
    '--import-memory',
    '--shared-memory',
    // 65535 pages: as many bytes as 32 bits can count.
    `--max-memory=${65_535 * 65_536}`,
    '--export=__stack_pointer',
    '--export=__wasm_init_tls',
    '-z,stack-size=1048576',
  ].join()}`,
];

/** The sources that are compiled on their own, for the addon and for WebAssembly. */
const ADDON_UNITS = ['level.cc', 'levels.cc', 'threads.cc', 'memory.cc', 'addon.cc', ...BORDER];
const WASM_UNITS = ['level.cc', 'memory.cc', 'heap.cc', 'wasm.cc', ...BORDER];

/** The files that determine the kernels, by name, with their contents: the sources, what they include, and this one. */
function sources(units) {
  const found = new Map();
  const visit = (name) => {
    if (found.has(name)) return;
    const content = readFileSync(path.join(native, name));
    found.set(name, content);
    for (const [, included] of content.toString().matchAll(/^#include "(.+)"$/gm)) visit(included);
  };
  ['build.mjs', ...units].forEach(visit);
  return found;
}

/**
 * A hash of the sources. It is part of the file name of the kernels, so that kernels built from other sources,
 * whose interface may differ, are not loaded.
 */
function stamp(units) {
  const hash = createHash('sha256');
  for (const [name, content] of sources(units)) {
    hash.update(`${name}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex').slice(0, 16);
}

/** The file name of the kernels for a system: platform, architecture and, with musl, C library. */
export function kernelFile(system = SYSTEM, version = stamp(ADDON_UNITS)) {
  return `bang-${system}-${version}.node`;
}

/** What `wasmFile` says of the sources that it is made of. */
export function wasmStamp() {
  return stamp(WASM_UNITS);
}

/**
 * The existing files of kernels for this system, in order of preference. The C library need not be known:
 * kernels for another one cannot be loaded.
 */
export function kernelFiles() {
  const version = stamp(ADDON_UNITS);
  return [
    path.join(BUILD, kernelFile(SYSTEM, version)),
    path.join(PREBUILDS, kernelFile(SYSTEM, version)),
    path.join(PREBUILDS, kernelFile(`${SYSTEM}-musl`, version)),
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

/** The units of all levels of an architecture, and their flags. */
function levelUnits(arch = process.arch) {
  return Object.entries(LEVELS[arch] ?? LEVELS.others).map(([level, flags]) => [
    'level.cc',
    [...flags, `-DBANG_LEVEL=${level}`],
  ]);
}

/**
 * Compiles `units`, [source, flags][], and links them.
 *
 * @param compiler a command
 * @param options.flags for compiling and linking
 * @param options.link the flags for linking only; takes a folder for what linking needs
 * @param options.target the result, which is written atomically
 * @param options.finish called with the linked file before it gets its name
 */
async function compile(compiler, { units, flags, link, target, finish = () => undefined }) {
  const clang = (await run([...compiler, '--version'])).includes('clang');
  const all = [...FLAGS, ...(clang ? CLANG_FLAGS : []), ...flags];
  mkdirSync(path.dirname(target), { recursive: true });
  const temporary = `${target}.${process.pid}.tmp`;
  mkdirSync(temporary);
  try {
    const objects = units.map((_, i) => path.join(temporary, `${i}.o`));
    const outputs = await Promise.all(
      units.map(([source, own], i) =>
        run([...compiler, ...all, ...own, '-c', path.join(native, source), '-o', objects[i]]),
      ),
    );
    process.stderr.write(outputs.join(''));
    const linked = path.join(temporary, 'linked');
    await run([...compiler, ...flags, ...(await link(temporary)), ...objects, '-o', linked]);
    finish(linked);
    renameSync(linked, target);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** Import libraries for what node.exe exports, which Windows' linker wants, made with Zig in `folder`. */
async function importsOf(compiler, lists, folder) {
  return await Promise.all(
    lists.map(async (list) => {
      const library = path.join(folder, `${path.basename(list)}.lib`);
      await run([
        ...compiler.slice(0, -1),
        'dlltool',
        '-m',
        'i386:x86-64',
        '-d',
        list,
        '-l',
        library,
      ]);
      return library;
    }),
  );
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
  const others = ADDON_UNITS.filter((source) => source !== 'level.cc');
  const link = {
    // Zig makes no bundles; Node loads either.
    darwin: () => [compiler.length > 1 ? '-shared' : '-bundle', '-undefined', 'dynamic_lookup'],
    win32: async (temporary) => {
      const lists = ['js_native_api.def', 'node_api.def'].map((name) =>
        path.join(headers('node-api-headers', 'def'), name),
      );
      return ['-shared', ...(await importsOf(compiler, lists, temporary))];
    },
    // Node unloads an addon with the last thread that uses it, but the thread pool lives on in its code.
    // And its own C++ library, if it has one, must not be mixed with that of Node, whose exceptions differ.
    linux: () => ['-shared', '-Wl,-z,nodelete', '-Wl,-Bsymbolic'],
  };
  await compile(compiler, {
    units: [
      ...levelUnits(arch),
      ...others.map((source) => [
        source,
        source === 'addon.cc' ? [...include, '-DNAPI_CPP_EXCEPTIONS', '-DNAPI_VERSION=8'] : [],
      ]),
    ],
    flags: ['-O3', ...SYSTEM_FLAGS, ...flags],
    link: link[platform ?? process.platform] ?? link.linux,
    target,
  });
}

/** Compiles the kernels of all levels and `source`, which calls them, to a program; `arch` as for an addon. */
export async function compileProgram(compiler, source, target, flags, arch = process.arch) {
  await compile(compiler, {
    units: [
      ...levelUnits(arch),
      ...['levels.cc', 'threads.cc', 'memory.cc', path.relative(native, source)].map((name) => [
        name,
        [],
      ]),
    ],
    flags: [...SYSTEM_FLAGS, ...flags],
    link: () => [],
    target,
  });
}

/** Compiles the kernels to WebAssembly, with Zig. */
export async function compileWasm(zig, target) {
  await compile(zig, {
    units: WASM_UNITS.map((source) => [source, source === 'level.cc' ? ['-DBANG_LEVEL=wasm'] : []]),
    flags: WASM_FLAGS,
    link: () => WASM_LINK,
    target,
    finish: (file) => appendFileSync(file, customSection('stamp', wasmStamp())),
  });
}

/** A section of a WebAssembly module that engines ignore. Name and content are shorter than 64 bytes each. */
function customSection(name, content) {
  const bytes = [name.length, ...Buffer.from(name + content)];
  return Buffer.from([0, bytes.length, ...bytes]);
}

/** The command of Zig: `$ZIG`, `zig`, or the Python package `ziglang`; undefined if there is none. */
export async function findZig() {
  const { ZIG } = process.env;
  return await firstCommand(
    ZIG
      ? [[ZIG, 'c++']]
      : [
          ['zig', 'c++'],
          ['python3', '-m', 'ziglang', 'c++'],
        ],
  );
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
