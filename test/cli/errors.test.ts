import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { version } from '#bang/base/version.js';
import { encodeSafetensors } from '#bang/model/files/safetensors.js';
import { packageRoot } from '#bang/base/files.js';
import { HAS_NATIVE } from '../engine.js';
import { fixture } from '../fixtures.js';
import {
  asNobody,
  bang,
  bangInside,
  bangInsideOk,
  bangOk,
  executable,
  expectRefusal,
  tensors,
  tinyConfig,
  tinyLenetConfig,
  workspace,
  type Workspace,
  writeSmallData,
} from './bang.js';

let space: Workspace;
beforeAll(() => {
  space = workspace();
  writeSmallData(space);
  space.write('tiny.yaml', tinyLenetConfig());
});
afterEach(() => {
  vi.unstubAllEnvs();
});
afterAll(() => {
  space.remove();
});

/** `@` stands for the workspace. */
const inside = (...args: string[]) => bangInside(args.map((arg) => arg.replace('@', space.folder)));

describe('a wrong command line', () => {
  it.each<[string[], RegExp]>([
    [['help', 'rnu'], /^bang: unknown command rnu, did you mean run\? \(see bang --help\)$/m],
    [
      ['help', 'data', 'pul'],
      /^bang: unknown command data pul, did you mean data pull\? \(see bang --help\)$/m,
    ],
    [
      ['rnu', '@/tiny.yaml'],
      /^bang: unknown command rnu, did you mean run\? \(see bang --help\)$/m,
    ],
    [['publish'], /^bang: unknown command publish \(see bang --help\)$/m],
    // What yargs leaves out of a list would count as checked.
    [['check', '-'], /^bang: - is no option: a file of that name is given as \.\/-$/m],
    [['table', '---'], /^bang: --- is no option: a file of that name is given as \.\/---$/m],
    [['validate', '@/tiny.yaml', '-'], /^bang: - is no option: /],
    [['validate', '@/tiny.yaml', '--', '--x'], /^bang: --x is no option: .* given as \.\/--x$/m],
    [['validate', '@/tiny.yaml', ''], /^bang: argument 3 is empty: give a path, or leave it out$/m],
    [['run'], /^bang: an argument is missing: bang run <config\.\.> \(see bang run --help\)$/m],
    [
      ['data', 'pull'],
      /^bang: an argument is missing: bang data pull <name> \(see bang data pull --help\)$/m,
    ],
    [
      ['sweep', 'compare', 'a'],
      /^bang: an argument is missing: bang sweep compare <first> <second> \(see bang sweep compare --help\)$/m,
    ],
    [['diff', 'a'], /^bang: an argument is missing: bang diff <a> <b> \(see bang diff --help\)$/m],
    [['figure', 'linf'], /^bang: an argument is missing: bang figure <name> <results\.\.> /m],
    [
      ['sweep', 'statsu', 'x'],
      /^bang: unexpected argument x, did you mean bang sweep status\? \(see bang sweep --help\)$/m,
    ],
    [['data', 'pul'], /^bang: which one: pull, list, verify or show\? \(see bang data --help\)$/m],
    [
      ['data', 'pull', 'mnits'],
      /^bang: name: expected mnist.*, found "mnits", did you mean mnist\? \(see bang data/m,
    ],
    [
      ['run', '@/tiny.yaml', '--thread', '2'],
      /^bang: unknown option --thread, did you mean --threads\?/m,
    ],
    [
      ['run', '@/tiny.yaml', '--data-dri=x'],
      /^bang: unknown option --data-dri, did you mean --data-dir\?/m,
    ],
    [['--hlep'], /^bang: unknown option --hlep, did you mean --help\? \(see bang --help\)$/m],
    [
      ['check', '@/tiny.yaml', '--set', 'seed=2'],
      /^bang: unknown option --set: files are checked as they are, so change the file/m,
    ],
    [['run', '--thread'], /^bang: unknown option --thread, did you mean --threads\?/m],
    [
      ['run', '@/tiny.yaml', '--no-forec'],
      /^bang: unknown option --no-forec, did you mean --force\? \(see/m,
    ],
    [
      ['run', '@/tiny.yaml', '--seed', '3'],
      /^bang: unknown option --seed; keys of the configuration are changed by --set seed=3 \(see bang run --help\)$/m,
    ],
    [
      ['run', '--iterations=50'],
      /; keys .* by --set training\.iterations=50 \(see bang run --help\)$/m,
    ],
    [
      ['eval', 'a', '--images'],
      /; keys .* by --set evaluation\.images=… \(see bang eval --help\)$/m,
    ],
    [['eval', 'a', '--seed', '3'], /^bang: unknown option --seed \(see bang eval --help\)$/m],
    [['noise', 'a', '--images', '5'], /; keys .* by --set images=5 \(see bang noise --help\)$/m],
    [['run', '@/tiny.yaml', '-q'], /^bang: unknown option -q \(see bang run --help\)$/m],
    [['run', '@/tiny.yaml', '--out'], /^bang: --out needs a value \(see bang run --help\)$/m],
    [['run', '@/tiny.yaml', '--out='], /^bang: --out is empty/m],
    [['run', '@/tiny.yaml', '--out', 'a', '--out', 'b'], /^bang: --out is given more than once/m],
    [['eval', 'a', '--on', 'test', '--on', 'train'], /^bang: --on is given more than once \(see/],
    [['run', '@/tiny.yaml', '--threads', '1', '--threads', '1'], /^bang: --threads is given more/],
    [['run', '@/tiny.yaml', '--no-out'], /^bang: unknown option --no-out, did you mean --out\?/m],
    [['table', '@/data', '--no-write', '--out', 'a'], /^bang: --no-write writes nothing to --out/m],
    [['sweep', '@/tiny.yaml', '--no-retries'], /^bang: unknown option --no-retries, did you mean/m],
    [
      ['run', '@/tiny.yaml', '--force=maybe'],
      /^bang: --force takes no value: found --force=maybe/m,
    ],
    [['diff', 'a', 'b', '--json=o.json'], /^bang: --json takes no value: found --json=o\.json/m],
    [['check', 'run', '--bogus'], /^bang: unknown option --bogus \(see bang check --help\)$/m],
    [['run', '@/no\u001b[2Jsuch.yaml'], /^bang: cannot read \S+no\ufffd\[2Jsuch\.yaml: /m],
    [['eval', 'a', 'b'], /^bang: unexpected argument b \(see bang eval --help\)$/m],
    [
      ['eval', fixture('lenet.caffemodel.h5'), '--model', 'vgg'],
      /^bang: --model vgg: expected lenet or .*, or a YAML file/m,
    ],
    [
      ['eval', 'a', '--engine', 'gpu'],
      /^bang: --engine: expected auto, webgpu, tensorflow, native, wasm or cpu, /m,
    ],
  ])('%j', async (args, message) => {
    expectRefusal(await inside(...args), message);
  });

  it('is refused in English whatever the locale', async () => {
    const refused = await bang(['rnu'], { cwd: space.folder, env: { LC_ALL: 'de_DE.UTF-8' } });
    expectRefusal(refused, /^bang: unknown command rnu, did you mean run\? \(see bang --help\)\n$/);
  });
});

describe('a wrong value', () => {
  beforeAll(() => {
    space.write('bad.yaml', tinyLenetConfig().replace('batch: 16', 'bathc: 16'));
    space.write('same/tiny.yaml', tinyLenetConfig());
    space.write('sweep.yaml', 'base: tiny.yaml\ngrid: {training.batch: [1, 2]}\n');
    space.write('file', 'not a folder');
    symlinkSync('loop', space.file('loop'));
    space.write('stopped/checkpoint.safetensors', '');
    space.write('lacks/train-images-idx3-ubyte', 'no');
    cpSync(space.file('data'), space.file('garbage'), { recursive: true });
    space.write('garbage/t10k-labels-idx1-ubyte', 'no labels');
  });
  const tiny = ['run', '@/tiny.yaml', '--data-dir', '@/data', '--out', '@/never'];
  const weights = fixture('lenet.caffemodel.h5');

  it.each<[string[], RegExp]>([
    [['run', '@/none.yaml'], /^bang: cannot read .*none\.yaml: there is no such file\n$/],
    [['run', '@/data'], /^bang: cannot read .*data: it is a folder\n$/],
    [
      ['run', '@/bad.yaml'],
      /^bang: .*bad\.yaml:2:29: training\.bathc: unknown key, did you mean batch\?\n$/,
    ],
    [
      ['run', '@/sweep.yaml'],
      /^bang: .*sweep\.yaml describes a sweep: run it with bang sweep .*sweep\.yaml, check it with --dry-run\n$/,
    ],
    [
      ['sweep', '@/tiny.yaml'],
      /^bang: .*tiny\.yaml describes an experiment: run it with bang run .*tiny\.yaml\n$/,
    ],
    [[...tiny, '--set', 'extend=1'], /^bang: --set extend: unknown key, did you mean extends\?\n$/],
    [[...tiny, '--set', 'foo=1'], /^bang: --set foo: unknown key, expected name, .* or extends\n$/],
    [
      ['eval', '@/data'],
      /^bang: .*data holds no weights\.safetensors: give a file of weights or the folder of a run\n$/,
    ],
    [
      ['eval', '@/stopped'],
      /^bang: .*stopped holds no weights\.safetensors yet: its training was stopped, and the command that began it continues\n$/,
    ],
    [
      ['check', '@/tiny.yaml', '--junit', '@/file/bang.xml'],
      /^bang: cannot write to the folder .*file: a file has that name\n$/,
    ],
    [
      [...tiny, '--set', 'training.bang.betta=1'],
      /^bang: --set training\.bang\.betta: unknown key, did you mean beta\?\n$/,
    ],
    [[...tiny, '--set', 'seed'], /^bang: --set seed: expected key=value, such as seed=2\n$/],
    [
      ['run', '@/tiny.yaml', '@/same/tiny.yaml'],
      /^bang: two of the configs are named tiny: give each a different name\n$/,
    ],
    [['eval', 'near-lenet.h5'], /^bang: cannot read near-lenet\.h5: there is no such file\n$/],
    [
      ['eval', weights.replace('caffemodel', 'cafemodel')],
      /no such file, did you mean .*lenet\.caffemodel\.h5\?\n$/,
    ],
    [
      ['run', '@/tiny.yml'],
      /^bang: cannot read .*tiny\.yml: there is no such file, did you mean .*tiny\.yaml\?\n$/,
    ],
    ...['table', 'report', 'diff', 'figure training', 'sweep status', 'sweep compare'].map(
      (command): [string[], RegExp] => [
        [...command.split(' '), '@/daat', ...(/diff|compare/.test(command) ? ['@/data'] : [])],
        /^bang: cannot read \S+daat: there is no such folder, did you mean \S+data\?\n$/,
      ],
    ),
    [['diff', '@/tiny.yalm', '@/data'], /no such folder, did you mean \S+tiny\.yaml\?\n$/],
    [['eval', '@/daat'], /there is no such file, did you mean \S+data\?\n$/],
    [['figure', 'examples', '@/daat'], /there is no such file, did you mean \S+data\?\n$/],
    [['figure', 'eta', '@/tiny.csv'], /tiny\.csv: there is no such file\n$/],
    [
      [...tiny, '--set', 'published.row=b1'],
      /published\.row: expected a row of table 1: R0, .* found "b1", did you mean B1\?\n$/,
    ],
    [[...tiny, '--set', 'published.row="Row B-3"'], /found "Row B-3", did you mean B3\?\n$/],
    [[...tiny, '--set', 'published.row=B9'], /found "B9"\n$/],
    [['data', 'pull', 'MNITS'], /name: expected .*mnist.*, found "MNITS", did you mean mnist\?/],
    [tiny.with(3, '@/dta'), /dta: there is no such file, did you mean .*data\?\n$/],
    [
      ['eval', weights, '--attacks', 'fsg'],
      /^bang: --attacks: expected fgs, .*, found "fsg", did you mean fgs\? /,
    ],
    ...['0', '-1', '1.5', '1000', 'abc'].map((count): [string[], RegExp] => [
      [...tiny, `--threads=${count}`],
      new RegExp(`^bang: --threads must be a whole number from 1 to 256, not ${count}\n$`),
    ]),
    [
      [...tiny.with(-1, '@/file')],
      /^bang: cannot write to the folder .*file: a file has that name\n$/,
    ],
    [
      [...tiny.with(-1, '@/file/below')],
      /^bang: cannot write to the folder .*below: a part of the path is a file/,
    ],
    [
      tiny.with(3, '@/nowhere'),
      /^bang: cannot read the data folder .*nowhere: there is no such file\n$/,
    ],
    [
      tiny.with(3, '@/lacks'),
      /^bang: .*lacks lacks train-labels-idx1-ubyte|train-images-idx3-ubyte is/,
    ],
    [tiny.with(3, '@/garbage'), /^bang: .*t10k-labels-idx1-ubyte is not an IDX file/],
    [
      ['eval', weights, '--row', 'R9'],
      /^bang: --row R9: table 1 of the paper has no such row, only R0, R1, B0/,
    ],
    [
      ['eval', weights, '--set', 'seed=2'],
      /^bang: --set seed=2: the weights are trained already, so only evaluation\.… and engine can be set\n$/,
    ],
    [
      ['eval', weights, '--set', 'evaluation.search=skan'],
      /^bang: --set evaluation\.search: expected bisection or scan, found "skan"\n$/,
    ],
  ])('%j', async (args, message) => {
    expectRefusal(await inside(...args), message);
    expect(existsSync(space.file('never'))).toBe(false);
  });

  it.each([
    ['run lenet-b1 --seeds 1,2', /changed by --set seeds=\[1,2\] \(see/],
    ['eval weights --accuracy 0.9', /--accuracy: 0\.9 is in percent: did you mean 90\?/],
    ['validate @fraction.yaml', /accuracy: min 0\.9 is in percent: did you mean 90\?/],
    ['validate @rate.yaml', /fgs_rate: max 120 is more than 100 %/],
    ['validate @short.yaml', /hc1_linf: no such number, did you mean hc1_linf_mean\?/],
    ['eval @other.safetensors', /does not say which network .*: describe the network with --model/],
    ['report @begun', /or below: \S*begun is not finished\n$/],
  ])('bang %s says what is meant', async (line, message) => {
    const config = (expected: string) => `extends: ci/lenet-b1\nexpect: {${expected}}\n`;
    space.write('fraction.yaml', config('accuracy: {min: 0.9}'));
    space.write('rate.yaml', config('fgs_rate: {max: 120}'));
    space.write('short.yaml', config('hc1_linf: {max: 1}'));
    const other = new Map([['fc.weight', { shape: [1], data: new Float32Array(1) }]]);
    space.write('other.safetensors', encodeSafetensors(other, {}));
    space.write('begun/config.yaml', 'name: begun\n');
    const args = line.split(' ').map((word) => word.replace('@', `${space.folder}/`));
    const { code, stderr } = await bangInside(args);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });

  it.each([
    'diff @ x',
    'export @ --to onnx',
    'init @',
    'eval @',
    'figure linf @',
    'figure examples @',
    'report @data --out @',
    'check @none.yaml --json @',
    'sweep @sweep.yaml --data-dir @data --out @',
  ])('bang %s on a path that leads nowhere', async (line) => {
    for (const nowhere of ['loop/below', 'x'.repeat(300), 'file/below']) {
      const args = line.replace(/@(?= |$)/, `@${nowhere}`).split(' ');
      const place = args.map((word) => word.replace('@', `${space.folder}/`));
      expect(await bangInside(place)).toMatchObject({ code: 2 });
    }
  });

  it('BANG_THREADS=abc', async () => {
    vi.stubEnv('BANG_THREADS', 'abc');
    const message = /^bang: BANG_THREADS must be a whole number from 1 to 256, not abc\n$/;
    expectRefusal(await inside(...tiny), message);
    expectRefusal(await inside('doctor'), message);
  });

  // Node's own way of making a folder with those above it never ends here.
  it.runIf(existsSync('/proc/self'))('--out in a folder that takes none', async () => {
    const refused = await inside(...tiny.with(-1, '/proc/bang/deep'));
    expectRefusal(refused, /^bang: cannot write to the folder \/proc\/bang\/deep: /);
  });
});

describe('help', () => {
  it('is available for the program and for each command, with examples', async () => {
    const help = await bangInsideOk(['--help'], { cwd: space.folder });
    for (const command of [
      'run',
      'eval',
      'noise',
      'transfer',
      'table',
      'figure',
      'report',
      'view',
      'sweep',
      'check',
      'diff',
      'worker',
      'export',
      'data',
      'validate',
      'configs',
      'config',
      'init',
      'schema',
      'setup',
      'doctor',
      'completion',
    ]) {
      expect(help.stdout).toMatch(new RegExp(`^  bang ${command}\\b`, 'm'));
    }
    expect(help.stdout).toMatch(/^Examples:\n +bang run lenet-b1 /m);
    const run = await bangInsideOk(['run', '--help'], { cwd: space.folder });
    expect(run.stdout).toMatch(/^Examples:\n +bang run lenet-b1 /m);
    expect(run.stdout).toMatch(/--data-dir.*folder/);
    expect(run.stdout).not.toMatch(/\[default: (false|nothing|\[\])\]/);
    expect(`${help.stdout}${run.stdout}`).not.toMatch(/.{101}/);
  });

  it('is also shown by -h, and for subcommands', async () => {
    for (const command of [
      'completion',
      'data pull <name>',
      'data list',
      'data verify [name]',
      'sweep status <folder>',
      'sweep retry <folder>',
      'sweep cancel <folder>',
      'sweep compare <first> <second>',
    ]) {
      const words = command.split(/ [<[]/)[0].split(' ');
      const { stdout } = await bangInsideOk([...words, '-h'], { cwd: space.folder });
      expect(stdout.startsWith(`bang ${command}\n`)).toBe(true);
    }
  });

  it('is shown without a command, which is a mistake', async () => {
    const { code, stdout, stderr } = await bangInside([]);
    expect(stderr).toMatch(/^bang <command>\n/);
    expect(stderr).toMatch(/^ {2}bang run /m);
    expect(stderr).toMatch(/\n\nbang: which command\? \(see bang --help\)\n$/);
    expect([code, stdout]).toEqual([2, '']);
  });

  it.each(['run', 'data pull'])('is shown by bang help %s', async (command) => {
    const words = command.split(' ');
    const asked = await bangInsideOk(['help', ...words], { cwd: space.folder });
    const usual = await bangInsideOk([...words, '--help'], { cwd: space.folder });
    expect(asked.stdout).toContain(`bang ${command}`);
    expect(asked.stdout).toBe(usual.stdout);
  });

  it.each(['eval', 'transfer', 'noise'])('names a key that %s can change', async (command) => {
    const { stdout } = await bangInsideOk([command, '--help'], { cwd: space.folder });
    const example = command === 'noise' ? 'every=1000' : 'evaluation.images=1000';
    expect(stdout.replace(/\s+/g, ' ')).toContain(`such as ${example};`);
  });

  it('prints the version', async () => {
    expect((await bangInsideOk(['--version'], { cwd: space.folder })).stdout).toBe(
      `${version()}\n`,
    );
    expect((await bangInsideOk(['-v'], { cwd: space.folder })).stdout).toBe(`${version()}\n`);
  });
});

describe('completion', () => {
  const complete = async (...words: string[]): Promise<string[]> => {
    const args = ['--get-yargs-completions', 'bang', ...words];
    vi.stubEnv('SHELL', '/bin/bash');
    vi.stubEnv('ZSH_NAME', '');
    const { stdout } = await bangInsideOk(args, { cwd: space.folder });
    return stdout.split('\n').filter((word) => word !== '');
  };

  it('knows commands, options, and their values, and leaves files to the shell', async () => {
    expect(await complete('')).toEqual(expect.arrayContaining(['run', 'config', 'completion']));
    expect(await complete('data', '')).toEqual(['pull', 'list', 'verify', 'show']);
    expect(await complete('data', 'pull', '')).toEqual(['mnist', 'cifar10']);
    expect(await complete('run', '--d')).toContain('--data-dir');
    expect(await complete('run', 'x.yaml', '--protocol', '')).toEqual(['paper', 'corrected']);
    expect(await complete('run', '')).toEqual([]);
  });

  it('comes as a script that bash reads', async () => {
    const { stdout } = await bangOk(['completion'], {
      cwd: space.folder,
      env: { SHELL: '/bin/bash', ZSH_NAME: '' },
    });
    expect(stdout).toMatch(/^complete .* bang$/m);
    const { status, stderr } = spawnSync('bash', ['-n'], { input: stdout, encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });
});

describe('a reader that goes away', () => {
  it('is not a failure', async () => {
    const { code, stderr } = await bang(['schema'], { cwd: space.folder, deaf: true });
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it.runIf(existsSync('/dev/full'))('is one if it is a full disk', () => {
    // One that writes once, and one that writes a line after the other.
    for (const words of ['schema', 'doctor --threads 1']) {
      const command = `"${process.execPath}" "${executable()}" ${words} > /dev/full`;
      const { status, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
      expect(stderr).toBe('bang: cannot write to the standard output: the disk is full\n');
      expect(status).toBe(1);
    }
  });
});

describe('files without permission', () => {
  it('are reported', async () => {
    space.write('locked/tiny/result.json', '{}');
    chmodSync(space.folder, 0o755);
    chmodSync(space.file('locked'), 0o000);
    const message = /^bang: cannot read .*locked: permission denied\n$/;
    await asNobody(async () => {
      expectRefusal(await inside('table', '@/locked'), message);
      expectRefusal(await inside('report', '@/locked', '--out', '@/never.html'), message);
      expectRefusal(await inside('sweep', 'status', '@/locked'), message);
    });
    chmodSync(space.file('locked'), 0o755);
  });
});

describe('engines', () => {
  // Its layers are those of LeNet; the engine `cpu` is slow.
  const args = ['run', 'small.yaml', '--data-dir', 'data'];
  const settings = ['training.iterations=3', 'training.batch=4', 'evaluation.images=4'];
  for (const one of [...settings, 'evaluation.attacks=[fgs]']) args.push('--set', one);

  function largestDifference(a: string, b: string): number {
    const others = tensors(space, b);
    let largest = 0;
    for (const [name, { data }] of tensors(space, a)) {
      const other = others.get(name)!.data;
      data.forEach((value, i) => {
        largest = Math.max(largest, Math.abs(Number(value) - Number(other[i])));
      });
    }
    return largest;
  }

  it.runIf(HAS_NATIVE)(
    'agree, and a program without native kernels runs, and bang doctor says why',
    async () => {
      const TABLES = path.join('results', 'paper-tables.json');
      space.write('small.yaml', tinyConfig());
      // A copy of what is installed where there is no compiler.
      const program = space.file('program');
      for (const name of ['bin', 'dist', 'native', 'configs', 'package.json', TABLES]) {
        cpSync(path.join(packageRoot, name), path.join(program, name), { recursive: true });
      }
      symlinkSync(path.join(packageRoot, 'node_modules'), path.join(program, 'node_modules'));

      const native = await bangInsideOk([...args, '--out', 'native', '--set', 'engine=native'], {
        cwd: space.folder,
      });
      expect(native.stderr).not.toMatch(/slower/);
      const auto = ['--out', 'auto', '--engine', 'auto', '--set', 'evaluation.images=1'];
      space.write('cpu.yaml', 'extends: small.yaml\nengine: cpu\n');
      await bangInsideOk([...args.with(1, 'cpu.yaml'), ...auto], { cwd: space.folder });
      expect(space.read('auto', 'result.json')).toMatch(/"engine": "native kernels/);
      const cpu = await bangInsideOk([...args, '--out', 'cpu', '--set', 'engine=cpu'], {
        cwd: space.folder,
      });
      expect(cpu.stderr).not.toMatch(/slower/);
      expect(largestDifference('cpu', 'native')).toBeLessThan(1e-5);
      await bangInsideOk([...args, '--out', 'wasm', '--engine', 'wasm'], { cwd: space.folder });
      expect(largestDifference('wasm', 'native')).toBeLessThan(1e-5);

      const least = ['training.iterations=1', 'training.batch=1', 'evaluation.attacks=[]'];
      const none = await bangOk(
        [...args, '--out', 'none', ...least.flatMap((one) => ['--set', one])],
        { cwd: space.folder, program },
      );
      expect(none.stderr).not.toMatch(/slower|native/);
      const doctor = await bangOk(['doctor'], { cwd: space.folder, program });
      expect(doctor.stdout).toMatch(/^engine +WebAssembly kernels$/m);
      expect(doctor.stdout).toMatch(
        /^advice .* faster, but its kernels are not built; install a C\+\+ compiler .*npm run build:native$/m,
      );
      expect(space.read('none', 'result.json')).toMatch(/"engine": "WebAssembly kernels"/);

      const demanded = [...args, '--out', 'never', '--set', 'engine=native'];
      expectRefusal(
        await bang(demanded, { cwd: space.folder, program }),
        /^bang: the native engine cannot be used: .*; install a C\+\+ compiler.*\n$/,
      );
    },
  );
});

describe('bang doctor', () => {
  it('shows the engine, the threads, the speed, and where the data are', async () => {
    const env = { BANG_CACHE: space.file('cache') };
    const { stdout, stderr } = await bangOk(['doctor', '--threads', '1'], {
      cwd: space.folder,
      env,
    });
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^bang +\d/);
    expect(stdout).toMatch(/^engine +(native kernels \(\w+\)|WebAssembly kernels)$/m);
    expect(stdout).toMatch(/^threads +1 /m);
    expect(stdout).toMatch(/^speed +LeNet forward [\d.]+ GFLOP\/s, \d+ % of/m);
    expect(stdout).toMatch(/^data +mnist: absent, in .*cache$/m);
    expect(stdout).toMatch(/^advice +\S/m);
  });
});
