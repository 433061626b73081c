import { beforeAll, describe, expect, it } from 'vitest';
import { firstImages } from '#bang/data/dataset.js';
import { loadData } from '#bang/data/load.js';
import { startEngine } from '#bang/engine/engine.js';
import type { Evaluation } from '#bang/metrics/evaluation.js';
import type { Row } from '#bang/metrics/row.js';
import { predict } from '#bang/model/predict.js';
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

// Attacked are the first images, on WebAssembly fewer; all of them are in test/long.
const whole = ENGINE !== 'wasm';
const IMAGES = whole ? 500 : 200;

describe("the authors' LeNet R0", () => {
  let authors: Authors;
  let bisected: { evaluation: Evaluation; row: Row };

  beforeAll(async () => {
    const reference = referenceOf('authors-lenet-r0.per-image.csv');
    const { test } = await loadData('mnist');
    authors = { ...(await networkWith('lenet', 'lenet.caffemodel.h5')), test, reference };
    const attacks = ['fgs', 'fgs-unmasked', 'hc1'] as const;
    bisected = await evaluated(authors, 'bisection', [...attacks], false, IMAGES);
  }, 600_000);

  it('classifies 99.16 % and each image as the reference does', async () => {
    const { network, weights, test } = authors;
    const images = whole ? test : firstImages(test, IMAGES);
    const { predicted, blank } = await predict({ network, weights }, images);
    const right = predicted.filter((label, i) => label === test.labels[i]);
    if (whole) expect(right).toHaveLength(9916);
    expect(agreement(authors, predicted, 'predicted')).toBeGreaterThanOrEqual(0.998);
    expect(agreement(authors, blank, 'blank')).toBeGreaterThanOrEqual(0.998);
    expect(bisected.evaluation.predicted).toEqual(predicted.subarray(0, IMAGES));
  });

  it('is attacked as in the reference, by doubling and bisection', () => {
    const { evaluation, row } = bisected;
    expect(linfAgreement(authors, evaluation, 'fgs', 'fgs_linf')).toBeGreaterThanOrEqual(0.998);
    expect(linfAgreement(authors, evaluation, 'hc1', 'hc1_linf')).toBeGreaterThanOrEqual(0.985);
    for (const attack of ['fgs', 'hc1'] as const) {
      const mean = meanOf(authors, `${attack}_linf`, IMAGES);
      expect(Math.abs(row.attacks[attack]!.linf!.mean - mean)).toBeLessThan(0.2);
    }
  });

  it.runIf(whole)('has the PASS of the reference', async () => {
    const { row } = await evaluated(authors, 'bisection', ['fgs', 'hc1'], true, 100);
    for (const attack of ['fgs', 'hc1'] as const) {
      const mean = meanOf(authors, `${attack}_pass`, 100);
      expect(Math.abs(row.attacks[attack]!.pass!.mean - mean)).toBeLessThan(0.002);
    }
  });

  it('is fooled almost always along the gradient that cannot underflow', () => {
    const { attacks, blank } = bisected.row;
    expect(attacks['fgs-unmasked']!.rate).toBeGreaterThan(99.5);
    const known = authors.reference
      .slice(0, IMAGES)
      .filter((line) => line.label === line.predicted && line.blank === '1').length;
    expect(known).toBeGreaterThan(IMAGES / 20);
    expect(Math.abs(blank - known)).toBeLessThanOrEqual(0.002 * IMAGES);
  });

  it('is attacked as in the reference, by the exhaustive scan', async () => {
    const images = whole ? 100 : 20;
    const { evaluation } = await evaluated(authors, 'scan', ['fgs', 'hc1'], false, images);
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
      const images = (whole ? 100 : 40) / (search === 'scan' ? 4 : 1);
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
