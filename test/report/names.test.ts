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

/** Writes a result of LeNet B1, with more in its training. */
function writeRun(at: string, name: string, config: object, seed: number): void {
  const { config: real, ...rest } = resultWith('lenet-b1', { row: { images: IMAGES } });
  const published = { table: 1 as const, row: 'B1' };
  const training = { ...real.training, ...config };
  const result = { ...rest, name, config: { ...real, ...config, training, published, seed } };
  space.write(path.join(at, 'result.json'), JSON.stringify(result));
  for (const file of ['training.csv', 'per-image.csv']) {
    const real = path.join(packageRoot, 'results', 'table1', 'lenet-b1', 'seed-1', file);
    // A hundred images tell as much as all.
    const lines = readFileSync(real, 'utf8')
      .trimEnd()
      .split('\n')
      .slice(0, IMAGES + 1);
    space.write(path.join(at, file), `${lines.join('\n')}\n`);
  }
}

/** A finished run and one that is not with that name everywhere; a sweep of that name, half done. */
async function prepare(name: string): Promise<string> {
  const folder = space.file('of', name);
  writeRun(`of/${name}/runs/${name}`, name, { ...holding(name, { a: 1 }), name }, 1);
  space.write(`of/${name}/runs/open/config.yaml`, `name: ${name}\n`);
  space.write(`of/${name}/runs/open/weights.safetensors`, '');
  space.write(`of/${name}/runs/open/stages/${name}.json`, '{}');
  // Of another experiment than the others, of which one only would count.
  const decay = NAMES.indexOf(name) / 1000;
  const base = `{ model: lenet, data: mnist, training: { trainOn: 50k, iterations: 20, batch: 10, learningRate: { policy: fixed, base: 0.1 }, momentum: 0, weightDecay: ${decay}, shuffle: false } }`;
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

describe('all these names', () => {
  let all: string;
  beforeAll(async () => {
    for (const name of NAMES) await prepare(name);
    writeRun('of/other', 'lenet-b1', {}, 2);
    all = space.file('of');
  });

  it('are those of runs in tables and pages', async () => {
    const { code, stdout, stderr } = await bangInside(['table', all, '--out', space.file('out')]);
    expect(code).toBe(0);
    const open = NAMES.map((name) => path.join(all, name, 'runs', 'open'));
    expect(stderr.trimEnd().split('\n').sort()).toEqual(
      open.map((folder) => `note: ${folder} is not finished: it is left out`).sort(),
    );
    const page = space.file('out', 'page.html');
    const report = await bangInside(['report', all, '--examples', '0', '--out', page]);
    expect(report).toMatchObject({ code: 0, stderr: '' });
    const [csv, html] = [space.read('out', 'table.csv'), space.read('out', 'page.html')];
    for (const name of NAMES) {
      const lines = stdout.split('\n').filter((line) => line.includes(name));
      expect(lines.length, name).toBeGreaterThan(1);
      expect(csv).toContain(`\n${name},1,B1,bang,`);
      expect(html).toContain(`<b>${name}</b>`);
    }
    expect(html.split('finished attacks: none yet').length - 1).toBe(NAMES.length);
  });

  it('are those of runs in figures', async () => {
    // Two of a name and of other rows: under their own names, not those of their rows.
    for (const name of NAMES) {
      const at = `of/${name}/runs/second`;
      writeRun(at, name, {}, 1);
      const own = resultWith('lenet-b1', { name, row: { images: IMAGES } });
      const config = { ...own.config, published: { table: 2, row: 'B1' } };
      space.write(`${at}/result.json`, JSON.stringify({ ...own, config }));
    }
    const runs = NAMES.map((name) => path.join(all, name, 'runs'));
    for (const figure of ['training', 'eta', 'linf']) {
      const args = ['figure', figure, ...runs, '--out', space.file('out')];
      expect(await bangInside([...args, '--format', 'svg']), figure).toMatchObject({ code: 0 });
      const [svg, csv] = [space.read('out', `${figure}.svg`), space.read('out', `${figure}.csv`)];
      for (const name of NAMES) {
        expect(svg).toContain(`>${name} `);
        expect(csv).toMatch(RegExp(`^"?${name} `, 'm'));
      }
    }
  });
});

describe.each(NAMES)('the name %s', (name) => {
  const folder = (): string => space.file('of', name);

  it('is a difference between two configs', async () => {
    const [a, b] = [space.file('of', 'other'), path.join(folder(), 'runs', name)];
    const { code, stdout } = await bangInside(['diff', a, b]);
    expect(code).toBe(0);
    expect(stdout).toContain(`config: ${name} was absent, is {"a":1}\n`);
    const { stdout: back } = await bangInside(['diff', b, a]);
    expect(back).toContain(`config: training.${name} was {"a":1}, is absent\n`);
  });

  it('is that of a sweep', async () => {
    const status = await bangInside(['sweep', 'status', path.join(folder(), 'sweep')]);
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
    const args = ['figure', 'surfaces', path.join(folder(), 'drawn'), '--out', folder()];
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
