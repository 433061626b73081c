import { cpSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { fixture } from '../fixtures.js';
import {
  bang,
  bangInside,
  expectRefusal,
  tensors,
  tinyConfig,
  workspace,
  type Workspace,
  writeSmallData,
} from './bang.js';

let space: Workspace;
beforeAll(async () => {
  space = workspace();
  writeSmallData(space);
  space.write('tiny.yaml', tinyConfig().replace('images: 60', 'images: 20, attacks: [fgs]'));
  space.write('sub/more.yaml', 'extends: ../tiny.yaml\ntraining: {from: ../first}\n');
  await space.run('tiny.yaml', '--out', 'first');
});
afterAll(() => {
  space.remove();
});

const options = () => ({ cwd: space.folder });
describe('training.from', () => {
  it('begins from the weights of a run, notes their hash, and resumes bit for bit', async () => {
    // So small a rate that the weights do not move: they must be those that training began from.
    const rate = ['--set', 'training.learningRate.base=1e-60'];
    const still = [...rate, '--set', 'training.bang=null', '--set', 'training.iterations=1'];
    await space.run('sub/more.yaml', ...still, '--out', 'still');
    expect(tensors(space, 'still')).toEqual(tensors(space, 'first'));

    await space.run('sub/more.yaml', '--out', 'more');
    expect(tensors(space, 'more')).not.toEqual(tensors(space, 'first'));
    const from = { weights: '../first/weights.safetensors', sha256: space.result('first').weights };
    expect(space.result('more').config.training!.from).toEqual(from);
    const kept = parse(space.read('more', 'config.yaml')) as { training: object };
    expect(kept.training).toMatchObject({ from });

    const stopped = await bang(['run', 'sub/more.yaml', '--data-dir', 'data', '--out', 'stopped'], {
      ...options(),
      when: () =>
        space.list('.').includes('stopped') &&
        space.list('stopped').includes('checkpoint.safetensors'),
    });
    expect(stopped.code).toBe(130);
    const resumed = await space.run('sub/more.yaml', '--out', 'stopped');
    expect(resumed.stderr).toMatch(/training continues at iteration \d+/);
    expect(tensors(space, 'stopped')).toEqual(tensors(space, 'more'));
  });

  it('is the same experiment from a copy at another path, and from its own config.yaml', async () => {
    cpSync(space.file('first/weights.safetensors'), space.file('copy.safetensors'));
    await space.run('tiny.yaml', '--set', 'training.from=first', '--out', 'one');
    const before = space.contents('one');
    const again = await space.run(
      'tiny.yaml',
      '--set',
      'training.from=copy.safetensors',
      '--out',
      'one',
    );
    expect(again.stderr).not.toMatch(/training:/);
    expect(space.contents('one')).toEqual(before);
    await space.run(
      'one/config.yaml',
      '--set',
      'training.from.weights=copy.safetensors',
      '--out',
      'two',
    );
    expect(tensors(space, 'two')).toEqual(tensors(space, 'one'));
    // Its path is relative to the folder, wherever that is.
    await space.run('one/config.yaml', '--out', 'deep/er/three');
    expect(tensors(space, 'deep/er/three')).toEqual(tensors(space, 'one'));
    await space.run('deep/er/three/config.yaml', '--out', 'four');
    expect(tensors(space, 'four')).toEqual(tensors(space, 'one'));
  });

  it('loses no weights that it begins from to --force', async () => {
    await space.run('tiny.yaml', '--set', 'seed=3', '--out', 'source');
    const before = space.contents('source');
    const args = ['run', 'tiny.yaml', '--data-dir', 'data', '--set', 'training.from=source'];
    expectRefusal(
      await bangInside([...args, '--out', 'source', '--force'], options()),
      /^bang: --force would remove .*source\/weights\.safetensors, from which the experiment is read: choose another folder with --out\n$/,
    );
    expect(space.contents('source')).toEqual(before);
  });

  it('refuses other weights: in a folder, at the path of a hash, of another shape', async () => {
    rmSync(space.file('other'), { recursive: true, force: true });
    await space.run('tiny.yaml', '--set', 'seed=2', '--out', 'other');
    await space.run('tiny.yaml', '--set', 'training.from=first', '--out', 'mine');
    const refused = (...args: string[]) =>
      bangInside(['run', 'tiny.yaml', '--data-dir', 'data', ...args], options());
    expectRefusal(
      await refused('--set', 'training.from=other', '--out', 'mine'),
      /^bang: mine holds another experiment \(training\.from\.sha256 was "[0-9a-f]+…, is "/,
    );
    const hash = `{weights: other, sha256: ${space.result('first').weights}}`;
    expectRefusal(
      await refused('--set', `training.from=${hash}`, '--out', 'never'),
      /^bang: training\.from: other\/weights\.safetensors has the hash [0-9a-f]{12}…, not /,
    );
    const cifar = fixture('cifar10_bang.caffemodel.h5');
    expectRefusal(
      await refused('--set', `training.from=${cifar}`, '--out', 'never2'),
      /cifar10_bang\.caffemodel\.h5: tensor "?conv3\.(weight|bias)"? does not belong to the network tiny, which has conv1/,
    );
    expectRefusal(
      await refused('--set', 'training.from=nowhere', '--out', 'never3'),
      /^bang: cannot read nowhere: there is no such file/,
    );
  });

  it('is refused where every network begins with random weights', async () => {
    space.write('s.yaml', 'base: sub/more.yaml\ngrid: {training.bang.beta: [1, 1.1]}\n');
    expectRefusal(
      await bangInside(['sweep', 's.yaml', '--dry-run'], options()),
      /s\.yaml:1:7: base: a sweep trains from random weights: leave out training\.from/,
    );
    space.write(
      'n.yaml',
      'study: noise\nregular: lenet-r0\nbang: sub/more.yaml\nevery: 10\nsigmas: [10]\n',
    );
    expectRefusal(
      await bangInside(['noise', 'n.yaml', '--out', 'n'], options()),
      /bang: expected a training that begins with random weights, found training\.from/,
    );
  });
});
