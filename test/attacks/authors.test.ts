import { beforeAll, describe, expect, it } from 'vitest';
import { loadData } from '#bang/data/load.js';
import { startEngine } from '#bang/engine/engine.js';
import type { Evaluation } from '#bang/metrics/evaluation.js';
import type { Row } from '#bang/metrics/row.js';
import { ENGINE } from '../engine.js';
import { networkWith } from '../fixtures.js';
import {
  agreement,
  type Authors,
  evaluated,
  linfAgreement,
  meanOf,
  referenceOf,
} from './authors.js';

beforeAll(async () => {
  await startEngine({ engine: ENGINE });
});

// All 10 000 test images on the machine's own kernels; on WebAssembly, which takes minutes for as many, the first 300.
const whole = ENGINE !== 'wasm';
describe("the authors' LeNet R0", () => {
  let authors: Authors;
  let bisected: { evaluation: Evaluation; row: Row };

  beforeAll(async () => {
    const reference = referenceOf('authors-lenet-r0.per-image.csv');
    const { test } = await loadData('mnist');
    authors = { ...(await networkWith('lenet', 'lenet.caffemodel.h5')), test, reference };
    const attacks = ['fgs', 'fgs-unmasked', 'hc1'] as const;
    const images = whole ? 'all' : 300;
    bisected = await evaluated(authors, 'bisection', [...attacks], false, images);
  }, 600_000);

  it('classifies 99.16 % and each image as the reference does', () => {
    if (whole) expect(bisected.row.accuracy).toBe(99.16);
    const { predicted, blank } = bisected.evaluation;
    expect(agreement(authors, predicted, 'predicted')).toBeGreaterThanOrEqual(0.998);
    expect(agreement(authors, blank, 'blank')).toBeGreaterThanOrEqual(0.998);
  });

  it('is attacked as in the reference, by doubling and bisection', () => {
    const { evaluation } = bisected;
    expect(linfAgreement(authors, evaluation, 'fgs', 'fgs_linf')).toBeGreaterThanOrEqual(0.998);
    expect(linfAgreement(authors, evaluation, 'hc1', 'hc1_linf')).toBeGreaterThanOrEqual(0.985);
  });

  it.runIf(whole)("has the protocol's rates and distances", () => {
    const { fgs, hc1 } = bisected.row.attacks;
    expect(fgs!.rate).toBeCloseTo(90.26, 1);
    expect(fgs!.linf!.mean).toBeCloseTo(40.52, 1);
    expect(fgs!.linf!.std).toBeCloseTo(15.67, 1);
    expect(hc1!.rate).toBeCloseTo(99.54, 1);
    expect(hc1!.linf!.mean).toBeCloseTo(122.68, 0);
    expect(hc1!.linf!.std).toBeCloseTo(49.47, 0);
  });

  // PASS of all images, and beside the published, in test/long.
  it.runIf(whole)('has the PASS of the reference', async () => {
    const { row } = await evaluated(authors, 'bisection', ['fgs', 'hc1'], true, 1000);
    for (const attack of ['fgs', 'hc1'] as const) {
      const mean = meanOf(authors, `${attack}_pass`, 1000);
      expect(Math.abs(row.attacks[attack]!.pass!.mean - mean)).toBeLessThan(0.002);
    }
  });

  it('is fooled almost always along the gradient that cannot underflow', () => {
    const unmasked = bisected.row.attacks['fgs-unmasked']!;
    if (whole) expect(unmasked.rate).toBeCloseTo(99.86, 1);
    else expect(unmasked.rate).toBeGreaterThan(99);
    expect(bisected.row.blank).toBeGreaterThan(whole ? 900 : 15);
  });

  // Of all images in test/long.
  it('is attacked as in the reference, by the exhaustive scan', async () => {
    const { evaluation } = await evaluated(
      authors,
      'scan',
      ['fgs', 'hc1'],
      false,
      whole ? 500 : 60,
    );
    const fgs = linfAgreement(authors, evaluation, 'fgs', 'fgs_linf_scan');
    expect(fgs).toBeGreaterThanOrEqual(0.998);
    const hc1 = linfAgreement(authors, evaluation, 'hc1', 'hc1_linf_scan');
    expect(hc1).toBeGreaterThanOrEqual(0.985);
  }, 600_000);
});

// The first images; all of them are in test/long.
describe("the authors' CIFAR-10 B0", () => {
  let authors: Authors;

  beforeAll(async () => {
    const reference = referenceOf('authors-cifar10-b0.per-image.csv');
    const { train, test } = await loadData('cifar10');
    const model = await networkWith('cifar10-quick', 'cifar10_bang.caffemodel.h5', train);
    authors = { ...model, test, reference };
  }, 600_000);

  it.each([
    ['bisection', ''],
    ['scan', '_scan'],
  ] as const)(
    'is attacked as in the reference, by %s',
    async (search, suffix) => {
      // No kernel computes PASS.
      const withPass = whole && search === 'bisection';
      // The scan takes ten times as long.
      const images = !whole ? 60 : search === 'scan' ? 150 : 1000;
      const { evaluation, row } = await evaluated(
        authors,
        search,
        ['fgs', 'hc1'],
        withPass,
        images,
      );
      expect(agreement(authors, evaluation.predicted, 'predicted')).toBe(1);
      expect(agreement(authors, evaluation.blank, 'blank')).toBeGreaterThanOrEqual(0.998);
      const fgs = linfAgreement(authors, evaluation, 'fgs', `fgs_linf${suffix}`);
      expect(fgs).toBeGreaterThanOrEqual(0.99);
      const hc1 = linfAgreement(authors, evaluation, 'hc1', `hc1_linf${suffix}`);
      expect(hc1).toBeGreaterThanOrEqual(0.985);
      if (!withPass) return;
      for (const attack of ['fgs', 'hc1'] as const) {
        const mean = meanOf(authors, `${attack}_pass`, images);
        expect(Math.abs(row.attacks[attack]!.pass!.mean - mean)).toBeLessThan(0.002);
      }
    },
    600_000,
  );
});
