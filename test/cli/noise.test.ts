import { cpSync, existsSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NoiseResult } from '#bang/store/noise.js';
import { packageRoot } from '#bang/base/files.js';
import { decodeSafetensors } from '#bang/model/files/safetensors.js';
import { idxBytes } from '../data/idx-bytes.js';
import { readCsv } from '../fixtures.js';
import {
  bang,
  bangInside,
  bangInsideOk,
  expectRefusal,
  type Finished,
  type Workspace,
  workspace,
  writeSmallData,
} from './bang.js';
import path from 'node:path';

const STUDY = `study: noise
regular: r.yaml
bang: b.yaml
every: 10
sigmas: [40, 120]
images: 2
copies: { last: 6, before: 3 }
`;

/** Learns more than chance in ten iterations. */
const MODEL = `published: null
model:
  scale: 0.00390625
  layers:
    - { kind: conv, name: conv1, filters: 8, size: 5 }
    - { kind: maxPool, size: 4, stride: 4 }
    - { kind: relu }
    - { kind: innerProduct, name: ip1, outputs: 10 }
`;

let space: Workspace;
let whole: Finished;
beforeAll(async () => {
  space = workspace();
  writeSmallData(space);
  for (const [file, base] of [
    ['r.yaml', 'lenet-r0'],
    ['b.yaml', 'lenet-b1'],
  ]) {
    const training =
      '{ iterations: 25, batch: 16, split: first, shuffle: false, logEvery: 10, checkpointEvery: 7, learningRate: { base: 0.02 } }';
    const from = path.join(packageRoot, 'configs', `${base}.yaml`);
    space.write(file, `extends: ${from}\ntraining: ${training}\nname: tiny-${file[0]}\n${MODEL}`);
  }
  space.write('tiny.yaml', STUDY);
  whole = await bangInsideOk(noise('whole'), { cwd: space.folder });
});
afterAll(() => {
  space.remove();
});

function noise(out: string, ...more: string[]): string[] {
  return ['noise', 'tiny.yaml', '--data-dir', 'data', '--out', out, ...more];
}

/** The same in this process, which needs whole paths. */
function noiseInside(out: string, ...more: string[]): Promise<Finished> {
  const { file } = space;
  const args = ['noise', file('tiny.yaml'), '--data-dir', file('data'), '--threads', '1'];
  return bangInside([...args, '--out', file(out), ...more]);
}

const CSVS = ['noise.csv', 'surfaces.csv', 'stages.csv', 'images.csv', 'flips.csv'];
const contents = (folder: string) => CSVS.map((name) => space.read(folder, name));
const resultOf = (folder: string) => JSON.parse(space.read(folder, 'result.json')) as NoiseResult;

function copyOf(folder: string): string {
  const copy = `${folder}-${Math.random().toString(36).slice(2)}`;
  cpSync(space.file(folder), space.file(copy), { recursive: true });
  return copy;
}

describe('bang noise', () => {
  it('prints the end of training', () => {
    const { stdout } = whole;
    expect(stdout).toMatch(/│ +σ │ +tiny-r │ +tiny-b │ +difference │/);
    expect(stdout).toMatch(/│ +120 │ +[\d.]+ ± [\d.]+ │ +[\d.]+ ± [\d.]+ │ +-?[\d.]+ ± [\d.]+ │/);
    expect(stdout).toMatch(/at iteration 25: 20 images .*\(2 of each class\), 6 copies of each/);
    expect(stdout).toMatch(/^Files: whole$/m);
  });

  it('prints the published numbers next to those of LeNet on MNIST, not on other data', async () => {
    for (const row of ['r0', 'b1']) {
      const from = path.join(packageRoot, 'configs', `lenet-${row}.yaml`);
      const training = '{ iterations: 30, batch: 16, split: first }';
      space.write(`lenet-${row}.yaml`, `extends: ${from}\ntraining: ${training}\n`);
    }
    const networks = 'regular: lenet-r0.yaml\nbang: lenet-b1.yaml\nevery: 30\nsigmas: [100]\n';
    const more = 'images: 1\ncopies: { last: 2, before: 1 }\npublished: lenet\n';
    const args = ['noise', space.write('lenet.yaml', `study: noise\n${networks}${more}`)];
    const onMnist = await bangInside([...args, '--out', space.file('lenet')]);
    expect(onMnist.stdout).toMatch(/│ published, 100 │ +20\.0 │ +3\.0 │ +-17\.0 │/);
    const places = ['--data-dir', space.file('data'), '--out', space.file('lenet-other')];
    const { stdout } = await bangInside([...args, ...places]);
    expect(stdout).toMatch(/│ +100 │/);
    expect(stdout).not.toContain('published');
  });

  it('writes the numbers of the figures', () => {
    const rows = readCsv(space.file('whole', 'noise.csv'));
    expect(rows.length).toBe(3 * 2 * 2);
    for (const row of rows) {
      const copies = row.stage === '3' ? 6 : 3;
      expect(row).toMatchObject({ images: '20', copies: String(copies) });
      expect(Number(row.flips) / (20 * copies)).toBeCloseTo(Number(row.rate) / 100, 5);
      expect(Number(row.standard_error)).toBeGreaterThanOrEqual(0);
    }
    expect(rows.map(({ iteration }) => iteration).filter((_, i) => i % 4 === 0)).toEqual([
      ...['10', '20', '25'],
    ]);
    const surfaces = readCsv(space.file('whole', 'surfaces.csv'));
    surfaces.forEach(({ regular, bang: other, difference }, i) => {
      expect([regular, other]).toEqual([rows[2 * i].rate, rows[2 * i + 1].rate]);
      expect(Number(difference)).toBeCloseTo(Number(other) - Number(regular), 3);
    });
    const result = resultOf('whole');
    expect(result.rows.map(({ stage, sigma }) => [stage, sigma])).toEqual([
      [3, 40],
      [3, 120],
    ]);
    expect(result.stages.map(({ accuracy }) => accuracy.bang)).toEqual(
      readCsv(space.file('whole', 'stages.csv')).map((row) => Number(row.bang_accuracy)),
    );
    expect(result.provenance.seconds.training).toBeGreaterThan(0);
  });

  it('takes equally many images of each class', () => {
    const images = readCsv(space.file('whole', 'images.csv'));
    const counts = Array<number>(10).fill(0);
    for (const { label } of images) counts[Number(label)]++;
    expect(counts).toEqual(Array(10).fill(2));
    const positions = images.map(({ index }) => Number(index));
    expect(positions).toEqual([...new Set(positions)].sort((a, b) => a - b));
  });

  it('writes the flips of each image, from which the rates and errors of the last stage follow', () => {
    const labels = readCsv(space.file('whole', 'images.csv')).map(({ label }) => Number(label));
    const flips = readCsv(space.file('whole', 'flips.csv'));
    expect(flips).toHaveLength(2 * labels.length);
    for (const row of readCsv(space.file('whole', 'noise.csv'))) {
      if (row.stage !== '3') continue;
      const of = flips.filter(({ sigma }) => sigma === row.sigma);
      const shares = of.map((line) => Number(line[row.network]) / 6);
      // Two images of each class: the squared error of a class's mean is half its sample variance.
      const squares = Array.from({ length: 10 }, (_, label) => {
        const [a, b] = shares.filter((_, i) => labels[i] === label);
        return (a - b) ** 2 / 4;
      });
      const error = 10 * Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
      expect(Number(row.standard_error)).toBeCloseTo(error, 3);
      const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
      expect(Number(row.rate)).toBeCloseTo(100 * mean, 3);
    }
  });

  it('is determined by its seed, bit for bit', async () => {
    await noiseInside('again');
    expect(contents('again')).toEqual(contents('whole'));
    await noiseInside('seed', '--set', 'seed=2');
    expect(space.read('seed', 'images.csv')).not.toBe(space.read('whole', 'images.csv'));
  });

  it('prints a finished study at once', async () => {
    const before = space.read('whole', 'result.json');
    const { code, stdout, stderr } = await noiseInside('whole');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.replace(/^Files.*/m, '')).toBe(whole.stdout.replace(/^Files.*/m, ''));
    expect(space.read('whole', 'result.json')).toBe(before);
  });

  it('continues where it was stopped, in training and in noise', async () => {
    const files = ['regular/snapshots/iteration-10.safetensors', 'stages/iteration-20.json'];
    for (const file of files) {
      const out = `stopped-${path.basename(file)}`;
      const more = ['--copies', '80'];
      let stopped: Finished;
      do {
        rmSync(space.file(out), { recursive: true, force: true });
        const when = () => existsSync(space.file(out, file));
        stopped = await bang(noise(out, ...more), { cwd: space.folder, when });
        // On a busy machine it may be over before this process sees the file.
      } while (stopped.code === 0);
      expect(stopped).toMatchObject({ code: 130, stdout: '' });
      expect(stopped.stderr).toMatch(/^bang: stopped; the same command continues from there$/m);
      expect(existsSync(space.file(out, 'result.json'))).toBe(false);
      expect((await noiseInside(out, ...more)).code).toBe(0);
    }
    const [one, other] = files.map((file) => contents(`stopped-${path.basename(file)}`));
    expect(one).toEqual(other);
    expect(one[3]).toBe(space.read('whole', 'images.csv'));
  });

  it('reuses the networks for other copies, and repairs lost or damaged files', async () => {
    const out = copyOf('whole');
    const lost = ['bang', 'snapshots', 'iteration-20.safetensors'] as const;
    rmSync(space.file(out, ...lost));
    const part = 'stages/iteration-10-sigma-40-copies-3.json';
    space.write(`${out}/${part}`, space.read(out, part).replace('"bang":[', '"bang":[1'));
    const more = await noiseInside(out, '--copies', '2');
    expect(more.stderr).toMatch(/a snapshot is missing; training again up to iteration 20$/m);
    // And nothing else is trained.
    expect(more.stderr.match(/^training: stopped at iteration 20$/gm)).toHaveLength(1);
    expect(more.stderr).not.toMatch(/^training: 25 iterations/m);
    expect(space.bytes(out, ...lost)).toEqual(space.bytes('whole', ...lost));
    expect(resultOf(out).rows[0].copies).toBe(2);
    const { stderr } = await noiseInside(out);
    expect(stderr).not.toMatch(/training/);
    expect(contents(out)).toEqual(contents('whole'));
    expect(space.read(out, part)).toBe(space.read('whole', part));
  });

  it('takes fewer of each class if one has fewer, and says so', async () => {
    const out = copyOf('whole');
    const { code, stderr, stdout } = await noiseInside(out, '--set', 'images=9');
    const [, few] =
      /^class \d has only (\d) test images that both networks classify correctly at all 3 stages: \1 of each class are used, not 9$/m.exec(
        stderr,
      ) ?? [];
    expect(code).toBe(0);
    expect(stdout).toContain(`(${few} of each class)`);
    expect(readCsv(space.file(out, 'images.csv')).length).toBe(10 * Number(few));
    const again = await noiseInside(out, '--set', 'images=9');
    expect(again.stdout).toBe(stdout);
    expect(again.stderr).not.toMatch(/training|noise/);
  });

  it('refuses data with a class that has no test images, before training', async () => {
    for (const set of ['train', 't10k']) {
      const labels = Array.from({ length: 40 }, (_, i) => 2 * (i % 2));
      const images = labels.flatMap((label) => Array<number>(64).fill(100 * label));
      space.write(`gap/${set}-images-idx3-ubyte`, idxBytes([40, 8, 8], images));
      space.write(`gap/${set}-labels-idx1-ubyte`, idxBytes([40], labels));
    }
    space.write('gap/data.yaml', 'classes: [a, b, c]\n');
    const model =
      'model: { image: [8, 8, 1], classes: 3, layers: [{ kind: innerProduct, name: ip1, outputs: 3 }] }';
    for (const one of ['r', 'b']) {
      const more = 'data: idx\npublished: null\nevaluation: { images: all }\n';
      space.write(`gap-${one}.yaml`, `extends: ${one}.yaml\n${model}\n${more}`);
    }
    const study = STUDY.replace('r.yaml', 'gap-r.yaml').replace('b.yaml', 'gap-b.yaml');
    const args = ['noise', space.write('gap.yaml', study), '--data-dir', space.file('gap')];
    const refused = await bangInside([...args, '--out', space.file('never')]);
    expectRefusal(
      refused,
      /^bang: class 1 \(b\) has no test images, .*: add some to the test data/,
    );
    expect(existsSync(space.file('never'))).toBe(false);
  });

  it('refuses another study in the folder, and a wrong number of copies', async () => {
    expectRefusal(
      await noiseInside('whole', '--set', 'seed=3'),
      /whole holds another experiment \(seed was 1, is 3\): choose another folder/,
    );
    for (const copies of ['0', 'many', '1e3', '1000000']) {
      expectRefusal(await noiseInside('new', '--copies', copies), /--copies: expected an integer/);
    }
    expect(existsSync(space.file('new'))).toBe(false);
  });

  it('is ignored by bang table, and described by bang validate', async () => {
    const { code, stderr } = await bangInside(['table', space.file('whole'), '--no-write']);
    expect(code).toBe(2);
    expect(stderr).not.toMatch(/damaged|not finished/);
    const { stdout } = await bangInside(['validate', space.file('tiny.yaml')]);
    expect(stdout).toMatch(/ok \(noise on tiny-r and tiny-b, 3 stages, 2 sigmas\)$/m);
  });
});

describe('training.snapshots of bang run', () => {
  const FEW = ['images=20', 'attacks=[fgs]', 'pass=false'].flatMap((one) => [
    '--set',
    `evaluation.${one}`,
  ]);
  const run = (out: string, ...more: string[]) =>
    bangInside([
      'run',
      space.file('b.yaml'),
      ...['--data-dir', space.file('data'), '--threads', '1', '--out', space.file(out)],
      ...FEW,
      ...more,
    ]);

  /** The tensors in a run's snapshots: what else they hold is of the run. */
  const snapshots = (out: string) =>
    space
      .list(`${out}/snapshots`)
      .map((name) => decodeSafetensors(space.bytes(out, 'snapshots', name), name).tensors);

  it('are the networks that shorter runs end with, and can be evaluated', async () => {
    const names = ['iteration-10.safetensors', 'iteration-20.safetensors'];
    await run('long', '--set', 'training.snapshots=10');
    expect(space.list('long/snapshots')).toEqual(names);
    expect(snapshots('long')).toEqual(snapshots('whole/bang'));
    await run('short', '--set', 'training.iterations=10');
    const snapshot = space.file('long', 'snapshots', names[0]);
    const more = ['--data-dir', space.file('data'), '--out', space.file('evaluated')];
    expect((await bangInside(['eval', snapshot, ...FEW, ...more])).code).toBe(0);
    expect(space.result('evaluated').weights).toBe(space.result('short').weights);
    expect(space.result('evaluated').config.training?.iterations).toBe(10);
  });

  it('can be added later, and change nothing else', async () => {
    await run('without');
    expect(existsSync(space.file('without', 'snapshots'))).toBe(false);
    const before = space.contents('without');
    const { stderr } = await run('without', '--set', 'training.snapshots=10');
    expect(stderr).toMatch(/2 snapshots are missing; training again up to iteration 20$/m);
    expect(space.contents('without')).toEqual(before);
    expect(snapshots('without')).toEqual(snapshots('whole/bang'));
    expect((await run('without', '--set', 'training.snapshots=10')).stderr).toBe('');
  });
});
