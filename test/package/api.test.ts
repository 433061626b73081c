import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { bangInsideOk, FILES, workspace } from '../cli/bang.js';
import { balance as balanceArrays } from '#bang/index.js';

// Where somebody else's program is: it knows the package by its name, and the types as they are published.
const space = workspace();

const examples = [
  ...readFileSync(path.join(packageRoot, 'docs', 'api.md'), 'utf8').matchAll(
    /^## (.*?)\n(?:(?!^## )[^])*?^```ts\n([^]*?)^```$/gm,
  ),
].map(([, title, code], i) => ({ title, code, name: `example-${i + 1}` }));

beforeAll(() => {
  mkdirSync(space.file('node_modules', '@types'), { recursive: true });
  symlinkSync(packageRoot, space.file('node_modules', 'bang-gradients'));
  const types = path.join(packageRoot, 'node_modules', '@types', 'node');
  symlinkSync(types, space.file('node_modules', '@types', 'node'));
  space.write('package.json', '{ "type": "module" }');
  const compilerOptions = {
    module: 'nodenext',
    moduleResolution: 'nodenext',
    target: 'es2022',
    strict: true,
    types: ['node'],
  };
  space.write('tsconfig.json', JSON.stringify({ compilerOptions }));
  for (const { name, code } of examples) space.write(`${name}.ts`, code);
});
afterAll(() => {
  space.remove();
});

function node(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const env = { ...process.env, BANG_THREADS: '1' };
  return spawnSync(process.execPath, args, { cwd: space.folder, encoding: 'utf8', env });
}

describe('the examples of docs/api.md', () => {
  it('are all found, and right for the compiler of somebody else, together with our types', () => {
    const text = readFileSync(path.join(packageRoot, 'docs', 'api.md'), 'utf8');
    expect(examples).toHaveLength(text.split('```ts\n').length - 1);
    expect(examples.length).toBeGreaterThanOrEqual(6);
    const compiled = node(path.join(packageRoot, 'node_modules', 'typescript7', 'bin', 'tsc'));
    // Without skipLibCheck, so that our types are checked, too; those of TensorFlow.js are not free of errors.
    const modules = path.relative(space.folder, path.join(packageRoot, 'node_modules'));
    const errors = compiled.stdout.split('\n').filter((line) => /^\S.*: error TS/.test(line));
    expect(errors.filter((line) => !line.startsWith(modules))).toEqual([]);
    expect(compiled.stderr).toBe('');
  });

  it.each(examples)('$title: runs', ({ name }) => {
    const { status, stdout, stderr } = node(`${name}.js`);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toMatch(/\d/);
    expect(stdout).not.toMatch(/undefined/);
  });

  it('leave what the commands read', async () => {
    expect(space.list('runs/mine')).toEqual(expect.arrayContaining(FILES));
    const { stdout } = await bangInsideOk(['table', 'runs'], { cwd: space.folder });
    expect(stdout).toContain('lenet-r0');
    const weights = ['eval', 'lenet.safetensors', '--out', 'runs/again'];
    const quick = ['--set', 'evaluation.images=10', '--set', 'evaluation.pass=false'];
    await bangInsideOk([...weights, ...quick], { cwd: space.folder });
    expect(space.read('per-image.csv').trim().split('\n')).toHaveLength(51);
  });
});

describe('the library', () => {
  it('trains the weights that bang run trains', async () => {
    const set = ['training.iterations=100', 'seed=7', 'evaluation.images=10'];
    const args = [...set, 'evaluation.attacks=[fgs]'].flatMap((one) => ['--set', one]);
    await bangInsideOk(['run', 'lenet-b1', ...args], { cwd: space.folder });
    const { stdout } = node(
      '--input-type=module',
      '--eval',
      `import { readFileSync } from 'node:fs';
       const sha = (file) => {
         const bytes = readFileSync(file);
         return bytes.subarray(8 + Number(bytes.readBigUInt64LE())).toString('base64');
       };
       console.log(sha('lenet.safetensors') === sha('runs/lenet-b1/weights.safetensors'));`,
    );
    expect(stdout).toBe('true\n');
  });

  it('closes the rest of the package', () => {
    const { stderr } = node(
      '--input-type=module',
      '--eval',
      `import 'bang-gradients/dist/cli/main.js'`,
    );
    expect(stderr).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED');
  });
});

describe('balance', () => {
  /** The equations as the paper has them, in float64. */
  const expected = (norms: number[], epsilons: number[]): number[] => {
    const m = Math.max(...norms);
    return norms.map((n, i) => (n === 0 ? 1 : (m / n) ** (epsilons[i] * (1 - n / m))));
  };

  it('computes η and β·η of equations 3, 4 and 6', async () => {
    const norms = [2, 1, 0.25, 1e-6, 0];
    const { eta, scale } = await balanceArrays(norms, { beta: 1.5, epsilon: 0.8 });
    expected(
      norms,
      norms.map(() => 0.8),
    ).forEach((value, i) => {
      expect(eta[i] / value).toBeCloseTo(1, 5);
      expect(scale[i] / (1.5 * value)).toBeCloseTo(1, 5);
    });
    const mixed = { beta: 1, epsilon: 0.8, ratio: 0.25, correct: [1, 0, 0, 1, 1] };
    const { eta: other } = await balanceArrays(norms, mixed);
    expected(norms, [0.8, 0.2, 0.2, 0.8, 0.8]).forEach((value, i) => {
      expect(other[i] / value).toBeCloseTo(1, 5);
    });
  });

  it('refuses what it cannot balance', async () => {
    expect((await balanceArrays([], { beta: 1, epsilon: 1 })).eta).toHaveLength(0);
    const half = { beta: 1, epsilon: 1, ratio: 0.5 };
    await expect(balanceArrays([1, 2], half)).rejects.toThrow('a ratio other than 1 needs correct');
    const short = { ...half, correct: [1] };
    await expect(balanceArrays([1, 2], short)).rejects.toThrow('correct has 1 values');
  });
});
