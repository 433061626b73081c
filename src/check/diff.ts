import path from 'node:path';
import { UserError } from '../base/errors.js';
import { isFile, readJson } from '../base/files.js';
import { overSeeds, type Scalar, scalarsIn, type OverSeeds } from '../metrics/quantities.js';
import type { Config } from '../config/experiment.js';
import { type Baseline, differenceFrom } from './baseline.js';
import {
  findRuns,
  groupRuns,
  leftOut,
  refuseNoFolder,
  refuseNothing,
  type FoundRun,
} from '../store/collect.js';
import type { Row } from '../metrics/row.js';
import { type Difference, differencesIn } from '../store/identity.js';
import { FILES } from '../store/resultFolder.js';
import type { CsvLine } from '../store/csvFile.js';
import { measuredHeadings, readPerImage } from '../store/perImage.js';
import { isResult } from '../store/result.js';

/** The runs of one experiment: a single run, or one for each seed. */
export interface Side {
  runs: FoundRun[];
  /** A sentence for each run that is left out. */
  notes: string[];
}

/** The change of a number. */
export interface QuantityChange {
  quantity: Scalar;
  a: OverSeeds | null;
  b: OverSeeds | null;
  /** b − a; null if one of them is not known. */
  difference: number | null;
  /** The difference divided by its standard deviation over seeds; null if that is not known. */
  deviations: number | null;
}

/** The changes of a column of `per-image.csv`. */
export interface ColumnChange {
  column: string;
  /** The number of images with another value. */
  changed: number;
  /** Of these, images that have a value only in the second run, or only in the first. */
  gained: number;
  lost: number;
  /** The largest change of images with a value in both runs. */
  most: number;
}

/** The changes of single images, summed over all pairs of runs with the same seed. */
export interface ImageChanges {
  images: number;
  predicted: { changed: number; toWrong: number; toRight: number };
  blank: { became: number; ceased: number };
  columns: ColumnChange[];
}

export interface RunDiff {
  config: Difference[];
  provenance: Difference[];
  /** Whether the weights are equal bit for bit; null if no seed is in both. */
  sameWeights: boolean | null;
  changes: QuantityChange[];
  /** The source of the standard deviations over seeds; null if they are not known. */
  noise: string | null;
  images: ImageChanges | null;
  notes: string[];
}

/** Differences up to this many standard deviations may be due to chance. */
export const NOISE = 2;

/**
 * Reads the runs of one experiment.
 *
 * @param place a result folder, its `result.json`, or a folder with a run for each seed
 * @throws UserError if there is no result, or if there is more than one experiment
 */
export function readSide(place: string): Side {
  if (isFile(place)) {
    const result = readJson(place);
    if (!isResult(result)) throw new UserError(`${place} is not the ${FILES.result} of a run`);
    return { runs: [{ folder: path.dirname(place), result }], notes: [] };
  }
  refuseNoFolder(place, 'either');
  const found = findRuns([place]);
  refuseNothing(found, [place]);
  const { groups, notes } = groupRuns(found.runs);
  if (groups.length > 1) {
    const folders = groups.slice(0, 3).map(([{ folder }]) => folder);
    throw new UserError(
      `${place} holds ${groups.length} experiments: name the folder of one (${folders.join(', ')} …)`,
    );
  }
  return { runs: groups[0], notes: [...leftOut(found), ...notes] };
}

/**
 * The changes from one experiment to another.
 *
 * @param baseline gives the standard deviations over seeds; without it they are computed from the runs
 *   if there are enough
 */
export function diffRuns(a: Side, b: Side, baseline?: Baseline): RunDiff {
  const [first, second] = [a.runs[0].result, b.runs[0].result];
  const notes = [...a.notes, ...b.notes];
  const pairs = pairsOf(a, b);
  const sameData = first.data.sha256 === second.data.sha256;
  if (!sameData) notes.push('the data are not the same, so images are not compared');
  const images = sameData ? imagesOf(pairs, notes) : null;
  if (sameData && pairs.length === 0) notes.push('no seed is in both, so images are not compared');
  const severalSeeds = a.runs.length > 1 || b.runs.length > 1;
  const known = a.runs.length + b.runs.length > 3;
  const seedsOf = ({ runs }: Side): string =>
    runs.map(({ result }) => result.config.seed ?? 'unknown').join(', ');
  if (severalSeeds && seedsOf(a) !== seedsOf(b)) {
    notes.push(
      `A has the seeds ${seedsOf(a)}, B ${seedsOf(b)}: what differs is in part due to that`,
    );
  }
  const foreign =
    baseline &&
    [first, second].every(({ config }) => differenceFrom(baseline, config as Config) !== undefined);
  if (foreign) {
    notes.push(
      'the baseline is of another experiment than either: its scatter over seeds may not be theirs',
    );
  }
  if (first.row.images !== second.row.images) {
    notes.push(`A is measured on ${first.row.images} images, B on ${second.row.images}`);
  }
  const rows = [...a.runs, ...b.runs].map(({ result }) => result.row);
  return {
    config: differencesIn(first.config, second.config, severalSeeds ? ['seed'] : []),
    provenance: differencesIn(provenanceOf(a), provenanceOf(b)),
    sameWeights:
      pairs.length === 0 ? null : pairs.every(([x, y]) => x.result.weights === y.result.weights),
    changes: scalarsIn(rows).flatMap((quantity) => changeOf(quantity, a, b, baseline) ?? []),
    noise: baseline ? 'the baseline' : known ? 'the seeds of the runs' : null,
    images,
    notes,
  };
}

function provenanceOf({ runs: [{ result }] }: Side): Record<string, unknown> {
  const { bang, node, platform, cpu, engine } = result.provenance ?? {};
  return { bang, node, platform, cpu, engine, data: result.data.sha256 };
}

/** Pairs of runs with the same seed; two single runs are a pair whatever their seeds. */
function pairsOf(a: Side, b: Side): [FoundRun, FoundRun][] {
  if (a.runs.length === 1 && b.runs.length === 1) return [[a.runs[0], b.runs[0]]];
  return a.runs.flatMap((one): [FoundRun, FoundRun][] => {
    const other = b.runs.find(({ result }) => result.config.seed === one.result.config.seed);
    return other ? [[one, other]] : [];
  });
}

function changeOf(
  quantity: Scalar,
  sideA: Side,
  sideB: Side,
  baseline?: Baseline,
): QuantityChange | undefined {
  const of = ({ runs }: Side) =>
    overSeeds(
      quantity,
      runs.map(({ result }) => result.row),
    );
  const [a, b] = [of(sideA), of(sideB)];
  if (!a && !b) return undefined;
  if (!a || !b) return { quantity, a, b, difference: null, deviations: null };
  const difference = b.mean - a.mean;
  const std = baseline ? baseline.figures[quantity.name]?.std : pooledStd(a, b);
  const chance = std === undefined ? undefined : std * Math.sqrt(1 / a.n + 1 / b.n);
  const deviations = chance === undefined ? null : difference === 0 ? 0 : difference / chance;
  return { quantity, a, b, difference, deviations };
}

/** The pooled standard deviation of two groups of seeds, if there are enough of them. */
function pooledStd(a: OverSeeds, b: OverSeeds): number | undefined {
  const freedom = a.n + b.n - 2;
  if (freedom < 2) return undefined;
  return Math.sqrt((squaresOf(a) + squaresOf(b)) / freedom);
}

/** The sum of squared deviations from the mean. */
function squaresOf({ n, std }: OverSeeds): number {
  return std === null ? 0 : (n - 1) * std ** 2;
}

/** The changes of the images of all pairs; null if the images of none can be compared. */
function imagesOf(pairs: readonly [FoundRun, FoundRun][], notes: string[]): ImageChanges | null {
  let changes: ImageChanges | null = null;
  for (const [a, b] of pairs) {
    const [before, after] = [linesOf(a, notes), linesOf(b, notes)];
    if (!before || !after) continue;
    const images = Math.min(before.length, after.length);
    if (before.length !== after.length) {
      notes.push(`only the first ${images} images are in both`);
    }
    changes ??= unchanged(a.result.row, b.result.row);
    changes.images += images;
    for (let i = 0; i < images; i++) compareImage(before[i], after[i], changes);
  }
  return changes;
}

/** No changes yet, of the columns that both rows have. */
function unchanged(a: Row, b: Row): ImageChanges {
  const inBoth = new Set(measuredHeadings(b));
  return {
    images: 0,
    predicted: { changed: 0, toWrong: 0, toRight: 0 },
    blank: { became: 0, ceased: 0 },
    columns: measuredHeadings(a)
      .filter((column) => inBoth.has(column))
      .map((column) => ({ column, changed: 0, gained: 0, lost: 0, most: 0 })),
  };
}

function compareImage(
  x: Partial<CsvLine>,
  y: Partial<CsvLine>,
  { predicted, blank, columns }: ImageChanges,
): void {
  if (x.predicted !== y.predicted) {
    predicted.changed++;
    if (x.predicted === x.label) predicted.toWrong++;
    if (y.predicted === y.label) predicted.toRight++;
  }
  if (x.blank !== y.blank) {
    if (y.blank === '1') blank.became++;
    else blank.ceased++;
  }
  for (const change of columns) {
    const [was = '', is = ''] = [x[change.column], y[change.column]];
    if (was === is) continue;
    change.changed++;
    if (was === '') change.gained++;
    else if (is === '') change.lost++;
    else change.most = Math.max(change.most, Math.abs(Number(is) - Number(was)) || 0);
  }
}

function linesOf({ folder, result }: FoundRun, notes: string[]): CsvLine[] | undefined {
  try {
    const lines = readPerImage(folder, result.row);
    if (!lines) notes.push(`${folder} has no ${FILES.perImage}, so images are not compared`);
    return lines;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    notes.push(`images are not compared: ${error.message}`);
    return undefined;
  }
}
