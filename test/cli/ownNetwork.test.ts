import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bang,
  bangInside,
  bangInsideOk,
  expectRefusal,
  FILES,
  tensors,
  workspace,
  type Workspace,
  writeSmallData,
} from './bang.js';

const OWN = `model:
  scale: 0.00390625
  subtractMean: true
  layers:
    - {kind: conv, name: first, filters: 6, size: 5, pad: 2}
    - {kind: maxPool, size: 2, stride: 3}
    - {kind: relu}
    - {kind: conv, name: second, filters: 4, size: 3}
    - {kind: maxPool, size: 2, stride: 2}
    - {kind: innerProduct, name: hidden, outputs: 16}
    - {kind: dropout, rate: 0.2}
    - {kind: innerProduct, name: out, outputs: 10}
data: mnist
training:
  iterations: 60
  batch: 16
  learningRate: {policy: fixed, base: 0.02}
  momentum: 0.9
  weightDecay: 0.0005
  logEvery: 20
  bang: {beta: {first: 1, second: 1, hidden: 1.1, out: 1}, epsilon: 0.5}
evaluation: {images: 60, pass: false}
`;

let space: Workspace;
beforeAll(async () => {
  space = workspace();
  writeSmallData(space);
  space.write('own.yaml', OWN);
  await space.run('own.yaml');
});
afterAll(() => {
  space.remove();
});

describe('a network of your own', () => {
  it('is trained, attacked and described', () => {
    expect(space.list('runs/own')).toEqual(FILES);
    // Guessing: 10 %.
    expect(space.result('runs/own').row.accuracy).toBeGreaterThan(60);
    expect(Object.keys(space.result('runs/own').row.attacks)).toEqual([
      'fgs',
      'fgs-unmasked',
      'hc1',
    ]);
    expect(space.read('runs/own', 'training.csv')).toMatch(/,eta_mean_hidden,/);
    const shapes = [...tensors(space, 'runs/own')].map(([name, { shape }]) => [name, shape]);
    expect(Object.fromEntries(shapes)).toEqual({
      'first.weight': [6, 1, 5, 5],
      'first.bias': [6],
      'second.weight': [4, 6, 3, 3],
      'second.bias': [4],
      'hidden.weight': [16, 64],
      'hidden.bias': [16],
      'out.weight': [10, 16],
      'out.bias': [10],
      mean: [1, 28, 28],
    });
  });

  it('is in its weight file, so that they can be evaluated alone', async () => {
    space.write('elsewhere/net.safetensors', space.bytes('runs/own', 'weights.safetensors'));
    const settings = ['--set', 'evaluation.images=60', '--set', 'evaluation.pass=false'];
    const args = ['eval', 'elsewhere/net.safetensors', '--data-dir', 'data', ...settings];
    await bangInsideOk(args, { cwd: space.folder });
    expect(space.read('runs/eval-net', 'per-image.csv')).toBe(
      space.read('runs/own', 'per-image.csv'),
    );
    expect(space.result('runs/eval-net').config.model).toEqual(
      space.result('runs/own').config.model,
    );
    expectRefusal(
      await bangInside([...args, '--row', 'B1'], { cwd: space.folder }),
      /^bang: --row B1: the paper has no row for a network of your own\n$/,
    );
    expectRefusal(
      await bangInside([...args, '--model', 'lenet', '--out', 'never'], { cwd: space.folder }),
      /net\.safetensors: tensor "?first\.\w+"? does not belong to the network lenet/,
    );
  });

  it('is recorded in its result folder: the same command, and config.yaml, find it done', async () => {
    const before = space.contents('runs/own');
    expect((await space.run('own.yaml')).stderr).toBe('');
    expect((await space.run('runs/own/config.yaml', '--out', 'runs/own')).stderr).toBe('');
    expect(space.contents('runs/own')).toEqual(before);
  });

  it.each([
    ['filters: 6', 'filters: 7', 'model.layers.0.filters was 6, is 7'],
    ['    - {kind: relu}\n', '', 'model.layers was a list of 8, is a list of 7'],
    [/model:[^]*(?=data)/, 'model: lenet\n', /model was \{.{1,70}…, is "lenet"/],
  ])('is not taken for another: %s as %j', async (from, to, difference) => {
    space.write('other.yaml', OWN.replace(from, to).replace(/ {2}bang:.*\n/, ''));
    const args = ['run', 'other.yaml', '--out', 'runs/own', '--data-dir', 'data'];
    const refused = await bangInside(args, { cwd: space.folder });
    const message = /^bang: runs\/own holds another experiment \(/;
    expectRefusal(refused, message);
    expect(refused.stderr).toMatch(difference);
  });

  it.each([
    [
      'training.batch=301',
      /^bang: training\.batch: expected at most the 300 training images, found 301\n$/,
    ],
    [
      'training.split=random',
      /^bang: training\.split: expected first, as all 300 training images of idx are trained on, found "random": set training\.split=first as well\n$/,
    ],
    [
      'evaluation.images=81',
      /^bang: evaluation\.images: expected all or at most the 80 test images, found 81\n$/,
    ],
  ])('is not trained with %s, which images of your own do not allow', async (setting, message) => {
    const own = OWN.replace('  scale:', '  image: [28, 28, 1]\n  classes: 10\n  scale:');
    space.write('idx.yaml', own.replace('data: mnist', 'data: idx'));
    const args = ['run', 'idx.yaml', '--out', 'refused', '--data-dir', 'data', '--set', setting];
    expectRefusal(await bangInside(args, { cwd: space.folder }), message);
    // What is mended is not another experiment.
    expect(space.list('.')).not.toContain('refused');
  });

  it('may have more outputs than the images have classes, which it says', async () => {
    const more = OWN.replace('outputs: 10', 'outputs: 12').replace(
      'iterations: 60',
      'iterations: 1',
    );
    const images = '  image: [28, 28, 1]\n  classes: 12\n  scale:';
    space.write('more.yaml', more.replace('  scale:', images).replace('data: mnist', 'data: idx'));
    const { stderr } = await space.run('more.yaml', '--set', 'evaluation.images=1');
    expect(stderr).toMatch(/^note: data has 10 classes, but more tells 12 apart$/m);
  });

  it('continues from its checkpoint', async () => {
    const half = ['--set', 'training.iterations=60', '--out', 'stopped'];
    const stopped = await bang(
      ['run', 'own.yaml', ...half, '--set', 'training.checkpointEvery=1', '--data-dir', 'data'],
      {
        cwd: space.folder,
        when: () => space.list('.').includes('stopped') && space.list('stopped').length > 2,
      },
    );
    // A machine that is quick enough is done before the signal comes.
    expect([0, 130]).toContain(stopped.code);
    const { stderr } = await space.run('own.yaml', ...half);
    if (stopped.code === 130) expect(stderr).toMatch(/training continues at iteration \d+/);
    expect(tensors(space, 'stopped')).toEqual(tensors(space, 'runs/own'));
  });
});
