import { z } from 'zod';
import { UserError } from '../base/errors.js';
import { parseJson, readUserFile } from '../base/files.js';
import { omit } from '../base/omit.js';
import { OLD_NAMES, type OverSeeds, overSeeds, scalarsIn } from '../metrics/quantities.js';
import type { Config } from '../config/experiment.js';
import { BESIDE, differenceOf, without } from '../store/identity.js';
import type { Provenance, Result } from '../store/result.js';

const finite = z.number();

const baselineSchema = z.object({
  format: z.literal(1),
  name: z.string(),
  seeds: z.array(z.int()).min(2),
  figures: z.record(
    z.string(),
    z.object({
      mean: finite,
      std: finite.min(0),
      n: z.int().min(2),
      min: finite,
      max: finite,
    }),
  ),
  data: z.object({ name: z.string(), sha256: z.string() }),
  config: z.record(z.string(), z.unknown()),
});

/** A number over at least two seeds. */
export type BaselineNumber = OverSeeds & { std: number };

/** An experiment's numbers over several seeds, and where they come from. */
export interface Baseline {
  format: 1;
  name: string;
  seeds: number[];
  /** Numbers by name; only those that are known for all seeds. */
  figures: Partial<Record<string, BaselineNumber>>;
  data: { name: string; sha256: string };
  /** All that the numbers depend on, except for the seed. */
  config: Record<string, unknown>;
  provenance?: Omit<Provenance, 'seconds'>;
}

/** @param results one for each of at least two seeds */
export function baselineOf(results: readonly Result[]): Baseline {
  const [{ name, config, data }] = results;
  const { provenance } = results[results.length - 1];
  const rows = results.map(({ row }) => row);
  const figures = scalarsIn(rows).flatMap((one) => {
    const found = overSeeds(one, rows);
    if (found?.std == null || found.n < rows.length) return [];
    return [[one.name, { ...found, std: found.std }] as const];
  });
  return {
    format: 1,
    name,
    seeds: results.map(({ config: { seed } }) => seed!),
    figures: Object.fromEntries(figures),
    data: { name: data.name, sha256: data.sha256 },
    config: without(config, BESIDE),
    provenance: provenance && omit(provenance, 'seconds'),
  };
}

/** @throws UserError if the file cannot be read or is not a baseline */
export async function readBaseline(file: string): Promise<Baseline> {
  const value = parseJson((await readUserFile(file)).toString('utf8'));
  if (!baselineSchema.safeParse(value).success) {
    throw new UserError(
      `${file} is not ${value === undefined ? 'JSON' : 'a baseline'}: remove it, and write it again with bang check --update-baseline`,
    );
  }
  const baseline = value as Baseline;
  const figures = Object.entries(baseline.figures).map(([name, figure]) => [
    OLD_NAMES.get(name) ?? name,
    figure,
  ]);
  return { ...baseline, figures: Object.fromEntries(figures) as Baseline['figures'] };
}

/** Keys in which the experiment of a baseline may differ. How often training writes a line of its log changes no number. */
const BESIDE_BASELINE = [...BESIDE, 'training.logEvery'];

/** How a baseline's experiment differs from another; undefined if it does not. */
export function differenceFrom(baseline: Baseline, config: Config): string | undefined {
  return differenceOf(baseline.config, config, BESIDE_BASELINE);
}

/** @throws UserError if the baseline is of another experiment */
export function refuseOtherConfig(baseline: Baseline, file: string, config: Config): void {
  const difference = differenceFrom(baseline, config);
  if (difference === undefined) return;
  throw new UserError(
    `${file} is the baseline of another experiment (${difference}): write it again with bang check --update-baseline`,
  );
}

/** @throws UserError if the baseline was made on other data */
export function refuseOtherDataThan(baseline: Baseline, file: string, { data }: Result): void {
  if (baseline.data.sha256 === data.sha256) return;
  throw new UserError(
    `${file} is a baseline on other data: write it again with bang check --update-baseline`,
  );
}
