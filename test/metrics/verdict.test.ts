import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { omit } from '#bang/base/omit.js';
import { packageRoot, readJson } from '#bang/base/files.js';
import { makeRandom } from '#bang/base/random.js';
import {
  commonBudgets,
  compareStanding,
  misleads,
  standingOf,
  tellingBudget,
} from '#bang/metrics/verdict.js';
import { collectResults } from '#bang/report/page/contents.js';
import { noiseVerdict, sweepVerdict, verdictOf } from '#bang/report/verdict.js';
import type { SweepCell } from '#bang/sweep/summary.js';
import type { NoiseResult } from '#bang/store/noise.js';
import type { Row } from '#bang/metrics/row.js';
import { readPerImage, linfValues } from '#bang/store/perImage.js';
import { readCsv } from '../fixtures.js';
import { attackWith, rowWith } from '../report/entries.js';

const results = (...parts: string[]): string => path.join(packageRoot, 'results', ...parts);

describe('what is left of a network', () => {
  it('is what the lines of per-image.csv say, within a budget and without one', async () => {
    const { parts } = await collectResults([results('robustness', 'lenet-b1', 'seed-1')]);
    const [[{ folder, result }]] = parts[0].groups.filter((group) => group.length > 0);
    const lines = readPerImage(folder, result.row)!;
    const right = lines.filter(({ label, predicted }) => label === predicted);
    const left = (attack: 'fgs' | 'fgs-unmasked', budget: number): number => {
      const [linf] = linfValues(right, attack);
      return (100 * linf.filter((value) => !(value <= budget)).length) / lines.length;
    };
    for (const budget of [8, 32, 77]) {
      expect(standingOf([result.row], budget)).toMatchObject({
        images: 1000,
        fgs: left('fgs', budget),
        unmasked: left('fgs-unmasked', budget),
      });
    }
    const any = standingOf([result.row], null);
    expect(any.fgs).toBeCloseTo(left('fgs', 255), 10);
    expect(any.unmasked).toBeCloseTo(left('fgs-unmasked', 255), 10);
    expect(any.worst).toBeUndefined();
    expect(misleads(any)).toBe('masked');
    // Where few gradients are blank, FGS is misled by something else, such as reversed channels.
    expect(misleads({ ...any, blank: 1 })).toBe('weak');
    expect(misleads({ ...any, fgs: any.unmasked })).toBeUndefined();
  });

  it('is compared at the middle of the budgets that all have', () => {
    const row = (budgets: number[], attacks = { apgd: attackWith(900) }) =>
      rowWith({ attacks, robustness: { budgets, attacks: {} } });
    expect(commonBudgets([row([1, 2, 4]), row([2, 4, 8])])).toEqual([2, 4]);
    expect(tellingBudget([row([8, 16, 32, 64, 77]), row([8, 16, 32, 64, 77])])).toBe(32);
    expect(tellingBudget([row([1]), rowWith()])).toBeNull();
    expect(tellingBudget([])).toBeNull();
    // What FGS leaves within a budget is not what is left.
    expect(tellingBudget([row([1]), row([1], { fgs: attackWith(900) } as never)])).toBeNull();
  });

  it('counts as different only beyond what drawing the images again would change', () => {
    const random = makeRandom(1, 'standing', 0);
    const images = 1000;
    const drawn = (share: number): number =>
      (100 *
        Array.from({ length: images }, () => +(random.uniform() < share)).reduce((a, b) => a + b)) /
      images;
    const one = { images, accuracy: 99, budget: 32, blank: 0, seeds: 1, worstOverSeeds: null };
    const standing = (worst: number) => ({ ...one, worst });
    const compared = (a: number, b: number) =>
      Array.from({ length: 400 }, () => compareStanding(standing(drawn(a)), standing(drawn(b))));
    // 5 % of draws from the same share are outside.
    const chance = compared(0.3, 0.3).filter((one) => one !== 'as much').length / 400;
    expect(chance).toBeGreaterThan(0.015);
    expect(chance).toBeLessThan(0.09);
    expect(new Set(compared(0.5, 0.3))).toEqual(new Set(['more']));
    expect(new Set(compared(0.1, 0.3))).toEqual(new Set(['less']));
    expect(compareStanding(standing(3), { ...standing(3), worst: undefined })).toBeUndefined();
    // With few images, no difference is not the same as an equal one.
    const few = (worst: number) => ({ ...standing(worst), images: 20 });
    expect(compareStanding(few(50), few(40))).toBe('unclear');
    expect(compareStanding(few(90), few(10))).toBe('more');
    // Nor are none or all of a few certain.
    const single = (worst: number) => ({ ...standing(worst), images: 1 });
    expect(compareStanding(single(100), single(0))).toBe('unclear');
    expect(compareStanding(single(0), single(0))).toBe('unclear');
  });

  it('counts as different only beyond what training with other seeds would change', () => {
    const random = makeRandom(1, 'seeds', 0);
    /** A network of which the attacks leave half, with so many seeds that scatter by three points. */
    const drawn = (seeds: number) => {
      const worst = Array.from({ length: seeds }, () => 50 + 3 * random.gaussian());
      const rows = worst.map((left) => {
        const attacks = { worst: { accuracy: [left] } };
        return rowWith({ images: 1e6, robustness: { budgets: [32], attacks } });
      });
      return standingOf(rows, 32);
    };
    for (const [one, other] of [
      [2, 2],
      [3, 3],
      [1, 3],
      [5, 2],
    ]) {
      const found = Array.from({ length: 1000 }, () => compareStanding(drawn(one), drawn(other)));
      const wrong = found.filter((one) => one === 'more' || one === 'less').length;
      expect(wrong, `${one} and ${other}`).toBeLessThan(1000 * 0.075);
    }
    expect(standingOf([rowWith(), rowWith()], 32).seeds).toBe(0);
  });
});

describe('the verdict on a noise study', () => {
  const study = readJson(results('noise', 'lenet', 'result.json')) as NoiseResult;
  const withDifference = (value: number, overImages: number | null): string => {
    const rows = study.rows.map((row) => ({
      ...row,
      difference: { ...row.difference, value, overImages },
    }));
    return noiseVerdict({ ...study, rows }).headline;
  };

  it('tells no difference from too few images to see one', () => {
    expect(withDifference(-0.5, 0.4)).toMatch(/withstands random noise as well as/);
    expect(withDifference(-2, 1.5)).toMatch(/^Too few images/);
    expect(withDifference(-2, null)).toMatch(/^Too few images/);
    expect(withDifference(-4, 1.5)).toMatch(/better than regular training/);
    expect(withDifference(4, 1.5)).toMatch(/less well than regular training/);
    const quiet = study.rows.map((row) => ({
      ...row,
      networks: {
        regular: { ...row.networks.regular, rate: 0 },
        bang: { ...row.networks.bang, rate: 0 },
      },
      difference: { ...row.difference, value: 0, overImages: 0 },
    }));
    expect(noiseVerdict({ ...study, rows: quiet }).headline).toMatch(/^This noise is too weak/);
    // The largest σ, wherever it stands, unless one is published.
    const config = { ...study.config, published: undefined };
    const turned = { ...study, config, rows: study.rows.toReversed() };
    const sigma = Math.max(...study.rows.map((row) => row.sigma));
    expect(noiseVerdict(turned).sentence).toMatch(`Noise of σ ${sigma} `);
  });
});

describe('the verdict on a sweep', () => {
  const cells = (linf: (x: number) => number): SweepCell[] =>
    Array.from({ length: 9 }, (_, x) => ({
      ...{ id: String(x), values: [x], seed: 1, reference: false, state: 'done' as const },
      row: rowWith({
        attacks: { 'fgs-unmasked': attackWith(900, { linf: { mean: linf(x), std: 1 } }) },
      }),
    }));

  it('calls scatter nothing that may be curvature', () => {
    const curved = sweepVerdict(
      ['training.momentum'],
      cells((x) => 60 - 2 * (x - 4) ** 2),
    );
    expect(curved.headline).toMatch(/^No plane over momentum describes the mean L∞/);
    expect(curved.sentences.join(' ')).toContain(
      'explains 0 % of its variance; the rest is curvature or scatter.',
    );
    const straight = sweepVerdict(
      ['training.momentum'],
      cells((x) => 60 - 2 * x),
    );
    expect(straight.headline).toMatch(/^momentum decides much of the mean L∞/);
    expect(straight.sentences.join(' ')).toContain('explains 100 % of its variance.');
  });

  it('credits no key that does not vary', () => {
    const all = cells((x) => 60 - 2 * x).map((cell) => ({ ...cell, values: [...cell.values, 5] }));
    const { headline } = sweepVerdict(['training.momentum', 'training.batch'], all);
    expect(headline).toMatch(/^momentum decides much of the mean L∞/);
  });

  it('counts as unfinished neither cells that halving stopped nor those that failed', () => {
    const [done, ...others] = cells((x) => x);
    const without = (state: SweepCell['state']): SweepCell[] =>
      others.map((cell) => ({ ...cell, state, row: undefined }));
    const headline = (all: readonly SweepCell[]) =>
      sweepVerdict(['training.momentum'], all).headline;
    expect(headline([done, ...without('stopped')])).toBe('1 of 9 cells done, 8 stopped early');
    expect(headline(without('failed'))).toBe('0 of 8 cells done, 8 failed');
    expect(headline(without('open'))).toBe('0 of 8 cells done');
  });
});

describe('the verdict on a table', () => {
  it('of committed results is on robust accuracy, with the numbers of robustness.csv', async () => {
    const { parts } = await collectResults([results('robustness'), results('table1')]);
    const [mnist, cifar] = parts.map((part) => verdictOf(part)!);
    expect([mnist.budget, cifar.budget]).toEqual([32, 4]);
    expect(mnist.headline).toBe(
      'BANG is less robust than regular training: what FGS says of it is masking',
    );
    expect(cifar.headline).toMatch(/^BANG is not always more robust than regular training: /);
    const worst = readdirSync(results('robustness'))
      .filter((name) => /^lenet-b[02345]$/.test(name))
      .map((name) => {
        const lines = readCsv(results('robustness', name, 'seed-1', 'robustness.csv'));
        return Number(
          lines.find(({ attack, budget }) => attack === 'worst' && budget === '32')!
            .robust_accuracy,
        );
      });
    expect(mnist.sentences.join(' ')).toContain(
      `the worst attack leaves ${Math.min(...worst).toFixed(1)} to ${Math.max(...worst).toFixed(1)} %`,
    );
  });

  it('without stronger attacks says what FGS hides, and that this decides nothing', async () => {
    const { parts } = await collectResults([results('table1')]);
    const verdict = verdictOf(parts[0])!;
    expect(verdict.budget).toBeNull();
    expect(verdict.headline).toBe('FGS misleads about BANG: its gradients are masked');
    expect(verdict.sentences.at(-1)).toContain('evaluate with stronger attacks');
  });

  it('claims no comparison of attacks that were not made', async () => {
    const { parts } = await collectResults([results('table1')]);
    const [part] = parts;
    const headlineWith = (attacks: readonly string[], blank?: number): string => {
      const entries = part.entries.map((entry) => ({
        ...entry,
        rows: entry.rows.map((row) => ({
          ...row,
          blank: blank ?? row.blank,
          attacks: Object.fromEntries(
            Object.entries(row.attacks).filter(([name]) => attacks.includes(name)),
          ),
        })),
      }));
      return verdictOf({ ...part, entries })!.headline;
    };
    expect(headlineWith(['fgs'])).toBe('One attack alone does not tell what is masked');
    expect(headlineWith(['fgs', 'fgs-unmasked'])).toMatch(/gradients are masked/);
    expect(headlineWith(['fgs', 'fgs-unmasked'], 1)).toBe(
      'FGS misleads about BANG: unmasked FGS leaves much less',
    );
  });

  it('names other trainings for what they are, and compares BANG with none of them', async () => {
    const { parts } = await collectResults([results('table1')]);
    const [part] = parts;
    const robust = part.entries.findIndex(({ rows }) => rows.length > 0);
    const [first] = part.groups[robust];
    const { result } = first;
    const training = { ...result.config.training!, adversarial: { epsilon: 32, steps: 5 } };
    const changed = { ...first, result: { ...result, config: { ...result.config, training } } };
    const groups = part.groups.map((group, i) => (i === robust ? [changed] : group));
    const verdict = verdictOf({ ...part, groups })!;
    const { name } = part.entries[robust];
    const words = 'adversarial images (PGD of 5 steps, L∞ ≤ 32)';
    expect(verdict.judged.find(({ entry }) => entry.name === name)!.training).toBe(words);
    const leaves = new RegExp(`Unmasked FGS leaves [\\d.]+ % of ${name}, trained with adv`);
    expect(verdict.sentences.join(' ')).toMatch(leaves);
    const before = verdictOf(part)!.sentences;
    expect(before.join(' ')).not.toMatch(leaves);
    expect(verdict.judged.filter(({ training: of }) => of === 'regular').length).toBeLessThan(
      verdictOf(part)!.judged.filter(({ training: of }) => of === 'regular').length,
    );
  });

  it('compares only networks that were attacked alike on the same images', async () => {
    const { parts } = await collectResults([results('robustness')]);
    const [part] = parts;
    const headline = (change: (row: Row, name: string) => Row): string => {
      const entries = part.entries.map((entry) => ({
        ...entry,
        rows: entry.rows.map((row) => change(row, entry.name)),
      }));
      return verdictOf({ ...part, entries })!.headline;
    };
    // The authors' R0, and ours.
    const isRegular = (name: string): boolean => ['lenet', 'lenet-r0'].includes(name);
    const before = headline((row) => row);
    // As if the regular networks had been attacked by less: then nothing is said of them.
    const weaker = headline((row, name) => {
      if (!isRegular(name)) return row;
      const attacks = omit(row.robustness!.attacks, 'auto');
      return { ...row, robustness: { ...row.robustness!, attacks } };
    });
    expect(before).toContain('than regular training');
    expect(weaker).toBe('FGS misleads about BANG: its gradients are masked');
    const other = part.groups.map((group) =>
      group.map((run) => {
        if (!isRegular(run.result.name)) return run;
        return { ...run, result: { ...run.result, data: { ...run.result.data, sha256: 'x' } } };
      }),
    );
    expect(verdictOf({ ...part, groups: other })!.headline).toBe(weaker);
  });

  it('compares only what the attacks tried equally hard on, and names single trainings', async () => {
    const folders = ['lenet-r0', 'lenet-b1'].map((name) => results('robustness', name, 'seed-1'));
    const { parts } = await collectResults(folders);
    const [part] = parts;
    const verdictWith = (apgd: { steps: number; restarts: number }) => {
      const groups = part.groups.map((group) =>
        group.map((run) => {
          const { config, name } = run.result;
          if (name !== 'lenet-r0') return run;
          const evaluation = { ...config.evaluation!, apgd };
          return { ...run, result: { ...run.result, config: { ...config, evaluation } } };
        }),
      );
      return verdictOf({ ...part, groups })!;
    };
    const { apgd } = part.groups.flat()[0].result.config.evaluation!;
    const alike = verdictWith(apgd!);
    expect(alike.headline).toContain('than regular training');
    expect(alike.sentences.join(' ')).toContain('Each network is of one training');
    const harder = verdictWith({ ...apgd!, steps: apgd!.steps + 1 });
    expect(harder.judged).toHaveLength(1);
    expect(harder.headline).not.toContain('than regular training');
    // FGS alone, even within budgets, says nothing of that.
    const entries = part.entries.map((entry) => ({
      ...entry,
      rows: entry.rows.map(({ attacks: { fgs }, robustness, ...row }) => ({
        ...row,
        attacks: { fgs },
        robustness: robustness && { ...robustness, attacks: { fgs: robustness.attacks.fgs } },
      })),
    }));
    expect(verdictOf({ ...part, entries })!.headline).not.toContain('than regular training');
  });

  it('is on the most networks that share a budget, and says so where budgets are in L2 only', async () => {
    const folders = ['lenet-r0', 'lenet-b1', 'lenet-b2'];
    const { parts } = await collectResults(
      folders.map((name) => results('robustness', name, 'seed-1')),
    );
    const [part] = parts;
    const verdictWith = (change: (row: Row, name: string) => Row) => {
      const entries = part.entries.map((entry) => ({
        ...entry,
        rows: entry.rows.map((row) => change(row, entry.name)),
      }));
      return verdictOf({ ...part, entries })!;
    };
    const other = verdictWith((row, name) =>
      name === 'lenet-r0'
        ? { ...row, robustness: { ...row.robustness!, budgets: [5, 6, 7, 9, 10] } }
        : row,
    );
    expect(other.judged.map(({ entry: { name } }) => name)).toEqual(['lenet-b1', 'lenet-b2']);
    expect(other.budget).toBe(32);
    const advice = 'evaluate with stronger attacks';
    expect(other.sentences.join(' ')).not.toContain(advice);
    const inL2 = verdictWith(({ attacks: { fgs }, ...row }) => ({
      ...omit(row, 'robustness'),
      attacks: { fgs },
    }));
    expect(inL2.budget).toBeNull();
    expect(inL2.sentences.join(' ')).toContain('Stronger attacks were made in L2 only');
    expect(inL2.sentences.join(' ')).not.toContain(advice);
  });

  it('takes no network whose training is not known for a regular one', async () => {
    const { parts } = await collectResults([results('robustness', 'lenet-r0', 'seed-1')]);
    const [part] = parts;
    const i = part.entries.findIndex(({ rows }) => rows.length > 0);
    const [run] = part.groups[i];
    const config = omit(run.result.config, 'training');
    const foreign = {
      title: 'Not in the paper',
      entries: [{ ...part.entries[i], published: undefined }],
      groups: [[{ ...run, result: { ...run.result, config } }]],
    };
    const { judged, sentences, headline } = verdictOf(foreign)!;
    expect(judged[0].training).toBe('training not known');
    expect(sentences[0]).toMatch(/of this network: FGS says/);
    expect(headline).toMatch(/^FGS leaves [\d.]+ %, the worst attack [\d.]+ %$/);
  });

  it('of one regular network is on that alone, and there is none without attacks', async () => {
    const { parts } = await collectResults([results('table1', 'lenet-r0')]);
    expect(verdictOf(parts[0])!.headline).toBe('FGS says what unmasked FGS says');
    const [part] = parts;
    const rows = [rowWith({ attacks: {} })];
    const entries = part.entries.map((entry) =>
      entry.rows.length > 0 ? { ...entry, rows } : entry,
    );
    expect(verdictOf({ ...part, entries })).toBeUndefined();
    expect(standingOf([rowWith({ attacks: { fgs: attackWith(0) } })], null).fgs).toBeDefined();
  });
});
