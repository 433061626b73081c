import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '#bang/base/errors.js';
import { baselineOf, readBaseline, refuseOtherConfig } from '#bang/check/baseline.js';
import { holdsAll, holdsOneValue, judge, type Verdict } from '#bang/check/check.js';
import { parseConfig } from '#bang/config/parse.js';
import type { Config } from '#bang/config/experiment.js';
import type { Band } from '#bang/config/expect.js';
import { loadConfig } from '#bang/config/yamlFiles.js';
import type { Row } from '#bang/metrics/row.js';
import { overSeeds, scalar, SCALARS } from '#bang/metrics/quantities.js';
import { tinyConfig, workspace, type Workspace } from '../cli/bang.js';
import { attackWith, realResult, resultWith, rowWith } from '../report/entries.js';

let space: Workspace;
beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

const load = (block: string) => loadConfig(space.write('x.yaml', tinyConfig(`expect:\n${block}`)));

async function complaint(block: string): Promise<string> {
  const error: unknown = await load(block).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  return (error as UserError).message.replaceAll(space.file('x.yaml'), 'x.yaml');
}

describe('expect', () => {
  it('is read with the experiment, but is not part of its identity', async () => {
    const loaded = await load('  hc1_linf_mean: {min: 180}\n  accuracy: {min: 99, max: 100}');
    expect([...loaded.expect!.bands]).toEqual([
      ['accuracy', { min: 99, max: 100 }],
      ['hc1_linf_mean', { min: 180 }],
    ]);
    const without = await loadConfig(space.write('x.yaml', tinyConfig()));
    expect(JSON.stringify(loaded.config)).toBe(JSON.stringify(without.config));
    expect(without.expect).toBeUndefined();
  });

  it('is inherited band by band, and its baseline is relative to the file that sets it', async () => {
    space.write(
      'below/base.yaml',
      tinyConfig('expect: {baseline: b.json, accuracy: {min: 5}, fgs_rate: {max: 5}}'),
    );
    const file = space.write(
      'over.yaml',
      'extends: below/base.yaml\nexpect: {fgs_rate: null, accuracy: {deviations: 4}}',
    );
    const { expect: found } = await loadConfig(file);
    expect(found!.baseline).toBe(space.file('below', 'b.json'));
    expect([...found!.bands]).toEqual([['accuracy', { min: 5, deviations: 4 }]]);
  });

  it.each([
    [
      'fgs_raet: {max: 5}',
      'expect.fgs_raet: no such number, did you mean fgs_rate? (there are accuracy, blank_rate, fgs_rate,',
    ],
    ['fgs: {rate: {max: 5}}', 'expect.fgs: no such number, did you mean fgs_rate? (there are '],
    ['linf: {max: 5}', 'expect.linf: no such number, did you mean fgs_linf_mean? (there are '],
    ['speed: {max: 5}', 'expect.speed: no such number (there are accuracy, '],
    ['fgs_raet: null', 'expect.fgs_raet: no such number, did you mean fgs_rate? (there are '],
    [
      'robust_accuracy_linf_016: {min: 5}',
      'expect.robust_accuracy_linf_016: no such number (there are ',
    ],
    [
      'robust_accuracy_linf_16: {min: 5}',
      'expect.robust_accuracy_linf_16: 16 is not among evaluation.budgets in linf, in grey levels: add it there',
    ],
    ['accuracy: {mni: 5}', 'expect.accuracy.mni: unknown key, did you mean min?'],
    ['accuracy: {min: high}', 'expect.accuracy.min: expected a number, found "high"'],
    ['accuracy: {min: .nan}', 'expect.accuracy.min: expected a number, found .nan'],
    [
      'accuracy: {}',
      'expect.accuracy: expected a band, such as {min: 1, max: 2}, found an empty mapping',
    ],
    ['accuracy: 99', 'expect.accuracy: expected a mapping, found 99'],
    ['accuracy: {min: 3, max: 2}', 'expect.accuracy: the band is empty: min 3 is above max 2'],
    [
      'accuracy: {deviations: 4}',
      'expect.accuracy: deviations is relative to a baseline: name its file with expect.baseline',
    ],
    ['accuracy: {deviations: 0}', 'expect.accuracy.deviations: expected a number above 0, found 0'],
    [
      'hc1_pass_mean: {min: 0}',
      'expect.hc1_pass_mean: evaluation.pass is false, so PASS is not measured',
    ],
  ])('%s is refused', async (block, message) => {
    const complained = await complaint(`  ${block}`);
    expect(complained).toContain(message);
    expect(complained).toMatch(/^x\.yaml:\d+:\d+: |^\d problems/);
  });

  it('with an attack that is not made is refused', async () => {
    const file = space.write(
      'x.yaml',
      tinyConfig('expect: {hc1_rate: {min: 1}}').replace(
        'images: 60',
        'images: 60, attacks: [fgs]',
      ),
    );
    await expect(loadConfig(file)).rejects.toThrow('hc1 is not among evaluation.attacks');
    const other = space.write('x.yaml', tinyConfig('expect: {pgd_rate: {min: 1}}'));
    await expect(loadConfig(other)).rejects.toThrow('pgd is not among evaluation.attacks');
  });

  it('may use the old names, with a note of the new ones', async () => {
    const file = space.write(
      'x.yaml',
      tinyConfig('expect: {fgsUnmasked.linfMean: {min: 2}, blank.rate: {max: 5}}'),
    );
    const { expect: found } = await loadConfig(file);
    expect([...found!.bands]).toEqual([
      ['blank_rate', { max: 5 }],
      ['fgs_unmasked_linf_mean', { min: 2 }],
    ]);
    expect(found!.notes).toEqual([
      'expect.blank.rate is now called blank_rate',
      'expect.fgsUnmasked.linfMean is now called fgs_unmasked_linf_mean',
    ]);
    const twice = space.write(
      'y.yaml',
      tinyConfig('expect: {fgs.rate: {min: 2}, fgs_rate: {max: 5}}'),
    );
    await expect(loadConfig(twice)).rejects.toThrow(
      'fgs.rate is the old name of fgs_rate, which is given too: leave out one of them',
    );
  });

  it('with a PASS that is never measured is refused', async () => {
    const file = space.write('x.yaml', tinyConfig('expect: {fgs_unmasked_pass_mean: {min: 0}}'));
    await expect(loadConfig(file)).rejects.toThrow(
      /expect\.fgs_unmasked_pass_mean: no such number/,
    );
  });
});

/** The verdict with a baseline of 50 ± `std` for the number. */
const verdict = (name: string, band: Band, rows: Row[], std = 0.5): Verdict => {
  const around = { mean: 50, std, n: 5, min: 49, max: 51 };
  const baseline = {
    ...baselineOf([realResult('lenet-r0')]),
    figures: { [name]: around },
  };
  return judge({ baseline: 'b.json', bands: new Map([[name, band]]) }, rows, baseline)[0];
};
const accuracy = (band: Band, value: number, std?: number): Verdict =>
  verdict('accuracy', band, [rowWith({ accuracy: value })], std);

describe('a band', () => {
  it.each<[Band, number, boolean, number]>([
    [{ min: 99 }, 99, true, 0],
    [{ min: 99 }, 98.99, false, -0.01],
    [{ max: 5 }, 5, true, 0],
    [{ max: 5 }, 5.01, false, -0.01],
    [{ min: 1, max: 3 }, 2, true, 1],
    [{ min: 1, max: 3 }, 2.5, true, 0.5],
    [{ min: 2, max: 2 }, 2, true, 0],
    [{ deviations: 4 }, 52, true, 0],
    [{ deviations: 4 }, 48, true, 0],
    [{ deviations: 4 }, 47.9, false, -0.1],
    [{ deviations: 4, margin: 3 }, 53, true, 0],
    [{ deviations: 4, margin: 1 }, 52, true, 0],
    [{ margin: 1 }, 51.5, false, -0.5],
    [{ deviations: 4, min: 49.5 }, 49, false, -0.5],
    [{ deviations: 4, max: 60 }, 53, false, -1],
    // No percentage is above 100 or below 0, so what is near these has room.
    [{ margin: 52 }, 99, true, 1],
    [{ deviations: 102, min: 40 }, 90, true, 50],
    [{ deviations: 200 }, 90, true, 10],
  ])('%j around 50 ± 0.5: %d holds: %s, margin %d', (band, value, holds, margin) => {
    const found = accuracy(band, value);
    expect(found.holds).toBe(holds);
    expect(found.margin).toBeCloseTo(margin, 9);
  });

  it('ends where a number does', () => {
    expect(accuracy({ deviations: 102, min: 40 }, 90)).toMatchObject({ min: 40, max: 100 });
    expect(accuracy({ margin: 52 }, 90)).toMatchObject({ min: 0, max: 100 });
    expect(accuracy({ min: 40 }, 90)).toMatchObject({ min: 40, max: null });
  });

  it('of a percentage includes its ends exactly, for every number of images', () => {
    for (let images = 1; images <= 300; images++) {
      for (const correct of [0, 1, Math.floor(images / 3), images - 1, images]) {
        const value = (100 * correct) / images;
        // As a user would write the number that was printed.
        const written = Number(value.toPrecision(15));
        expect(accuracy({ min: written, max: written }, value).holds).toBe(true);
      }
    }
  });

  it('around a number that never varies is a single value, unless there is a margin', () => {
    expect(accuracy({ deviations: 9 }, 50, 0).holds).toBe(true);
    expect(accuracy({ deviations: 9 }, 50.1, 0).holds).toBe(false);
    expect(accuracy({ deviations: 9, margin: 0.1 }, 50.1, 0).holds).toBe(true);
    expect(holdsOneValue(accuracy({ deviations: 9 }, 50, 0))).toBe(true);
    expect(holdsOneValue(accuracy({ deviations: 9, margin: 0.1 }, 50, 0))).toBe(false);
    expect(holdsOneValue(accuracy({ min: 50, max: 50 }, 50))).toBe(false);
  });

  it.each<[Band, number, boolean]>([
    [{ deviations: 100 }, 0.5, true],
    [{ deviations: 99 }, 0.5, false],
    [{ deviations: 100, max: 99 }, 0.5, false],
    [{ min: 0 }, 0.5, true],
    [{ max: 99.99 }, 0.5, false],
  ])('%j around 50 ± %d guards against nothing: %s', (band, std, nothing) => {
    expect(holdsAll(accuracy(band, 50, std))).toBe(nothing);
  });

  it('does not hold for NaN', () => {
    expect(accuracy({ min: 0, max: 100 }, NaN).holds).toBe(false);
    expect(accuracy({ min: 0 }, NaN)).toMatchObject({ value: NaN, holds: false });
  });

  it('ends where the number cannot go on, and is not near to being missed there', () => {
    const wide = accuracy({ deviations: 3 }, 95, 16);
    expect(wide).toMatchObject({ min: 2, max: 98, margin: 3, holds: true });
    expect(accuracy({ margin: 45 }, 99, 18)).toMatchObject({ min: 5, max: 95, holds: false });
    const upper = accuracy({ deviations: 3, min: 40 }, 99, 20);
    expect(upper).toMatchObject({ min: 40, max: 100, margin: 59, holds: true });
    const lower = accuracy({ deviations: 3, max: 60 }, 1, 20);
    expect(lower).toMatchObject({ min: 0, max: 60, margin: 59, holds: true });
    expect(accuracy({ deviations: 3 }, 90, 20)).toMatchObject({ min: 0, max: 100, margin: 10 });
  });

  it.each(['fgs_rate', 'fgs_linf_mean', 'fgs_aligned_rate', 'blank_rate'])(
    'does not hold for %s without images',
    (name) => {
      const none = attackWith(0, { attacked: 0, aligned: 0 });
      const row = rowWith({ correct: 0, accuracy: 0, attacks: { fgs: none } });
      const found = judge({ bands: new Map([[name, { min: 0, max: 100 }]]) }, [row]);
      expect(found).toMatchObject([{ value: null, margin: null, holds: false }]);
    },
  );

  it('is checked against the mean of several seeds', () => {
    const rows = [49, 50, 54].map((value) => rowWith({ accuracy: value }));
    expect(verdict('accuracy', { deviations: 2 }, rows)).toMatchObject({ value: 51, holds: true });
    const unknown = rowWith({ attacks: { fgs: attackWith(0) } });
    const bands = new Map([['fgs_linf_mean', { min: 0 }]]);
    expect(judge({ bands }, [rowWith(), unknown])[0]).toMatchObject({ value: null, holds: false });
  });
});

describe('the numbers', () => {
  it('are those of the row', () => {
    const { row } = realResult('lenet-b1');
    const value = (name: string) => scalar(name).of(row);
    const { fgs, hc1 } = row.attacks;
    expect(value('accuracy')).toBe(row.accuracy);
    expect(value('blank_rate')).toBeCloseTo((100 * row.blank) / row.correct, 12);
    expect(value('fgs_rate')).toBe(fgs!.rate);
    expect(value('hc1_linf_mean')).toBe(hc1!.linf!.mean);
    expect(value('hc1_pass_std')).toBe(hc1!.pass!.std);
    expect(value('fgs_unmasked_rate')).toBe(row.attacks['fgs-unmasked']!.rate);
    expect(new Set(SCALARS.map(({ name }) => name)).size).toBe(SCALARS.length);
  });

  it('over seeds have the mean and the sample standard deviation', () => {
    // The mean is 5, and the sum of squared deviations 32.
    const rows = [2, 4, 4, 4, 5, 5, 7, 9].map((value) => rowWith({ accuracy: value }));
    const found = overSeeds(scalar('accuracy'), rows);
    expect(found).toMatchObject({ mean: 5, n: 8, min: 2, max: 9 });
    expect(found!.std).toBeCloseTo(Math.sqrt(32 / 7), 12);
  });
});

describe('a baseline', () => {
  const config = (): Config => realResult('lenet-b1').config as Config;
  const baseline = () =>
    baselineOf([1, 2].map((seed) => resultWith('lenet-b1', { config: { seed } })));

  it('is read as it was written', async () => {
    const written = baseline();
    const file = space.write('b.json', JSON.stringify(written));
    expect(await readBaseline(file)).toEqual(written);
    expect(written.seeds).toEqual([1, 2]);
    expect(written.figures.accuracy).toMatchObject({ std: 0, n: 2 });
    expect(written.config).not.toHaveProperty('seed');
    expect(written.config).not.toHaveProperty('name');
  });

  it.each([
    ['{', /is not JSON: remove it, and write it again with bang check --update-baseline$/],
    ['[]', /is not a baseline/],
    ['{"format": 2}', /is not a baseline/],
  ])('with the content %s is refused', async (text, message) => {
    const file = space.write('b.json', text);
    await expect(readBaseline(file)).rejects.toThrow(message);
    await expect(readBaseline(file)).rejects.toBeInstanceOf(UserError);
  });

  it('that does not exist is refused', async () => {
    await expect(readBaseline(space.file('none.json'))).rejects.toThrow(
      /^cannot read .*none\.json: there is no such file$/,
    );
  });

  it('fits its config with any seed and name, and no other config', () => {
    const mine = config();
    const refuse = (other: Config) => () => {
      refuseOtherConfig(baseline(), 'b.json', other);
    };
    expect(
      refuse(parseConfig({ ...mine, seed: 77, name: 'other', description: 'x' })),
    ).not.toThrow();
    const longer = parseConfig({ ...mine, training: { ...mine.training, iterations: 20_000 } });
    expect(refuse(longer)).toThrow(
      new UserError(
        'b.json is the baseline of another experiment (training.iterations was 10000, is 20000): write it again with bang check --update-baseline',
      ),
    );
    const fewer = parseConfig({ ...mine, evaluation: { ...mine.evaluation, images: 10 } });
    expect(refuse(fewer)).toThrow(/evaluation\.images was "all", is 10/);
  });

  it('that lacks a number cannot be used for its band', () => {
    const bands = new Map([['hc1_pass_mean', { deviations: 3 }]]);
    const lacking = { ...baseline(), figures: {} };
    expect(() => judge({ bands, baseline: 'b.json' }, [rowWith()], lacking)).toThrow(
      /^b\.json has no hc1_pass_mean, /,
    );
  });
});
