// Builds native/ into build/bang-<platform>-<arch>.node with the C++ compiler of the machine.
// Node-API needs nothing but a compiler and its own headers (from npm), so no node-gyp: that would
// want Python and a download of Node's headers.
//
// Runs during `npm ci` and never fails it: where there is no compiler the program computes on
// tfjs's own kernels and says so. With --force (npm run build:native) an error is an error.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const native = path.join(root, 'native');
const out = path.join(root, 'build');
const target = path.join(out, `bang-${process.platform}-${process.arch}.node`);
const force = process.argv.includes('--force');

/** One object for each level of instruction set; the best that the processor has is chosen at run time. */
const LEVELS =
  process.arch === 'x64'
    ? {
        avx512: ['-march=x86-64-v4', '-mprefer-vector-width=512'],
        avx2: ['-march=x86-64-v3'],
        baseline: ['-march=x86-64'],
      }
    : { baseline: [] };

function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (data) => (output += data));
    child.stderr.on('data', (data) => (output += data));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve(output) : reject(new Error(`${command} ${args.join(' ')}\n${output}`)),
    );
  });
}

async function findCompiler() {
  const { CXX } = process.env;
  for (const compiler of CXX ? [CXX] : ['c++', 'g++', 'clang++']) {
    try {
      await run(compiler, ['--version']);
      return compiler;
    } catch {
      // Not this one.
    }
  }
  return undefined;
}

function newestSource() {
  const files = readdirSync(native).map((name) => path.join(native, name));
  return Math.max(...[...files, fileURLToPath(import.meta.url)].map((f) => statSync(f).mtimeMs));
}

async function build(compiler) {
  const require = createRequire(import.meta.url);
  const headers = (name, folder) =>
    path.join(path.dirname(require.resolve(`${name}/package.json`)), folder);
  const includes = [
    `-I${headers('node-api-headers', 'include')}`,
    `-I${headers('node-addon-api', '.')}`,
  ];
  // No -ffast-math: ties, denormals and the order of sums are part of the experiment.
  const flags = [
    '-std=c++17',
    '-O3',
    '-fPIC',
    '-pthread',
    '-fvisibility=hidden',
    '-fno-math-errno',
    '-fno-trapping-math',
    '-Wall',
    '-Wextra',
  ];
  const temporary = path.join(out, `objects-${process.pid}`);
  mkdirSync(temporary, { recursive: true });
  try {
    const units = [
      ...Object.entries(LEVELS).map(([level, march]) => [
        `level-${level}`,
        'level.cc',
        [...march, `-DBANG_LEVEL=${level}`],
      ]),
      ['threads', 'threads.cc', []],
      ['addon', 'addon.cc', [...includes, '-DNAPI_CPP_EXCEPTIONS', '-DNAPI_VERSION=8']],
    ];
    const objects = units.map(([name]) => path.join(temporary, `${name}.o`));
    const outputs = await Promise.all(
      units.map(([, source, extra], i) =>
        run(compiler, [...flags, ...extra, '-c', path.join(native, source), '-o', objects[i]]),
      ),
    );
    const warnings = outputs.join('');
    if (warnings) process.stderr.write(warnings);
    const shared =
      process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared'];
    const linked = path.join(temporary, 'bang.node');
    await run(compiler, [...shared, '-pthread', ...objects, '-o', linked]);
    renameSync(linked, target);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

const fresh = existsSync(target) && statSync(target).mtimeMs >= newestSource();
if (!fresh || force) {
  try {
    if (process.platform === 'win32')
      throw new Error('the native kernels need GCC or Clang on Linux or macOS');
    const compiler = await findCompiler();
    if (!compiler)
      throw new Error(
        `no C++ compiler was found (${process.env.CXX ? `CXX is ${process.env.CXX}` : 'c++, g++, clang++ or $CXX'})`,
      );
    await build(compiler);
  } catch (error) {
    rmSync(target, { force: true });
    process.stderr.write(`bang: the native kernels were not built: ${error.message}\n`);
    process.stderr.write(
      "bang: it will run on tfjs's own kernels, a hundred times slower; install a C++ compiler, then npm run build:native\n",
    );
    if (force) process.exitCode = 1;
  }
}
