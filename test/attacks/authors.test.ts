import { beforeAll, describe, expect, it } from 'vitest';
import type { AttackName, Protocol } from '#bang/attacks/attack.js';
import { loadData, type Dataset } from '#bang/data/dataset.js';
import { startEngine, threadCount } from '#bang/engine/engine.js';
import { evaluate, type Evaluation } from '#bang/experiment/evaluate.js';
import type { Network, Weights } from '#bang/model/network.js';
import { silent } from '#bang/progress.js';
import { publishedRow } from '#bang/report/published.js';
import { summarise, type Row } from '#bang/report/result.js';
import { fixture, networkWith, readCsv } from '../fixtures.js';

// The weights that the authors released for row R0 of Table 1, on all 10 000 test images, against
// what an independent float32 implementation of the protocol found, image by image.
const reference = readCsv(fixture('authors-lenet-r0.per-image.csv'));
const published = publishedRow(1, 'R0')!;

let network: Network;
let weights: Weights;
let test: Dataset;

beforeAll(async () => {
  await startEngine({ engine: 'native' });
  ({ network, weights } = await networkWith('lenet', 'lenet.caffemodel.h5'));
  ({ test } = await loadData('mnist'));
});

async function evaluated(search: Protocol['search'], attacks: AttackName[], pass: boolean) {
  const settings = { images: 'all', attacks, search, channels: 'reversed', pass } as const;
  const options = { threads: threadCount(), progress: silent };
  const evaluation = await evaluate(network, weights, test, settings, options);
  return { evaluation, row: summarise(evaluation) };
}

/** Share of images on which the attack failed in both, or found the same L∞. */
function agreement({ attacks }: Evaluation, attack: AttackName, column: string): number {
  const { linf } = attacks.get(attack)!;
  const same = reference.filter((line, i) =>
    line[column] === '' ? Number.isNaN(linf[i]) : Number(line[column]) === linf[i],
  );
  return same.length / reference.length;
}

describe("the authors' LeNet R0", () => {
  let bisected: { evaluation: Evaluation; row: Row };

  beforeAll(async () => {
    bisected = await evaluated('bisection', ['fgs', 'fgs-unmasked', 'hc1'], true);
  }, 600_000);

  it('classifies 99.16 % and each image as the reference does', () => {
    expect(bisected.row.accuracy).toBe(99.16);
    const { predicted, blank } = bisected.evaluation;
    const wrong = reference.filter((line, i) => Number(line.predicted) !== predicted[i]);
    const otherwise = reference.filter((line, i) => Number(line.blank) !== blank[i]);
    expect(wrong.length).toBeLessThanOrEqual(0.002 * 10_000);
    expect(otherwise.length).toBeLessThanOrEqual(0.002 * 10_000);
  });

  it('is attacked as in the reference, by doubling and bisection', () => {
    expect(agreement(bisected.evaluation, 'fgs', 'fgs_linf')).toBeGreaterThanOrEqual(0.998);
    expect(agreement(bisected.evaluation, 'hc1', 'hc1_linf')).toBeGreaterThanOrEqual(0.985);
  });

  it("has the protocol's rates and distances", () => {
    const { fgs, hc1 } = bisected.row.attacks;
    expect(fgs!.rate).toBeCloseTo(90.26, 1);
    expect(fgs!.linf!.mean).toBeCloseTo(40.52, 1);
    expect(fgs!.linf!.std).toBeCloseTo(15.67, 1);
    expect(hc1!.rate).toBeCloseTo(99.54, 1);
    expect(hc1!.linf!.mean).toBeCloseTo(122.68, 0);
    expect(hc1!.linf!.std).toBeCloseTo(49.47, 0);
  });

  it('has the PASS of the reference, as near to the published as that', () => {
    for (const [attack, column] of [
      ['fgs', 'fgs_pass'],
      ['hc1', 'hc1_pass'],
    ] as const) {
      const known = reference
        .filter((line) => line[column] !== '')
        .map((line) => Number(line[column]));
      const mean = known.reduce((sum, pass) => sum + pass, 0) / known.length;
      const ours = bisected.row.attacks[attack]!.pass!.mean;
      expect(Math.abs(ours - mean)).toBeLessThan(0.002);
      const theirs = published[attack].passMean;
      expect(Math.abs(ours - theirs)).toBeLessThan(Math.abs(mean - theirs) + 0.0005);
    }
  });

  it('is fooled almost always along the gradient that cannot underflow', () => {
    const unmasked = bisected.row.attacks['fgs-unmasked']!;
    expect(unmasked.rate).toBeCloseTo(99.86, 1);
    expect(bisected.row.blank).toBeGreaterThan(900);
  });

  it('is attacked as in the reference, by the exhaustive scan', async () => {
    const { evaluation, row } = await evaluated('scan', ['fgs', 'hc1'], false);
    expect(agreement(evaluation, 'fgs', 'fgs_linf_scan')).toBeGreaterThanOrEqual(0.998);
    expect(agreement(evaluation, 'hc1', 'hc1_linf_scan')).toBeGreaterThanOrEqual(0.985);
    expect(row.attacks.fgs!.rate).toBeCloseTo(90.33, 1);
    expect(row.attacks.hc1!.rate).toBeCloseTo(99.66, 1);
  }, 600_000);
});
