import { describe, expect, it } from 'vitest';
import { difference, outsideSeeds, publishedMeasures } from '#bang/paper/compare.js';
import { measuresOf, scalar, spreadOverSeeds, TABLE_QUANTITIES } from '#bang/metrics/quantities.js';
import { spreadOf } from '#bang/metrics/statistics.js';
import { publishedRow } from '#bang/paper/published.js';
import type { Row } from '#bang/metrics/row.js';
import { randomOf } from '../data/idx-bytes.js';
import { attackWith, realResult, rowWith } from '../report/entries.js';

const withAccuracy = (accuracy: number): Row => rowWith({ accuracy });
const r0 = publishedRow(1, 'R0')!;

describe('figures over seeds', () => {
  it('are those of the run if there is one', () => {
    const { row } = realResult('lenet-b1');
    const measures = measuresOf([row]);
    expect(measures.accuracy).toEqual({ value: row.accuracy });
    expect(measures.fgs_rate).toEqual({ value: row.attacks.fgs!.rate });
    const { mean, std } = row.attacks.hc1!.pass!;
    expect(measures.hc1_pass).toEqual({ value: mean, std });
    expect(Object.values(spreadOverSeeds([row])).every((spread) => spread === null)).toBe(true);
  });

  it('have the sample standard deviation', () => {
    // The squares of the distances from the mean, 5, add up to 32; there are 8 of them.
    const rows = [2, 4, 4, 4, 5, 5, 7, 9].map(withAccuracy);
    expect(measuresOf(rows).accuracy?.value).toBe(5);
    expect(spreadOverSeeds(rows).accuracy).toEqual({ value: Math.sqrt(32 / 7), seeds: 8 });
  });

  it('average deviations over images, and do not mix them with those over seeds', () => {
    const linf = (mean: number, std: number): Row =>
      rowWith({ attacks: { fgs: attackWith(900, { linf: { mean, std } }) } });
    const rows = [linf(10, 2), linf(14, 4)];
    expect(measuresOf(rows).fgs_linf).toEqual({ value: 12, std: 3 });
    expect(spreadOverSeeds(rows).fgs_linf?.value).toBeCloseTo(Math.sqrt(8), 12);
  });

  it('have no deviation over a single image, whatever an earlier version wrote', () => {
    const one = (std: number | null): Row =>
      rowWith({ attacks: { fgs: attackWith(1, { linf: { mean: 23, std } }) } });
    expect(measuresOf([one(null)]).fgs_linf).toEqual({ value: 23 });
    expect(measuresOf([one(0)]).fgs_linf).toEqual({ value: 23 });
    expect(scalar('fgs_linf_std').of(one(0))).toBeNull();
    // A deviation of 0 over two images is known.
    const two = rowWith({ attacks: { fgs: attackWith(2, { linf: { mean: 23, std: 0 } }) } });
    expect(measuresOf([two]).fgs_linf).toEqual({ value: 23, std: 0 });
    expect(measuresOf([one(0), two]).fgs_linf).toEqual({ value: 23, std: 0 });
    expect(spreadOf([NaN, 23, NaN])).toEqual({ mean: 23, std: null });
    expect(spreadOf([23, 23])).toEqual({ mean: 23, std: 0 });
  });

  it('leave out seeds in which an attack never succeeded, or had nothing to attack', () => {
    const rows = [900, 0, 800].map((n) => rowWith({ attacks: { fgs: attackWith(n) } }));
    expect(measuresOf(rows).fgs_linf).toEqual({ value: 10, std: 2 });
    expect(spreadOverSeeds(rows).fgs_linf).toEqual({ value: 0, seeds: 2 });
    expect(spreadOverSeeds(rows).fgs_rate?.seeds).toBe(3);
    const nothing = rowWith({ correct: 0, attacks: { fgs: attackWith(0, { attacked: 0 }) } });
    expect(measuresOf([nothing]).fgs_rate).toBeNull();
    expect(measuresOf([nothing, rows[0]]).fgs_rate).toEqual({ value: 90 });
    expect(spreadOverSeeds([nothing, rows[0]]).fgs_rate).toBeNull();
  });

  it('do not depend on the order; a shift moves the mean and not the deviation', () => {
    const random = randomOf(1);
    for (let round = 0; round < 200; round++) {
      const values = Array.from({ length: 2 + random(6) }, () => random(10_000) / 100);
      const shuffled = [...values].sort(() => random(3) - 1);
      const shift = random(1000) / 7;
      const of = (list: number[]) => {
        const rows = list.map(withAccuracy);
        return [measuresOf(rows).accuracy!.value, spreadOverSeeds(rows).accuracy!.value] as const;
      };
      const [mean, std] = of(values);
      expect(of(shuffled)[0]).toBeCloseTo(mean, 9);
      expect(of(shuffled)[1]).toBeCloseTo(std, 9);
      const [shiftedMean, shiftedStd] = of(values.map((value) => value + shift));
      expect(shiftedMean).toBeCloseTo(mean + shift, 9);
      expect(shiftedStd).toBeCloseTo(std, 9);
      expect(mean).toBeGreaterThanOrEqual(Math.min(...values) - 1e-9);
      expect(mean).toBeLessThanOrEqual(Math.max(...values) + 1e-9);
      expect(of(values.map((value) => 2 * value))[1]).toBeCloseTo(2 * std, 9);
    }
  });
});

describe('the difference from the published row', () => {
  it('is ours minus published, where both are', () => {
    const { row } = realResult('lenet-r0');
    const apart = difference(measuresOf([row]), publishedMeasures(r0));
    expect(apart.accuracy!.value).toBeCloseTo(99.17 - 99.16, 9);
    expect(apart.hc1_linf!.value).toBeCloseTo(112.2148 - 122.6, 3);
    expect(apart.fgs_unmasked_rate).toBeNull();
  });

  it('is marked beyond two deviations over three seeds or more', () => {
    // Deviation 1, so that what is published must be within two of the mean.
    const around = (mean: number) => [mean - 1, mean, mean + 1].map(withAccuracy);
    const marked = (rows: Row[]) => outsideSeeds(rows, r0).has('accuracy');
    expect(marked(around(r0.accuracy - 2))).toBe(false);
    expect(marked(around(r0.accuracy + 2))).toBe(false);
    expect(marked(around(r0.accuracy - 2.01))).toBe(true);
    expect(marked(around(r0.accuracy + 2.01))).toBe(true);
    expect(marked(around(r0.accuracy - 50).slice(1))).toBe(false);
    // The same in every seed, and rounding must not tell them apart.
    expect(marked(Array.from({ length: 3 }, () => withAccuracy(r0.accuracy)))).toBe(false);
    expect(marked(Array.from({ length: 3 }, () => withAccuracy(r0.accuracy + 0.1)))).toBe(true);
  });

  it('marks nothing that is not published or not known', () => {
    const rows = [1, 2, 3].map((n) =>
      rowWith({ attacks: { fgs: attackWith(0), 'fgs-unmasked': attackWith(n) } }),
    );
    const outside = outsideSeeds(rows, r0);
    expect(TABLE_QUANTITIES.filter((name) => outside.has(name))).toEqual(['accuracy', 'fgs_rate']);
  });
});
