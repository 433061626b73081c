import { copyFileSync, existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeSafetensors } from '#bang/model/files/safetensors.js';
import { fixture, readCsv } from '../fixtures.js';
import {
  bang,
  bangInside,
  bangInsideOk,
  expectRefusal,
  workspace,
  type Workspace,
} from './bang.js';

const AUTHORS = fixture('lenet.caffemodel.h5');
const QUICK = [
  ...['--set', 'evaluation.images=6', '--set', 'evaluation.pass=false'],
  ...['--set', 'evaluation.pgd.steps=3', '--set', 'evaluation.pgd.restarts=1'],
  ...['--set', 'evaluation.square.queries=10'],
];

/** A network of colour images that is not the paper's. */
const OWN = `data: cifar10
model:
  layers: [{ kind: innerProduct, name: out, outputs: 10 }]
`;
function ownWeights(): Uint8Array {
  const tensor = (...shape: number[]) => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    return { shape, data: Float32Array.from({ length: size }, (_, i) => Math.sin(i) / 1000) };
  };
  const tensors = { 'out.weight': tensor(10, 3072), 'out.bias': tensor(10) };
  return encodeSafetensors(new Map(Object.entries(tensors)), {});
}

let space: Workspace;
beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

describe('bang eval with budget and minimisation attacks', () => {
  it('adds tables, files and columns, and changes none of the others', async () => {
    const { cwd } = { cwd: space.folder };
    const attacks = ['--attacks', 'square,fgs,pgd'];
    const { stdout } = await bangInsideOk(
      ['eval', AUTHORS, ...QUICK, ...attacks, '--out', 'more'],
      {
        cwd,
      },
    );
    expect(stdout).toMatch(/^Robust accuracy of lenet, by L∞ in grey levels$/m);
    expect(stdout).toMatch(/│ worst of all, per image │/);
    expect(stdout).toMatch(/^Masking in lenet: \d of \d gradients are blank in float32$/m);
    await bangInsideOk(['eval', AUTHORS, ...QUICK, '--attacks', 'fgs', '--out', 'less'], { cwd });
    expect(space.list('more').filter((name) => !space.list('less').includes(name))).toEqual([
      'masking.csv',
      'robustness.csv',
    ]);
    const [more, less] = ['more', 'less'].map((name) => space.read(name, 'per-image.csv').trim());
    const shorter = more.split('\n').map((line) => line.split(',').slice(0, -2).join(','));
    expect(shorter.join('\n')).toBe(less);
    expect(Object.keys(readCsv(space.file('more', 'per-image.csv'))[0]).slice(-2)).toEqual([
      'pgd_linf',
      'square_linf',
    ]);
    const { config, row } = space.result('more');
    expect(config.evaluation).toMatchObject({
      attacks: ['fgs', 'pgd', 'square'],
      pgd: { steps: 3, restarts: 1 },
      square: { queries: 10 },
    });
    expect(row.robustness!.budgets).toEqual([8, 16, 32, 64, 77]);
    expect(stdout).toContain(row.masking!.conclusion);
    expect(space.read('less', 'config.yaml')).not.toMatch(/pgd|square/);

    const again = await bangInsideOk(['eval', AUTHORS, ...QUICK, ...attacks, '--out', 'more'], {
      cwd,
    });
    expect(again.stdout).toBe(stdout);
    expect(again.stderr).toBe('');
  });

  it.each([
    ['fgs,nope', /^bang: --attacks: expected fgs, .*, square or auto, found "nope" .*\n$/],
    ['fgs,fgs', /^bang: --attacks: fgs is in the list twice .*\n$/],
    ['', /^bang: --attacks is empty .*\n$/],
  ])('refuses --attacks %s', async (list, message) => {
    expectRefusal(await bangInside(['eval', AUTHORS, '--attacks', list]), message);
  });
});

describe('bang transfer', () => {
  it('finds that everything transfers to the same network', async () => {
    copyFileSync(AUTHORS, space.file('copy.h5'));
    const args = ['transfer', AUTHORS, 'copy.h5', ...QUICK, '--attacks', 'fgs-unmasked,pgd'];
    const { stdout } = await bangInsideOk([...args, '--out', 'both'], { cwd: space.folder });
    expect(stdout).toMatch(/│ PGD +│ copy +│/);
    const lines = readCsv(space.file('both', 'transfer.csv'));
    expect(lines.map(({ attack, from }) => `${attack} ${from}`)).toEqual([
      'fgs-unmasked lenet',
      'fgs-unmasked copy',
      'pgd lenet',
      'pgd copy',
    ]);
    for (const { images, fooled, transferred, rate } of lines) {
      expect([images, fooled, transferred, rate]).toEqual(['6', '6', '6', '100']);
    }

    const again = await bangInsideOk([...args, '--out', 'both'], { cwd: space.folder });
    expect(again.stdout).toBe(stdout);
    expect(again.stderr).toBe('');
    expect(space.list('both')).toEqual(['result.json', 'study.yaml', 'transfer.csv']);
  });

  it('continues after finished attacks when it was stopped', async () => {
    const args = ['transfer', AUTHORS, 'copy.h5', ...QUICK, '--attacks', 'fgs,fgs-unmasked,pgd'];
    const out = ['--out', 'stopped'];
    const stopped = await bang([...args, ...out], {
      cwd: space.folder,
      when: () => existsSync(space.file('stopped', 'stages', 'fgs-0.json')),
    });
    expect(stopped.code).toBe(130);
    const finished = await bangInsideOk([...args, ...out], { cwd: space.folder });
    expect(finished.stderr).not.toMatch(/^FGS on lenet/m);
    expect(finished.stderr).toMatch(/^PGD on copy/m);
    await bangInsideOk([...args, '--out', 'whole'], { cwd: space.folder });
    expect(space.read('stopped', 'transfer.csv')).toBe(space.read('whole', 'transfer.csv'));
  });

  it('attacks the networks of the paper by its protocol, and others without its reversed channels', async () => {
    const cifar = fixture('cifar10_bang.caffemodel.h5');
    const quick = ['--attacks', 'fgs', ...QUICK.slice(0, 4)];
    const channelsIn = (file: string) => /channels: (\w+)/.exec(space.read(file))![1];
    const run = (...args: string[]) => bangInsideOk([...args, ...quick], { cwd: space.folder });
    copyFileSync(cifar, space.file('cifar-copy.h5'));
    await run('transfer', cifar, 'cifar-copy.h5', '--out', 'pair');
    expect(channelsIn('pair/study.yaml')).toBe('reversed');
    await run('eval', cifar, '--set', 'evaluation.channels=null', '--out', 'paper');
    expect(channelsIn('paper/config.yaml')).toBe('reversed');
    await run('eval', cifar, '--channels', 'kept', '--out', 'kept');
    expect(channelsIn('kept/config.yaml')).toBe('kept');
    space.write('own.yaml', OWN);
    await run(
      'eval',
      space.write('own.safetensors', ownWeights()),
      '--model',
      'own.yaml',
      '--out',
      'own',
    );
    expect(channelsIn('own/config.yaml')).toBe('kept');
  });

  it('refuses networks on other data, and a folder without weights', async () => {
    const cifar = fixture('cifar10_bang.caffemodel.h5');
    const out = ['--out', space.file('never')];
    const twin = space.file('twin.h5');
    copyFileSync(AUTHORS, twin);
    expectRefusal(
      await bangInside(['transfer', AUTHORS, AUTHORS, ...out]),
      /is given twice, and to itself everything transfers: give another network/,
    );
    expectRefusal(
      await bangInside(['transfer', AUTHORS, cifar, ...out]),
      /is for mnist and .* for cifar10: give two networks for the same data/,
    );
    const scaled = ['--set', 'evaluation.logitScale=3', ...out];
    expectRefusal(
      await bangInside(['transfer', AUTHORS, twin, ...scaled]),
      /^bang: evaluation\.logitScale: a transfer has no use for it: leave it out/,
    );
    expectRefusal(
      await bangInside(['transfer', AUTHORS, twin, '--set', 'evaluation.images=10001', ...out]),
      /evaluation\.images: expected all or at most the 10000 test images, found 10001/,
    );
    // What another command made there stays.
    space.write('made/config.yaml', 'name: run\n');
    expectRefusal(
      await bangInside(['transfer', AUTHORS, twin, '--out', space.file('made'), '--force']),
      /made holds a run, which --force does not remove: choose another folder with --out/,
    );
    expectRefusal(
      await bangInside(['transfer', AUTHORS, space.folder, ...out]),
      /holds no weights\.safetensors: give a file of weights or the folder of a run/,
    );
  });
});
