import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { loadPlan } from '#bang/config/sweep.js';
import { packageRoot } from '#bang/base/files.js';
import { readLock } from '#bang/store/lock.js';
import { idxBytes } from '../data/idx-bytes.js';
import { readCsv } from '../fixtures.js';
import {
  bang,
  bangInside,
  bangInsideOk,
  type BangOptions,
  expectRefusal,
  tensors,
  tinyConfig,
  workspace,
  type Workspace,
  writeSmallData,
} from './bang.js';

let space: Workspace;
beforeAll(() => {
  space = workspace();
  writeSmallData(space, 'data', { train: 100, test: 60 });
  space.write('tiny.yaml', tinyConfig());
});
afterAll(() => {
  space.remove();
});

const SHORT = ['training.iterations=10', 'evaluation.images=30'].flatMap((one) => ['--set', one]);

function sweep(args: readonly string[], options: Partial<BangOptions> = {}) {
  const run = Object.keys(options).length === 0 ? bangInside : bang;
  return run(['sweep', ...args, '--data-dir', 'data'], { cwd: space.folder, ...options });
}

/** The same in this process, where no cell is computed; `@` stands for the workspace. */
function inside(args: readonly string[]) {
  const placed = args.map((arg) => arg.replace(/^@/, `${space.folder}/`));
  return bangInside(['sweep', ...placed]);
}

/** All of a result that does not say how long it took or where. */
function figures(folder: string): unknown {
  const incidental = ['provenance', 'seconds'];
  return JSON.parse(
    JSON.stringify(space.result(folder), (key, value: unknown) =>
      incidental.includes(key) ? null : value,
    ),
  ) as unknown;
}

describe('bang sweep', () => {
  const args = ['sweep.yaml', ...SHORT, '--out', 'some'];
  let first: Awaited<ReturnType<typeof bang>>;
  beforeAll(async () => {
    space.write(
      'sweep.yaml',
      `base: tiny.yaml
list:
  - {training.bang.beta: 1}
  - {training.learningRate.base: 1.0e+6}
  - {training.bang.beta: 1.5}
`,
    );
    first = await sweep([...args, '--jobs', '2', '--keep', 'weights,per-image']);
  });
  const good = ['cells/beta-1', 'cells/beta-1.5'];
  const bad = 'cells/base-1000000';

  it('lists what it would do, and does nothing', async () => {
    const dry = await inside([
      '@sweep.yaml',
      ...SHORT,
      '--dry-run',
      '--out',
      '@dry',
      '--jobs',
      '1',
    ]);
    expect(dry.stdout).toMatch(/^beta-1: about [\d.]+ \w+\nbase-1000000: about /);
    expect(dry.stdout).toMatch(/^3 cells in \S+dry, 0 done: about .* a rough estimate; 1 at once/m);
    expect(existsSync(space.file('dry'))).toBe(false);
    space.write('lone.yaml', 'base: tiny.yaml\ngrid: {training.bang.beta: [1]}\n');
    const lone = await inside(['@lone.yaml', ...SHORT, '--dry-run', '--out', '@dry']);
    expect(lone.stdout).toMatch(/^1 cell in \S+dry, 0 done/m);
    expect(lone.stderr).toBe('');
    const axes = '{training.bang.beta: [0, 1], training.bang.epsilon: [0.7, 0.8]}';
    space.write('same.yaml', `base: tiny.yaml\nreference: {training.bang: null}\ngrid: ${axes}\n`);
    const same = await inside(['@same.yaml', ...SHORT, '--dry-run', '--out', '@dry']);
    expect(same.stderr).toBe(
      'note: reference and beta-0_epsilon-0.7 and 1 more are the same experiment, as β 0 is regular training whatever ε is; each is computed\n',
    );
  });

  it('records a cell that fails, finishes the others, and says so at the end', () => {
    expect(first.code).toBe(1);
    expect(first.stderr).toMatch(
      /^bang: 1 of 3 cells failed, base-1000000 \(.*loss.*\): with the same values it would fail again, so change those$/m,
    );
    const failure = JSON.parse(space.read('some', bad, 'failure.json')) as Record<string, unknown>;
    // The same seed would diverge again.
    expect(failure).toMatchObject({ kind: 'experiment', attempts: 1 });
    const rows = readCsv(space.file('some', 'sweep.csv'));
    expect(rows.map(({ cell, state }) => [cell, state])).toEqual([
      ['beta-1', 'done'],
      ['base-1000000', 'failed'],
      ['beta-1.5', 'done'],
    ]);
    for (const name of ['accuracy', 'fgs_rate', 'hc1_linf_mean', 'seconds', 'engine', 'weights']) {
      expect(rows[0][name]).toMatch(/./);
    }
    expect(first.stdout).toMatch(/│ beta 1\.5/);
    expect(first.stdout).toMatch(/^Pareto front/m);
  });

  it('finds what bang run finds, bit for bit, with any number of processes and threads', async () => {
    const config = path.join('some', good[1], 'config.yaml');
    const run = ['run', config, '--data-dir', 'data', '--threads', '2', '--out', 'alone'];
    await bangInsideOk(run, { cwd: space.folder });
    expect(figures(`some/${good[1]}`)).toEqual(figures('alone'));
    expect(tensors(space, `some/${good[1]}`)).toEqual(tensors(space, 'alone'));
    expect(space.read('some', good[1], 'per-image.csv')).toBe(space.read('alone', 'per-image.csv'));
  });

  it('computes again only what failed, from the folder alone, too', async () => {
    const times = () =>
      good.map((cell) => statSync(space.file('some', cell, 'result.json')).mtimeMs);
    const before = times();
    const again = await sweep(['retry', 'some']);
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/^base-1000000: failed: /m);
    expect(again.stderr).not.toMatch(/^beta-/m);
    expect(times()).toEqual(before);
    // A file that was once kept is kept from then on.
    expect(space.list(`some/${good[0]}`)).toEqual([
      'config.yaml',
      'per-image.csv',
      'result.json',
      'table.csv',
      'weights.safetensors',
    ]);
    expect(space.read('some', 'sweep.yaml')).toMatch(/^keep:\n +- weights\n +- per-image$/m);
  });

  it('advises to try again if a cell failed for another reason than its experiment', async () => {
    space.write('mixed/sweep.yaml', space.read('some', 'sweep.yaml'));
    space.write(`mixed/${good[0]}/config.yaml`, space.read('some', good[1], 'config.yaml'));
    expect((await sweep(['retry', 'mixed'])).stderr).toMatch(
      /^bang: 2 of 3 cells failed, beta-1 \(.*\) and 1 more: bang sweep retry mixed tries them again$/m,
    );
  });

  it('shows the progress of a folder', async () => {
    const { stdout, code } = await inside(['status', '@some']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^sweep: 2 of 3 cells done, 1 failed, not running\nbest accuracy /);
    expect(stdout).toMatch(/^base-1000000 failed: .*loss/m);
  });

  it('compares two sweeps', async () => {
    const { stdout } = await inside(['compare', '@some', '@some', '--out', '@moved.csv']);
    expect(stdout).toMatch(
      /^2 points are done in both, .*; 2 of 2 cells .* the same bit for bit$/m,
    );
    const grid = path.join(packageRoot, 'results', 'grids', 'cifar10-coarse');
    expect((await inside(['compare', grid, grid])).stdout).toMatch(
      /^16 points and the reference are done in both, 0 only in /,
    );
    expect(readCsv(space.file('moved.csv')).map(({ accuracy }) => accuracy)).toEqual(['0', '0']);
    const refused = await inside(['compare', '@some', '@some', '--out', '@some/sweep.csv']);
    expectRefusal(refused, /sweep\.csv would overwrite a file that is not a comparison/);
  });

  it('refuses another sweep in the folder, says what differs, and changes nothing', async () => {
    const before = space.contents('some');
    for (const [changes, message] of [
      [['--set', 'training.batch=8'], /\(in cell beta-1, training\.batch was 16, is 8\)/],
      [['--set', 'seeds=[2,3]'], /\(none of its cells is in this one\)/],
    ] as const) {
      const refused = await inside(['@sweep.yaml', ...SHORT, '--out', '@some', ...changes]);
      expectRefusal(refused, message);
      expectRefusal(
        refused,
        /^bang: \S+some holds another sweep .*: choose another folder with --out, or --force/,
      );
    }
    expect(space.contents('some')).toEqual(before);
  });

  it('does not take the result of another experiment for that of a cell', async () => {
    const before = space.read('some', good[1], 'result.json');
    space.write(
      path.join('some', good[1], 'result.json'),
      space.read('some', good[0], 'result.json'),
    );
    const { stdout } = await inside(['status', '@some']);
    expect(stdout).toMatch(/^sweep: 1 of 3 cells done, 1 failed, not running/);
    space.write(path.join('some', good[1], 'result.json'), before);
  });

  it('ends with a message, and releases the lock, if a cell cannot be read', async () => {
    const broken = space.file('some', good[1], 'result.json');
    const before = space.read('some', good[1], 'result.json');
    rmSync(broken);
    mkdirSync(broken);
    const again = ['@sweep.yaml', ...SHORT, '--out', '@some', '--data-dir', '@data'];
    expectRefusal(await inside(again), /^bang: cannot read \S+result\.json: /);
    expect(existsSync(space.file('some', 'bang.lock'))).toBe(false);
    rmSync(broken, { recursive: true });
    space.write(path.join('some', good[1], 'result.json'), before);
  });

  it('starts over only where there is a sweep', async () => {
    space.write('mine/cells/notes.txt', 'not of a sweep');
    const over = await inside(['@sweep.yaml', ...SHORT, '--out', '@mine', '--force']);
    expectRefusal(
      over,
      /mine holds cells, but no sweep\.yaml that says which sweep it belongs to: choose/,
    );
    expect(space.read('mine/cells/notes.txt')).toBe('not of a sweep');
  });

  it('refuses other data', async () => {
    writeSmallData(space, 'others', { seed: 2, train: 100, test: 60 });
    const placed = ['@sweep.yaml', ...SHORT, '--out', '@some', '--data-dir', '@others'];
    const refused = await inside(placed);
    expectRefusal(refused, /beta-1 in \S+some was made on other data/);
  });

  it('says of which finished cells a file that is to be kept is missing', async () => {
    const again = await sweep(['retry', 'some', '--keep', 'weights, training']);
    expect(again.stderr).toMatch(
      /^2 finished cells have no training, which was not kept then: --force computes all cells/m,
    );
  });

  it.each([
    [['nowhere.yaml'], /cannot read nowhere\.yaml/],
    [['@sweep.yaml', '--jobs', '0'], /--jobs must be a whole number from 1 to 1024, not 0/],
    [
      ['@sweep.yaml', '--keep', 'wieghts'],
      /--keep: expected weights, per-image or training, found "wieghts", did you mean weights\?/,
    ],
    [['@sweep.yaml', '--set', 'name=foo'], /--set name: cells are named after their values: --out/],
    [
      ['@seeded.yaml', '--set', 'seed=9', '--dry-run'],
      /--set seed: the sweep has seeds: change them in its file/,
    ],
    [
      ['@seeded.yaml', '--set', 'training.batch=9', '--dry-run'],
      /--set training\.batch: the reference sets this key: change it in the file/,
    ],
    [
      ['@sweep.yaml', '--queue', 'redis://localhost', '--jobs', '2'],
      /--jobs is of no use with --queue/,
    ],
    [
      ['@halved.yaml', '--queue', 'redis://localhost', '--dry-run'],
      /halving compares cells on one machine: leave it out, or --queue/,
    ],
    [
      ['@sweep.yaml', '--queue', 'redis://localhost', '--dry-run', '--set', 'training.snapshots=5'],
      /training\.snapshots: workers do not send them; drop it/,
    ],
    [['@sweep.yaml', '--queue-prefix', 'mine'], /are of a queue: name it with --queue/],
    [['@sweep.yaml', '--dry-run', '--retries', '-1'], /--retries must be a whole number/],
    [['@sweep.yaml', '--dry-run', '--out', '@sweep.yaml'], /: a file has that name/],
    [['status', '@data'], /data is not the folder of a sweep/],
    [['cancel', '@some'], /no sweep is running in \S+some/],
  ])('refuses %j', async (args, message) => {
    space.write(
      'seeded.yaml',
      'base: tiny.yaml\ngrid: {training.bang.beta: [1, 2]}\nseeds: [1, 2]\nreference: {training.bang: null, training.batch: 8}\n',
    );
    space.write(
      'halved.yaml',
      'base: tiny.yaml\ngrid: {training.bang.beta: [1, 2]}\nhalving: {rungs: [500], keep: 0.5}\n',
    );
    const long = args[0] === '@halved.yaml' ? ['--set', 'training.iterations=1000'] : [];
    expectRefusal(await inside([...args, ...long]), message);
  });
});

it.each([
  {
    name: 'lenet',
    cells: 170,
    map: /^beta .* 0\.78 0\.785 .* 0\.84\n1 +4\.00▓ 3\.62▓ /m,
    fgsRate: ['87', '0.31', '+0.09', '-2.59'],
    accuracy: ['99.19', '99.09', '29 of 169'],
    unmasked: '35.41 ·░▒▓█ 43.52, reference 39.60',
  },
  {
    name: 'cifar10-coarse',
    cells: 17,
    map: /^beta .* 0\.8 +0\.82 +0\.84 +0\.86\n0\.4 +49\.78█ 45\.74▓ 40\.87▒ 34\.65░$/m,
    fgsRate: ['83', '2.19', '-7.41', '-10.13'],
    accuracy: ['79.95', '79.42', '1 of 16'],
    unmasked: '3.26 ·░▒▓█ 3.75, reference 2.98',
  },
])('tells structure from noise in the committed grid $name', async (grid) => {
  const { code, stdout } = await bangInside([
    ...['sweep', 'status', path.join(packageRoot, 'results', 'grids', grid.name)],
  ]);
  expect(code).toBe(0);
  const done = `${grid.cells} of ${grid.cells} cells done, not running`;
  expect(stdout.split('\n')[0]).toBe(`${grid.name}: ${done}`);
  expect(stdout).toMatch(grid.map);
  expect(stdout).toMatch(/^HC1-PASS: 0\.\d{3} ·░▒▓█ 0\.\d{3}, reference 0\.\d{3}$/m);
  expect(stdout).toContain(`\nunmasked FGS-L∞ grey levels: ${grid.unmasked}\n`);
  const line = (figure: string): string[] =>
    stdout
      .split('\n')
      .find((one) => one.startsWith(`│ ${figure}`))!
      .split('│')
      .map((cell) => cell.trim());
  expect(line('FGS-Rate').slice(4, 8)).toEqual(grid.fgsRate);
  const accuracy = line('Accuracy');
  expect([accuracy[2], accuracy[3], accuracy.at(-2)]).toEqual(grid.accuracy);
});

describe('a sweep that is stopped', () => {
  const LONG = [
    'training.iterations=40',
    'training.logEvery=10',
    'evaluation.attacks=[fgs]',
  ].flatMap((one) => ['--set', one]);
  const args = ['long.yaml', ...LONG, '--out', 'long', '--keep', 'weights,training'];
  const [one, two] = ['long/cells/beta-1', 'long/cells/beta-1.5'];

  /** The processes that compute cells for another. */
  function childrenOf(parent: number): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
          return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
        } catch {
          return false;
        }
      });
  }

  it('continues after Ctrl-C, kill -9 and bang sweep cancel, with the same results as without', async () => {
    space.write('long.yaml', 'base: tiny.yaml\ngrid: {training.bang.beta: [1, 1.5]}\n');
    const begun = (cell: string) => () => existsSync(space.file(cell, 'training.csv'));

    const stopped = await sweep(args, { when: begun(one) });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/^bang: stopped; the same command continues from there$/m);
    expect(existsSync(space.file('long', 'bang.lock'))).toBe(false);
    expect(existsSync(space.file(one, 'result.json'))).toBe(false);
    const checkpoint = statSync(space.file(one, 'checkpoint.safetensors')).mtimeMs;

    // Nothing can clean up after this.
    const moved = () =>
      existsSync(space.file(two, 'config.yaml')) ||
      statSync(space.file(one, 'checkpoint.safetensors')).mtimeMs !== checkpoint;
    const killed = await sweep(args, { when: moved, signal: 'SIGKILL' });
    expect(killed.code).toBeNull();
    expect(readLock(space.file('long', 'bang.lock'))?.live).toBe(false);

    // A cell's process that is killed is tried again; a second sweep is refused meanwhile.
    let refused: ReturnType<typeof inside> | undefined;
    let shot = 0;
    const sweeping = sweep(args, {
      when: () => {
        if (shot > 0 || !existsSync(space.file(two, 'config.yaml'))) return false;
        // It may be the one that was killed before.
        const lock = readLock(space.file('long', 'bang.lock'));
        if (!lock?.live) return false;
        [shot = 0] = childrenOf(lock.holder.pid);
        if (shot === 0) return false;
        process.kill(shot, 'SIGKILL');
        refused = inside(['@long.yaml', ...LONG, '--out', '@long']);
        return false;
      },
    });
    const whole = await sweeping;
    expect(whole.code).toBe(0);
    expect(shot).toBeGreaterThan(0);
    expect(whole.stderr).toMatch(
      /^beta-1\.5: failed \(its process was killed by SIGKILL.*\); trying again$/m,
    );
    expectRefusal(await refused!, /another sweep works there \(process \d+ on /);

    const configs = [one, two].map((cell) => path.join(cell, 'config.yaml'));
    await bangInsideOk(['run', ...configs, '--data-dir', 'data', '--out', 'by-itself'], {
      cwd: space.folder,
    });
    for (const cell of [one, two]) {
      const alone = path.join('by-itself', path.basename(cell));
      expect(figures(cell)).toEqual(figures(alone));
      expect(tensors(space, cell)).toEqual(tensors(space, alone));
      expect(space.read(cell, 'training.csv')).toBe(space.read(alone, 'training.csv'));
    }
    expect(readdirSync(space.file('long')).sort()).toEqual(
      ['cells', 'pareto.csv', 'surfaces.csv', 'sweep.csv', 'sweep.yaml'].sort(),
    );
  }, 600_000);

  it('can be stopped by another process', async () => {
    space.write('long.yaml', 'base: tiny.yaml\ngrid: {training.bang.beta: [1, 1.5]}\n');
    const many = ['long.yaml', '--set', 'training.iterations=100000', '--out', 'endless'];
    let cancelled: ReturnType<typeof bang> | undefined;
    const { code, stderr } = await sweep(many, {
      when: () => {
        if (existsSync(space.file('endless/cells/beta-1/training.csv'))) {
          cancelled ??= inside(['cancel', '@endless']);
        }
        return false;
      },
    });
    expect(code).toBe(130);
    expect(stderr).toMatch(/^cancelled; stopping after saving$/m);
    expect(await cancelled!).toMatchObject({ code: 0, stderr: '' });
    expect(existsSync(space.file('endless/cells/beta-1/checkpoint.safetensors'))).toBe(true);
  });
});

describe('a sweep that grows', () => {
  const set = ['training.iterations=2', 'evaluation.images=5', 'evaluation.attacks=[fgs]'];
  const args = ['grows.yaml', ...set.flatMap((one) => ['--set', one]), '--out', 'grown'];
  const states = () =>
    readCsv(space.file('grown', 'sweep.csv')).map(({ cell, state }) => `${cell} ${state}`);
  const times = () =>
    Object.fromEntries(
      space
        .list('grown/cells')
        .map((id) => [id, statSync(space.file('grown/cells', id, 'result.json')).mtimeMs]),
    );
  const grow = (text: string): string => space.write('grows.yaml', `base: tiny.yaml\n${text}\n`);

  it('keeps its cells by their names, computes the new ones, and says what has left', async () => {
    grow('grid: {training.bang.beta: [1, 1.5]}');
    expect(await sweep(args)).toMatchObject({ code: 0 });
    const first = times();

    grow('grid: {training.bang.beta: [1, 1.25, 1.5]}');
    const dry = await inside(['@grows.yaml', ...args.slice(1, -1), '@grown', '--dry-run']);
    expect(dry.stderr).toBe('note: 1 cell is new in the sweep\n');
    expect(dry.stdout).toMatch(/^beta-1: done\nbeta-1\.25: about .*\nbeta-1\.5: done\n/);
    const wider = await sweep(args);
    expect(wider.code).toBe(0);
    expect(wider.stderr).toMatch(/^1 cell is new in the sweep$/m);
    expect(wider.stderr).not.toMatch(/^beta-1(\.5)?: /m);
    expect(states()).toEqual(['beta-1 done', 'beta-1.25 done', 'beta-1.5 done']);
    expect(times()).toMatchObject(first);

    // With several seeds the names of cells would have the seed.
    grow('grid: {training.bang.beta: [1, 1.25]}\nseeds: [1, 2]');
    const before = times();
    const more = await sweep(args);
    expect(more.code).toBe(0);
    expect(more.stderr).toMatch(/^2 cells are new in the sweep$/m);
    expect(more.stderr).toMatch(
      /^no longer in the sweep: beta-1\.5; what there is of them stays in grown\/cells, but not in the tables$/m,
    );
    const expected = ['beta-1', 'beta-1.25', 'beta-1_seed-2', 'beta-1.25_seed-2'];
    expect(states()).toEqual(expected.map((id) => `${id} done`));
    expect(times()).toMatchObject(before);

    // From the folder alone, and with the cell that had left.
    expect((await inside(['status', '@grown'])).stdout).toMatch(/^grows: 4 of 4 cells done/);
    grow('grid: {training.bang.beta: [1, 1.25, 1.5]}');
    const back = await inside(['@grows.yaml', ...args.slice(1, -1), '@grown', '--dry-run']);
    expect(back.stdout).toMatch(
      /^beta-1: done\nbeta-1\.25: done\nbeta-1\.5: done\n3 cells in \S+, 3 done: nothing is left to compute\n$/,
    );
    writeSmallData(space, 'others', { seed: 2 });
    const other = ['@grows.yaml', ...args.slice(1, -1), '@grown', '--data-dir', '@others'];
    const refused = await inside([...other, '--dry-run']);
    expect(refused.stderr).toMatch(/^bang: beta-1 in \S+grown was made on other data/m);
    expect(refused.code).toBe(2);
    const name = (id: string) => space.result(`grown/cells/${id}`).name;
    expect(expected.map(name)).toEqual(expected);
  });

  it('gives new cells names that no other cell of the folder has', async () => {
    const listed = ['--out', '@listed', '--dry-run'];
    const some = { 'training.bang.beta': { conv1: 1, conv2: 1, ip1: 2, ip2: 1 } };
    const points = [some, { 'training.batch': 4 }].map((point) => JSON.stringify(point));
    grow(`list: [${points[0]}]`);
    const first = await sweep(['grows.yaml', ...args.slice(1, -1), 'listed']);
    expect(first.code).toBe(0);
    expect(first.stderr).toMatch(/^cell-1 \(beta \{ conv1: 1, .*\}\): accuracy /m);
    grow(`list: [${points[1]}, ${points[0]}]`);
    const dry = await inside(['@grows.yaml', ...args.slice(1, -2), ...listed]);
    expect(dry.stdout).toMatch(
      /^cell-1-2 \(batch 4\): about .*\ncell-1 \(beta \{ conv1: 1, .*\}\): done\n/,
    );
  });

  it('is another sweep if its cells or their comparison would change', async () => {
    const here = [...args.slice(1, -1), '@grown'];
    grow('grid: {training.bang.beta: [1, 1.25, 2]}');
    const changed = ['@grows.yaml', ...here, '--set', 'training.batch=8'];
    expectRefusal(await inside(changed), /\(in cell beta-1, training\.batch was 16, is 8\)/);
    grow('grid: {training.bang.beta: [1, 1.25, 2]}\nhalving: {rungs: [10], keep: 0.5}');
    const halved = ['@grows.yaml', ...here, '--set', 'training.iterations=20'];
    expectRefusal(await inside(halved), /\(in cell beta-1, training\.iterations was 2, is 20\)/);
  });

  it('cannot grow with halving', async () => {
    grow('grid: {training.bang.beta: [1, 2]}\nhalving: {rungs: [10], keep: 0.5}');
    const plan = await loadPlan(space.file('grows.yaml'));
    space.write('compared/sweep.yaml', stringify(plan.record));
    grow('grid: {training.bang.beta: [1, 2, 3]}\nhalving: {rungs: [10], keep: 0.5}');
    expectRefusal(
      await inside(['@grows.yaml', '--out', '@compared', '--dry-run']),
      /\(it had 2 cells, now 3; with halving, .* none can be added or left out\): choose/,
    );
  });
});

describe('successive halving', () => {
  // So many images that some are left for validation, but small ones, on which a pixel shows the class.
  const data = ['--data-dir', 'dots'];
  beforeAll(() => {
    for (const [prefix, count] of [
      ['train', 50_040],
      ['t10k', 40],
    ] as const) {
      const labels = Uint8Array.from({ length: count }, (_, i) => i % 10);
      const images = new Uint8Array(16 * count);
      labels.forEach((label, i) => (images[16 * i + label] = 200));
      space.write(`dots/${prefix}-images-idx3-ubyte`, idxBytes([count, 4, 4], images));
      space.write(`dots/${prefix}-labels-idx1-ubyte`, idxBytes([count], labels));
    }
    space.write(
      'small.yaml',
      `extends: tiny.yaml
model: { image: [4, 4, 1], classes: 10, scale: 0.05, layers: [{ kind: innerProduct, name: ip, outputs: 10 }] }
data: idx
published: null
`,
    );
  });

  it('stops the worst at each rung, and changes nothing about the others', async () => {
    space.write(
      'halving.yaml',
      `base: small.yaml
grid: {training.learningRate.base: [0.00001, 0.01]}
halving: {rungs: [10], keep: 0.5}
`,
    );
    const set = ['training.iterations=20', 'evaluation.images=30', 'evaluation.attacks=[fgs]'];
    const args = ['sweep', 'halving.yaml', ...data, ...set.flatMap((one) => ['--set', one])];
    const { stderr } = await bangInsideOk([...args, '--out', 'halved'], { cwd: space.folder });
    expect(stderr).toMatch(/^sweep: 1 of 2 cells done, 1 stopped early$/m);
    const log = (cell: string) => readCsv(space.file('halved/cells', cell, 'training.csv'));
    const [bad, good] = [log('base-0.00001'), log('base-0.01')];
    expect(bad.map(({ iteration }) => iteration)).toEqual(['10']);
    expect(good.map(({ iteration }) => iteration)).toEqual(['10', '20']);
    expect(Number(good[0].validation_accuracy)).toBeGreaterThan(Number(bad[0].validation_accuracy));
    expect(space.list('halved/cells/base-0.00001')).toEqual(['config.yaml', 'training.csv']);

    const alone = ['run', 'halved/cells/base-0.01/config.yaml', ...data, '--out', 'unhalved'];
    await bangInsideOk(alone, { cwd: space.folder });
    expect(figures('halved/cells/base-0.01')).toEqual(figures('unhalved'));
    // Nothing is trained again.
    const written = () =>
      ['base-0.00001', 'base-0.01'].map(
        (cell) => statSync(space.file('halved/cells', cell, 'training.csv')).mtimeMs,
      );
    const before = written();
    const again = await bangInsideOk([...args, '--out', 'halved'], { cwd: space.folder });
    expect(again.stderr).not.toMatch(/base-0/);
    expect(written()).toEqual(before);
  });

  it('continues a cell that was interrupted on its way to a rung from its checkpoint', async () => {
    space.write(
      'long.yaml',
      `base: small.yaml
grid: {training.learningRate.base: [0.00001, 0.01]}
halving: {rungs: [900], keep: 0.5}
`,
    );
    const more = ['iterations=910', 'checkpointEvery=20', 'logEvery=900'].map(
      (one) => `training.${one}`,
    );
    const set = [...more, 'evaluation.images=30', 'evaluation.attacks=[fgs]'];
    const args = [
      'sweep',
      'long.yaml',
      ...data,
      ...set.flatMap((one) => ['--set', one]),
      '--out',
      'halfway',
    ];
    const inCell = (name: string) => space.file('halfway/cells/base-0.00001', name);
    const when = () => existsSync(inCell('checkpoint.safetensors'));
    let stopped = await bang(args, { cwd: space.folder, when });
    // On a busy machine it may be at the rung before this process sees the file.
    for (let again = 0; again < 4 && existsSync(inCell('training.csv')); again++) {
      rmSync(space.file('halfway'), { recursive: true });
      stopped = await bang(args, { cwd: space.folder, when });
    }
    expect(stopped.code).toBe(130);
    const { stderr } = await bangInsideOk(args, { cwd: space.folder });
    expect(stderr).toMatch(/^base-0.00001: training continues at iteration \d+$/m);
    expect(stderr).toMatch(/1 of 2 cells done, 1 stopped early$/m);
  });

  it('does not count a cell that failed, and tries it again once, the reference, too', async () => {
    space.write(
      'failing.yaml',
      `base: small.yaml
grid: {training.learningRate.base: [0.00001, 0.01, 1.0e+9]}
reference: {training.learningRate.base: 1.0e+10}
halving: {rungs: [10, 20], keep: 0.5}
`,
    );
    const set = ['training.iterations=30', 'evaluation.images=30', 'evaluation.attacks=[fgs]'];
    const args = ['sweep', 'failing.yaml', ...data, ...set.flatMap((one) => ['--set', one])];
    const states = () =>
      readCsv(space.file('failed', 'sweep.csv')).map(({ cell, state }) => `${cell} ${state}`);
    const expected = [
      'reference failed',
      'base-0.00001 stopped',
      'base-0.01 done',
      'base-1000000000 failed',
    ];
    for (let time = 1; time <= 2; time++) {
      const { code, stderr } = await bangInside([...args, '--out', 'failed'], {
        cwd: space.folder,
      });
      expect(code).toBe(1);
      expect(stderr.match(/^reference: failed/gm)).toHaveLength(1);
      expect(stderr.match(/^base-1000000000: failed/gm)).toHaveLength(1);
      expect(states()).toEqual(expected);
      const status = await inside(['status', '@failed']);
      expect(status.stdout).toMatch(/^failing: 1 of 4 cells done, 2 failed, 1 stopped early/);
    }
  });
});
