import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { packageRoot, writeFileAtomic } from '#bang/base/files.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-files-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Runs a script that imports a module of `base/` in a process of its own. */
function runScript(script: string) {
  return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
}

function moduleInBase(name: string): string {
  return JSON.stringify(pathToFileURL(path.join(packageRoot, 'dist', 'base', name)).href);
}

/** Has another process killed when it has written a file in part. */
function writeInPart(file: string): void {
  const script = `
    import { syncBuiltinESMExports } from 'node:module';
    import fs from 'node:fs';
    fs.renameSync = () => process.kill(process.pid, 'SIGKILL');
    syncBuiltinESMExports();
    const { writeFileAtomic } = await import(${moduleInBase('files.js')});
    writeFileAtomic(${JSON.stringify(file)}, 'half of');`;
  const { signal, status } = runScript(script);
  // Windows has no signals.
  expect(signal ?? status).toBe(process.platform === 'win32' ? 1 : 'SIGKILL');
}

it('a file that a killed process wrote in part is not there, and its part goes with the next one', () => {
  const file = path.join(folder, 'table.csv');
  writeInPart(file);
  expect(readdirSync(folder)).toEqual([
    expect.stringMatching(/^table\.csv\.\d+-[0-9a-f]{8}\.tmp$/),
  ]);
  writeFileAtomic(file, 'all of it');
  expect(readdirSync(folder)).toEqual(['table.csv']);
  expect(readFileSync(file, 'utf8')).toBe('all of it');
});

it('parts of other files go as well, but not those of processes that run, and of other machines', () => {
  const file = path.join(folder, 'table.csv');
  writeInPart(path.join(folder, 'table.md'));
  const [part] = readdirSync(folder);
  const mark = /-([0-9a-f]{8})\.tmp$/.exec(part)![1];
  const others = [
    `table.csv.${process.ppid}-${mark}.tmp`,
    'table.csv.99999999-00000000.tmp',
    'table.csv.99999999.tmp',
    'table.csv.mine.tmp',
  ];
  for (const name of others) writeFileSync(path.join(folder, name), '');
  writeFileAtomic(file, 'all of it');
  expect(readdirSync(folder).sort()).toEqual([...others, 'table.csv'].sort());
});

it.skipIf(process.platform === 'win32')(
  'a symbolic link and a pipe stay, and get the content',
  () => {
    const [link, file, pipe] = ['link', 'file', 'pipe'].map((name) => path.join(folder, name));
    writeFileSync(file, 'old');
    symlinkSync('file', link);
    spawnSync('mkfifo', [pipe]);
    const reader = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    for (const one of [link, pipe]) writeFileAtomic(one, 'new');
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readFileSync(file, 'utf8')).toBe('new');
    expect(lstatSync(pipe).isFIFO()).toBe(true);
    expect(readSync(reader, Buffer.alloc(10))).toBe(3);
    closeSync(reader);
  },
);

it('a temporary folder goes with a process that exits while it works there', () => {
  const { stdout } = runScript(`
    import { inTemporaryFolder } from ${moduleInBase('folders.js')};
    await inTemporaryFolder('bang-test-', async (folder) => {
      console.log(folder);
      process.exit();
    });`);
  expect(stdout).toMatch(/bang-test-/);
  expect(existsSync(stdout.trim())).toBe(false);
});
