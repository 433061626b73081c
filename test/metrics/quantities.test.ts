import { describe, expect, it } from 'vitest';
import { difference, outsiders, outsideSeeds, publishedMeasures } from '#bang/paper/compare.js';
import { measuresOf, scalar, spreadOverSeeds, TABLE_QUANTITIES } from '#bang/metrics/quantities.js';
import { spreadOf, studentChance } from '#bang/metrics/statistics.js';
import { publishedRow } from '#bang/paper/published.js';
import type { Row } from '#bang/metrics/row.js';
import { makeRandom } from '#bang/base/random.js';
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

  const around = (mean: number) => [mean - 1, mean, mean + 1].map(withAccuracy);
  const single = (rows: Row[]) => ({ rows, published: r0 });

  it('is marked outside the prediction interval over three seeds or more', () => {
    // Deviation 1; the quantile of t with two degrees of freedom is 4.303, and √(1 + 1/3) of it 4.968.
    const marked = (rows: Row[]) => outsideSeeds(single(rows), [single(rows)]).has('accuracy');
    expect(marked(around(r0.accuracy - 4.96))).toBe(false);
    expect(marked(around(r0.accuracy + 4.96))).toBe(false);
    expect(marked(around(r0.accuracy - 4.98))).toBe(true);
    expect(marked(around(r0.accuracy + 4.98))).toBe(true);
    expect(marked(around(r0.accuracy - 50).slice(1))).toBe(false);
    // The same in every seed, and rounding must not tell them apart.
    expect(marked(Array.from({ length: 3 }, () => withAccuracy(r0.accuracy)))).toBe(false);
    expect(marked(Array.from({ length: 3 }, () => withAccuracy(r0.accuracy + 0.1)))).toBe(true);
  });

  it('marks nothing that is not published or not known', () => {
    const rows = [1, 2, 3].map((n) =>
      rowWith({ attacks: { fgs: attackWith(0), 'fgs-unmasked': attackWith(n) } }),
    );
    const outside = outsideSeeds(single(rows), [single(rows)]);
    expect(TABLE_QUANTITIES.filter((name) => outside.has(name))).toEqual(['accuracy', 'fgs_rate']);
  });

  it('pools deviations over the rows that are trained likewise', () => {
    const b0 = publishedRow(1, 'B0')!;
    const regular = single(around(r0.accuracy));
    // Four degrees of freedom: 2.776 · √(1 + 1/3) = 3.206; a single training 2.776 · √2 = 3.926.
    const marked = (rows: Row[], published = r0) => {
      const one = { rows, published };
      return outsideSeeds(one, [regular, one]).has('accuracy');
    };
    expect(marked(around(r0.accuracy + 3.2))).toBe(false);
    expect(marked(around(r0.accuracy + 3.22))).toBe(true);
    const pair = { ...regular, rows: around(50) };
    const one = single([withAccuracy(r0.accuracy + 3.92)]);
    const other = single([withAccuracy(r0.accuracy + 3.94)]);
    expect(outsideSeeds(one, [regular, pair, one]).has('accuracy')).toBe(false);
    expect(outsideSeeds(other, [regular, pair, other]).has('accuracy')).toBe(true);
    // Rows with BANG, and what is no repetition, have deviations of their own.
    expect(marked([withAccuracy(50)], b0)).toBe(false);
    const departing = { ...pair, departs: true };
    expect(outsideSeeds(one, [departing, one]).size).toBe(0);
    expect(outsideSeeds(departing, [departing]).size).toBe(0);
    const subset = { ...pair, differs: true };
    expect(outsideSeeds(one, [subset, one]).size).toBe(0);
    expect(outsideSeeds(subset, [subset, regular]).size).toBe(0);
  });

  it('is counted over a table, and over the rows whose values are tested together', () => {
    const accuracies = (mean: number) => around(mean).map((row): Row => ({ ...row, attacks: {} }));
    const far = single(accuracies(r0.accuracy + 100));
    // One value a row, so a row is outside when it is.
    expect(outsiders([single(accuracies(r0.accuracy)), far])).toEqual({
      judged: 2,
      outside: 1,
      rows: [far],
    });
    // Not one of which nothing is known.
    expect(outsiders([{ ...far, differs: true }, far]).rows).toEqual([far]);
    expect(outsiders([])).toEqual({ judged: 0, outside: 0, rows: [] });
  });
});

describe("the chance of Student's t", () => {
  it('is 5 % at the quantiles of the tables', () => {
    const quantiles = {
      1: 12.7062,
      2: 4.3027,
      3: 3.1824,
      4: 2.7764,
      5: 2.5706,
      12: 2.1788,
      24: 2.0639,
      25: 2.0595,
    };
    for (const [degrees, quantile] of Object.entries(quantiles)) {
      expect(studentChance(quantile, Number(degrees))).toBeCloseTo(0.05, 5);
    }
    expect(studentChance(0, 7)).toBe(1);
    expect(studentChance(1e9, 7)).toBeCloseTo(0, 12);
  });

  it('is what the density adds up to, for any t and degrees of freedom', () => {
    const random = makeRandom(1, 'student');
    for (let i = 0; i < 200; i++) {
      const degrees = 1 + Math.floor(40 * random.uniform());
      const t = 5 * random.uniform();
      const density = (x: number) => (1 + x ** 2 / degrees) ** (-(degrees + 1) / 2);
      // Of the angle, whose range is finite: x = √degrees · tan(angle).
      const integral = (to: number) => {
        const steps = 2000;
        let sum = 0;
        for (let k = 0; k < steps; k++) {
          const angle = ((k + 0.5) / steps) * to;
          const x = Math.sqrt(degrees) * Math.tan(angle);
          sum += (density(x) / Math.cos(angle) ** 2) * (to / steps);
        }
        return sum;
      };
      const inside = integral(Math.atan(t / Math.sqrt(degrees))) / integral(Math.PI / 2);
      expect(studentChance(t, degrees)).toBeCloseTo(1 - inside, 4);
    }
  });
});
