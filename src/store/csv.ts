import { toCsv } from './csvFile.js';
import { type AttackName, ATTACK_PARTS } from '../attacks/attack.js';
import type { MaskingOfAttack, MaskingStudy } from '../metrics/masking.js';
import { attackersOf, medianLinf } from '../metrics/robustness.js';
import type { LogRow } from '../training/log.js';
import type { Entry } from './entry.js';
import { difference, outsideSeeds, publishedMeasures } from '../paper/compare.js';
import {
  type MeasuredQuantity,
  type Measures,
  measuresOf,
  quantity,
  spreadOverSeeds,
  TABLE_QUANTITIES,
} from '../metrics/quantities.js';

/** Columns about a run, which a published row leaves empty. */
const NOT_OURS = { search: '', channels: '', images: '', seeds: '', label: '' };

/** `table.csv`: the lines of the console table, with a column for each number. */
export function tableCsv(entries: readonly Entry[]): string {
  const lines = entries.flatMap((entry) => {
    const { name, labels, departs, beta, epsilon, rows, seeds, published } = entry;
    const row = rows.at(0);
    const line = (source: string, measures: Measures, more: Record<string, unknown> = {}) => ({
      name,
      table: published?.table ?? '',
      row: published?.id ?? '',
      source,
      search: row?.protocol.search ?? '',
      channels: row?.protocol.channels ?? '',
      images: row?.images ?? '',
      seeds: seeds.join(' '),
      beta,
      epsilon,
      ...flat(measures),
      outside: '',
      label: labels.join('; '),
      ...more,
    });
    const ours = measuresOf(rows);
    const lines = row ? [line('bang', ours)] : [];
    if (rows.length > 1) lines.push(line('over seeds', spreadOverSeeds(rows)));
    if (!published) return lines;
    const theirs = publishedMeasures(published);
    const { beta: theirBeta, epsilon: theirEpsilon } = published;
    const numbers = { beta: theirBeta ?? '', epsilon: theirEpsilon ?? '' };
    lines.push(line('published', theirs, { ...NOT_OURS, ...numbers }));
    if (!row || departs) return lines;
    const outside = [...outsideSeeds(entry, entries)].join(' ');
    lines.push(line('difference', difference(ours, theirs), { outside }));
    return lines;
  });
  return toCsv(lines);
}

/** The columns of the tables' quantities. PASS of unmasked FGS is never measured, but has columns. */
export const TABLE_COLUMNS = TABLE_QUANTITIES.flatMap((name) =>
  name === 'fgs_unmasked_linf' ? (['fgs_unmasked_pass', name] as const) : [name],
);

/** Each quantity as a column, or two (mean and standard deviation) if it spreads over images. */
export function flat(measures: Measures): Record<string, number | string> {
  return Object.fromEntries(
    TABLE_COLUMNS.flatMap((name) => {
      if (name === 'fgs_unmasked_pass')
        return [`${name}_mean`, `${name}_std`].map((of) => [of, '']);
      const measured = measures[name];
      const value = csvField(name, measured?.value);
      if (!quantity(name).spreads) return [[name, value]];
      return [
        [`${name}_mean`, value],
        [`${name}_std`, csvField(name, measured?.std)],
      ];
    }),
  );
}

/** A quantity rounded as in CSV files. */
export function csvNumber(name: MeasuredQuantity, value: number): number {
  return Number(value.toFixed(quantity(name).ofPass ? 6 : 4));
}

/** A quantity rounded as in CSV files; an empty field if undefined. */
export function csvField(name: MeasuredQuantity, value: number | undefined): number | string {
  return value === undefined ? '' : csvNumber(name, value);
}

/** `training.csv`: a line for every `logEvery` iterations. */
export function trainingCsv(rows: LogRow[]): string {
  const lines = rows.map((row) => ({
    iteration: row.iteration,
    learning_rate: Number(row.learningRate.toPrecision(7)),
    loss: Number(row.loss.toPrecision(7)),
    train_accuracy: Number(row.trainAccuracy.toFixed(4)),
    validation_accuracy: row.validationAccuracy ?? '',
    ...Object.fromEntries(
      Object.entries(row.eta).flatMap(([layer, { mean, max }]) => [
        [`eta_mean_${layer}`, Number(mean.toPrecision(6))],
        [`eta_max_${layer}`, Number(max.toPrecision(6))],
      ]),
    ),
  }));
  return toCsv(lines);
}

/** What the lines of a network's row say of it first. */
function columnsOf({ name, published, rows, seeds }: Entry, row: number) {
  const { images, accuracy } = rows[row];
  return {
    name,
    table: published?.table ?? '',
    row: published?.id ?? '',
    seed: seeds[row] ?? '',
    images,
    accuracy: rounded(accuracy),
  };
}

/** `robustness.csv`: a line for each network, attack and budget; the last attack is `worst`. */
export function robustnessCsv(entries: readonly Entry[]): string {
  const lines = entries.flatMap((entry) =>
    entry.rows.flatMap(({ robustness }, i) =>
      attackersOf(robustness).flatMap((attack) => {
        const { accuracy: standing } = robustness!.attacks[attack]!;
        return robustness!.budgets.map((budget, b) => ({
          ...columnsOf(entry, i),
          attack,
          median_linf: medianLinf(robustness!, attack) ?? '',
          budget,
          robust_accuracy: rounded(standing[b]),
        }));
      }),
    ),
  );
  return toCsv(lines);
}

/** A number with at most 4 decimals; an empty field if it is not known. */
export function rounded(value: number | null | undefined): number | '' {
  return value === null || value === undefined ? '' : Number(value.toFixed(4));
}

/** `masking.csv`: a line for each attack; its numbers count images. */
export function maskingCsv(name: string, { attacked, blank, attacks }: MaskingStudy): string {
  const lines = (Object.entries(attacks) as [AttackName, MaskingOfAttack][]).map(
    ([attack, found]) => ({
      name,
      attacked,
      blank,
      attack,
      fooled: found.fooled,
      fgs_fails: found.fgsFails,
      below_fgs: found.belowFgs,
      below_pgd: found.belowPgd ?? '',
      below_apgd: found.belowApgd ?? '',
    }),
  );
  return toCsv(lines);
}

/** `noise.csv`: a line for each network whose noisy copies were counted. */
export function noiseRatesCsv(entries: readonly Entry[]): string {
  const lines = entries.flatMap((entry) =>
    entry.rows.flatMap(({ noise }, i) => {
      if (!noise) return [];
      const { sigma, copies, images, flips, rate, overImages } = noise;
      return {
        ...columnsOf(entry, i),
        sigma,
        copies,
        attempted: images,
        flips,
        rate: rounded(rate),
        standard_error: rounded(overImages),
      };
    }),
  );
  return toCsv(lines);
}

/**
 * `budgets.csv`: for each network, norm and budget a line for each attack that fooled images, which counts those that
 * it fooled (`AtBudget`), and one for those that are left.
 */
export function budgetsCsv(entries: readonly Entry[]): string {
  const lines = entries.flatMap((entry) =>
    entry.rows.flatMap(({ atBudgets = [] }, i) =>
      atBudgets.flatMap(({ norm, budget, left, accuracy: standing, taken }) => {
        const line = (attack: string, count: number) => ({
          ...columnsOf(entry, i),
          norm,
          budget: rounded(budget),
          robust_accuracy: rounded(standing),
          attack,
          count,
        });
        const takers = ATTACK_PARTS.filter((attack) => taken[attack]);
        return [...takers.map((attack) => line(attack, taken[attack]!)), line('left', left)];
      }),
    ),
  );
  return toCsv(lines);
}
