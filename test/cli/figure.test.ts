import { parse } from 'csv-parse/sync';
import { decode } from 'fast-png';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firstImages } from '#bang/data/dataset.js';
import { loadData } from '#bang/data/load.js';
import { packageRoot } from '#bang/base/files.js';
import { fixture, readCsv } from '../fixtures.js';
import { idxBytes } from '../data/idx-bytes.js';
import { resultWith } from '../report/entries.js';
import {
  bangInside,
  expectRefusal,
  linearConfig,
  tinyConfig,
  workspace,
  type Workspace,
  writeSmallData,
} from './bang.js';
import { cpSync } from 'node:fs';
import path from 'node:path';

let space: Workspace;
beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

const results = (...parts: string[]): string => path.join(packageRoot, 'results', ...parts);
/** Some runs of Table 2. */
const RUNS = ['b0', 'r0', 'b1'].map((row) => results('table2', `cifar10-${row}`, 'seed-1'));

/** Draws a figure as SVG into the workspace, and again from its own CSV; returns the SVG. */
async function drawn(name: string, results: string[], ...options: string[]): Promise<string> {
  const [out, again] = [space.file(name), space.file(`${name}-again`)];
  const figure = async (...args: string[]): Promise<void> => {
    expect(await bangInside(['figure', name, ...args, '--format', 'svg'])).toMatchObject({
      code: 0,
    });
  };
  await figure(...results, '--out', out, ...options);
  await figure(path.join(out, `${name}.csv`), '--out', again);
  for (const ending of ['svg', 'csv']) {
    expect(space.read(`${name}-again`, `${name}.${ending}`)).toBe(
      space.read(name, `${name}.${ending}`),
    );
  }
  expect(space.list(name)).toEqual([`${name}.csv`, `${name}.svg`]);
  return space.read(name, `${name}.svg`);
}

const csvOf = (name: string): Record<string, string>[] =>
  parse(space.read(name, `${name}.csv`), { columns: true });

/** What stands in a figure. */
const textsIn = (svg: string): string[] =>
  [...svg.matchAll(/<text[^>]*>([^<]*)</g)].map(([, text]) => text);

describe('bang figure', () => {
  it('training: all runs of a folder, as SVG, PNG and CSV', async () => {
    const out = space.file('all');
    const finished = await bangInside(['figure', 'training', ...RUNS, '--out', out]);
    expect(finished).toMatchObject({ code: 0, stderr: '' });
    const files = ['csv', 'png', 'svg'].map((ending) => `training.${ending}`);
    expect(space.list('all')).toEqual(files);
    for (const file of files) expect(finished.stdout).toContain(path.join(out, file));
    const { width } = decode(space.bytes('all', 'training.png'));
    expect(width).toBeGreaterThan(1200);
    const svg = await drawn('training', RUNS);
    expect(svg).toBe(space.read('all', 'training.svg'));
    for (const text of [
      'Loss (cross entropy) ↓',
      'Training accuracy (%) ↑',
      'iteration',
      'cifar10-r0',
      'cifar10-b1',
    ]) {
      expect(svg).toContain(`>${text}</text>`);
    }
    // The numbers of the log, regular training first.
    const log = readCsv(results('table2', 'cifar10-r0', 'seed-1', 'training.csv'));
    expect(csvOf('training').slice(0, log.length)).toEqual(
      log.map(({ iteration, loss, train_accuracy, validation_accuracy }) => ({
        network: 'cifar10-r0',
        seed: '1',
        iteration,
        loss,
        train_accuracy,
        validation_accuracy,
      })),
    );
  });

  it('eta: the layers of BANG from the first to the last', async () => {
    const svg = await drawn('eta', RUNS);
    const order = ['conv1', 'conv2', 'conv3', 'ip1', 'ip2'].map((text) => svg.indexOf(`>${text}<`));
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect(new Set(csvOf('eta').map(({ network }) => network))).toEqual(
      new Set(['cifar10-b0', 'cifar10-b1']),
    );
  });

  it('linf: the rates of the table, and every image once', async () => {
    const svg = await drawn('linf', [results('table1', 'lenet-b1', 'seed-1')]);
    // FGS-Rate is 2.28, HC1-Rate 95.83, that of unmasked FGS 100.00.
    for (const text of ['97.72', '4.17']) expect(svg).toContain(`>${text} % not fooled<`);
    for (const attack of ['fgs', 'hc1', 'fgs-unmasked']) {
      const bins = csvOf('linf').filter((line) => line.attack === attack);
      expect(bins.reduce((sum, { images }) => sum + Number(images), 0)).toBe(9912);
    }
  });

  it('surfaces: of a sweep over β and ε, with another key constant', async () => {
    const key = (name: string) => `training.bang.${name}`;
    const lines = [1, 1.5].flatMap((beta) =>
      [0.8, 0.9].map((epsilon, i) => [
        7,
        beta,
        epsilon,
        1,
        90 + i,
        '',
        0.5,
        30,
        -1 + i,
        '',
        0.1,
        2,
      ]),
    );
    const figures = ['accuracy', 'fgs_rate', 'hc1_pass', 'fgs_unmasked_linf'];
    const head = ['seed', key('beta'), key('epsilon'), 'seeds', ...figures];
    const columns = [...head, ...figures.map((name) => `${name}_minus_reference`)];
    space.write(
      'sweep/surfaces.csv',
      [columns, ...lines].map((line) => `${line.join(',')}\n`).join(''),
    );
    const svg = await drawn('surfaces', [space.file('sweep')]);
    for (const text of ['β', 'ε', 'Accuracy (%) ↑ better', 'regular 91.00, ● above', '90.0']) {
      expect(svg).toContain(`>${text}</text>`);
    }
    expect(svg).not.toContain('FGS-Rate');
  });

  it('noise: of a study, with the numbers that the paper quotes', async () => {
    const stages = [
      [1, 500],
      [2, 1000],
    ].flatMap(([stage, iteration]) => [50, 100].map((sigma) => [stage, iteration, sigma]));
    const rates = stages.flatMap((at) => [
      [...at, 'regular', 10, 10, 3, 20, 1.5, 0.5],
      [...at, 'bang', 10, 10, 3, 25, '', 0.5],
    ]);
    const csv = (head: string, lines: unknown[][]): string =>
      [head, ...lines.map((line) => line.join(','))].map((line) => `${line}\n`).join('');
    space.write(
      'study/noise.csv',
      csv(
        'stage,iteration,sigma,network,images,copies,flips,rate,standard_error,noise_error',
        rates,
      ),
    );
    space.write(
      'study/surfaces.csv',
      csv(
        'stage,iteration,sigma,regular,bang,difference,standard_error',
        stages.map((at) => [...at, 20, 25, 5, 0.7]),
      ),
    );
    cpSync(results('noise', 'lenet', 'result.json'), space.file('study', 'result.json'));
    const svg = await drawn('noise', [space.file('study')]);
    expect(svg).toContain('>After 1000 iterations (% wrong) ↓ better</text>');
    const rows = csvOf('noise');
    expect(rows[0]).toMatchObject({
      regular_error: '1.5',
      bang_error: '',
      difference_error: '0.7',
    });
    const quoted = ['', '', '', '20'];
    expect(rows.map((row) => row.quoted_regular)).toEqual(quoted);
  });

  it('examples: images of a folder have no names of classes, as it may hold others', async () => {
    const all = await loadData('mnist');
    for (const [prefix, split] of [
      ['train', all.train],
      ['t10k', all.test],
    ] as const) {
      const { count, images, labels } = firstImages(split, 40);
      const file = (what: string): string => `other/${prefix}-${what}-ubyte`;
      space.write(file('images-idx3'), idxBytes([count, 28, 28], images));
      space.write(file('labels-idx1'), idxBytes([count], labels));
    }
    const data = ['--data-dir', space.file('other'), '--threads', '1'];
    await drawn('examples', [fixture('lenet.caffemodel.h5')], ...data);
    const rows = csvOf('examples');
    expect(rows.length).toBeGreaterThan(20);
    expect(new Set(rows.map(({ label_name }) => label_name))).toEqual(new Set(['']));
  });

  it('examples: a network is attacked as the run of its folder was', async () => {
    // On little data: where FGS fools nothing, all test images are tried.
    const data = ['--data-dir', writeSmallData(space), '--threads', '1'];
    const config = space.write('tiny.yaml', tinyConfig());
    const surer = ['--set', 'evaluation.attacks=[fgs]', '--set', 'evaluation.logitScale=100000'];
    const folder = space.file('surer');
    const ran = await bangInside(['run', config, ...surer, '--out', folder, ...data]);
    expect(ran).toMatchObject({ code: 0 });
    expect(readCsv(path.join(folder, 'table.csv'))[0].fgs_rate).toBe('0');
    const draw = ['figure', 'examples', folder, '--attack', 'fgs', '--out', space.file('none')];
    const { code, stderr } = await bangInside([...draw, ...data]);
    expect(stderr).toContain('there is no test image with which FGS fools all networks');
    expect(code).toBe(2);
    // The weights alone are as they were trained.
    const weights = path.join(folder, 'weights.safetensors');
    await drawn('examples', [weights], '--attack', 'fgs', ...data);
    expect(csvOf('examples').length).toBeGreaterThan(2);
  });

  it('examples: random starts are those of the run, wherever an image stands in the test set', async () => {
    // So many images of one class first that the others stand beyond those that are classified at once.
    writeSmallData(space, 'long');
    const [images, labels] = ['images-idx3', 'labels-idx1'].map((what) =>
      space.bytes('long', `t10k-${what}-ubyte`),
    );
    const at = labels.indexOf(0, 8) - 8;
    const first = images.subarray(16 + at * 784, 16 + (at + 1) * 784);
    const pixels = Buffer.concat([
      ...Array.from({ length: 500 }, () => first),
      images.subarray(16),
    ]);
    const classes = Buffer.concat([Buffer.alloc(500), labels.subarray(8)]);
    space.write('long/t10k-images-idx3-ubyte', idxBytes([580, 28, 28], pixels));
    space.write('long/t10k-labels-idx1-ubyte', idxBytes([580], classes));
    const data = ['--data-dir', space.file('long'), '--threads', '1'];
    const config = space.write('linear.yaml', linearConfig());
    const square = ['evaluation.attacks=[square]', 'evaluation.square={queries: 20}'];
    const set = [...square, 'evaluation.images=all'].flatMap((one) => ['--set', one]);
    const folder = space.file('square');
    const ran = await bangInside(['run', config, ...set, '--out', folder, ...data]);
    expect(ran).toMatchObject({ code: 0 });
    await drawn('examples', [folder], '--attack', 'square', ...data);
    const perImage = readCsv(path.join(folder, 'per-image.csv'));
    const rows = csvOf('examples').filter(({ linf }) => linf !== '');
    expect(rows.length).toBeGreaterThan(5);
    expect(rows.map(({ linf }) => linf)).toEqual(
      rows.map(({ index }) => perImage[Number(index)].square_linf),
    );
  });

  it("examples: the authors' LeNet, of each class the first image, as in their reference", async () => {
    const svg = await drawn('examples', [fixture('lenet.caffemodel.h5')], '--threads', '1');
    // HC1 needs more than unmasked FGS, so that stands below it.
    expect(textsIn(svg)).toContain('MNIST, HC1 and unmasked FGS');
    const { test } = await loadData('mnist');
    const reference = readCsv(fixture('authors-lenet-r0.per-image.csv'));
    const rows = csvOf('examples');
    expect(rows).toHaveLength(30);
    const pixelsOf = ({ image }: Record<string, string>) =>
      decode(Buffer.from(image.split(',')[1], 'base64')).data;
    for (let label = 0; label < 10; label++) {
      const [original, adversarial, unmasked] = rows.filter((row) => row.label === String(label));
      const theirs = reference.find(
        (line) => line.label === String(label) && line.predicted === line.label && line.hc1_linf,
      )!;
      expect(original.index).toBe(theirs.index);
      expect(adversarial.index).toBe(theirs.index);
      // Ours and theirs round differently: HC1's L∞ is the same on 98.5 % of the images.
      expect(Math.abs(Number(adversarial.linf) - Number(theirs.hc1_linf))).toBeLessThanOrEqual(1);
      expect(Math.abs(Number(adversarial.pass) - Number(theirs.hc1_pass))).toBeLessThan(0.02);
      expect(adversarial.predicted).not.toBe(original.label);
      expect(unmasked.attack).toBe('fgs-unmasked');
      // The authors' R0 has few blank gradients; elsewhere FGS is the same attack.
      if (theirs.fgs_linf !== '') {
        expect(Math.abs(Number(unmasked.linf) - Number(theirs.fgs_linf))).toBeLessThanOrEqual(1);
      }
      const size = 28 * 28;
      const image = test.images.subarray(
        size * Number(theirs.index),
        size * (Number(theirs.index) + 1),
      );
      expect([...pixelsOf(original)]).toEqual([...image]);
      const changes = [...pixelsOf(adversarial)].map((pixel, i) => Math.abs(pixel - image[i]));
      expect(Math.max(...changes)).toBe(Number(adversarial.linf));
    }
  });
});

describe('bang figure refuses', () => {
  const given = {
    nothing: () => space.file('none'),
    empty: () => path.dirname(space.write('empty/readme.txt', '')),
    other: () => space.write('other.csv', 'a,b\n1,2\n'),
    binary: () => space.write('binary.csv', 'a,"b\n'),
    short: () => space.write('short.csv', 'network\n'),
    letters: () =>
      space.write('letters.csv', 'network,seed,iteration,loss,train_accuracy\nR0,1,100,much,9\n'),
    remote: () =>
      space.write(
        'remote.csv',
        'data,attack,index,label,network,training,predicted,linf,pass,image\nmnist,hc1,1,1,,,,,,http://a/b.png\n',
      ),
    line: () =>
      path.dirname(space.write('line/surfaces.csv', 'a,b,seeds,accuracy\n1,1,1,90\n2,2,1,91\n')),
    regular: () => results('table1', 'lenet-r0', 'seed-1'),
    run: () => results('table1', 'lenet-b1', 'seed-1'),
    robustness: () => results('robustness', 'authors-lenet-r0'),
    wrong: () => {
      const result = resultWith('lenet-b1', { row: { images: 1, correct: 0, attacks: {} } });
      space.write('wrong/per-image.csv', 'index,label,predicted,blank\n0,1,2,0\n');
      return path.dirname(space.write('wrong/result.json', JSON.stringify(result)));
    },
  };
  it.each<[string, (keyof typeof given)[], RegExp]>([
    ['training', ['nothing'], /cannot read .*none: there is no such folder/],
    ['training', ['empty'], /no finished run in .*empty or below/],
    ['training', ['robustness'], /no run in .*authors-lenet-r0 has a training\.csv/],
    ['training', ['other'], /other\.csv has no column network/],
    ['training', ['binary'], /binary\.csv is damaged: its lines are not CSV/],
    ['training', ['short'], /short\.csv holds no line/],
    ['training', ['letters'], /letters\.csv: line 2 has "much" as loss/],
    ['eta', ['regular'], /no run was trained with BANG/],
    ['linf', ['empty'], /no finished run/],
    ['linf', ['wrong'], /no image is classified correctly, so nothing was attacked/],
    ['surfaces', ['empty'], /empty holds no surfaces\.csv: give the folder of a sweep/],
    ['surfaces', ['empty', 'line'], /give the folder of one sweep/],
    ['surfaces', ['line'], /is not a grid over two keys \(it varies a, b\)/],
    ['noise', ['run'], /holds no noise\.csv: give the folder of a noise study/],
    [
      'examples',
      ['run'],
      /holds no weights\.safetensors: give a file of weights or the folder of a run/,
    ],
    ['examples', ['nothing'], /cannot read .*none: there is no such file/],
    ['examples', ['remote'], /remote\.csv: line 2 has "http:.* as image/],
    ['training --format svg,gif', ['run'], /--format: expected svg or png, found "gif"/],
    ['eta --attack fgs', ['run'], /--attack is for the figure examples, eta has no use for it/],
    ['linf --data-dir .', ['run'], /--data-dir is for the figure examples/],
    [
      'training --out @runs/a',
      ['run'],
      /--out \S+runs\/a: that is a folder of results, whose files must not change/,
    ],
    ['pie', ['run'], /name: expected .*training.*, found "pie"/],
  ])('%s of %j', async (name, what, message) => {
    space.write('runs/a/config.yaml', 'name: a\n');
    const words = name.replace('@', `${space.folder}/`).split(' ');
    const args = ['figure', ...words, ...what.map((one) => given[one]())];
    if (!words.includes('--out')) args.push('--out', space.file('refused'));
    expectRefusal(await bangInside(args), message);
  });
});
