import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { kernelFiles } from '../../native/build.mjs';
import { HAS_NATIVE } from '../engine.js';

// A package without a build, on a machine without a compiler, whose prebuilt kernels are those that
// were built here.
let folder: string;
let prebuilt: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-prebuilt-'));
  for (const part of ['native', 'scripts', 'package.json', 'dist/engine', 'dist/base/errors.js']) {
    cpSync(path.join(packageRoot, part), path.join(folder, part), { recursive: true });
  }
  for (const built of kernelFiles()) {
    prebuilt = path.join(folder, 'prebuilds', path.basename(built));
    mkdirSync(path.dirname(prebuilt));
    copyFileSync(built, prebuilt);
  }
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function node(...args: string[]): { stdout: string; stderr: string; status: number | null } {
  const env = { ...process.env, CXX: 'no-such-compiler' };
  return spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8', env });
}

/** The same as a user to whom file permissions apply. */
function asNobody(...args: string[]) {
  const env = { ...process.env, CXX: 'no-such-compiler' };
  const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  return spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8', env, ...user });
}

/** What `npm ci` says. */
function install(...args: string[]): string {
  return node(path.join(folder, 'scripts/build-native.mjs'), ...args).stderr;
}

/** What the program loads: the product of 3 and 2, or why there is none. */
function load(): string {
  const binding = pathToFileURL(path.join(folder, 'dist/engine/native/binding.js')).href;
  const script = `
    import { loadNative } from ${JSON.stringify(binding)};
    const { binding, problem } = loadNative();
    const y = new Float32Array(1);
    binding?.multiply(1, Float32Array.of(3), Float32Array.of(2), y);
    console.log(problem ?? y[0]);`;
  return node('--input-type=module', '-e', script).stdout.trim();
}

describe('kernels in WebAssembly', () => {
  /** What the program computes with them: the product of 3 and 2, or why there are none. */
  function wasm(): string {
    const binding = pathToFileURL(path.join(folder, 'dist/engine/wasm/binding.js')).href;
    const script = `
      import { loadWasm } from ${JSON.stringify(binding)};
      const { binding, problem } = loadWasm();
      const y = new Float32Array(1);
      binding?.multiply(1, Float32Array.of(3), Float32Array.of(2), y);
      console.log(problem ?? y[0]);`;
    return node('--input-type=module', '-e', script).stdout.trim();
  }
  const file = () => path.join(folder, 'native/kernels.wasm');

  it('need nothing but themselves', () => {
    rmSync(path.join(folder, 'prebuilds'), { recursive: true, force: true });
    expect(wasm()).toBe('6');
    expect(install()).toMatch(/no C\+\+ compiler.*\n.*WebAssembly/);
  });

  it.each(['conv.cc', 'wasm.cc', 'tasks.h', 'build.mjs'])('of another %s are refused', (name) => {
    appendFileSync(path.join(folder, 'native', name), '\n');
    expect(wasm()).toBe(
      `its kernels cannot be loaded (${file()} is of other sources; npm run build:wasm makes it anew)`,
    );
  });

  it('that are damaged or missing are refused', () => {
    const bytes = readFileSync(file());
    writeFileSync(file(), bytes.subarray(0, 5000));
    expect(wasm()).toMatch(/^its kernels cannot be loaded \(.*\)$/);
    rmSync(file());
    expect(wasm()).toMatch(/^its kernels cannot be loaded \(.*no such file.*\)$/);
  });
});

describe.runIf(HAS_NATIVE)('prebuilt kernels', () => {
  it('are loaded, and nothing is built', () => {
    expect(load()).toBe('6');
    expect(install()).toBe('');
    expect(existsSync(path.join(folder, 'build'))).toBe(false);
  });

  it('of other sources are refused', () => {
    appendFileSync(path.join(folder, 'native/kernels.h'), '\n');
    expect(load()).toBe('its kernels are not built');
    expect(install()).toContain('no C++ compiler was found (CXX is no-such-compiler)');
  });

  it('do not depend on stray files and folders', () => {
    mkdirSync(path.join(folder, 'native/backup.cc'));
    for (const name of ['notes.txt', '.DS_Store', '.#conv.cc', 'conv.cc~', 'copy.cc', 'copy.h']) {
      writeFileSync(path.join(folder, 'native', name), 'stray');
    }
    expect(load()).toBe('6');
    expect(install()).toBe('');
  });

  it('are refused where a source is missing', () => {
    rmSync(path.join(folder, 'native/tile.h'));
    expect(load()).toBe('its kernels are not built');
  });

  it.each([
    'conv.cc',
    'simd.h',
    'kernels.def',
    'border_rows.cc',
    'build.mjs',
    'threads.cc',
    'memory.h',
  ])('depend on %s', (name) => {
    appendFileSync(path.join(folder, 'native', name), '\n');
    expect(load()).toBe('its kernels are not built');
  });

  it('that do not work and cannot be removed are named, and installing goes on', () => {
    writeFileSync(prebuilt, '{}');
    // Nobody may remove what is in another user's folder.
    chmodSync(folder, 0o755);
    chmodSync(path.dirname(prebuilt), 0o555);
    const said = asNobody(path.join(folder, 'scripts/build-native.mjs'));
    chmodSync(path.dirname(prebuilt), 0o755);
    expect(said.status).toBe(0);
    expect(said.stderr).toContain(`bang: cannot remove ${prebuilt} (EACCES): remove it\n`);
    expect(said.stderr).toContain('the native kernels were not built: no C++ compiler');
  });

  it('that are a folder are removed', () => {
    rmSync(prebuilt);
    mkdirSync(path.join(prebuilt, 'inside'), { recursive: true });
    expect(install()).toContain('the native kernels were not built: no C++ compiler');
    expect(existsSync(prebuilt)).toBe(false);
  });

  it('that do not work here are passed over', () => {
    const bytes = readFileSync(prebuilt);
    const musl = prebuilt.replace(`${process.arch}-`, `${process.arch}-musl-`);
    writeFileSync(prebuilt, '{}');
    expect(load()).toMatch(/^its kernels cannot be loaded \(.*\)$/);
    writeFileSync(musl, bytes);
    expect(load()).toBe('6');
    // Cut off, they end whoever loads them with a signal; installing removes them.
    writeFileSync(prebuilt, bytes.subarray(0, 5000));
    expect(install()).toBe('');
    expect(load()).toBe('6');
    writeFileSync(musl, '');
    expect(install()).toContain('the native kernels were not built: no C++ compiler');
    expect(load()).toBe('its kernels are not built');
  });

  it('do not keep a build that was asked for from failing loudly', () => {
    expect(install('--force')).toContain('no C++ compiler');
  });
});
