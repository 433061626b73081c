import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Result } from '#bang/store/result.js';
import { encodeSafetensors } from '#bang/model/files/safetensors.js';
import { readWeights } from '#bang/model/files/weights.js';
import type { NamedArray } from '#bang/model/tensors.js';
import { fixture, readCsv } from '../fixtures.js';
import {
  bangInside,
  bangInsideOk,
  expectRefusal,
  FILES,
  linearConfig,
  tinyLenetConfig,
  type Workspace,
  workspace,
  writeSmallData,
} from './bang.js';

const AUTHORS = fixture('lenet.caffemodel.h5');
const EVALUATED = FILES.filter((name) => !/^(training|weights)/.test(name));

let space: Workspace;
let tensors: Map<string, NamedArray>;
beforeAll(async () => {
  space = workspace();
  writeSmallData(space);
  ({ tensors } = await readWeights(AUTHORS));
});
afterAll(() => {
  space.remove();
});

const evaluation = (...settings: string[]) =>
  settings.flatMap((one) => ['--set', `evaluation.${one}`]);

/** Images on which a column of per-image.csv differs from the reference's. */
function otherwise(folder: string, column: string): number {
  const lines = readCsv(space.file(folder, 'per-image.csv'));
  const reference = readCsv(fixture('authors-lenet-r0.per-image.csv'));
  return lines.filter((line, i) => line[column] !== reference[i][column]).length;
}

describe("bang eval on the authors' weights", () => {
  it('takes names in another case', async () => {
    const names = [
      '--row',
      'r0',
      '--attacks',
      'HC1,FGS',
      '--protocol',
      'Paper',
      '--model',
      'LeNet',
    ];
    const args = ['eval', AUTHORS, ...names, ...evaluation('images=4', 'pass=false')];
    const data = ['--data-dir', space.file('data'), '--out', space.file('case')];
    const { code, stderr } = await bangInside([...args, ...data, '--engine', 'Native']);
    expect(code, stderr).toBe(0);
    expect(space.result('case').config).toMatchObject({
      published: { table: 1, row: 'R0' },
      evaluation: { attacks: ['fgs', 'hc1'], protocol: 'paper' },
    });
  });

  it('agrees with the reference on each image, by bisection', async () => {
    const settings = evaluation('images=200', 'pass=false', 'attacks=[fgs,hc1]');
    const { stdout, stderr } = await bangInsideOk(['eval', AUTHORS, '--row', 'R0', ...settings], {
      cwd: space.folder,
    });
    expect(stdout).toMatch(/│ lenet .*│ published R0 .*│ difference /s);
    expect(stdout).toMatch(/^Files: runs\/eval-lenet$/m);
    expect(stderr).toMatch(/^classifying: accuracy 100\.00 %$/m);
    expect(space.list('runs/eval-lenet')).toEqual(EVALUATED);
    for (const column of ['index', 'label', 'predicted', 'blank', 'fgs_linf']) {
      expect(otherwise('runs/eval-lenet', column), column).toBe(0);
    }
    // Summing in another order changes one image in a thousand.
    expect(otherwise('runs/eval-lenet', 'hc1_linf')).toBeLessThanOrEqual(1);
  });

  it('of logits 6.5 times as large has the same predictions, and FGS columns of the published B1', async () => {
    const settings = evaluation('images=400', 'pass=false');
    const args = ['eval', AUTHORS, '--logit-scale', '6.5', '--out', 'scaled', ...settings];
    const { stdout } = await bangInsideOk(args, { cwd: space.folder });
    expect(stdout).toContain('logits × 6.5');
    expect(otherwise('scaled', 'predicted')).toBe(0);
    const { attacks, accuracy } = space.result('scaled').row;
    expect(accuracy).toBe(99.75);
    // 90 and 40 without it; published for B1: 1.68 ± 0.13, the deviation of a share of 10 000, and 5.52.
    expect(attacks.fgs!.rate).toBeLessThan(3);
    expect(attacks.fgs!.linf!.mean).toBeLessThan(8);
    // What does not underflow stays.
    const regular = readCsv(fixture('authors-lenet-r0.per-image.csv')).slice(0, 400);
    const theirs = regular.filter(({ hc1_linf: linf }) => linf !== '');
    const mean = theirs.reduce((sum, { hc1_linf: linf }) => sum + Number(linf), 0) / theirs.length;
    expect(attacks.hc1!.linf!.mean).toBeCloseTo(mean, 0);
    expect(attacks['fgs-unmasked']!.rate).toBeGreaterThan(99);
    expectRefusal(
      await bangInside(['eval', AUTHORS, '--logit-scale', 'much'], { cwd: space.folder }),
      /^bang: --logit-scale: expected a number from 0\.000001 to 1000000, found much/,
    );
    expectRefusal(
      await bangInside(['eval', AUTHORS, '--logit-scale', '1e-60'], { cwd: space.folder }),
      /^bang: --logit-scale: expected a number from 0\.000001 to 1000000, found 1e-60/,
    );
  });

  it('counts noisy copies that are misclassified, with any number of threads, as in a study', async () => {
    const settings = evaluation(
      ...['images=60', 'pass=false', 'attacks=[fgs]', 'noise={sigma: 100, copies: 30}'],
    );
    const args = ['eval', AUTHORS, '--row', 'R0', ...settings, '--out'];
    const { stdout } = await bangInsideOk([...args, 'noisy', '--threads', '1'], {
      cwd: space.folder,
    });
    await bangInsideOk([...args, 'again', '--threads', '2'], { cwd: space.folder });
    const { row } = space.result('noisy');
    expect(space.result('again').row.noise).toEqual(row.noise);

    const lines = readCsv(space.file('noisy', 'per-image.csv'));
    const right = lines.filter(({ label, predicted }) => label === predicted);
    expect(lines.every((line) => right.includes(line) === (line.noise_flips !== ''))).toBe(true);
    const flips = right.map((line) => Number(line.noise_flips));
    const rate = (100 * flips.reduce((sum, count) => sum + count, 0)) / (30 * flips.length);
    expect(row.noise).toMatchObject({ sigma: 100, copies: 30, seed: 1, images: right.length });
    expect(row.noise!.rate).toBeCloseTo(rate, 10);
    // Of all images it is 26 %.
    expect(rate).toBeGreaterThan(15);
    expect(rate).toBeLessThan(40);
    expect(readCsv(space.file('noisy', 'noise.csv'))).toMatchObject([
      {
        sigma: '100',
        copies: '30',
        attempted: String(right.length),
        rate: String(Number(rate.toFixed(4))),
      },
    ]);
    expect(stdout).toContain(` ${rate.toFixed(2)} │`);

    // The first copy of an image is the first of 30.
    const fewer = evaluation('images=60', 'attacks=[]', 'noise={sigma: 100, copies: 1}');
    await bangInsideOk(['eval', AUTHORS, ...fewer, '--out', 'one-copy'], { cwd: space.folder });
    const first = readCsv(space.file('one-copy', 'per-image.csv'));
    lines.forEach(({ noise_flips: all }, i) => {
      const { noise_flips: one } = first[i];
      if (one === '1') expect(Number(all)).toBeGreaterThan(0);
      if (all === '30') expect(one).toBe('1');
    });

    await bangInsideOk(['report', 'noisy', '--out', 'noisy.html'], { cwd: space.folder });
    expect(space.read('noisy.html')).toMatch(
      new RegExp(
        `copies that are misclassified[^]*<data value="${Number(rate.toFixed(4))}">${rate.toFixed(2)}</data>`,
      ),
    );
  });

  it('agrees by the exhaustive search, too', async () => {
    const settings = evaluation('images=50', 'pass=false', 'attacks=[fgs,hc1]', 'search=scan');
    await bangInsideOk(['eval', AUTHORS, '--out', 'scan', ...settings], { cwd: space.folder });
    expect(otherwise('scan', 'fgs_linf_scan')).toBe(0);
    expect(otherwise('scan', 'hc1_linf_scan')).toBeLessThanOrEqual(1);
    expect(readCsv(space.file('scan', 'per-image.csv'))[0].fgs_linf).toBe('');
  });
});

describe('bang eval on weights of our own', () => {
  const args = ['eval', 'runs/tiny/weights.safetensors', '--data-dir', 'data'];
  const settings = evaluation('images=60', 'pass=false');
  let row: Result['row'];
  beforeAll(async () => {
    space.write('tiny.yaml', tinyLenetConfig());
    await bangInsideOk(['run', 'tiny.yaml', '--data-dir', 'data'], { cwd: space.folder });
    ({ row } = space.result('runs/tiny'));
  });

  it('gives the same results as the run, and prints the chosen row next to them', async () => {
    const { stdout } = await bangInsideOk([...args, ...settings], { cwd: space.folder });
    expect(stdout).toMatch(/│ tiny .*│ published B1 /s);
    expect(space.list('runs/eval-tiny')).toEqual(EVALUATED);
    expect(space.read('runs/eval-tiny', 'per-image.csv')).toBe(
      space.read('runs/tiny', 'per-image.csv'),
    );
    expect(space.result('runs/eval-tiny').weights).toBe(space.result('runs/tiny').weights);
    expect(space.result('runs/eval-tiny').row.accuracy).toBe(row.accuracy);

    const again = await bangInsideOk([...args, ...settings, '--row', 'R1'], { cwd: space.folder });
    expect(again.stdout).toMatch(/│ tiny .*│ published R1 /s);
    expect(again.stderr).toBe('');
  });

  it('refuses another evaluation in the folder, and to empty the one with the weights', async () => {
    const before = space.contents('runs/tiny');
    const [other, emptied] = await Promise.all([
      bangInside([...args, ...evaluation('images=50', 'pass=false')], { cwd: space.folder }),
      bangInside([...args, ...settings, '--out', 'runs/tiny', '--force'], { cwd: space.folder }),
    ]);
    expectRefusal(
      other,
      /^bang: runs\/eval-tiny holds another experiment \(evaluation\.images was 60, is 50\): /,
    );
    expectRefusal(
      emptied,
      /^bang: --force would remove runs\/tiny\/weights\.safetensors, from which the experiment is read: choose another folder with --out\n$/,
    );
    expect(space.contents('runs/tiny')).toEqual(before);
  });
});

describe('bang eval --on train and --on validation', () => {
  /** The numbers in the line of a table that begins with this text. */
  const numbersIn = (stdout: string, part: string): number[] =>
    stdout
      .split('\n')
      .find((line) => line.startsWith(`│ ${part} `))!
      .split('│')
      .slice(2, -1)
      .map(Number);

  it("count the errors of the authors' network, which are known from elsewhere", async () => {
    const { code, stdout } = await bangInside(['eval', AUTHORS, '--on', 'train']);
    expect(code).toBe(0);
    expect(numbersIn(stdout, 'the first 50000').slice(0, 2)).toEqual([50_000, 153]);
    expect(numbersIn(stdout, 'the last 10000').slice(0, 2)).toEqual([10_000, 31]);
    expect(stdout.match(/not known/g)).toHaveLength(3);
    const held = await bangInside(['eval', AUTHORS, '--on', 'validation']);
    expectRefusal(
      held,
      /does not say what it was trained on, so no images are known to be held out: use/,
    );
  });

  it('count on the images that training validated on, of any split', async () => {
    writeSmallData(space, 'large', { train: 50_400, test: 80 });
    space.write('linear.yaml', linearConfig());
    const inside = (...args: string[]) =>
      bangInsideOk([...args, '--data-dir', 'large'], { cwd: space.folder });
    for (const split of ['first', 'random']) {
      const set = ['--set', `training.split=${split}`, '--set', 'evaluation.images=5'];
      await inside('run', 'linear.yaml', ...set, '--out', split);
      const held = numbersIn(
        (await inside('eval', split, '--on', 'validation')).stdout,
        'held out',
      );
      const [images, errors, , trainedOn] = held;
      expect([images, trainedOn]).toEqual([400, 0]);
      // The last line of the training log is about the same weights.
      const log = readCsv(space.file(split, 'training.csv')).at(-1)!;
      expect(Number(log.validation_accuracy)).toBeCloseTo(100 - errors / 4, 6);

      const { stdout } = await inside('eval', `${split}/weights.safetensors`, '--on', 'train');
      const all = numbersIn(stdout, 'all 50400');
      expect([all[0], all[3]]).toEqual([50_400, 50_000]);
      if (split === 'first') {
        expect(numbersIn(stdout, 'the last 400')).toEqual(held);
        expect(stdout).not.toContain('held out');
        continue;
      }
      expect(numbersIn(stdout, 'held out')).toEqual(held);
      const members = numbersIn(stdout, 'trained on');
      expect(members[1] + errors).toBe(all[1]);
      expect(numbersIn(stdout, 'the last 400')[3]).toBeGreaterThan(350);
    }
    const other = await bangInside(['eval', 'random', '--on', 'validation', '--data-dir', 'data'], {
      cwd: space.folder,
    });
    expectRefusal(other, /weights\.safetensors was trained on other data, of which nothing/);
  });

  it.each([
    ['--row', 'R0'],
    ['--attacks', 'fgs'],
    ['--set', 'evaluation.images=5'],
    ['--out', 'never'],
    ['--force'],
  ])('refuse what is about attacks: %s', async (...option) => {
    const refused = await bangInside(['eval', AUTHORS, '--on', 'train', ...option]);
    const message = `^bang: ${option[0]}: with --on train errors are counted and nothing else`;
    expectRefusal(refused, new RegExp(message));
  });
});

describe('bang eval of weights that are finite', () => {
  // So large that products overflow: without a check, every image would count as robust.
  it.each([
    [
      'ip2.weight',
      /^bang: the network gives a logit of (NaN|-?Infinity): its weights are too large/m,
    ],
    ['conv1.weight', /^bang: (the network gives a logit|a gradient with respect to a pixel is) /m],
  ])('but whose logits or gradients are not: %s', async (name, message) => {
    const copy = new Map(tensors);
    const { shape, data } = copy.get(name)!;
    copy.set(name, { shape, data: data.map((value) => value * 1e38) });
    const file = space.write(`huge-${name}`, encodeSafetensors(copy, {}));
    for (const attack of ['fgs', 'hc1', 'pgd', 'square']) {
      const out = space.file(`huge-${name}-${attack}`);
      const few = ['--set', 'evaluation.images=40', '--data-dir', space.file('data')];
      const rest = ['--attacks', attack, ...few, '--out', out];
      const { code, stdout, stderr } = await bangInside(['eval', file, ...rest]);
      expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(message);
      expect(existsSync(path.join(out, 'result.json'))).toBe(false);
    }
  });
});

describe('bang eval on a file that holds no weights of the network', () => {
  const encode = (change: (copy: Map<string, NamedArray>) => void): Uint8Array => {
    const copy = new Map<string, NamedArray>();
    for (const [name, { shape, data }] of tensors) copy.set(name, { shape, data: data.slice() });
    change(copy);
    return encodeSafetensors(copy, {});
  };

  it.each([
    [
      'garbage',
      () => 'not at all',
      /garbage is neither a safetensors file, nor an ONNX model, nor one of Caffe's/,
    ],
    [
      'empty',
      () => '',
      /empty is neither a safetensors file, nor an ONNX model, nor one of Caffe's/,
    ],
    ['half.h5', () => readFileSync(AUTHORS).subarray(0, 900_000), /half\.h5: .*truncated/],
    ['half', () => encode(() => undefined).subarray(0, 5000), /half: .*truncated/],
    [
      'nan',
      () => encode((copy) => copy.get('ip1.weight')!.data.fill(NaN, 7, 8)),
      /nan: tensor "ip1\.weight" has the value NaN/,
    ],
    [
      'shape',
      () => encode((copy) => copy.set('ip2.bias', { shape: [5], data: new Float32Array(5) })),
      /shape: tensor ip2\.bias has shape \[5\], the network lenet needs \[10\]/,
    ],
    ['lacks', () => encode((copy) => copy.delete('conv1.bias')), /conv1\.bias .* is missing/],
    [
      'more',
      () => encode((copy) => copy.set('ip3.bias', { shape: [1], data: new Float32Array(1) })),
      /more: tensor "ip3\.bias" does not belong to the network lenet/,
    ],
    ['nothing', undefined, /cannot read .*nothing: there is no such file/],
    ['folder', () => null, /folder holds no weights\.safetensors: give a file/],
  ])('%s', async (name, content, message) => {
    const bytes = content?.();
    if (bytes === null) mkdirSync(space.file(name));
    else if (bytes !== undefined) space.write(name, bytes);
    const args = ['eval', space.file(name), '--out', space.file('never')];
    expectRefusal(await bangInside(args), message);
    expect(existsSync(space.file('never'))).toBe(false);
  });
});
