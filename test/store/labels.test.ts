import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import type { Config } from '#bang/config/experiment.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import { publishedRow } from '#bang/paper/published.js';
import { CONTENTS } from '#bang/data/sources.js';
import { outsiders } from '#bang/paper/compare.js';
import { legendOf, linesOf } from '#bang/report/lines.js';
import { groupRuns, tablesOf } from '#bang/store/collect.js';
import { departuresFrom, namesApart } from '#bang/store/labels.js';
import { entryOf } from '#bang/store/entry.js';
import { loadSource } from '#bang/store/provenance.js';
import type { Result } from '#bang/store/result.js';
import { realResult, resultWith } from '../report/entries.js';

const configs = path.join(packageRoot, 'configs');
const files = readdirSync(configs).filter((name) => /^(lenet|cifar10)-[rb]\d\.yaml$/.test(name));
const b1 = publishedRow(1, 'B1')!;

/** B1 with changes of its training. */
function changed(training: object, more: Partial<Result> = {}): Result {
  const { config } = realResult('lenet-b1');
  const changed = { ...config.training, ...training } as Config['training'];
  return resultWith('lenet-b1', { ...more, config: { ...config, training: changed } });
}

describe('departures from a published row', () => {
  it('are none in any shipped configuration, and some between any two that differ', async () => {
    expect(files).toHaveLength(16);
    for (const file of files) {
      const { config } = await loadConfig(path.join(configs, file));
      const { table, row } = config.published!;
      expect(departuresFrom(publishedRow(table, row)!, config), file).toEqual([]);
      for (const other of files) {
        const { published } = (await loadConfig(path.join(configs, other))).config;
        const theirs = publishedRow(published!.table, published!.row)!;
        const isAlike =
          published!.table === table && published!.row.startsWith('R') && row.startsWith('R');
        if (other === file || isAlike) continue;
        expect(departuresFrom(theirs, config), `${file}, ${other}`).not.toEqual([]);
      }
    }
  });

  it('name each key with both values', () => {
    const of = (training: object): string[] => departuresFrom(b1, changed(training).config);
    expect(of({})).toEqual([]);
    expect(of({ iterations: 50 })).toEqual(['training.iterations 50 instead of 10000']);
    expect(of({ split: 'random' })).toEqual([]);
    // Configs had no such key at first, and trained on the first images.
    const { config } = changed({});
    const { split, ...old } = config.training!;
    expect(split).toBe('random');
    const departs = ['training.split "first" instead of "random"'];
    expect(departuresFrom(b1, { ...config, training: old })).toEqual(departs);
    expect(of({ split: 'first' })).toEqual(departs);
    expect(of({ augment: { noise: 20 } })).toEqual([
      'training.augment {"noise":20} instead of absent',
    ]);
    expect(of({ shuffle: false })).toEqual(['training.shuffle false instead of "once"']);
    expect(of({ bang: { beta: 1.2, epsilon: 0.815, ratio: 0.5 } })).toEqual([
      'training.bang.beta 1.2 instead of 1',
      'training.bang.ratio 0.5 instead of 1',
    ]);
    expect(of({ bang: undefined })).toEqual([
      'training.bang absent instead of {"beta":1,"epsilon":0.815,"ratio":1}',
    ]);
    expect(of({ logEvery: 7, checkpointEvery: 7, snapshots: 7 })).toEqual([]);
    const regular = { bang: { beta: 0, epsilon: 1, ratio: 1 } };
    expect(departuresFrom(publishedRow(1, 'R0')!, changed(regular).config)).toEqual([]);
    // Of weights from elsewhere the training is not known.
    const { model, data } = realResult('lenet-b1').config;
    expect(departuresFrom(b1, { model, data })).toEqual([]);
    expect(departuresFrom(b1, { model: 'cifar10-quick', data: 'cifar10' })).toHaveLength(2);
  });

  it('leave no difference', () => {
    const kinds = (result: Result): string[] => {
      const entry = entryOf([result]);
      return linesOf(entry, [entry]).map(({ kind }) => kind);
    };
    expect(kinds(changed({}))).toEqual(['ours', 'published', 'difference']);
    expect(kinds(changed({ iterations: 50 }))).toEqual(['ours', 'published']);
    expect(entryOf([changed({ iterations: 50 })]).labels).toEqual([
      'training.iterations 50 instead of 10000',
    ]);
    // Fashion-MNIST has files of the same names and shapes.
    const other = { ...realResult('lenet-b1').data, folder: 'fashion', sha256: 'f'.repeat(64) };
    const elsewhere = entryOf([changed({}, { data: other })]);
    expect(elsewhere.labels).toEqual(['other data']);
    expect(kinds(changed({}, { data: other }))).toEqual(['ours', 'published']);
    expect(legendOf([elsewhere]).at(-1)).toMatch(/^There is no difference on other data than/);
    expect(outsiders([elsewhere]).judged).toBe(0);
    // The same images, wherever they are.
    expect(kinds(changed({}, { data: { ...other, sha256: CONTENTS.mnist } }))).toHaveLength(3);
  });

  it.each(['mnist', 'cifar10'] as const)('know the true %s', async (name) => {
    expect((await loadSource(name, {})).sha256).toBe(CONTENTS[name]);
  });
});

describe('labels', () => {
  const labelsOf = (...results: Result[]): string[][] => {
    const { groups } = groupRuns(results.map((result, i) => ({ folder: `runs/${i}`, result })));
    const entries = tablesOf(groups).flatMap((part) => part.entries.filter(({ name }) => name));
    const looks = entries.map(({ name, labels }) => JSON.stringify([name, labels]));
    expect(new Set(looks).size).toBe(groups.length);
    return entries.map(({ labels }) => labels);
  };
  const unpublished = (result: Result): Result => {
    return { ...result, config: { ...result.config, published: undefined } };
  };

  it('say what differs', () => {
    const [a, b] = [changed({ momentum: 0.5 }), changed({ batch: 8, momentum: 0.7 })];
    expect(labelsOf(unpublished(a), unpublished(b))).toEqual(
      [
        ['training.momentum 0.5', 'training.batch 64'],
        ['training.momentum 0.7', 'training.batch 8'],
      ].map((labels) => expect.arrayContaining(labels) as unknown),
    );
    const on = (sha256: string) => changed({}, { data: { ...a.data, sha256 } });
    expect(labelsOf(changed({}), on('f'.repeat(64)), on('e'.repeat(64)))).toEqual([
      [],
      ['other data', 'images "ffffffffffff"'],
      ['other data', 'images "eeeeeeeeeeee"'],
    ]);
  });

  it('are never the same, even of names that print alike', () => {
    labelsOf(changed({}, { name: 'a\u0001' }), changed({}, { name: 'a\u0002' }));
    labelsOf(changed({}), unpublished(changed({})));
    const { model, data, evaluation } = realResult('lenet-b1').config;
    const foreign = (weights: string): Result => ({
      ...realResult('lenet-b1'),
      config: { model, data, evaluation },
      weights,
    });
    const alike = 'c'.repeat(12);
    labelsOf(foreign(`${alike}1`), foreign(`${alike}2`), foreign('d'));
  });
});

describe('names of sweeps, studies and networks', () => {
  const of = (name: string, identity: object, folder: string) => ({
    name,
    identity: identity as Record<string, unknown>,
    folder,
  });

  it('stay as they are if they are different', () => {
    expect(namesApart([of('a', { seed: 1 }, 'x'), of('b', { seed: 2 }, 'y')])).toEqual(['a', 'b']);
  });

  it('have the keys in which they differ, and the folder only if none tells them apart', () => {
    const training = { batch: 64, bang: { beta: [1, 1.5] } };
    const all = [
      of('same', { name: 'a', training, undef: undefined }, 'x/a'),
      of('same', { name: 'b', training: { ...training, batch: 32 } }, 'x/b'),
      of('same', { training: { ...training, bang: { beta: [1, 2] } } }, 'x/c'),
      of('same', { training: { ...training, bang: { beta: [1, 2] } } }, 'x/d'),
      of('other', {}, 'x/e\u001b'),
    ];
    expect(namesApart(all)).toEqual([
      'same (batch 64, beta [1,1.5])',
      'same (batch 32, beta [1,1.5])',
      'same (batch 64, beta [1,2]) in x/c',
      'same (batch 64, beta [1,2]) in x/d',
      'other',
    ]);
    expect(namesApart([all[4], all[4]].map((one) => ({ ...one })))).toEqual([
      'other in x/e\uFFFD',
      'other in x/e\uFFFD',
    ]);
  });
});
