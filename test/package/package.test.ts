import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { extract } from 'tar';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { bangOk, BEGINNING, FILES, workspace } from '../cli/bang.js';

interface Manifest {
  name: string;
  dependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
}

const manifest = JSON.parse(
  readFileSync(path.join(packageRoot, 'package.json'), 'utf8'),
) as Manifest;

// An empty folder in which the packed package is installed. Its dependencies and its kernels, which npm would
// fetch and compile, are those of the repository.
const space = workspace();
const program = space.file('node_modules', manifest.name);

beforeAll(async () => {
  // Without its scripts: `npm test` has built it.
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', space.folder];
  execFileSync('npm', args, { cwd: packageRoot, stdio: ['ignore', 'pipe', 'ignore'] });
  const tarball = readdirSync(space.folder).find((name) => name.endsWith('.tgz'))!;
  mkdirSync(program, { recursive: true });
  await extract({ file: space.file(tarball), cwd: program, strip: 1 });
  for (const name of ['node_modules', 'build']) {
    symlinkSync(path.join(packageRoot, name), path.join(program, name));
  }
});
afterAll(() => {
  space.remove();
});

const inEmptyFolder = (name: string) => {
  mkdirSync(space.file(name));
  return { cwd: space.file(name), program };
};

describe('the packed package', () => {
  it('runs a built-in configuration into the folder it is called in', async () => {
    const place = inEmptyFolder('run');
    const quick = ['training.iterations=40', 'training.logEvery=20', 'evaluation.images=20'];
    const set = quick.flatMap((one) => ['--set', one]);
    const { stdout, stderr } = await bangOk(['run', 'examples/own-network', ...set], place);
    expect(stdout).toContain('own-network');
    // No note that kernels are missing.
    expect(stderr.replace(BEGINNING, '')).not.toContain('kernels');
    expect(space.list('run/runs/own-network')).toEqual(expect.arrayContaining(FILES));
  });

  it('knows all its configurations', async () => {
    const place = inEmptyFolder('validate');
    const all = ['*', 'ci/*', 'base/*', 'examples/*', 'noise/*'];
    const { stdout } = await bangOk(['validate', ...all], place);
    expect(stdout.trim().split('\n').length).toBeGreaterThanOrEqual(25);
    expect((await bangOk(['sweep', 'grids/lenet', '--dry-run'], place)).stdout).toContain(
      '170 cells',
    );
  });

  it('checks what extends a copy of one of its checks', async () => {
    const place = inEmptyFolder('check');
    await bangOk(['init', '--example', 'ci/lenet-b1'], place);
    space.write(
      'check/small.yaml',
      `extends: lenet-b1.yaml
training: { iterations: 20, logEvery: 20 }
evaluation: { images: 20 }
expect: null
`,
    );
    space.write('check/checked.yaml', 'extends: small.yaml\nexpect: { accuracy: { min: 0 } }\n');
    expect((await bangOk(['check', 'checked.yaml'], place)).stdout).toContain('in their bands');
  });

  it('has every file that its documents link to', () => {
    const documents = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md'].concat(
      readdirSync(path.join(program, 'docs'))
        .filter((name) => name.endsWith('.md'))
        .map((name) => `docs/${name}`),
    );
    expect(documents.length).toBeGreaterThan(12);
    const broken = documents.flatMap((document) => {
      const text = readFileSync(path.join(program, document), 'utf8');
      return [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)]
        .map(([, link]) => path.join(path.dirname(document), link))
        .filter((link) => !existsSync(path.join(program, link)))
        .map((link) => `${document}: ${link}`);
    });
    expect(broken).toEqual([]);
  });

  it('has every file of the repository that the commands of its README and guide name', () => {
    const text = ['README.md', 'docs/guide.md']
      .map((document) => readFileSync(path.join(program, document), 'utf8'))
      .join('\n');
    const named = [...text.matchAll(/\b(?:test\/fixtures|results|configs)\/[\w./-]*\w/g)]
      .map(([file]) => file)
      // Those of patterns.
      .filter((file) => existsSync(path.join(packageRoot, file)));
    expect(named).toContain('test/fixtures/lenet.caffemodel.h5');
    expect(named.filter((file) => !existsSync(path.join(program, file)))).toEqual([]);
  });

  it('depends on every package that it imports', () => {
    const files = readdirSync(path.join(program, 'dist'), { recursive: true, encoding: 'utf8' });
    const imported = files
      .filter((file) => file.endsWith('.js'))
      .flatMap((file) => {
        const text = readFileSync(path.join(program, 'dist', file), 'utf8');
        return [
          ...text.matchAll(/(?: from |^import |import\(|require\()['"]([^.#'"][^'"]*)['"]/gm),
        ];
      })
      .map(([, name]) =>
        name
          .split('/')
          .slice(0, name.startsWith('@') ? 2 : 1)
          .join('/'),
      )
      .filter((name) => !name.startsWith('node:') && !builtinModules.includes(name));
    expect(imported).toEqual(expect.arrayContaining(['zod', '@tensorflow/tfjs-core']));
    const declared = Object.keys({
      [manifest.name]: 'itself',
      ...manifest.dependencies,
      ...manifest.peerDependencies,
    });
    expect([...new Set(imported)].filter((name) => !declared.includes(name))).toEqual([]);
  });
});
