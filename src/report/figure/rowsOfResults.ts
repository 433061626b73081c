import { existsSync } from 'node:fs';
import { z } from 'zod';
import { ATTACK_NAMES } from '../../attacks/attack.js';
import { DATA_NAMES } from '../../data/sources.js';
import { UserError } from '../../base/errors.js';
import { isFolder, readJson, readRegularFile } from '../../base/files.js';
import { silent } from '../../base/progress.js';
import { inWords, printable } from '../../base/text.js';
import { FIGURE_KINDS, type FigureKindName } from './figures.js';
import { eta, type EtaRow } from './eta.js';
import { noise } from './noise.js';
import { surfaces } from './surfaces.js';
import { imageUrl } from '../imageUrl.js';
import type { ExampleRow } from './examples.js';
import { linfBins, type LinfRow } from './linf.js';
import { training, type TrainingRow } from './training.js';
import { number, optionalNumber, readRows } from './rows.js';
import { PAIR } from '../../metrics/noise.js';
import { csvLines, fieldProblem, LARGEST_CSV, numberIn, readCsv } from '../../store/csvFile.js';
import { isRobustAccuracy } from '../../metrics/quantities.js';
import { SURFACES } from '../../sweep/summary.js';
import {
  experimentKey,
  findRuns,
  leftOut,
  refuseNoFolder,
  refuseNothing,
} from '../../store/collect.js';
import { shortLabel, tellingApart } from '../../store/labels.js';
import type { Result } from '../../store/result.js';
import { type Config, isBang } from '../../config/experiment.js';
import { adversarialExamples } from '../../experiment/examples.js';
import type { FigureOptions } from '../../experiment/figureExample.js';
import { FILES, SURFACES_FILE } from '../../store/resultFolder.js';
import { isNoiseResult, NOISE_FILES, quotedNoise } from '../../store/noise.js';
import { linfValues, readPerImage } from '../../store/perImage.js';
import path from 'node:path';

/** What a figure shows. */
export interface FigureRows {
  rows: object[];
  /** A sentence for each result that is left out. */
  notes: string[];
}

/** Results that lack what a figure shows, though nothing in them is damaged. */
export class NothingToDraw extends UserError {}

const READERS: Record<
  FigureKindName,
  (results: readonly string[], options: FigureOptions) => FigureRows | Promise<FigureRows>
> = {
  examples: exampleRows,
  training: trainingRows,
  eta: etaRows,
  linf: linfRows,
  surfaces: surfaceRows,
  noise: noiseRows,
};

/**
 * What a figure of results shows.
 *
 * @param results folders of results, or the CSV file written with a figure
 * @throws UserError if they lack the data for the figure
 */
export async function figureRows(
  name: FigureKindName,
  results: readonly string[],
  options: FigureOptions = { attack: 'hc1', progress: silent },
): Promise<FigureRows> {
  return ownRows(name, results) ?? (await READERS[name](results, options));
}

/** The rows of a figure's CSV file; undefined if `results` is not such a file. */
function ownRows(name: FigureKindName, results: readonly string[]): FigureRows | undefined {
  const [file] = results;
  if (results.length !== 1 || !file.endsWith('.csv') || isFolder(file)) return undefined;
  const { row } = FIGURE_KINDS[name];
  return {
    rows: readRows<object>(
      csvLines(readRegularFile(file, LARGEST_CSV).toString('utf8'), file),
      row,
      file,
    ),
    notes: [],
  };
}

async function exampleRows(
  results: readonly string[],
  options: FigureOptions,
): Promise<FigureRows> {
  const found = await adversarialExamples(results, options);
  const rows = found.flatMap(({ data, size, classes, index, label, original, adversarials }) => {
    const common = { data, attack: options.attack, index, label };
    const none = { predicted: null, linf: null, pass: null };
    const nameOf = (one: number): string => classes?.[one] ?? '';
    const named = { label_name: nameOf(label), predicted_name: '' };
    return [
      { ...common, network: '', training: '', ...none, image: imageUrl(original, size), ...named },
      ...adversarials.map(({ network, training, attack, predicted, linf, pass, image }) => ({
        ...common,
        attack,
        network,
        training,
        predicted,
        linf,
        pass: Number(pass.toFixed(4)),
        image: imageUrl(image, size),
        ...named,
        predicted_name: nameOf(predicted),
      })),
    ] satisfies ExampleRow[];
  });
  return { rows, notes: [] };
}

/** A run, and its name in a figure. */
interface NamedRun {
  folder: string;
  network: string;
  seed: number | null;
  /** Empty if the run has no result yet. */
  attacks: string[];
  result?: Result;
}

/**
 * The runs of folders that have a file, by data set, regular training first; else in the order of names.
 *
 * @throws UserError if there is none
 */
function runsWith(
  name: 'training' | 'perImage',
  results: readonly string[],
): { runs: NamedRun[]; notes: string[] } {
  const has = (folder: string): boolean => existsSync(path.join(folder, FILES[name]));
  // Trained but not evaluated, so without a result.
  const open = results.filter(
    (folder) => has(folder) && !existsSync(path.join(folder, FILES.result)),
  );
  const found = findRuns(results.filter((folder) => !open.includes(folder)));
  if (open.length === 0) refuseNothing(found, results);
  const runs = found.runs.filter(({ folder }) => has(folder));
  if (runs.length + open.length === 0) {
    throw new NothingToDraw(`no run in ${results.join(', ')} has a ${FILES[name]}`);
  }
  const place = ({ data, training }: Partial<Config>): number =>
    2 * DATA_NAMES.findIndex((name) => name === data) +
    +(training !== undefined && isBang({ training }));
  runs.sort((a, b) => place(a.result.config) - place(b.result.config));
  const named: NamedRun[] = [
    ...runs.map(({ folder, result }) => ({
      folder,
      network: printable(result.name),
      seed: result.config.seed ?? null,
      attacks: Object.keys(result.row.attacks),
      result,
    })),
    ...open.map((folder) => ({
      folder,
      network: printable(path.basename(path.resolve(folder))),
      seed: null,
      attacks: [],
    })),
  ];
  return { runs: distinct(namedApart(named)), notes: leftOut(found) };
}

/** Gives different experiments of the same name labels that say what differs. */
function namedApart(runs: readonly NamedRun[]): NamedRun[] {
  return runs.map((run) => {
    const alike = runs.filter(({ network, result }) => network === run.network && result);
    const one = new Map(alike.map(({ result }) => [experimentKey(result!), result!]));
    if (!run.result || one.size < 2) return run;
    const labels = tellingApart([...one.values()])[
      [...one.keys()].indexOf(experimentKey(run.result))
    ];
    const short = labels.slice(0, 3).map(shortLabel);
    return short.length === 0 ? run : { ...run, network: `${run.network} (${short.join(', ')})` };
  });
}

/** Makes equal names distinct by the differing parts of their folders' paths. */
function distinct(runs: readonly NamedRun[]): NamedRun[] {
  return runs.map((run) => {
    const alike = runs.filter(({ network, seed }) => network === run.network && seed === run.seed);
    if (alike.length === 1) return run;
    const where = difference(
      run.folder,
      alike.map(({ folder }) => folder),
    );
    return { ...run, network: `${run.network} (${printable(where)})` };
  });
}

/** A folder's path without the beginning and end that all share. */
function difference(folder: string, all: readonly string[]): string {
  const parts = path.resolve(folder).split(path.sep);
  const others = all.map((other) => path.resolve(other).split(path.sep));
  const shortest = Math.min(...others.map(({ length }) => length));
  let begin = 0;
  while (begin < shortest - 1 && others.every((other) => other[begin] === parts[begin])) begin++;
  let end = 0;
  while (
    end < shortest - 1 - begin &&
    others.every((other) => other.at(-1 - end) === parts.at(-1 - end))
  ) {
    end++;
  }
  return parts.slice(begin, parts.length - end).join('/');
}

/** The lines of a run's `training.csv`, with the run's name and seed added. */
function trainingLines({ folder, network, seed }: NamedRun): {
  file: string;
  lines: Record<string, unknown>[];
} {
  const file = path.join(folder, FILES.training);
  return { file, lines: readCsv(file).map((line) => ({ ...line, network, seed })) };
}

/**
 * The rows of all runs; those of which a file is damaged get a note instead.
 *
 * @throws UserError if all are damaged
 */
function rowsOfEach<Row>(
  runs: readonly NamedRun[],
  notes: string[],
  rowsOf: (run: NamedRun) => Row[],
): Row[] {
  const rows: Row[] = [];
  const damaged: string[] = [];
  for (const run of runs) {
    try {
      for (const row of rowsOf(run)) rows.push(row);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      damaged.push(error.message);
    }
  }
  if (damaged.length === runs.length) throw new UserError(damaged.join('; '));
  notes.push(...damaged.map((message) => `${message}: it is left out`));
  return rows;
}

function trainingRows(results: readonly string[]): FigureRows {
  const { runs, notes } = runsWith('training', results);
  const rows = rowsOfEach(runs, notes, (run): TrainingRow[] => {
    const { file, lines } = trainingLines(run);
    return readRows(lines, training.row, file);
  });
  return { rows, notes };
}

function etaRows(results: readonly string[]): FigureRows {
  const { runs, notes } = runsWith('training', results);
  const rows = rowsOfEach(runs, notes, (run): EtaRow[] => {
    const { file, lines } = trainingLines(run);
    const columns = Object.keys(lines[0]);
    const layers = columns.flatMap((column) => /^eta_(?:mean|max)_(.+)$/.exec(column)?.[1] ?? []);
    // The log lists layers in the order of the backward pass.
    return [...new Set(layers)].reverse().flatMap((layer) => {
      const [mean, max] = [`eta_mean_${layer}`, `eta_max_${layer}`];
      const absent = [mean, max].find((column) => !columns.includes(column));
      if (absent !== undefined) throw fieldProblem(file, 0, lines[0], absent);
      const ofLayer = lines.map((line) => ({
        ...line,
        layer,
        eta_mean: line[mean],
        eta_max: line[max],
      }));
      return readRows(ofLayer, eta.row, file);
    });
  });
  if (rows.length === 0) {
    throw new NothingToDraw(`${inWords(results)}: no run was trained with BANG, so none has an η`);
  }
  return { rows, notes };
}

function linfRows(results: readonly string[]): FigureRows {
  const { runs, notes } = runsWith('perImage', results);
  const rows = rowsOfEach(runs, notes, (run): LinfRow[] => {
    const { folder, network, seed, attacks, result } = run;
    const lines = readPerImage(folder, result?.row)!;
    const attacked = lines.filter(({ label, predicted }) => Number(label) === Number(predicted));
    return ATTACK_NAMES.flatMap((attack) => {
      const values = linfValues(attacked, attack);
      // Only one of the two searches was made. Attacks that were not made may have empty columns.
      const found = values.find((column) => column.some((value) => !Number.isNaN(value)));
      const made = found ?? (attacks.includes(attack) ? values.at(0) : undefined);
      return made ? linfBins(made).map((bin) => ({ network, seed, attack, ...bin })) : [];
    });
  });
  if (rows.length === 0) {
    const isWithin = runs.some(({ result }) => result?.row.atBudgets);
    const isWrong = runs.every(({ result }) => result?.row.correct === 0);
    const why = isWrong
      ? 'no image is classified correctly, so nothing was attacked'
      : isWithin
        ? 'auto finds who is fooled within budgets, and no attack was made that finds the smallest L∞'
        : 'no attack was made';
    throw new NothingToDraw(`${inWords(results)}: ${why}`);
  }
  return { rows, notes };
}

/**
 * The path of a CSV file in the one folder that a figure is drawn from.
 *
 * @throws UserError if there are several folders, or the file is missing
 */
function fileInFolder(results: readonly string[], name: string, what: string): string {
  const [folder] = results;
  if (results.length > 1)
    throw new UserError(`${inWords(results)}: give the folder of one ${what}`);
  refuseNoFolder(folder);
  const file = path.join(folder, name);
  if (existsSync(file)) return file;
  throw new NothingToDraw(`${folder} holds no ${name}: give the folder of a ${what}`);
}

function surfaceRows(results: readonly string[]): FigureRows {
  const file = fileInFolder(results, SURFACES_FILE, 'sweep');
  const lines = readCsv(file);
  const columns = Object.keys(lines[0]);
  if (!columns.includes('seeds')) throw fieldProblem(file, 0, lines[0], 'seeds');
  const keys = columns.slice(0, columns.indexOf('seeds'));
  const varied = keys.filter((key) => new Set(lines.map((line) => line[key])).size > 1);
  const [x_key, y_key] = varied;
  const points = new Set(lines.map((line) => JSON.stringify([line[x_key], line[y_key]])));
  const across = (key: string): number => new Set(lines.map((line) => line[key])).size;
  if (varied.length !== 2 || points.size < across(x_key) * across(y_key)) {
    throw new NothingToDraw(
      `${file} is not a grid over two keys${varied.length > 0 ? ` (it varies ${varied.join(', ')})` : ''}, so there is no surface to draw`,
    );
  }
  const needed = SURFACES.flatMap((surface) => [surface, `${surface}_minus_reference`]);
  const absent = needed.find((column) => !columns.includes(column));
  if (absent !== undefined) throw fieldProblem(file, 0, lines[0], absent);
  const robust = columns.filter(isRobustAccuracy);
  const rows = [...SURFACES, ...robust].flatMap((surface) => {
    const inColumns = lines.map((line) => {
      const [value, above] = [line[surface], line[`${surface}_minus_reference`]];
      return {
        surface,
        x_key,
        x: line[x_key],
        y_key,
        y: line[y_key],
        seeds: line.seeds,
        value,
        // Without the digits that subtraction adds.
        reference: value && above ? referenceOf(value, above) : null,
      };
    });
    return readRows(inColumns, surfaces.row, file);
  });
  if (rows.every(({ value }) => value === null)) {
    throw new NothingToDraw(`${file}: no cell is done`);
  }
  return { rows, notes: [] };
}

/** The value of the reference, without the digits that subtraction adds; if one is no number, what is there. */
function referenceOf(value: string, above: string): string {
  const [own, difference] = [numberIn(value), numberIn(above)];
  if (own === undefined || difference === undefined) return above;
  return String(Number((own - difference).toFixed(6)));
}

function noiseRows(results: readonly string[]): FigureRows {
  const [folder] = results;
  const ratesFile = fileInFolder(results, NOISE_FILES.noise, 'noise study');
  const file = fileInFolder(results, NOISE_FILES.surfaces, 'noise study');
  const lines = readCsv(file);
  const notes: string[] = [];
  const resultFile = path.join(folder, NOISE_FILES.result);
  // A study that goes on has none yet.
  const result = existsSync(resultFile)
    ? noted(notes, 'without the numbers of the paper', () => {
        const read = readJson(resultFile);
        if (!isNoiseResult(read)) throw new UserError(`${resultFile} is damaged`);
        return read;
      })
    : undefined;
  const quoted = result && quotedNoise(result);
  const rates =
    noted(notes, 'without the standard errors of the rates', () =>
      readRows(readCsv(ratesFile), rateLine, ratesFile),
    ) ?? [];
  const errors = new Map(
    rates.map(({ iteration, sigma, network, standard_error }) => [
      JSON.stringify([iteration, sigma, network]),
      standard_error,
    ]),
  );
  const last = lines.at(-1)!.iteration;
  const rows = lines.map((line) => {
    const { iteration, sigma } = line;
    const errorOf = (network: string) =>
      errors.get(JSON.stringify([Number(iteration), Number(sigma), network])) ?? null;
    const isQuoted = quoted && iteration === last && Number(sigma) === quoted.sigma;
    return {
      ...line,
      regular_error: errorOf('regular'),
      bang_error: errorOf('bang'),
      difference_error: line.standard_error,
      quoted_regular: isQuoted ? quoted.regularPercent : null,
      quoted_bang: isQuoted ? quoted.bangPercent : null,
    };
  });
  return { rows: readRows(rows, noise.row, file), notes };
}

/** The fields of `noise.csv` that are drawn. */
const rateLine = z.object({
  iteration: number,
  sigma: number,
  network: z.enum(PAIR),
  standard_error: optionalNumber,
});

/** What `read` returns; undefined, and a note that says what is not drawn, if a file is damaged. */
function noted<T>(notes: string[], without: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    notes.push(`${error.message}: the figure is ${without}`);
    return undefined;
  }
}
