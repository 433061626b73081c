import type { AttackName, Protocol } from '#bang/attacks/attack.js';
import type { Dataset } from '#bang/data/dataset.js';
import { threadCount } from '#bang/engine/engine.js';
import { evaluate } from '#bang/experiment/evaluate.js';
import type { Evaluation } from '#bang/metrics/evaluation.js';
import type { Network, Weights } from '#bang/model/network.js';
import { silent } from '#bang/base/progress.js';
import { type Row, summarise } from '#bang/metrics/row.js';
import { fixture, readCsv } from '../fixtures.js';

/**
 * Weights that the authors released, and what an independent float32 implementation of the protocol
 * found on them, image by image.
 */
export interface Authors {
  network: Network;
  weights: Weights;
  test: Dataset;
  reference: Record<string, string>[];
}

export function referenceOf(file: string): Record<string, string>[] {
  return readCsv(fixture(file));
}

/** Evaluates by the paper's protocol, but for the search. */
export async function evaluated(
  { network, weights, test }: Authors,
  search: Protocol['search'],
  attacks: AttackName[],
  pass: boolean,
  images: number | 'all' = 'all',
): Promise<{ evaluation: Evaluation; row: Row }> {
  const settings = { images, attacks, search, channels: 'reversed', pass } as const;
  const options = { threads: threadCount(), progress: silent };
  const evaluation = await evaluate({ network, weights }, test, settings, options);
  return { evaluation, row: summarise(evaluation) };
}

/** Share of the images on which the attack failed in both, or found the same L∞. */
export function linfAgreement(
  { reference }: Authors,
  { attacks, images }: Evaluation,
  attack: AttackName,
  column: string,
): number {
  const { linf } = attacks.get(attack)!;
  const same = reference
    .slice(0, images)
    .filter((line, i) =>
      line[column] === '' ? Number.isNaN(linf[i]) : Number(line[column]) === linf[i],
    );
  return same.length / images;
}

/** Share of the images for which a column of the reference has the same number. */
export function agreement({ reference }: Authors, values: Uint8Array, column: string): number {
  const lines = reference.slice(0, values.length);
  return lines.filter((line, i) => Number(line[column]) === values[i]).length / values.length;
}

/** Mean of a column of the reference, over the images that have it. */
export function meanOf({ reference }: Authors, column: string, images = reference.length): number {
  const known = reference.slice(0, images).filter((line) => line[column] !== '');
  return known.reduce((sum, line) => sum + Number(line[column]), 0) / known.length;
}
