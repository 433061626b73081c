import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtInNames, configFile, withoutPatterns } from '#bang/config/builtIn.js';
import { loadNoise } from '#bang/config/noise.js';
import { loadPlan } from '#bang/config/sweep.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { commandOf } from '#bang/cli/configs.js';
import { packageRoot } from '#bang/base/files.js';
import { bangInside, bangInsideOk, expectRefusal, workspace } from '../cli/bang.js';

const space = workspace();
const before = process.cwd();
beforeAll(() => {
  process.chdir(space.folder);
});
afterAll(() => {
  process.chdir(before);
  space.remove();
});

/** What a configuration says, without the places that it was read from. */
async function contentOf(file: string, command: string): Promise<unknown> {
  if (command === 'sweep') {
    const { cells, keys, halving } = await loadPlan(file);
    return { cells, keys, halving };
  }
  if (command === 'noise') return (await loadNoise(file)).study;
  const { config, seeds, expect: expected } = await loadConfig(file);
  return { config, seeds, bands: expected?.bands };
}

describe('names of configurations that come with the program', () => {
  it('are their paths in configs/, without the ending', () => {
    const names = builtInNames();
    expect(names).toEqual(expect.arrayContaining(['lenet-b1', 'ci/lenet-b1', 'grids/lenet']));
    for (const name of names) {
      expect(configFile(name)).toBe(path.join(packageRoot, 'configs', `${name}.yaml`));
    }
  });

  it('give way to files of the same path, but not to folders', async () => {
    space.write('own/lenet-b1', 'extends: cifar10-b1\nseed: 77\n');
    mkdirSync(space.file('own', 'lenet-r0'));
    process.chdir(space.file('own'));
    try {
      expect((await loadConfig('lenet-b1')).config.seed).toBe(77);
      expect((await loadConfig('lenet-r0')).config.published).toEqual({ table: 1, row: 'R0' });
    } finally {
      process.chdir(space.folder);
    }
  });

  it('can be extended', async () => {
    space.write('mine.yaml', 'extends: cifar10-b0\nseed: 5\n');
    const { config } = await loadConfig('mine.yaml');
    expect(config).toMatchObject({ name: 'mine', seed: 5, model: 'cifar10-quick' });
  });

  it('stand in the place of patterns that fit no file', () => {
    const fitting = builtInNames().filter((name) => name.startsWith('ci/'));
    expect(fitting.length).toBeGreaterThan(2);
    expect(withoutPatterns(['ci/*', 'a.yaml'])).toEqual([...fitting, 'a.yaml']);
    expect(withoutPatterns(['lenet-*'])).not.toContain('grids/lenet');
    expect(withoutPatterns(['none-*'])).toEqual(['none-*']);
    expect(withoutPatterns(['.*'])).toEqual(['.*']);
  });

  it('are listed, each with what it is', async () => {
    const { stdout } = await bangInside(['configs']);
    for (const name of builtInNames()) {
      const line = stdout.split('\n').find((one) => one.startsWith(`  ${name} `));
      expect(line, name).toMatch(/ {2}[A-Z].*\.$/);
    }
  });

  it('are suggested for similar ones, and for their paths in the repository', async () => {
    const refused = async (...args: string[]) => bangInside(args);
    expectRefusal(
      await refused('run', 'lenet-b7'),
      /lenet-b7: .*did you mean lenet-b\d, which comes/,
    );
    expectRefusal(
      await refused('noise', 'configs/noise/lenet.yaml'),
      /did you mean noise\/lenet, which comes with the program\?/,
    );
    expectRefusal(await refused('run', 'grids/lenet'), /run it with bang sweep grids\/lenet/);
    expectRefusal(await refused('run', 'missing.yaml'), /there is no such file\n$/);
  });

  it('do not let a baseline be written into the program', async () => {
    const finished = await bangInside(['check', 'ci/*', '--update-baseline', '--seeds', '1,2,3']);
    expectRefusal(finished, /bang init --example ci\/cifar10-b0/);
  });
});

describe('bang init --example', () => {
  it.each(builtInNames())('%s makes a copy that says the same', async (name) => {
    const file = `copies/${name}.yaml`;
    const { code, stdout } = await bangInside(['init', file, '--example', name]);
    expect(code).toBe(0);
    expect(stdout).toContain(`bang ${commandOf(name)} ${file}\n`);
    expect(space.read(file)).not.toMatch(/\.\.\/|[=/]schema\.json/);
    const command = commandOf(name);
    expect(await contentOf(file, command)).toEqual(await contentOf(name, command));
  });

  it('takes the name of the example, and its baseline, and overwrites nothing', async () => {
    await bangInsideOk(['init', '--example', 'ci/lenet-r0'], { cwd: space.folder });
    const { expect: expected } = await loadConfig('lenet-r0.yaml');
    expect(space.read(expected!.baseline!)).toBe(
      readFileSync(path.join(packageRoot, 'configs/ci/lenet-r0.baseline.json'), 'utf8'),
    );
    rmSync(space.file('lenet-r0.yaml'));
    const again = await bangInside(['init', '--example', 'ci/lenet-r0'], { cwd: space.folder });
    expectRefusal(again, /^bang: lenet-r0\.baseline\.json exists already/);
    // Another copy has another baseline.
    await bangInsideOk(['init', 'other.yaml', '--example', 'ci/lenet-r0'], { cwd: space.folder });
    expect((await loadConfig(space.file('other.yaml'))).expect!.baseline).toBe(
      space.file('other.baseline.json'),
    );
    expectRefusal(
      await bangInside(['init', '--example', 'lenet-b9'], { cwd: space.folder }),
      /--example lenet-b9: no such .* did you mean lenet-b\d\?/,
    );
  });
});
