import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { fullText } from '#bang/cli/config.js';
import { packageRoot } from '#bang/base/files.js';
import { loadNoise } from '#bang/config/noise.js';
import { loadPlan } from '#bang/config/sweep.js';
import { kindOfFile, loadConfig, plainOf, readYaml } from '#bang/config/yamlFiles.js';
import { bangInside, expectRefusal } from './bang.js';

const folder = mkdtempSync(path.join(tmpdir(), 'bang-full-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const configs = path.join(packageRoot, 'configs');
const b1 = path.join(configs, 'lenet-b1.yaml');
const all = readdirSync(configs, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => path.join(configs, name));

function save(text: string): string {
  const file = path.join(folder, 'full.yaml');
  writeFileSync(file, text);
  return file;
}

async function contentOf(file: string): Promise<unknown> {
  if ((await kindOfFile(file)) === 'study') return (await loadNoise(file)).study;
  const { model } = plainOf(await readYaml(file, [])).value;
  if (model === undefined) {
    const { cells, keys, halving, keep } = await loadPlan(file);
    return { cells, keys, halving, keep };
  }
  const { config, seeds, expect: expected } = await loadConfig(file);
  const baseline = expected?.baseline && path.resolve(expected.baseline);
  return { config, seeds, baseline, bands: expected && [...expected.bands] };
}

describe('bang config', () => {
  it('prints what can be read again, and means and prints the same', async () => {
    expect(all.length).toBeGreaterThan(20);
    for (const file of all) {
      const text = await fullText(file);
      const full = save(text);
      expect(await contentOf(full), file).toEqual(await contentOf(file));
      expect(await fullText(full), file).toBe(text);
      expect(text).not.toMatch(/^extends:/m);
    }
  });

  it('fills in every default', async () => {
    const text = 'extends: cifar10-r0.yaml\nevaluation: {protocol: corrected, attacks: [pgd]}\n';
    const file = save(text.replace('cifar10-r0', path.join(configs, 'cifar10-r0')));
    expect(parse(await fullText(file, ['seeds=[3, 4]']))).toMatchObject({
      name: 'full',
      seeds: [3, 4],
      engine: 'auto',
      training: {
        trainOn: '50k',
        split: 'first',
        shuffle: false,
        logEvery: 500,
        checkpointEvery: 1000,
      },
      evaluation: {
        images: 'all',
        attacks: ['pgd'],
        pgd: { steps: 40, restarts: 2 },
        search: 'scan',
        channels: 'kept',
        pass: true,
      },
    });
    const noise = path.join(configs, 'noise', 'lenet.yaml');
    expect(parse(await fullText(noise, ['copies.last=7']))).toMatchObject({
      name: 'lenet',
      seed: 1,
      regular: path.join(configs, 'lenet-r0.yaml'),
      bang: b1,
      images: 100,
      copies: { last: 7, before: 100 },
    });
  });

  it('changes keys, and refuses what a run would', async () => {
    const { code, stdout } = await bangInside(['config', b1, '--set', 'training.bang.beta=1.2']);
    expect(code).toBe(0);
    expect(parse(stdout)).toMatchObject({ training: { bang: { beta: 1.2, ratio: 1 } } });
    const wrong = await bangInside(['config', b1, '--set', 'sead=2']);
    expectRefusal(wrong, /^bang: --set sead: unknown key, did you mean seed\?\n$/);
    const none = await bangInside(['config', path.join(folder, 'none.yaml')]);
    expectRefusal(none, /^bang: cannot read .*none\.yaml: there is no such file\n$/);
    const study = path.join(configs, 'noise', 'lenet.yaml');
    expectRefusal(
      await bangInside(['config', study, '--set', 'evry=1']),
      /^bang: --set evry: unknown key, did you mean every\?\n$/,
    );
  });
});
