import { copyFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeOnnx } from '#bang/model/files/onnx/encode.js';
import { encodeSafetensors, sealed } from '#bang/model/files/safetensors.js';
import { readWeights } from '#bang/model/files/weights.js';
import { makeNetwork } from '#bang/model/network.js';
import type { NetworkSpec } from '#bang/model/networks.js';
import { exportNetwork, initialWeights } from '#bang/model/parameters.js';
import { fixture } from '../fixtures.js';
import { idxBytes } from '../data/idx-bytes.js';
import {
  bangInside,
  bangInsideOk,
  expectRefusal,
  tinyConfig,
  type Workspace,
  workspace,
  writeSmallData,
} from './bang.js';
import { readDocument } from './documents.js';

const { blocks, commands } = readDocument('models.md');

let space: Workspace;
beforeAll(() => {
  space = workspace();
  writeSmallData(space, 'images');
  copyFileSync(fixture('models/small.onnx'), space.file('net.onnx'));
  copyFileSync(fixture('models/small.safetensors'), space.file('other.safetensors'));
  const yaml = blocks('yaml').find((text) => text.startsWith('# other.yaml'));
  space.write('other.yaml', yaml!);
});
afterAll(() => {
  space.remove();
});

const few = ['evaluation.images=30', 'evaluation.pass=false', 'engine=native'];
const quick = few.flatMap((one) => ['--set', one]);
const effort = ['apgd={steps: 5, restarts: 0}', 'square.queries=5'].flatMap((one) => [
  '--set',
  `evaluation.${one}`,
]);
describe('docs/models.md', () => {
  it('has commands that do what it says, and equal results for equal weights', async () => {
    expect(commands).toHaveLength(6);
    for (const args of commands) {
      const more =
        args[0] === 'eval' ? [...quick, ...(args.includes('--attacks') ? effort : [])] : [];
      const { stdout } = await bangInsideOk([...args, ...more], { cwd: space.folder });
      if (args[0] === 'data') {
        expect(stdout).toMatch(
          /^images: images of 28×28×1, 10 classes, 300 for training and 80 for tests$/m,
        );
        expect(stdout).toMatch(/^The first test image, of class \d:$/m);
      }
    }
    const here = ['eval', 'net-here.safetensors', '--data-dir', 'images', ...quick];
    await bangInsideOk(here, { cwd: space.folder });
    const perImage = (folder: string) => space.read(folder, 'per-image.csv');
    expect(perImage('runs/eval-net-here')).toBe(perImage('runs/eval-net'));
    const { weights, config } = space.result('runs/eval-net');
    expect(space.result('runs/eval-net-here').weights).toBe(weights);
    expect(config.model).toMatchObject({ scale: 1 / 255, mean: [0.1307], std: [0.3081] });
    expect(space.result('runs/verdict').row.atBudgets).toBeDefined();
    // safetensors and ONNX hold the same numbers, under other names.
    const numbers = (folder: string) => space.result(folder).row;
    expect(numbers('runs/verdict-of-weights').accuracy).toBe(numbers('runs/verdict').accuracy);
    expect(perImage('runs/verdict-of-weights')).toBe(perImage('runs/verdict'));
  });
});

describe('a network beyond the limits of a config', () => {
  it('is the same network as safetensors', async () => {
    const filler = { kind: 'xavier' } as const;
    const spec: NetworkSpec = {
      name: 'wide',
      input: [2, 300, 1],
      classes: 10,
      subtractMean: false,
      scale: 1 / 255,
      layers: [
        { kind: 'maxPool', size: 65, stride: 65, pad: 64, rounding: 'down' },
        { kind: 'conv', name: 'conv', filters: 1025, size: 2, filler },
        ...Array.from({ length: 200 }, () => ({ kind: 'relu' }) as const),
        { kind: 'innerProduct', name: 'ip', outputs: 10, filler },
      ],
    };
    const network = makeNetwork(spec);
    const weights = exportNetwork({ network, weights: initialWeights(network, 1) });
    space.write('wide.onnx', encodeOnnx(spec, weights, { version: '' }));
    const pixels = Uint8Array.from({ length: 20 * 600 }, (_, i) => (i * i) % 251);
    for (const prefix of ['train', 't10k']) {
      space.write(`wide/${prefix}-images-idx3-ubyte`, idxBytes([20, 2, 300], pixels));
      space.write(
        `wide/${prefix}-labels-idx1-ubyte`,
        idxBytes(
          [20],
          Uint8Array.from({ length: 20 }).map((_, i) => i % 10),
        ),
      );
    }
    const from = { cwd: space.folder };
    const to = ['--to', 'safetensors', '--out', 'wide.safetensors', '--data', 'idx'];
    await bangInsideOk(['export', 'wide.onnx', ...to], from);
    const on = ['--data-dir', 'wide', '--set', 'evaluation.images=20', ...quick.slice(2)];
    await bangInsideOk(['eval', 'wide.onnx', '--data', 'idx', ...on, '--out', 'graph'], from);
    await bangInsideOk(['eval', 'wide.safetensors', ...on, '--out', 'described'], from);
    expect(space.read('described/per-image.csv')).toBe(space.read('graph/per-image.csv'));
    expect(space.result('described').weights).toBe(space.result('graph').weights);

    // What is no matter of size is damage, as ever.
    const { tensors, metadata } = await readWeights(space.file('wide.safetensors'));
    for (const damaged of [
      metadata.network!.replace('"scale"', '"scales"'),
      metadata.network!.replace('"classes":10', '"classes":257'),
    ]) {
      const own = sealed(tensors, { ...metadata, network: damaged });
      space.write('damaged.safetensors', encodeSafetensors(tensors, own));
      expectRefusal(
        await bangInside(['eval', 'damaged.safetensors', ...on, '--out', 'never'], from),
        /^bang: damaged\.safetensors: its description of the network is damaged: export it again$/m,
      );
    }
  });
});

describe('a wrong preparation', () => {
  it('is noticed, and the right one is named', async () => {
    space.write('tiny.yaml', tinyConfig());
    await bangInsideOk(['run', 'tiny.yaml', '--data-dir', 'images'], { cwd: space.folder });
    // Weights without a word on how they were made, for pixels from 0 to 1 as this one has them.
    await bangInsideOk(
      ['export', 'runs/tiny/weights.safetensors', '--to', 'onnx', '--out', 'whole.onnx'],
      { cwd: space.folder },
    );
    const right = ['eval', 'whole.onnx', '--data-dir', 'images', ...quick];
    const good = await bangInsideOk([...right, '--out', 'right'], { cwd: space.folder });
    expect(good.stderr).not.toMatch(/warning/);
    expect(space.result('right').weights).toBe(space.result('runs/tiny').weights);

    // By which chance can be told from nothing else.
    writeSmallData(space, 'single', { train: 10, test: 1 });
    const one = ['eval', 'net.onnx', '--data-dir', 'single', '--scale', '0.00001'];
    const few = ['--set', 'evaluation.images=1', ...quick.slice(2), '--out', 'few'];
    const alone = await bangInsideOk([...one, ...few], { cwd: space.folder });
    expect(alone.stderr).not.toMatch(/warning/);

    space.write('bare.yaml', BARE);
    const wrong = [
      'eval',
      'runs/tiny/weights.safetensors',
      '--model',
      'bare.yaml',
      '--data-dir',
      'images',
    ];
    const { stderr } = await bangInsideOk(
      [...wrong, ...quick, '--out', 'wrong', '--scale', '0.00001'],
      {
        cwd: space.folder,
      },
    );
    expect(stderr).toMatch(
      /warning: accuracy is [\d.]+ % on the first 80 test images, near chance, 10\.0 %: perhaps pixels were prepared in another way; with --scale \S+( --mean \S+ --std \S+)? it is [\d.]+ %/,
    );
    const known = await bangInsideOk(
      [...wrong, ...quick, '--out', 'known', '--scale', '1/256', '--accuracy', '99.9'],
      { cwd: space.folder },
    );
    expect(known.stderr).not.toMatch(/warning/);
    // Of weights that are known to be worse, and of those that are finished, too.
    const better = [...right, '--out', 'right', '--accuracy', '20'];
    const { stderr: said } = await bangInsideOk(better, { cwd: space.folder });
    expect(said).toMatch(
      /^warning: accuracy is [\d.]+ %, not about 20 % as --accuracy says: other/m,
    );
  });

  const BARE = `model:
  layers:
    - {kind: conv, name: conv1, filters: 4, size: 5}
    - {kind: maxPool, size: 2, stride: 2}
    - {kind: conv, name: conv2, filters: 8, size: 5}
    - {kind: maxPool, size: 2, stride: 2}
    - {kind: innerProduct, name: ip1, outputs: 32}
    - {kind: relu}
    - {kind: innerProduct, name: ip2, outputs: 10}
data: mnist
`;
});

describe('a folder without images for training', () => {
  it('suffices to attack, but not to train or to count errors in training', async () => {
    writeSmallData(space, 'bare');
    for (const name of ['images-idx3', 'labels-idx1'])
      rmSync(space.file(`bare/train-${name}-ubyte`));
    const on = ['--data', 'idx', '--data-dir', 'bare'];
    const from = { cwd: space.folder };
    await bangInsideOk(['eval', 'net.onnx', ...on, ...quick, '--out', 'bare-net'], from);
    expect(space.result('bare-net').row.images).toBe(30);
    const { stdout } = await bangInsideOk(['data', 'show', '--data-dir', 'bare'], from);
    expect(stdout).toMatch(/^bare: .*, 0 for training and 80 for tests$/m);
    const own = tinyConfig('data: idx\n').replace(
      'scale:',
      'image: [28, 28, 1]\n  classes: 10\n  scale:',
    );
    space.write('idx.yaml', own);
    for (const args of [
      ['eval', 'net.onnx', ...on, '--on', 'train'],
      ['run', 'idx.yaml', '--data-dir', 'bare', '--out', 'never'],
    ]) {
      expectRefusal(
        await bangInside(args, from),
        /^bang: there are no images for training: put train-images-idx3-ubyte and/,
      );
    }
  });
});

describe('--force', () => {
  it('removes none of what an evaluation reads', async () => {
    writeSmallData(space, 'mine/images');
    space.write('mine/config.yaml', space.read('other.yaml'));
    const before = space.contents('mine');
    const here = ['--out', 'mine', '--force', ...quick];
    for (const args of [
      ['net.onnx', '--data-dir', 'mine/images'],
      ['other.safetensors', '--model', 'mine/config.yaml', '--data-dir', 'images'],
    ]) {
      const refused = await bangInside(['eval', ...args, ...here], { cwd: space.folder });
      expectRefusal(refused, /^bang: --force would remove mine\/\S+, from which the experiment is/);
    }
    expect(space.contents('mine')).toEqual(before);
  });
});

describe('a command without options for what a file does not say', () => {
  it('names the one that has them', async () => {
    const args = ['transfer', 'other.safetensors', 'net.onnx', '--data-dir', 'images'];
    const refused = await bangInside(args, { cwd: space.folder });
    expectRefusal(
      refused,
      /: describe .* has no such options, but bang export has: bang export other/,
    );
  });
});

describe('what does not fit', () => {
  it.each<[string[], RegExp]>([
    [
      ['net.onnx', '--data', 'cifar10'],
      /^bang: net\.onnx takes images of 28×28×1 and tells 10 classes apart, but cifar10 has images of 32×32×3 and 10 classes$/,
    ],
    [
      ['net.onnx', '--mean', '1,2'],
      /^bang: --mean: expected one number, for the channels of the images, found 2$/,
    ],
    [
      ['net.onnx', '--scale', 'x'],
      /^bang: --scale: expected numbers with commas between them, found "x" /,
    ],
    [
      ['net.onnx', '--std', '0'],
      /^bang: --std: expected numbers other than 0 with commas between them, found "0" /,
    ],
    [
      ['other.safetensors', '--model', 'resnet'],
      /^bang: --model resnet: expected lenet or cifar10-quick, or a YAML file that describes a network$/,
    ],
    [
      ['other.safetensors', '--model', 'other.yaml', '--data', 'cifar100'],
      /^other\.yaml: model\.image: expected 32×32×3, the images of cifar100, found 28×28×1$/m,
    ],
  ])('%j', async (args, message) => {
    const { code, stderr } = await bangInside(['eval', ...args], { cwd: space.folder });
    expect(code).toBe(2);
    expect(stderr.trimEnd()).toMatch(message);
  });

  it('is a flag before a mean image', async () => {
    const { network, tensors } = await readWeights(space.file('net.onnx'));
    const spec = { ...network!, name: 'mean', subtractMean: true };
    const mean = { shape: [1, 28, 28], data: new Float32Array(784).fill(9) };
    space.write('mean.onnx', encodeOnnx(spec, tensors.set('mean', mean), { version: '' }));
    expectRefusal(
      await bangInside(['eval', 'mean.onnx', '--scale', '1/255'], { cwd: space.folder }),
      /^bang: --scale, --mean and --std: nothing may come before the mean image that mean\.onnx subtracts: leave them out, and export/,
    );
  });

  it('are images of another size or more classes than the network has', async () => {
    const images = new Uint8Array(3 * 8 * 6 * 3).fill(9);
    for (const prefix of ['train', 'test']) {
      space.write(`small/emnist-x-${prefix}-images-idx4-ubyte`, idxBytes([3, 8, 6, 3], images));
      space.write(`small/emnist-x-${prefix}-labels-idx1-ubyte`, idxBytes([3], [1, 2, 12]));
    }
    const shown = await bangInsideOk(['data', 'show', '--data-dir', 'small', '--out', 'x.png'], {
      cwd: space.folder,
    });
    expect(shown.stdout).toMatch(
      /^small: images of 8×6×3, 13 classes, 3 for training and 3 for tests$/m,
    );
    space.write(
      'small/data.yaml',
      'transpose: true\nfirstLabel: 1\nclasses: [a, b, c, d, e, f, g, h, i, j, k, "l<"]\n',
    );
    const turned = await bangInsideOk(['data', 'show', '--data-dir', 'small'], {
      cwd: space.folder,
    });
    expect(turned.stdout).toMatch(/^small: images of 6×8×3, 12 classes/m);
    expect(turned.stdout).toMatch(/│ +11 │ l< +│ +1 │ +1 │/);
    const args = ['eval', 'net.onnx', '--data', 'idx', '--data-dir', 'small', '--out', 'never'];
    expectRefusal(
      await bangInside(args, { cwd: space.folder }),
      /^bang: small has images of 6×8×3, but net takes images of 28×28×1\n$/,
    );
    space.write('odd/t10k-images-idx3-ubyte', idxBytes([3, 28, 28], new Uint8Array(3 * 784)));
    space.write('odd/t10k-labels-idx1-ubyte', idxBytes([3], [1, 2, 255]));
    expectRefusal(
      await bangInside(args.with(5, 'odd'), { cwd: space.folder }),
      /^bang: odd has 256 classes, and image 2 the label 255, but net tells 10 apart; where labels /,
    );
    const many = ['--data', 'idx', '--data-dir', 'images', '--set', 'evaluation.images=81'];
    expectRefusal(
      await bangInside(['eval', 'net.onnx', ...many, '--out', 'never'], { cwd: space.folder }),
      /^bang: evaluation\.images: expected all or at most the 80 test images, found 81\n$/,
    );
    const to = ['--data', 'idx', '--to', 'safetensors', '--out', 'idx.safetensors'];
    await bangInsideOk(['export', 'net.onnx', ...to], { cwd: space.folder });
    copyFileSync(space.file('idx.safetensors'), space.file('twin.safetensors'));
    for (const other of [
      ['eval', 'net.onnx', '--data', 'idx', '--data-dir', 'small', '--on', 'train'],
      ['transfer', 'idx.safetensors', 'twin.safetensors', '--data-dir', 'small', '--out', 'never'],
    ]) {
      const refused = await bangInside(other, { cwd: space.folder });
      expectRefusal(
        refused,
        /^bang: small has images of 6×8×3, but \w+ takes images of 28×28×1\n$/,
      );
    }
    space.write('small/data.yaml', 'classes: 3\n');
    expectRefusal(
      await bangInside(args, { cwd: space.folder }),
      /^bang: small has labels from 1 to 12, but 3 classes from 0 on are described: correct classes or firstLabel in data\.yaml\n$/,
    );
    space.write('small/data.yaml', 'firstLabel: 2\n');
    expectRefusal(
      await bangInside(args, { cwd: space.folder }),
      /^bang: small has labels from 1 to 12, but the first label is 2: correct firstLabel in data\.yaml\n$/,
    );
    space.write('small/data.yaml', 'transposed: true\n');
    expectRefusal(
      await bangInside(args, { cwd: space.folder }),
      /^bang: small\/data\.yaml: "transposed" is no key: expected transpose: true or false, /,
    );
  });
});
