import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Baseline } from '#bang/check/baseline.js';
import { WEBGPU_VERSION } from '#bang/engine/webgpu/installation.js';
import {
  bang,
  bangInside,
  bangOk,
  expectRefusal,
  tinyConfig,
  workspace,
  writeSmallData,
  type Finished,
  type Workspace,
} from './bang.js';

let space: Workspace;
beforeAll(() => {
  space = workspace();
  writeSmallData(space);
});
afterEach(() => {
  vi.unstubAllEnvs();
});
afterAll(() => {
  space.remove();
});

/** A quick config with these expectations; `@` in arguments stands for the workspace. */
function config(name: string, expectations: string, more = ''): string {
  const text = tinyConfig(`expect: ${expectations}\n${more}`)
    .replace('iterations: 40', 'iterations: 8')
    .replace('images: 60', 'images: 20, attacks: [fgs]');
  space.write(`${name}.yaml`, text);
  return `@/${name}.yaml`;
}

function check(...args: string[]): Promise<Finished> {
  // The tests must not write to the files of the CI service that runs them.
  for (const name of ['GITHUB_ACTIONS', 'GITHUB_STEP_SUMMARY']) {
    if (process.env[name] !== undefined && !stubbed.has(name)) vi.stubEnv(name, '');
  }
  stubbed.clear();
  const all = ['check', ...args, '--data-dir', '@/data', '--threads', '1'];
  return bangInside(
    all.map((arg) => arg.replace('@', space.folder)),
    { cwd: space.folder },
  );
}

const stubbed = new Set<string>();
function stub(name: string, value: string): void {
  vi.stubEnv(name, value);
  stubbed.add(name);
}

describe('bang check', () => {
  it('reports that each number is in its band, and leaves no files', async () => {
    const good = config('good', '{accuracy: {min: 0}, fgs_rate: {min: 0, max: 100}}');
    const before = readdirSync(space.folder);
    const { code, stdout } = await check(good);
    expect(stdout).toMatch(
      /^ok {3}good: accuracy is [\d.]+ %, expected at least 0\.00 %: holds with [\d.]+ to spare\nok {3}good: fgs_rate is .* %, expected 0\.00 to 100\.00 %: holds .*\nall 2 numbers are in their bands\n$/,
    );
    expect(code).toBe(0);
    expect(readdirSync(space.folder)).toEqual(before);
  });

  it('runs the others if one cannot be run, and exits with 2', async () => {
    const files = [
      config('misspelt', '{acuracy: {min: 0}}'),
      config('empty', '{}'),
      config('lost', '{baseline: none.json, accuracy: {deviations: 5}}'),
      config('bad', '{accuracy: {min: 100}}'),
      config('twin', '{accuracy: {min: 0}}', 'name: bad'),
      config('good', '{accuracy: {min: 0}}'),
    ];
    const reports = ['--junit', '@/j.xml', '--json', '@/j.json'];
    stub('GITHUB_ACTIONS', 'true');
    stub('GITHUB_STEP_SUMMARY', space.write('summary.md', 'before\n'));
    const { code, stdout, stderr } = await check(...files, ...reports);
    expect(code).toBe(2);
    const lines = stdout.split('\n');
    const found = (start: RegExp) => lines.filter((line) => start.test(line)).length;
    expect(found(/^ok {3}good: /)).toBe(1);
    expect(found(/^FAIL bad: accuracy is .* out of band by /)).toBe(1);
    expect(found(/^ERROR .*misspelt.*no such number, did you mean accuracy\?/)).toBe(1);
    expect(found(/^ERROR empty: .*expects nothing/)).toBe(1);
    const lost =
      /^ERROR lost: there is no baseline \S+none\.json yet: bang check \S+lost\.yaml --update/;
    expect(found(lost)).toBe(1);
    expect(found(/^ERROR bad: another config is also named bad/)).toBe(1);
    expect(found(/^::error file=/)).toBe(5);
    expect(stderr).toMatch(
      /^bang: 1 of 2 numbers is out of band, 4 configs could not be checked\n$/m,
    );
    expect(space.read('j.xml')).toMatch(/<testsuites [^>]*tests="6" failures="1" errors="4"/);
    expect(JSON.parse(space.read('j.json'))).toMatchObject({ holds: false });
    expect(space.read('summary.md')).toMatch(/^before\n### bang check: 1 of 2/);
  });

  it('exits with 1 if an experiment fails, and writes no annotations outside of CI', async () => {
    const diverging = config('diverging', '{accuracy: {min: 0}}', '').replace('@', space.folder);
    space.write(
      'diverging.yaml',
      readFileSync(diverging, 'utf8').replace(
        'logEvery: 10',
        'logEvery: 1, learningRate: {base: 1.e+6}',
      ),
    );
    const { code, stdout, stderr } = await check('@/diverging.yaml');
    expect(stdout).toMatch(/^FAIL diverging: .*loss.*\n$/);
    expect(stderr).toMatch(/^bang: 1 experiment failed\n$/m);
    expect(code).toBe(1);
  });

  it('computes again by default, and with --out if another program computed it', async () => {
    const good = config('good', '{accuracy: {min: 0}}');
    const first = await check(good, '--out', '@/kept');
    expect(first.stderr).toMatch(/^training: 8 iterations/m);
    const again = await check(good, '--out', '@/kept');
    expect(again.stderr).not.toMatch(/training/);
    expect(again.stdout).toBe(first.stdout);
    // As if the program had been changed in between; and then a result that must not be believed.
    for (const args of [['--force'], []]) {
      if (args.length === 0) space.write('kept/good.program', 'another');
      const row = space
        .read('kept/good/result.json')
        .replace(/"accuracy": [\d.]+/, '"accuracy": 1');
      space.write('kept/good/result.json', row);
      const anew = await check(good, '--out', '@/kept', ...args);
      expect(anew.stderr).toMatch(/^training: 8 iterations/m);
      expect(anew.stdout).toBe(first.stdout);
    }
  });

  it('keeps what another command left in --out, unless --force is given', async () => {
    const file = config('kept-run', '{accuracy: {min: 0}}');
    await space.run('kept-run.yaml', '--out', 'mixed/kept-run', '--set', 'seed=7');
    const before = space.contents('mixed/kept-run');
    const { code, stdout } = await check(file, '--out', '@/mixed');
    expect(stdout).toMatch(
      /^ERROR kept-run: \S+mixed\/kept-run holds a run that bang check did not make: choose another/,
    );
    expect(code).toBe(2);
    expect(space.contents('mixed/kept-run')).toEqual(before);
    expect((await check(file, '--out', '@/mixed', '--force')).code).toBe(0);
  });

  it('computes again once another engine is set up', async () => {
    config('engines', '{accuracy: {min: 0}}');
    const args = ['check', 'engines.yaml', '--data-dir', 'data', '--out', 'engines'];
    const options = { cwd: space.folder, env: { BANG_CACHE: space.file('cache') } };
    await bangOk(args, options);
    space.write('cache/webgpu/setup.json', JSON.stringify({ version: WEBGPU_VERSION }));
    expect((await bangOk(args, options)).stderr).toMatch(/^training: 8 iterations/m);
  });

  it('stops on Ctrl-C and leaves nothing behind', async () => {
    const text = readFileSync(
      config('long', '{accuracy: {min: 0}}').replace('@', space.folder),
      'utf8',
    );
    space.write('long.yaml', text.replace('iterations: 8', 'iterations: 100000'));
    const temporary = space.file('tmp');
    space.write('tmp/mine', '');
    const begun = () =>
      space.list('tmp').length > 1 &&
      existsSync(
        `${temporary}/${space.list('tmp').find((name) => name !== 'mine')!}/long/config.yaml`,
      );
    space.write('never.xml', '<testsuites name="bang check"/>');
    const args = ['check', 'long.yaml', '--data-dir', 'data', '--junit', 'never.xml'];
    const { code, stdout, stderr } = await bang(args, {
      cwd: space.folder,
      env: { TMPDIR: temporary },
      when: begun,
    });
    expect(stderr).toMatch(/^bang: stopped\n$/m);
    expect(stdout).toBe('');
    expect(code).toBe(130);
    expect(space.list('tmp')).toEqual(['mine']);
    expect(existsSync(space.file('never.xml'))).toBe(false);
  });

  it.each([
    [['--seeds', '1,2,3'], /--seeds is for --update-baseline/],
    [['--update-baseline', '--seeds', '1,2'], /--seeds 1,2: expected 3 or more different seeds/],
    [['--update-baseline', '--seeds', '1,1,2'], /3 or more different seeds/],
    [['--update-baseline', '--seeds', '1,2,x'], /3 or more different seeds/],
    [['--update-baseline'], /good\.yaml has no baseline: name a file with expect\.baseline/],
    [['--update-baseline', '--json', '@/j'], /checks nothing: leave out --json and --junit/],
    [['--json', '@/j', '--junit', '@/j'], /--junit \S+j would overwrite what --json writes/],
    [['--json', '@/good.yaml'], /--json \S+good\.yaml would overwrite \S+good\.yaml/],
    [['--json', '@/of-a-baseline.json'], /--json \S+ would overwrite a file that is not a verdict/],
    [['--junit', '@/data.yaml'], /--junit \S+ would overwrite a file that is not a verdict/],
    [['--json', '@/data'], /--json \S+data is a folder: name a file/],
    [['--out', '@/good.yaml'], /cannot write to the folder \S+good\.yaml: a file has that name/],
  ])('refuses %j', async (args, message) => {
    space.write('of-a-baseline.json', '{ "format": 1, "name": "good", "figures": {} }\n');
    space.write('data.yaml', 'names: [a]\n');
    expectRefusal(await check(config('good', '{accuracy: {min: 0}}'), ...args), message);
  });
});

/** A module for `--import` in which a function of the program throws, as if it were wrong. */
function breaking(file: string, name: string): string {
  const hooks = `export async function load(url, context, next) {
    const loaded = await next(url, context);
    if (!url.endsWith(${JSON.stringify(`/dist/${file}`)})) return loaded;
    const source = String(loaded.source);
    const broken = source.replace('export function ${name}(', 'export function ${name}() { nowhere.at; }\\nfunction whole(');
    if (broken === source) throw new Error('nothing to break');
    return { ...loaded, source: broken };
  }`;
  const address = `data:text/javascript,${encodeURIComponent(hooks)}`;
  space.write(
    'broken.mjs',
    `import { register } from 'node:module';\nregister(${JSON.stringify(address)});\n`,
  );
  return `--import=${space.file('broken.mjs')}`;
}

describe('a defect of the program', () => {
  const said = 'nowhere is not defined: a defect of the program';
  const good = (): string => config('good', '{accuracy: {min: 0}}');
  const broken = (args: string[], env: Record<string, string> = {}): Promise<Finished> => {
    const all = ['check', ...args, '--data-dir', '@/data', '--threads', '1'];
    return bang(
      all.map((arg) => arg.replace('@', space.folder)),
      {
        cwd: space.folder,
        env: { NODE_OPTIONS: breaking('metrics/row.js', 'summarise'), GITHUB_ACTIONS: '', ...env },
      },
    );
  };

  it('ends with 70, and is told from numbers out of their bands in every output', async () => {
    const reports = ['--junit', '@/j.xml', '--json', '@/j.json'];
    const { code, stdout, stderr } = await broken([good(), ...reports]);
    expect(stdout).toBe(`ERROR good: ${said}; BANG_DEBUG=1 shows where\n`);
    expect(stderr).toMatch(/^bang: 1 config met a defect of the program\n$/m);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(code).toBe(70);
    expect(space.read('j.xml')).toContain(said);
    const { holds, configs } = JSON.parse(space.read('j.json')) as {
      holds: boolean;
      configs: { problem: unknown }[];
    };
    expect(holds).toBe(false);
    expect(configs[0].problem).toMatchObject({ kind: 'defect' });
  });

  it('ends with 70 where its stack is asked for, and while a baseline is made', async () => {
    const traced = await broken([good()], { BANG_DEBUG: '1' });
    expect(traced.stdout).toContain(`ERROR good: ${said}\n`);
    expect(traced.stdout).toMatch(/^ +at summarise \(/m);
    expect(traced.code).toBe(70);
    const based = config('based', '{baseline: new.json, accuracy: {deviations: 5}}');
    const updating = await broken([based, '--update-baseline', '--seeds', '1,2,3']);
    expect(updating.stderr).toContain('bang: nowhere is not defined\nbang: this is a defect of');
    expect(updating.code).toBe(70);
  });
});

describe('a baseline', () => {
  const expectations = '{baseline: b.json, accuracy: {deviations: 9, margin: 60}}';

  it('is measured over seeds, and holds for each of them', async () => {
    const file = config('based', expectations);
    const { stdout, code } = await check(file, '--update-baseline', '--seeds', '1,2,3');
    expect(stdout).toMatch(/^based: accuracy [\d.]+ ± [\d.]+$/m);
    expect(stdout).toMatch(/^wrote .*b\.json, over 3 seeds$/m);
    expect(code).toBe(0);
    const baseline = JSON.parse(space.read('b.json')) as Baseline;
    expect(baseline).toMatchObject({ format: 1, name: 'based', seeds: [1, 2, 3] });
    expect(baseline.provenance).toMatchObject({ node: process.version, threads: 1 });
    const { min, max, mean } = baseline.figures.accuracy!;
    expect(min <= mean && mean <= max).toBe(true);

    const checked = await check(file);
    expect(checked.stdout).toMatch(/^ok {3}based: accuracy is .*\(baseline .* over 3 seeds\)/);
    // Alone each seed gives what it gave to the baseline.
    const values: number[] = [];
    for (const seed of [1, 2, 3]) {
      await check(config('based', expectations, `seed: ${seed}`), '--json', '@/j.json');
      const { configs } = JSON.parse(space.read('j.json')) as {
        configs: { checks: { value: number }[] }[];
      };
      values.push(configs[0].checks[0].value);
    }
    expect((values[0] + values[1] + values[2]) / 3).toBeCloseTo(mean, 9);
    expect([Math.min(...values), Math.max(...values)]).toEqual([min, max]);
  });

  it('without scatter is told, unless there is a margin', async () => {
    const file = config('still', '{baseline: still.json, accuracy: {deviations: 5}}');
    await check(file, '--update-baseline', '--seeds', '1,2,3');
    const baseline = JSON.parse(space.read('still.json')) as Baseline;
    baseline.figures.accuracy!.std = 0;
    space.write('still.json', JSON.stringify(baseline));
    const told = /still\.yaml: accuracy is the same for all seeds of the baseline, .* a margin$/m;
    expect((await check(file)).stderr).toMatch(told);
    config('still', '{baseline: still.json, accuracy: {deviations: 5, margin: 1}}');
    expect((await check(file)).stderr).not.toMatch(told);
  });

  it('takes the place of nothing but a baseline of that config, and of nothing before all are read', async () => {
    const band = 'accuracy: {deviations: 9, margin: 60}';
    space.write('precious.csv', 'a,b\n');
    const [own, precious, one, two] = [
      config('own', `{baseline: own.yaml, ${band}}`),
      config('precious', `{baseline: precious.csv, ${band}}`),
      config('one', `{baseline: both.json, ${band}}`),
      config('two', `{baseline: both.json, ${band}}`),
    ];
    const update = ['--update-baseline', '--seeds', '1,2,3'];
    const before = readdirSync(space.folder);
    expectRefusal(await check(own, ...update), /own\.yaml exists and is not a baseline/);
    expectRefusal(await check(precious, ...update), /precious\.csv exists and is not a baseline/);
    expectRefusal(await check(one, two, ...update), /have one baseline, .*both\.json: give each/);
    expectRefusal(await check(one, '@/none.yaml', ...update), /cannot read \S+none\.yaml/);
    expect(readdirSync(space.folder)).toEqual(before);
    expect(space.read('precious.csv')).toBe('a,b\n');
  });

  it('of another config, or of other data, is refused', async () => {
    const file = config('based', expectations);
    const text = space.read('based.yaml');
    space.write('based.yaml', text.replace('batch: 16', 'batch: 8'));
    const other = await check(file);
    expect(other.stdout).toMatch(
      /^ERROR based: .*b\.json is the baseline of another experiment \(training\.batch was 16, is 8\): write it again with bang check --update-baseline$/m,
    );
    expect(other.code).toBe(2);

    space.write('based.yaml', text);
    writeSmallData(space, 'others', { seed: 2 });
    const { stdout, code } = await bangInside(
      ['check', file, '--data-dir', '@/others'].map((arg) => arg.replace('@', space.folder)),
    );
    expect(stdout).toMatch(/^ERROR based: .*b\.json is a baseline on other data/m);
    expect(code).toBe(2);
  });
});
