import { readFileSync } from 'node:fs';
import type { Result } from '#bang/store/result.js';
import type { AttackSummary, Row } from '#bang/metrics/row.js';
import { fixture } from '../fixtures.js';

/** Results of rows of Table 1, seed 1, as runs write them, without their provenance. */
export function realResult(name: 'lenet-r0' | 'lenet-b0' | 'lenet-b1'): Result {
  const all = JSON.parse(readFileSync(fixture('table1.results.json'), 'utf8')) as Record<
    string,
    Result
  >;
  return all[name];
}

/** A real result as another run would have left it. */
export function resultWith(
  name: Parameters<typeof realResult>[0],
  { config = {}, row = {}, ...rest }: Partial<Omit<Result, 'row'>> & { row?: Partial<Row> } = {},
): Result {
  const real = realResult(name);
  return { ...real, ...rest, config: { ...real.config, ...config }, row: { ...real.row, ...row } };
}

/** An attack with these successes among 1000 images. */
export function attackWith(succeeded: number, more: Partial<AttackSummary> = {}): AttackSummary {
  const none = succeeded === 0;
  return {
    attacked: 1000,
    succeeded,
    rate: succeeded / 10,
    linf: none ? null : { mean: 10, std: 2 },
    pass: null,
    aligned: null,
    seconds: { attack: 1, pass: 0 },
    ...more,
  };
}

export function rowWith(more: Partial<Row> = {}): Row {
  return {
    images: 10_000,
    accuracy: 10,
    correct: 1000,
    blank: 0,
    protocol: { search: 'bisection', channels: 'reversed' },
    attacks: { fgs: attackWith(900), 'fgs-unmasked': attackWith(905), hc1: attackWith(990) },
    ...more,
  };
}
