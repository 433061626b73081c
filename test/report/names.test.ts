import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadPlan } from '#bang/config/sweep.js';
import { packageRoot } from '#bang/base/files.js';
import { drawable } from '#bang/report/figure/rows.js';
import { bangInside, expectRefusal, workspace, type Workspace } from '../cli/bang.js';
import { resultWith } from './entries.js';
import path from 'node:path';

/** Every name that a lookup in a plain object finds although nobody put it there. */
const NAMES = Object.getOwnPropertyNames(Object.prototype);

const IMAGES = 100;

let space: Workspace;
beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

/** An object with an own key of any name. */
const holding = (name: string, value: unknown): object => Object.fromEntries([[name, value]]);

/** A run with that name everywhere, and one without it; a sweep of that name, half done. */
async function prepare(name: string): Promise<string> {
  const folder = space.file('of', name);
  const run = (at: string, config: object, seed: number): void => {
    const { config: real, ...rest } = resultWith('lenet-b1', { row: { images: IMAGES } });
    const published = { table: 1 as const, row: 'B1' };
    const training = { ...real.training, ...config };
    const result = { ...rest, name, config: { ...real, ...config, training, published, seed } };
    space.write(path.join('of', name, at, 'result.json'), JSON.stringify(result));
    for (const file of ['training.csv', 'per-image.csv']) {
      const real = path.join(packageRoot, 'results', 'table1', 'lenet-b1', 'seed-1', file);
      // A hundred images tell as much as all.
      const lines = readFileSync(real, 'utf8')
        .trimEnd()
        .split('\n')
        .slice(0, IMAGES + 1);
      space.write(path.join('of', name, at, file), `${lines.join('\n')}\n`);
    }
  };
  run(`runs/${name}`, { ...holding(name, { a: 1 }), name }, 1);
  run('runs/other', {}, 2);
  space.write(`of/${name}/runs/open/config.yaml`, `name: ${name}\n`);
  space.write(`of/${name}/runs/open/weights.safetensors`, '');
  space.write(`of/${name}/runs/open/stages/${name}.json`, '{}');
  const base = `{ model: lenet, data: mnist, training: { trainOn: 50k, iterations: 20, batch: 10, learningRate: { policy: fixed, base: 0.1 }, momentum: 0, weightDecay: 0, shuffle: false } }`;
  space.write(
    `of/${name}/sweep/sweep.yaml`,
    `name: ${name}\nbase: ${base}\ngrid: { training.batch: [5, 6], training.momentum: [0, 0.5] }\n`,
  );
  const { cells } = await loadPlan(space.file('of', name, 'sweep', 'sweep.yaml'));
  const config = cells.find(({ id }) => id === 'batch-5_momentum-0')!.config;
  const cell = { ...resultWith('lenet-b1'), config };
  space.write(`of/${name}/sweep/cells/batch-5_momentum-0/result.json`, JSON.stringify(cell));
  return folder;
}

describe.each(NAMES)('the name %s', (name) => {
  let folder: string;
  beforeAll(async () => {
    folder = await prepare(name);
  });

  it('is that of a run in tables, pages and figures', async () => {
    const runs = path.join(folder, 'runs');
    const { code, stdout, stderr } = await bangInside(['table', runs, '--out', folder]);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `note: ${path.join(runs, 'open')} is not finished: it is left out\n`,
    });
    expect(stdout.split('\n').filter((line) => line.includes(name)).length).toBeGreaterThan(1);
    expect(space.read('of', name, 'table.csv')).toContain(`\n${name},1,B1,bang,`);

    const page = path.join(folder, 'page.html');
    const report = await bangInside(['report', folder, '--examples', '0', '--out', page]);
    expect(report).toMatchObject({ code: 0, stderr: '' });
    expect(space.read('of', name, 'page.html')).toContain(`<b>${name}</b>`);
    expect(space.read('of', name, 'page.html')).toContain('finished attacks: none yet');

    // Under their own names, not those of their row.
    const own = resultWith('lenet-b1', { name, row: { images: IMAGES } });
    space.write(
      `of/${name}/runs/other/result.json`,
      JSON.stringify({ ...own, config: { ...own.config, published: { table: 2, row: 'B1' } } }),
    );
    for (const figure of ['training', 'eta', 'linf']) {
      const args = ['figure', figure, runs, '--out', folder, '--format', 'svg'];
      expect(await bangInside(args), figure).toMatchObject({ code: 0 });
      expect(space.read('of', name, `${figure}.svg`)).toContain(`>${name} `);
      expect(space.read('of', name, `${figure}.csv`)).toMatch(RegExp(`^"?${name} `, 'm'));
    }
  });

  it('is a difference between two configs', async () => {
    const [a, b] = ['other', name].map((run) => path.join(folder, 'runs', run));
    const { code, stdout } = await bangInside(['diff', a, b]);
    expect(code).toBe(0);
    expect(stdout).toContain(`config: ${name} was absent, is {"a":1}\n`);
    const { stdout: back } = await bangInside(['diff', b, a]);
    expect(back).toContain(`config: training.${name} was {"a":1}, is absent\n`);
  });

  it('is that of a sweep', async () => {
    const status = await bangInside(['sweep', 'status', path.join(folder, 'sweep')]);
    expect(status).toMatchObject({ code: 0, stderr: '' });
    expect(status.stdout).toMatch(RegExp(`^${name}: 1 of 4 cells done, not running\n`));
  });

  it('is a key or an axis that is refused with its place', async () => {
    const sweep = async (text: string): Promise<void> => {
      const file = space.write('axis.yaml', `base: base.yaml\n${text}\n`);
      const finished = await bangInside(['sweep', file, '--dry-run']);
      expectRefusal(
        finished,
        /^bang: .*axis\.yaml:\d+:\d+: .*(unknown key|at least one key|the name of a key)/,
      );
      expect(finished.stderr).not.toContain('NaN');
    };
    space.write(
      'base.yaml',
      'model: lenet\ndata: mnist\ntraining: { trainOn: 50k, iterations: 20, batch: 10, learningRate: { policy: fixed, base: 0.1 }, momentum: 0, weightDecay: 0, shuffle: false }\n',
    );
    await sweep(`grid: { ${name}: [1, 2] }`);
    await sweep(`grid: { training.batch: [1, 2], ${name}: [1, 2] }`);
    await sweep(`grid: { training.batch: [1, 2], training.${name}: { from: 1, to: 2, step: 1 } }`);
    await sweep(
      `random: { cells: 2, keys: { training.batch: [1, 2], ${name}: { from: 1, to: 2 } } }`,
    );
    await sweep(`list: [{ ${name}: 1 }, { training.batch: 3 }]`);
    await sweep(`grid: { training.batch: [1, 2] }\nreference: { ${name}: 1 }`);
  });

  it('is a key of a surface', async () => {
    const lines = [1, 2].flatMap((x) => [1, 2].map((y) => `${x},${y},1,${x + y},1,1,1,1,1,1,1`));
    const surfaces = 'accuracy,fgs_rate,hc1_pass,fgs_unmasked_linf'.split(',');
    const head = [name, 'k', 'seeds', ...surfaces, ...surfaces.map((s) => `${s}_minus_reference`)];
    space.write(`of/${name}/drawn/surfaces.csv`, `${head.join()}\n${lines.join('\n')}\n`);
    const args = ['figure', 'surfaces', path.join(folder, 'drawn'), '--out', folder];
    expect(await bangInside([...args, '--format', 'svg'])).toMatchObject({ code: 0, stderr: '' });
    expect(space.read('of', name, 'surfaces.svg')).toContain(`>${name}`);
  });
});

it('texts that are drawn stay different, and are none of these names', () => {
  const texts = [
    ...NAMES,
    ...NAMES.map((name) => `${name} `),
    'a\u0001',
    'a\u0002',
    'a\uFFFD',
    'b',
  ];
  const drawn = drawable(texts.map((network) => ({ network, seed: 1 })));
  expect(new Set(drawn.map(({ network }) => network)).size).toBe(texts.length);
  expect(drawn.every(({ network }) => !(network in Object.prototype))).toBe(true);
  expect(drawn.at(-1)).toEqual({ network: 'b', seed: 1 });
});
