import { beforeAll, describe, expect, it } from 'vitest';
import { loadData } from '#bang/data/load.js';
import { startEngine } from '#bang/engine/engine.js';
import { publishedRow } from '#bang/paper/published.js';
import {
  agreement,
  type Authors,
  evaluated,
  linfAgreement,
  meanOf,
  referenceOf,
} from '../attacks/authors.js';
import { networkWith } from '../fixtures.js';

// All 10 000 test images: some minutes (npm run test:long).
describe("the authors' LeNet R0, whole", () => {
  let authors: Authors;

  beforeAll(async () => {
    await startEngine({ engine: 'native' });
    const reference = referenceOf('authors-lenet-r0.per-image.csv');
    const { test } = await loadData('mnist');
    authors = { ...(await networkWith('lenet', 'lenet.caffemodel.h5')), test, reference };
  }, 600_000);

  it('has the PASS of the reference, as near to the published as that', async () => {
    const { row } = await evaluated(authors, 'bisection', ['fgs', 'hc1'], true);
    for (const attack of ['fgs', 'hc1'] as const) {
      const mean = meanOf(authors, `${attack}_pass`);
      const ours = row.attacks[attack]!.pass!.mean;
      expect(Math.abs(ours - mean)).toBeLessThan(0.002);
      const theirs = publishedRow(1, 'R0')![attack].passMean;
      expect(Math.abs(ours - theirs)).toBeLessThan(Math.abs(mean - theirs) + 0.0005);
    }
  }, 600_000);

  it("has the protocol's rates and distances, by doubling and bisection", async () => {
    const attacks = ['fgs', 'fgs-unmasked', 'hc1'] as const;
    const { evaluation, row } = await evaluated(authors, 'bisection', [...attacks], false);
    expect(linfAgreement(authors, evaluation, 'fgs', 'fgs_linf')).toBeGreaterThanOrEqual(0.998);
    expect(linfAgreement(authors, evaluation, 'hc1', 'hc1_linf')).toBeGreaterThanOrEqual(0.985);
    const { fgs, 'fgs-unmasked': unmasked, hc1 } = row.attacks;
    expect(fgs!.rate).toBeCloseTo(90.26, 1);
    expect(fgs!.linf!.mean).toBeCloseTo(40.52, 1);
    expect(fgs!.linf!.std).toBeCloseTo(15.67, 1);
    expect(hc1!.rate).toBeCloseTo(99.54, 1);
    expect(hc1!.linf!.mean).toBeCloseTo(122.68, 0);
    expect(hc1!.linf!.std).toBeCloseTo(49.47, 0);
    expect(unmasked!.rate).toBeCloseTo(99.86, 1);
    expect(row.blank).toBeGreaterThan(900);
  }, 600_000);

  it('by the exhaustive scan', async () => {
    const { evaluation, row } = await evaluated(authors, 'scan', ['fgs', 'hc1'], false);
    const fgs = linfAgreement(authors, evaluation, 'fgs', 'fgs_linf_scan');
    expect(fgs).toBeGreaterThanOrEqual(0.998);
    const hc1 = linfAgreement(authors, evaluation, 'hc1', 'hc1_linf_scan');
    expect(hc1).toBeGreaterThanOrEqual(0.985);
    expect(row.attacks.fgs!.rate).toBeCloseTo(90.33, 1);
    expect(row.attacks.hc1!.rate).toBeCloseTo(99.66, 1);
  }, 600_000);
});

describe("the authors' CIFAR-10 B0, whole", () => {
  let authors: Authors;

  beforeAll(async () => {
    await startEngine({ engine: 'native' });
    const reference = referenceOf('authors-cifar10-b0.per-image.csv');
    const { train, test } = await loadData('cifar10');
    const model = await networkWith('cifar10-quick', 'cifar10_bang.caffemodel.h5', train);
    authors = { ...model, test, reference };
  }, 600_000);

  it('by doubling and bisection', async () => {
    const { evaluation, row } = await evaluated(
      authors,
      'bisection',
      ['fgs', 'fgs-unmasked', 'hc1'],
      true,
    );
    expect(row.accuracy).toBe(79.26);
    expect(agreement(authors, evaluation.predicted, 'predicted')).toBeGreaterThanOrEqual(0.998);
    expect(agreement(authors, evaluation.blank, 'blank')).toBeGreaterThanOrEqual(0.998);
    // Logits of -20 000 whose differences decide: where the probability of the label is one or two
    // roundings below 1.0f, the direction is a difference of roundings. PyTorch's two layouts
    // (NCHW in batches of 256, channels-last in batches of 512) agree on 99.2 % of the images.
    expect(linfAgreement(authors, evaluation, 'fgs', 'fgs_linf')).toBeGreaterThanOrEqual(0.992);
    expect(linfAgreement(authors, evaluation, 'hc1', 'hc1_linf')).toBeGreaterThanOrEqual(0.985);
    const { fgs, hc1, 'fgs-unmasked': unmasked } = row.attacks;
    expect(fgs!.rate).toBeCloseTo(34.22, 0);
    expect(hc1!.rate).toBeCloseTo(95.92, 1);
    expect(unmasked!.rate).toBeCloseTo(99.7, 1);
    for (const attack of ['fgs', 'hc1'] as const) {
      const mean = meanOf(authors, `${attack}_pass`);
      const ours = row.attacks[attack]!.pass!.mean;
      expect(Math.abs(ours - mean)).toBeLessThan(0.002);
      const theirs = publishedRow(2, 'B0')![attack].passMean;
      expect(Math.abs(ours - theirs)).toBeLessThan(Math.abs(mean - theirs) + 0.0005);
    }
  }, 1_200_000);

  it('by the exhaustive scan', async () => {
    const { evaluation } = await evaluated(authors, 'scan', ['fgs', 'hc1'], false);
    expect(linfAgreement(authors, evaluation, 'fgs', 'fgs_linf_scan')).toBeGreaterThanOrEqual(
      0.992,
    );
    expect(linfAgreement(authors, evaluation, 'hc1', 'hc1_linf_scan')).toBeGreaterThanOrEqual(
      0.985,
    );
  }, 3_600_000);
});
