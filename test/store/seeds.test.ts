import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '#bang/base/errors.js';
import { parseConfig } from '#bang/config/parse.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { runsOf } from '#bang/store/seeds.js';
import { tinyLenetConfig, workspace, type Workspace } from '../cli/bang.js';

let space: Workspace;
beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

const load = (more: string, set: string[] = []) =>
  loadConfig(space.write('x.yaml', tinyLenetConfig(more)), set);

async function complaint(more: string, set: string[] = []): Promise<string> {
  const error: unknown = await load(more, set).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  return (error as UserError).message.replaceAll(space.file('x.yaml'), 'x.yaml');
}

describe('seeds', () => {
  it('make one run each, the same as with that seed alone', async () => {
    const loaded = await load('seeds: [3, 0, 4294967295]');
    const runs = runsOf(loaded, 'here');
    expect(runs.map(({ folder }) => folder.replaceAll('\\', '/'))).toEqual([
      ...['here/seed-3', 'here/seed-0', 'here/seed-4294967295'],
    ]);
    for (const [i, seed] of [3, 0, 4294967295].entries()) {
      const { config } = await load(`seed: ${seed}`);
      expect(JSON.stringify(runs[i].config)).toBe(JSON.stringify(config));
    }
    const alone = await load('seed: 3');
    expect(alone.seeds).toBeUndefined();
    expect(runsOf(alone, 'here')).toEqual([{ config: alone.config, folder: 'here' }]);
  });

  it('and seed replace each other, from the base to the command line', async () => {
    space.write('one.yaml', tinyLenetConfig('seed: 5'));
    space.write('many.yaml', 'extends: one.yaml\nseeds: [1, 2]\n');
    space.write('again.yaml', 'extends: many.yaml\nseed: 6\n');
    space.write('dropped.yaml', 'extends: many.yaml\nseeds: null\n');
    const of = async (file: string, ...set: string[]) => {
      const { config, seeds } = await loadConfig(space.file(file), set);
      return seeds ?? config.seed;
    };
    expect(await of('one.yaml')).toBe(5);
    expect(await of('many.yaml')).toEqual([1, 2]);
    expect(await of('again.yaml')).toBe(6);
    expect(await of('dropped.yaml')).toBe(1);
    expect(await of('one.yaml', 'seeds=[7,8]')).toEqual([7, 8]);
    expect(await of('many.yaml', 'seed=9')).toBe(9);
    expect(await of('many.yaml', 'seed=9', 'seeds=[4]')).toEqual([4]);
  });

  it.each([
    ['seed: 1\nseeds: [1, 2]', [], 'x.yaml:5:8: seeds: seed is given too: leave out one of them'],
    [
      'seeds: []',
      [],
      'x.yaml:4:8: seeds: expected a list of one seed or more, found an empty list',
    ],
    ['seeds: [1, 2, 1]', [], 'x.yaml:4:15: seeds[2]: 1 is in the list twice'],
    ['seeds: 3', [], 'x.yaml:4:8: seeds: expected a list of seeds, found 3'],
    [
      'seeds: [1, -1]',
      [],
      'x.yaml:4:12: seeds[1]: expected an integer from 0 to 4294967295, found -1',
    ],
    ['', ['seeds=[]'], '--set seeds: expected a list of one seed or more, found an empty list'],
  ])('%j %j is refused', async (more, set, message) => {
    expect(await complaint(more, set)).toBe(message);
  });

  it('are refused in the folder of a single run', async () => {
    const loaded = await load('seeds: [1]');
    space.write('single/config.yaml', 'model: lenet\n');
    expect(() => runsOf(loaded, space.file('single'))).toThrow(
      /single holds a single run, not one for each seed: choose another folder with --out$/,
    );
  });

  it('are refused by parseConfig, which returns one experiment', async () => {
    const { config } = await load('');
    const { seed, ...rest } = config;
    expect(parseConfig({ ...rest, seed })).toEqual(config);
    expect(() => parseConfig({ ...rest, seeds: [1, 2] })).toThrow(/^seeds: /);
  });
});
