import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ExperimentError, Interrupted, messageOf, UserError } from '../base/errors.js';
import { jsonText, packageRoot, shortageIn, writeFileAtomic } from '../base/files.js';
import { makeWritable } from '../base/folders.js';
import { shellWord } from '../base/text.js';
import { overSeeds, rangeOf, scalar, type Scalar } from '../metrics/quantities.js';
import type { Row } from '../metrics/row.js';
import { readInstallation as readTensorFlow } from '../engine/tensorflow/installation.js';
import { readInstallation as readWebgpu } from '../engine/webgpu/installation.js';
import {
  type Baseline,
  type BaselineNumber,
  baselineOf,
  readBaseline,
  refuseOtherConfig,
  refuseOtherDataThan,
} from './baseline.js';
import type { Checked } from '../config/parse.js';
import type { Config } from '../config/experiment.js';
import type { Band, Expectation } from '../config/expect.js';
import { OTHERWISE } from '../store/identity.js';
import { FILES, openFolder } from '../store/resultFolder.js';
import { loadConfig, type LoadedConfig } from '../config/yamlFiles.js';
import type { Result } from '../store/result.js';
import type { RunOptions } from '../experiment/runOptions.js';
import { runExperiment } from '../experiment/run.js';
import { runsOf } from '../store/seeds.js';

/** Whether a number is within its band. */
export interface Verdict {
  quantity: Scalar;
  /** The mean over seeds if there are several; null if it could not be measured for all seeds. */
  value: number | null;
  /** The ends of the band, which are allowed; null if there is none. */
  min: number | null;
  max: number | null;
  /** The baseline's number, if the band is relative to it. */
  baseline?: BaselineNumber;
  /**
   * The distance from the value to the nearer end that a number can be beyond, negative outside the band; null if
   * `value` is.
   */
  margin: number | null;
  holds: boolean;
}

/** The outcome of checking one config. */
export interface Outcome {
  file: string;
  /** The config's name, or the file's path if the config cannot be read. */
  name: string;
  verdicts: Verdict[];
  /** Why there are no verdicts: the experiment ran and failed, could not run, or the program has a defect. */
  problem?: { kind: 'failed' | 'unable' | 'defect'; message: string };
  seconds: number;
}

export interface CheckOptions extends Pick<
  RunOptions,
  'force' | 'dataDir' | 'threads' | 'progress' | 'signal'
> {
  /** The folder for the result folders of the configs. */
  out: string;
}

/**
 * Runs experiments and checks their numbers against their `expect` blocks. An error of one config is its
 * outcome and does not stop the others.
 *
 * @param done called with each outcome as soon as it is known
 * @throws Interrupted if the signal aborts
 */
export async function checkFiles(
  files: readonly string[],
  options: CheckOptions,
  done: (outcome: Outcome) => void,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const names = new Set<string>();
  for (const file of files) {
    const begun = performance.now();
    let [name, verdicts, problem]: [string, Verdict[], Outcome['problem']] = [file, [], undefined];
    try {
      const loaded = await loadConfig(file);
      ({ name } = loaded.config);
      if (names.has(name)) {
        throw new UserError(`another config is also named ${name}: rename one`);
      }
      names.add(name);
      verdicts = await check(loaded, options);
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      problem = problemOf(error);
    }
    const seconds = (performance.now() - begun) / 1000;
    const outcome = { file, name, verdicts, problem, seconds };
    done(outcome);
    outcomes.push(outcome);
  }
  return outcomes;
}

async function check(loaded: LoadedConfig, options: CheckOptions): Promise<Verdict[]> {
  const { file, config, expect } = loaded;
  if (!expect || expect.bands.size === 0) {
    throw new UserError(`${file} expects nothing: give it an expect block with bands`);
  }
  for (const note of expect.notes) options.progress.note(`note: ${file}: ${note}`);
  if (expect.baseline !== undefined && !existsSync(expect.baseline)) {
    throw new UserError(
      `there is no baseline ${expect.baseline} yet: bang check ${shellWord(file)} --update-baseline writes it`,
    );
  }
  const baseline = expect.baseline === undefined ? undefined : await readBaseline(expect.baseline);
  if (baseline) refuseOtherConfig(baseline, expect.baseline!, config);
  const results = await resultsOf(loaded, options);
  if (baseline) refuseOtherDataThan(baseline, expect.baseline!, results[0]);
  const verdicts = judge(
    expect,
    results.map(({ row }) => row),
    baseline,
  );
  for (const { quantity } of verdicts.filter(holdsAll)) {
    options.progress.note(
      `note: ${file}: no value misses the band of ${quantity.name}: set min or max, fewer deviations, or a baseline of more seeds`,
    );
  }
  for (const { quantity } of verdicts.filter(holdsOneValue)) {
    options.progress.note(
      `note: ${file}: ${quantity.name} is the same for all seeds of the baseline, and may differ on another machine: give it a margin`,
    );
  }
  return verdicts;
}

/** Whether a band guards against nothing, since all that the number can be is in it. */
export function holdsAll({ quantity, min, max }: Verdict): boolean {
  const [least, most] = rangeOf(quantity);
  return (min ?? least) <= least && (max ?? most) >= most;
}

/** Whether a band is a single value, since that never varied over the seeds of its baseline. */
export function holdsOneValue({ baseline, min, max }: Verdict): boolean {
  return baseline?.std === 0 && min === max;
}

function problemOf(error: unknown): Outcome['problem'] {
  const message = messageOf(error);
  if (error instanceof ExperimentError) return { kind: 'failed', message };
  if (error instanceof UserError) return { kind: 'unable', message };
  const shortage = shortageIn(error);
  if (shortage !== undefined) return { kind: 'unable', message: shortage };
  return { kind: 'defect', message: defectText(error) };
}

/** What is said of an error that is none of the user's and none of an experiment's; with its stack if that is asked for. */
function defectText(error: unknown): string {
  const { stack = '' } = error instanceof Error ? error : {};
  const where = process.env.BANG_DEBUG ? `\n${stack}` : '; BANG_DEBUG=1 shows where';
  return `${messageOf(error)}: a defect of the program${where}`;
}

/** Differences up to this size are rounding errors. */
const ROUNDING = 1e-9;

/**
 * Checks numbers against bands.
 *
 * @param rows one for each seed
 * @throws UserError if the baseline lacks a number that a band is relative to
 */
export function judge(
  { bands, baseline: file }: Pick<Expectation, 'bands' | 'baseline'>,
  rows: readonly Row[],
  baseline?: Baseline,
): Verdict[] {
  return [...bands].map(([name, band]) => {
    const quantity = scalar(name);
    const over = overSeeds(quantity, rows);
    // A band is about all seeds, so it does not hold if one could not be measured.
    const value = over?.n === rows.length ? over.mean : null;
    const around = isRelative(band) ? baseline?.figures[name] : undefined;
    if (isRelative(band) && !around) {
      throw new UserError(
        `${file} has no ${name}, which could not be measured for all its seeds: leave out deviations and margin`,
      );
    }
    const { min, max } = endsOf(band, around);
    const [least, most] = rangeOf(quantity);
    const margin = value === null ? null : marginOf(value, { min, max }, [least, most]);
    return {
      quantity,
      value,
      min: min === -Infinity ? null : Math.max(min, least),
      max: max === Infinity ? null : Math.min(max, most),
      baseline: around,
      margin,
      // False for NaN.
      holds: margin !== null && margin >= -ROUNDING,
    };
  });
}

/** The distance to the nearer end of those that a number can be beyond, or, where there is none, of its range. */
function marginOf(
  value: number,
  { min, max }: { min: number; max: number },
  [least, most]: [number, number],
): number {
  const below = min <= least ? Infinity : value - min;
  const above = max >= most ? Infinity : max - value;
  const margin = Math.min(below, above);
  return margin === Infinity ? Math.min(value - least, most - value) : margin;
}

function isRelative({ deviations, margin }: Band): boolean {
  return deviations !== undefined || margin !== undefined;
}

/** The limits, narrowed to the wider of the two tolerances around the baseline's mean. */
function endsOf(
  { min = -Infinity, max = Infinity, deviations = 0, margin = 0 }: Band,
  around?: BaselineNumber,
): { min: number; max: number } {
  if (!around) return { min, max };
  const tolerance = Math.max(deviations * around.std, margin);
  return {
    min: Math.max(min, around.mean - tolerance),
    max: Math.min(max, around.mean + tolerance),
  };
}

/** A baseline that was written, and the one before it. */
export interface Update {
  file: string;
  baseline: Baseline;
  before: Baseline | undefined;
}

/**
 * Runs configs for each seed and writes their baselines. What is wrong with any of them is found before the first run.
 *
 * @param done called with each baseline as soon as it is written
 * @throws UserError, ExperimentError or Interrupted from the runs, without writing that baseline
 */
export async function updateBaselines(
  files: readonly string[],
  seeds: number[],
  options: CheckOptions,
  done: (update: Update) => void,
): Promise<void> {
  const planned: { file: string; loaded: LoadedConfig; target: string; before?: Baseline }[] = [];
  for (const file of files) {
    const loaded = await loadConfig(file);
    const target = loaded.expect?.baseline;
    if (target === undefined) {
      throw new UserError(`${file} has no baseline: name a file with expect.baseline`);
    }
    for (const other of planned) {
      const { name } = loaded.config;
      if (other.loaded.config.name === name) {
        throw new UserError(`${other.file} and ${file} are both named ${name}: rename one`);
      }
      if (path.resolve(other.target) === path.resolve(target)) {
        throw new UserError(
          `${other.file} and ${file} have one baseline, ${target}: give each its own with expect.baseline`,
        );
      }
    }
    planned.push({ file, loaded, target, before: await baselineToReplace(target) });
  }
  for (const { loaded, target, before } of planned) {
    const baseline = baselineOf(await resultsOf({ ...loaded, seeds }, options));
    writeFileAtomic(target, jsonText(baseline));
    done({ file: target, baseline, before });
  }
}

/** @throws UserError if a baseline cannot be written there, or something else would be lost */
async function baselineToReplace(target: string): Promise<Baseline | undefined> {
  if (!existsSync(target)) {
    makeWritable(path.dirname(target));
    return undefined;
  }
  return readBaseline(target).catch((error: unknown) => {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(
      `${target} exists and is not a baseline: name another file with expect.baseline, or remove it`,
    );
  });
}

async function resultsOf(
  { config, seeds, sources }: Checked & Pick<LoadedConfig, 'sources'>,
  { out, ...options }: CheckOptions,
): Promise<Result[]> {
  const results: Result[] = [];
  const runs = runsOf({ config, seeds }, path.join(out, config.name));
  for (const run of runs) {
    options.progress.note(seeds ? `${config.name}, seed ${run.config.seed}` : config.name);
    await startAfresh(run.config, run.folder, sources, options.force);
    results.push(await runExperiment(run.config, { ...options, out: run.folder, force: false }));
  }
  return results;
}

/**
 * Empties a result folder unless the same program began it, since results of older code say nothing
 * about the current code. Runs that the same program began continue, and finished ones are kept.
 *
 * @throws UserError if it holds what no check has made, unless `force` is given
 */
async function startAfresh(
  config: Config,
  folder: string,
  inputs: readonly string[],
  force = false,
): Promise<void> {
  const mark = `${folder}.program`;
  const program = programDigest();
  const isMarked = existsSync(mark);
  if (!force && isMarked && readFileSync(mark, 'utf8') === program) return;
  if (!force && !isMarked && RESULTS.some((name) => existsSync(path.join(folder, name)))) {
    throw new UserError(`${folder} holds a run that bang check did not make: ${OTHERWISE}`);
  }
  const emptied = openFolder(folder, config, { force: true, inputs });
  // First, so that the program's mark never stands beside results of another one; an empty mark still says whose they are.
  if (isMarked) writeFileAtomic(mark, '');
  await emptied.hold(() => {
    writeFileAtomic(mark, program);
  });
}

/** What a run leaves; without them, a folder holds nothing that could be lost. */
const RESULTS = Object.values(FILES).filter((name) => name !== FILES.identity);

let digest: string | undefined;

/** A hash of everything that computes: this program, its kernels, its dependencies and Node. */
function programDigest(): string {
  if (digest !== undefined) return digest;
  const hash = createHash('sha256').update(process.version);
  hash.update(JSON.stringify([readTensorFlow(), readWebgpu()]));
  const parts = [
    'package.json',
    'node_modules/.package-lock.json',
    'dist',
    'build',
    'prebuilds',
    'native',
  ];
  for (const part of parts) {
    for (const file of filesIn(path.join(packageRoot, part))) {
      hash.update(`\0${path.relative(packageRoot, file)}\0`).update(readFileSync(file));
    }
  }
  digest = hash.digest('hex');
  return digest;
}

function filesIn(place: string): string[] {
  if (!existsSync(place)) return [];
  try {
    return readdirSync(place, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .sort();
  } catch {
    return [place];
  }
}
