import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readWeights } from '#bang/model/files/weights.js';
import { randomOf } from '../data/idx-bytes.js';
import {
  bang,
  bangInside,
  bangInsideOk,
  expectRefusal,
  FILES,
  linearConfig,
  tensors,
  tinyConfig,
  workspace,
  type Workspace,
  writeSmallData,
} from './bang.js';

let space: Workspace;
beforeAll(() => {
  space = workspace();
  writeSmallData(space);
  space.write('tiny.yaml', tinyConfig().replace('images: 60', 'images: 60, attacks: [fgs]'));
});
afterAll(() => {
  space.remove();
});

it('says how data of another size are split, and trains on all of them with 60k', async () => {
  writeSmallData(space, 'large', { train: 60_001, test: 20 });
  space.write('linear.yaml', linearConfig());
  const [half, whole, chosen] = await Promise.all(
    ['split=first', 'trainOn=60k', 'split=random'].map((which) => {
      const few = ['iterations=1', 'split=null', which].map((one) => `training.${one}`);
      few.push('evaluation.images=5');
      const args = ['run', 'linear.yaml', ...few.flatMap((one) => ['--set', one])];
      return bangInsideOk([...args, '--data-dir', 'large', '--out', which], { cwd: space.folder });
    }),
  );
  expect(chosen.stderr).toMatch(
    /^note: the data have 60001 training images: a random 50000 train and the other 10001 validate$/m,
  );
  expect(space.read('split=random', 'config.yaml')).toMatch(/^ {2}split: random$/m);
  expect(space.read('split=first', 'config.yaml')).not.toContain('split');
  expect(tensors(space, 'split=random')).not.toEqual(tensors(space, 'split=first'));
  expect(half.stderr).toMatch(
    /^note: the data have 60001 training images: the first 50000 train and the other 10001 validate$/m,
  );
  expect(whole.stderr).toMatch(
    /^note: the data have 60001 training images: all of them train and none validate$/m,
  );
});

it('refuses its own weights with a flipped bit, wherever they are read', async () => {
  const snapshots = ['--set', 'training.snapshots=20'];
  await space.run('tiny.yaml', '--out', 'sound');
  const bytes = readFileSync(space.file('sound', 'weights.safetensors'));
  const header = Number(bytes.readBigUInt64LE());
  const random = randomOf(7);
  const message = /is damaged: its content does not fit its checksum/;
  for (let trial = 0; trial < 40; trial++) {
    const place = 8 + header + random(bytes.length - 8 - header);
    const damaged = Buffer.from(bytes);
    // Not the sign and exponent: what is not finite is refused anyway.
    damaged[place - (place % 4)] ^= 1 << random(8);
    const file = space.write('damaged/weights.safetensors', damaged);
    await expect(readWeights(file)).rejects.toThrow(message);
    if (trial > 0) continue;
    const [evaluated, exported] = await Promise.all([
      bangInside(['eval', file, '--data-dir', 'data', '--out', 'of-damaged'], {
        cwd: space.folder,
      }),
      bangInside(['export', file, '--to', 'onnx', '--out', 'e.onnx'], { cwd: space.folder }),
    ]);
    expectRefusal(evaluated, message);
    expectRefusal(exported, message);
    cpSync(space.file('sound'), space.file('resume-damaged'), { recursive: true });
    space.write('resume-damaged/weights.safetensors', damaged);
    const shown = await space.run('tiny.yaml', '--out', 'resume-damaged');
    expect(shown.stderr).toMatch(/^note: \S+ is damaged: .* checksum; --force trains again\n$/);
    expectRefusal(
      await bangInside(['eval', 'resume-damaged', '--out', 'of-damaged'], { cwd: space.folder }),
      /; bang run resume-damaged\/config\.yaml --out resume-damaged --force makes it again\n$/,
    );
    rmSync(space.file('resume-damaged', 'result.json'));
    expectRefusal(
      await bangInside(
        ['run', 'tiny.yaml', ...snapshots, '--data-dir', 'data', '--out', 'resume-damaged'],
        {
          cwd: space.folder,
        },
      ),
      /is damaged: its content does not fit its checksum; --force trains again/,
    );
  }
});

describe('an interrupted run', () => {
  const LONG = ['tiny.yaml', '--set', 'training.iterations=120', '--set', 'training.logEvery=20'];
  const args = (out: string) => ['run', ...LONG, '--data-dir', 'data', '--out', out];

  /** Runs until there is a file in the folder, sends the signal, and returns how it ended. */
  async function stopAt(command: string[], file: string, signal: NodeJS.Signals = 'SIGINT') {
    const when = () => existsSync(space.file(file));
    for (let attempt = 1; ; attempt++) {
      const stopped = await bang(command, { cwd: space.folder, when, signal });
      // On a busy machine the run may be over before this process sees the file.
      if (stopped.code !== 0 || attempt === 5) return stopped;
      rmSync(space.file(path.dirname(file).split(path.sep)[0]), { recursive: true });
    }
  }

  beforeAll(async () => {
    await space.run(...LONG, '--out', 'whole');
    const stopped = await stopAt(args('stopped'), 'stopped/training.csv');
    expect(stopped).toMatchObject({ code: 130, stdout: '' });
    expect(stopped.stderr).toMatch(/^stopping after saving \(once more to stop at once\)$/m);
    expect(stopped.stderr).toMatch(/^training: stopped at iteration \d+$/m);
    expect(stopped.stderr).toMatch(/^bang: stopped; the same command continues from there$/m);
  });

  function expectWhole(folder: string): void {
    expect(space.list(folder)).toEqual(FILES);
    expect(tensors(space, folder)).toEqual(tensors(space, 'whole'));
    for (const name of ['training.csv', 'per-image.csv']) {
      expect(space.read(folder, name)).toBe(space.read('whole', name));
    }
  }

  it('continues after Ctrl-C, with the same results as without it', async () => {
    expect(space.list('stopped')).toEqual([
      'checkpoint.safetensors',
      'config.yaml',
      'training.csv',
    ]);
    cpSync(space.file('stopped'), space.file('resumed'), { recursive: true });
    const { stderr } = await bangInsideOk(args('resumed'), { cwd: space.folder });
    expect(Number(/continues at iteration (\d+)/.exec(stderr)?.[1])).toBeGreaterThanOrEqual(20);
    expectWhole('resumed');
  });

  it.each(['SIGTERM', 'SIGHUP'] as const)('saves on %s, too', async (signal) => {
    const out = `on-${signal}`;
    const stopped = await stopAt(args(out), `${out}/training.csv`, signal);
    expect(stopped).toMatchObject({ code: 130, stdout: '' });
    expect(stopped.stderr).toMatch(/^stopping after saving \(once more to stop at once\)$/m);
    expect(stopped.stderr).toMatch(/^bang: stopped; the same command continues from there$/m);
    expect(existsSync(space.file(out, 'checkpoint.safetensors'))).toBe(true);
  });

  it('continues after kill -9 from the last checkpoint, and cleans up', async () => {
    const killed = await stopAt(args('killed'), 'killed/checkpoint.safetensors', 'SIGKILL');
    expect(killed.code).toBeNull();
    // Above every process id there is.
    space.write('killed/weights.safetensors.99999999.tmp', 'half of it');
    const { stderr } = await bangInsideOk(args('killed'), { cwd: space.folder });
    const iteration = Number(/continues at iteration (\d+)/.exec(stderr)?.[1]);
    expect(iteration).toBeGreaterThanOrEqual(10);
    expect(iteration % 10).toBe(0);
    expectWhole('killed');
  });

  it('cleans up after one that was killed as it finished', async () => {
    cpSync(space.file('killed'), space.file('late'), { recursive: true });
    space.write('late/stages/fgs.json', '{}');
    cpSync(space.file('stopped/checkpoint.safetensors'), space.file('late/checkpoint.safetensors'));
    await bangInsideOk(args('late'), { cwd: space.folder });
    expectWhole('late');
  });

  it.each(['flipped', 'truncated'])('starts over where the checkpoint is %s', async (how) => {
    cpSync(space.file('stopped'), space.file(how), { recursive: true });
    const bytes = space.bytes('stopped', 'checkpoint.safetensors');
    if (how === 'flipped') bytes[bytes.length - 4321] ^= 0x10;
    const kept = how === 'flipped' ? bytes : bytes.subarray(0, bytes.length / 2);
    space.write(`${how}/checkpoint.safetensors`, kept);
    const { stderr } = await bangInsideOk(args(how), { cwd: space.folder });
    expect(stderr).toMatch(
      /^tiny: .*\nnote: .*checkpoint\.safetensors is damaged; training starts over\ntraining: 120/,
    );
    expectWhole(how);
  });

  it('refuses to continue with other data', async () => {
    writeSmallData(space, 'strange', { seed: 3 });
    const before = space.contents('stopped');
    const strange = args('stopped').map((arg) => (arg === 'data' ? 'strange' : arg));
    const refused = await bangInside(strange, { cwd: space.folder });
    expectRefusal(refused, /stopped was made on other data: choose another folder/);
    expect(space.contents('stopped')).toEqual(before);
  });

  it('continues after finished attacks, unless their files are damaged', async () => {
    // 350 scales an image are enough to be interrupted in.
    const scan = ['--set', 'evaluation.search=scan', '--set', 'evaluation.attacks=[fgs,hc1]'];
    const command = ['run', 'tiny.yaml', '--data-dir', 'data', ...scan, '--out', 'halfway'];
    const stopped = await stopAt(command, 'halfway/stages/fgs.json');
    expect(stopped).toMatchObject({ code: 130, stdout: '' });
    expect(existsSync(space.file('halfway', 'result.json'))).toBe(false);

    cpSync(space.file('halfway'), space.file('spoilt'), { recursive: true });
    const stage = space.read('halfway', 'stages', 'fgs.json');
    space.write('spoilt/stages/fgs.json', stage.replace(/"linf":"..../, '"linf":"AAAA'));

    const { stderr } = await bangInsideOk(command, { cwd: space.folder });
    expect(stderr).toMatch(/^tiny: .*\nclassifying: .*\nFGS: done before\nHC1: \d+ of/);
    expect(space.list('halfway')).toEqual(FILES);

    const spoilt = command.with(-1, 'spoilt');
    const again = await bangInsideOk(spoilt, { cwd: space.folder });
    expect(again.stderr).toMatch(/^tiny: .*\nclassifying: .*\nFGS: \d+ of .*\nHC1: \d+ of/);
    expect(space.read('spoilt', 'per-image.csv')).toBe(space.read('halfway', 'per-image.csv'));
  });
});

describe('a damaged result folder', () => {
  beforeAll(async () => {
    await space.run('tiny.yaml', '--out', 'sound');
  });

  /** A copy of a sound result without some of its files, and others in their place. */
  function damaged(name: string, without: string[], instead: Record<string, string> = {}): string {
    cpSync(space.file('sound'), space.file(name), {
      recursive: true,
      filter: (source) => !without.some((file) => source.endsWith(file)),
    });
    for (const [file, content] of Object.entries(instead)) space.write(`${name}/${file}`, content);
    return name;
  }

  const runIn = (out: string) =>
    bangInside(['run', 'tiny.yaml', '--data-dir', 'data', '--out', out], { cwd: space.folder });

  it.each(['{', 'null'])('makes a result.json that is %j again', async (text) => {
    const out = damaged(`result-${text.length}`, [], { 'result.json': text });
    const { code, stderr } = await runIn(out);
    expect(stderr).toMatch(
      /^note: .*result\.json is damaged; making it again\ntiny: .*\nclassifying: /,
    );
    expect(code).toBe(0);
    const { row } = space.result(out);
    expect(row.images).toBe(60);
    expect(space.read(out, 'per-image.csv')).toBe(space.read('sound', 'per-image.csv'));
  });

  it('refuses weights that are damaged', async () => {
    const out = damaged('weightless', ['result.json'], { 'weights.safetensors': 'nothing' });
    expectRefusal(await runIn(out), /weights\.safetensors .*; --force trains again\n$/);
  });

  it('refuses weights of another training, which another process may have left', async () => {
    await space.run(
      'tiny.yaml',
      '--set',
      'seed=2',
      '--set',
      'training.iterations=10',
      '--out',
      'strange',
    );
    const out = damaged('of-two', ['result.json'], {});
    cpSync(space.file('strange/weights.safetensors'), space.file('of-two/weights.safetensors'));
    expectRefusal(
      await runIn(out),
      /weights\.safetensors is from another training; --force trains again\n$/,
    );
  });

  it.each([
    ['there is none', undefined, /holds training\.csv, but no config\.yaml that says/],
    ['it is empty', '', /cannot read .*config\.yaml \(it is not a configuration\): choose another/],
    ['it is no YAML', 'a: [b', /cannot read .*config\.yaml \(.+\): choose another folder/],
  ])(
    'takes nothing from a folder whose config.yaml says not what it is: %s',
    async (how, text, message) => {
      const out = damaged(
        how.replaceAll(' ', '-'),
        ['config.yaml'],
        text === undefined ? {} : { 'config.yaml': text },
      );
      const before = space.contents(out);
      expectRefusal(await runIn(out), message);
      expect(space.contents(out)).toEqual(before);
    },
  );
});
