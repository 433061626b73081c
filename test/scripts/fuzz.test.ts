import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';

/** Where the results that several targets begin with are kept. */
const kept = mkdtempSync(path.join(tmpdir(), 'bang-fuzz-kept-'));
afterAll(() => {
  rmSync(kept, { recursive: true, force: true });
});

function fuzz(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const script = path.join(packageRoot, 'scripts', 'fuzz', 'main.mjs');
  const env = { ...process.env, BANG_FUZZ_SPACE: path.join(kept, 'space') };
  return spawnSync(process.execPath, [script, ...args], { encoding: 'utf8', env });
}

/** Tries inputs of targets, of each of which some must be taken: otherwise all fail at the first check. */
function expectNoFault(targets: readonly string[], count: number): void {
  const args = ['--target', ...targets, '--count', String(count), '--seed', '6'];
  const { status, stdout, stderr } = fuzz(...args);
  expect(stderr).toBe('');
  for (const target of targets) {
    const line = new RegExp(
      `^${target}: ${count} inputs .*: (\\d+) taken, \\d+ refused, 0 faults; `,
      'm',
    );
    const found = line.exec(stdout);
    expect(found, stdout).not.toBeNull();
    expect(Number(found![1]), target).toBeGreaterThan(0);
  }
  expect(status).toBe(0);
}

it('each of thirty inputs of a kind is taken or refused in words', () => {
  const kinds = [
    'config',
    'network',
    'set',
    'sweep',
    'noise',
    'safetensors',
    'hdf5',
    'idx',
    'mnist',
  ];
  expectNoFault([...kinds, 'cifar10', 'job', 'reply'], 30);
});

it.each([
  ['show', 5],
  ['resume', 3],
  ['arguments', 8],
  ['process', 4],
] as const)('%s: so is each of a few, and no file is lost', (target, count) => {
  expectNoFault([target], count);
});

it('kill -9 at a random moment changes nothing of the outcome of the next call', () => {
  // A run, and one over seeds; the other commands take minutes (test/long).
  expectNoFault(['kill'], 2);
});

it('nor does a file that cannot be written', () => {
  expectNoFault(['full'], 2);
});

it('calls a fault what is one', () => {
  const oracle = path.join(packageRoot, 'scripts', 'fuzz', 'oracle.mjs');
  const errors = path.join(packageRoot, 'dist', 'base', 'errors.js');
  const script = `
    import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
    const { attempt, contentsOf, demandGoodEnd, demandUnchanged, Fault } = await import('${oracle}');
    const { UserError } = await import('${errors}');
    const fails = (error) => attempt('x', () => { throw error; });
    const folder = mkdtempSync('${path.join(tmpdir(), 'bang-oracle-')}');
    const file = folder + '/a';
    writeFileSync(file, 'as it was');
    const before = contentsOf(folder);
    const end = { code: 0, stdout: '', stderr: '' };
    const wrong = [
      () => fails(new TypeError('x is not a function')),
      () => fails(new UserError('cannot read undefined')),
      () => fails(new UserError('')),
      () => fails(new UserError('a.b: unknown key, did you mean b?')),
      () => demandGoodEnd({ ...end, stdout: 'rate NaN %' }, 'x'),
      () => demandGoodEnd({ ...end, code: 70, stderr: 'bang: x' }, 'x'),
      () => demandGoodEnd({ ...end, code: 2 }, 'x'),
      () => demandGoodEnd({ ...end, code: 1, stderr: 'bang: x\\n    at y (z.js:1:2)' }, 'x'),
      () => { writeFileSync(file, 'another'); demandUnchanged(before, folder, 'x'); },
      () => { rmSync(file); demandUnchanged(before, folder, 'x'); },
    ];
    const found = [];
    for (const one of wrong) {
      try { await one(); found.push('nothing'); }
      catch (error) { found.push(error instanceof Fault ? 'fault' : String(error)); }
    }
    const { taken } = await fails(new UserError('no such file: give another'));
    demandGoodEnd({ ...end, code: 2, stderr: 'bang: no such file' }, 'x');
    rmSync(folder, { recursive: true });
    console.log(JSON.stringify({ found, taken }));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    cwd: packageRoot,
  });
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual({ found: Array(10).fill('fault'), taken: false });
});

it('gives the same inputs for a seed, others for another, and takes one by its index', () => {
  const [one, same, other] = ['1', '1', '2'].map((seed) => {
    const { stdout } = fuzz('--target', 'idx', '--count', '100', '--seed', seed);
    return /\d+ taken, \d+/.exec(stdout)?.[0];
  });
  expect(one).toBeDefined();
  expect(same).toBe(one);
  expect(other).not.toBe(one);
  expect(fuzz('--target', 'idx', '--index', '7').stdout).toMatch(
    /^idx: 1 inputs \(seed 1, 7 to 7\)/,
  );
});

it('says what is wrong with its options', () => {
  expect(fuzz('--target', 'nothing')).toMatchObject({ status: 2, stdout: '' });
  const { status, stderr } = fuzz('--count=-1');
  expect(stderr).toMatch(/^fuzz: --count: expected a whole number, found -1 /);
  expect(status).toBe(2);
});
