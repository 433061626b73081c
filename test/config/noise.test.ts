import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { loadNoise } from '#bang/config/noise.js';
import { packageRoot } from '#bang/base/files.js';
import { publishedNoise } from '#bang/paper/published.js';

const configs = path.join(packageRoot, 'configs');
const study = (name: string) => path.join(configs, 'noise', `${name}.yaml`);

describe('the committed noise studies', () => {
  it.each([
    ['lenet', 'lenet-r0', 'lenet-b1', 500],
    ['cifar10', 'cifar10-r0', 'cifar10-b0', 1000],
  ] as const)('%s is as in the paper', async (name, regular, bang, every) => {
    const { study: found, sources } = await loadNoise(study(name));
    const load = async (file: string) =>
      (await loadConfig(path.join(configs, `${file}.yaml`))).config;
    for (const [key, file] of [
      ['regular', regular],
      ['bang', bang],
    ] as const) {
      const config = await load(file);
      expect(found.networks[key]).toEqual({
        ...config,
        training: { ...config.training, snapshots: every },
      });
      expect(found.networks[key].published?.row).toBe(publishedNoise(name)[key]);
      expect(sources).toContain(path.join(configs, `${file}.yaml`));
    }
    const { sigma } = publishedNoise(name);
    expect(found.sigmas).toEqual(Array.from({ length: 10 }, (_, i) => ((i + 1) * sigma) / 10));
    expect(found.stages).toEqual(Array.from({ length: 20 }, (_, i) => (i + 1) * every));
    expect(found).toMatchObject({ images: 100, copies: { last: 1000 }, seed: 1 });
    expect(found.copies.before).toBeGreaterThanOrEqual(100);
  });
});

describe('a noise study', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'bang-noise-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('ends with the last iteration, and may list its values of σ', async () => {
    const { study: found } = await loadNoise(study('lenet'), ['every=4000', 'sigmas=[7,0.5]']);
    expect(found.stages).toEqual([4000, 8000, 10000]);
    expect(found.sigmas).toEqual([7, 0.5]);
    expect((await loadNoise(study('lenet'), ['every=20000'])).study.stages).toEqual([10000]);
    const steps = await loadNoise(study('lenet'), ['sigmas={from: 0.1, to: 0.3, step: 0.1}']);
    expect(steps.study.sigmas).toEqual([0.1, 0.2, 0.3]);
  });

  it.each([
    [['sigma=3'], /^--set sigma: unknown key, did you mean sigmas\?$/],
    [['sigmas=[]'], /^--set sigmas: expected a list of 1 to 1000 numbers above 0, found an empty/],
    [['sigmas=[1,0]'], /sigmas\[1\]: expected a number above 0, found 0$/],
    [['sigmas=[5,5]'], /^--set sigmas: 5 is in the list twice$/],
    [['sigmas.to=3'], /^--set sigmas\.to: expected at least 10, the value of from, found 3$/],
    [
      ['sigmas={from: 10, to: 95, step: 30}'],
      /^--set sigmas: sigmas\.to: expected 10 plus a multiple of 30, such as 70, found 95$/,
    ],
    [['sigmas.step=0.001'], /sigmas: expected at most 1000 values, found 90001$/],
    [['copies.last=0'], /^--set copies\.last: expected an integer from 1 to 1000000, found 0$/],
    [['regular=../lenet-b0.yaml'], /^--set regular: expected regular training, found BANG$/],
    [['bang=../lenet-r0.yaml'], /^--set bang: expected training with BANG, found regular/],
    [['bang=none.yaml'], /^--set bang: cannot read .*none\.yaml: there is no such file$/],
    [['bang=../cifar10-b0.yaml'], /^--set bang: expected mnist, the data of regular, found cifar/m],
    [['bang=../cifar10-b0.yaml'], /^--set bang: expected 10000 iterations, as for regular/m],
    [
      ['published=cifar10'],
      /^--set published: the paper's numbers for cifar10 are for cifar10-qui/,
    ],
    [['study=noses'], /^--set study: expected noise, found "noses"$/],
  ])('is refused with a message: %j', async (overrides, message) => {
    await expect(loadNoise(study('lenet'), overrides)).rejects.toThrow(message);
  });

  it('may extend one in another folder, to which the paths of its networks are relative', async () => {
    const file = path.join(folder, 'mine.yaml');
    writeFileSync(file, `extends: ${study('lenet')}\nimages: 7\n`);
    const { study: found } = await loadNoise(file);
    const { study: original } = await loadNoise(study('lenet'));
    expect(found).toEqual({ ...original, name: 'mine', images: 7 });
  });

  it('reports a mistake in the configuration of a network with its place there', async () => {
    const network = path.join(folder, 'broken.yaml');
    writeFileSync(network, `extends: ${configs}/lenet-r0.yaml\ntraining: { batch: 0 }\n`);
    await expect(loadNoise(study('lenet'), [`regular=${network}`])).rejects.toThrow(
      /^--set regular: .*broken\.yaml:2:20: training\.batch: expected an integer, 1 or more, found 0$/,
    );
    writeFileSync(network, `extends: ${configs}/lenet-r0.yaml\nseeds: [1, 2]\n`);
    await expect(loadNoise(study('lenet'), [`regular=${network}`])).rejects.toThrow(
      /^--set regular: expected a configuration with one seed, found 2 seeds$/,
    );
  });

  it('is not mistaken for an experiment, nor the other way round', async () => {
    await expect(loadConfig(study('lenet'))).rejects.toThrow(/lenet\.yaml describes a noise study/);
    await expect(loadNoise(path.join(configs, 'lenet-r0.yaml'))).rejects.toThrow(
      /not a noise study/,
    );
  });
});
