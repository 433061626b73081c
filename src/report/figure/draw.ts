import { existsSync } from 'node:fs';
import { z } from 'zod';
import { ATTACK_NAMES } from '../../attacks/attack.js';
import { DATA_NAMES } from '../../data/sources.js';
import { UserError } from '../../base/errors.js';
import { readJson, readUserFile } from '../../base/files.js';
import { silent } from '../../base/progress.js';
import { inWords, printable } from '../../base/text.js';
import { NOISE_PAIRS, publishedNoise, publishedRow } from '../../paper/published.js';
import { FIGURE_KINDS, type FigureKindName } from './figures.js';
import { renderSvg } from './render.js';
import { eta, type EtaRow } from './eta.js';
import { noise } from './noise.js';
import { surfaces } from './surfaces.js';
import { type ExampleRow, imageUrl } from './examples.js';
import { linfBins, type LinfRow } from './linf.js';
import { training, type TrainingRow } from './training.js';
import { csvLines, drawable, type FigureKind, number, readRows, rowsCsv } from './rows.js';
import { SURFACES } from '../../sweep/summary.js';
import { experimentKey, findRuns, refuseNoFolder, refuseNothing } from '../../store/collect.js';
import { departuresFrom, tellingApart } from '../../store/labels.js';
import type { Result } from '../../store/result.js';
import { type Config, isBang } from '../../config/experiment.js';
import { adversarialExamples, type FigureOptions } from '../../experiment/examples.js';
import { FILES, SURFACES_FILE } from '../../store/resultFolder.js';
import { NOISE_FILES } from '../../store/noise.js';
import { linfValues, readPerImage } from '../../store/perImage.js';
import path from 'node:path';

export interface DrawnFigure {
  svg: string;
  /** Its rows, from which it can be drawn again. */
  csv: string;
  /** A sentence for each result that is left out. */
  notes: string[];
}

interface Found {
  rows: object[];
  notes: string[];
}

const READERS: Record<
  FigureKindName,
  (results: readonly string[], options: FigureOptions) => Found | Promise<Found>
> = {
  examples: exampleRows,
  training: trainingRows,
  eta: etaRows,
  linf: linfRows,
  surfaces: surfaceRows,
  noise: noiseRows,
};

/**
 * Draws a figure of results.
 *
 * @param results folders of results, or the CSV file written with a figure
 * @throws UserError if they lack the data for the figure
 */
export async function drawFigure(
  name: FigureKindName,
  results: readonly string[],
  options: FigureOptions = { attack: 'hc1', progress: silent },
): Promise<DrawnFigure> {
  const own = await ownRows(name, results);
  const { rows, notes } = own ?? (await READERS[name](results, options));
  const kind = FIGURE_KINDS[name] as unknown as FigureKind<object>;
  return { svg: await renderSvg(kind.spec(drawable(rows))), csv: rowsCsv(rows), notes };
}

/** The rows of a figure's CSV file; undefined if `results` is not such a file. */
async function ownRows(
  name: FigureKindName,
  results: readonly string[],
): Promise<Found | undefined> {
  const [file] = results;
  if (results.length !== 1 || !file.endsWith('.csv') || !existsSync(file)) return undefined;
  const text = (await readUserFile(file)).toString('utf8');
  const { row } = FIGURE_KINDS[name];
  return { rows: readRows<object>(csvLines(text, file), row, file), notes: [] };
}

async function exampleRows(results: readonly string[], options: FigureOptions): Promise<Found> {
  const found = await adversarialExamples(results, options);
  const rows = found.flatMap(({ data, shape, index, label, original, adversarials }) => {
    const common = { data, attack: options.attack, index, label };
    const none = { predicted: null, linf: null, pass: null };
    return [
      { ...common, network: '', training: '', ...none, image: imageUrl(original, shape) },
      ...adversarials.map(({ network, training, predicted, linf, pass, image }) => ({
        ...common,
        network,
        training,
        predicted,
        linf,
        pass: Number(pass.toFixed(4)),
        image: imageUrl(image, shape),
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
    throw new UserError(`no run in ${results.join(', ')} has a ${FILES[name]}`);
  }
  const place = ({ data, training }: Partial<Config>): number =>
    2 * DATA_NAMES.findIndex((name) => name === data) +
    +(training !== undefined && isBang({ training }));
  runs.sort((a, b) => place(a.result.config) - place(b.result.config));
  const tables = new Set(runs.map(({ result }) => result.config.published?.table));
  const rowNames = tables.size === 1 && open.length === 0;
  const named: NamedRun[] = [
    ...runs.map(({ folder, result }) => ({
      folder,
      network: (rowNames ? rowOf(result) : undefined) ?? printable(result.name),
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
  return { runs: distinct(namedApart(named)), notes: found.notes };
}

/** The row of the paper that a run reproduces; undefined if its training departs from it. */
function rowOf({ config }: Result): string | undefined {
  const { published } = config;
  const row = published && publishedRow(published.table, published.row);
  return row && departuresFrom(row, config).length === 0 ? row.id : undefined;
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
    // The last part of a key is enough.
    const short = labels.slice(0, 3).map((label) => printable(label.replace(/^\S*\.(?=\S+ )/, '')));
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
async function trainingLines({
  folder,
  network,
  seed,
}: NamedRun): Promise<{ file: string; lines: Record<string, unknown>[] }> {
  const file = path.join(folder, FILES.training);
  const lines = csvLines((await readUserFile(file)).toString('utf8'), file);
  return { file, lines: lines.map((line) => ({ ...line, network, seed })) };
}

async function trainingRows(results: readonly string[]): Promise<Found> {
  const { runs, notes } = runsWith('training', results);
  const rows: TrainingRow[] = [];
  for (const run of runs) {
    const { file, lines } = await trainingLines(run);
    rows.push(...readRows(lines, training.row, file));
  }
  return { rows, notes };
}

async function etaRows(results: readonly string[]): Promise<Found> {
  const { runs, notes } = runsWith('training', results);
  const rows: EtaRow[] = [];
  for (const run of runs) {
    const { file, lines } = await trainingLines(run);
    const layers = Object.keys(lines[0]).flatMap(
      (column) => /^eta_mean_(.+)$/.exec(column)?.[1] ?? [],
    );
    // The log lists layers in the order of the backward pass.
    for (const layer of layers.reverse()) {
      const ofLayer = lines.map((line) => ({
        ...line,
        layer,
        eta_mean: line[`eta_mean_${layer}`],
        eta_max: line[`eta_max_${layer}`],
      }));
      rows.push(...readRows(ofLayer, eta.row, file));
    }
  }
  if (rows.length === 0) {
    throw new UserError(`${inWords(results)}: no run was trained with BANG, so none has an η`);
  }
  return { rows, notes };
}

/** The fields of `per-image.csv` that tell whether an image was attacked. */
const imageLine = z.object({ label: number, predicted: number });

function linfRows(results: readonly string[]): Found {
  const { runs, notes } = runsWith('perImage', results);
  const rows: LinfRow[] = [];
  for (const run of runs) {
    const { folder, network, seed } = run;
    const file = path.join(folder, FILES.perImage);
    const lines = readPerImage(folder) ?? [];
    if (lines.length === 0) throw new UserError(`${file} holds no line`);
    const classified = readRows(lines, imageLine, file);
    const isAttacked = classified.map(({ label, predicted }) => label === predicted);
    for (const attack of ATTACK_NAMES) {
      const values = linfValues(lines, attack).map((column) =>
        column.filter((_, i) => isAttacked[i]),
      );
      // Only one of the two searches was made. Attacks that were not made may have empty columns.
      const found = values.find((column) => column.some((value) => !Number.isNaN(value)));
      const made = found ?? (run.attacks.includes(attack) ? values.at(0) : undefined);
      if (made) rows.push(...linfBins(made).map((bin) => ({ network, seed, attack, ...bin })));
    }
  }
  if (rows.length === 0) throw new UserError(`${inWords(results)}: no attack was made`);
  return { rows, notes };
}

/** The lines of a CSV file in the one folder that a figure is drawn from. */
async function linesInFolder(
  results: readonly string[],
  name: string,
  what: string,
): Promise<{ folder: string; file: string; lines: Record<string, string>[] }> {
  const [folder] = results;
  if (results.length > 1)
    throw new UserError(`${inWords(results)}: give the folder of one ${what}`);
  refuseNoFolder(folder);
  const file = path.join(folder, name);
  if (!existsSync(file)) {
    throw new UserError(`${folder} holds no ${name}: give the folder of a ${what}`);
  }
  return { folder, file, lines: csvLines((await readUserFile(file)).toString('utf8'), file) };
}

async function surfaceRows(results: readonly string[]): Promise<Found> {
  const { file, lines } = await linesInFolder(results, SURFACES_FILE, 'sweep');
  const columns = Object.keys(lines[0]);
  const keys = columns.slice(0, Math.max(0, columns.indexOf('seeds')));
  const varied = keys.filter((key) => new Set(lines.map((line) => line[key])).size > 1);
  const [x_key, y_key] = varied;
  const points = new Set(lines.map((line) => JSON.stringify([line[x_key], line[y_key]])));
  const across = (key: string): number => new Set(lines.map((line) => line[key])).size;
  if (varied.length !== 2 || points.size < across(x_key) * across(y_key)) {
    throw new UserError(
      `${file} is not a grid over two keys${varied.length > 0 ? ` (it varies ${varied.join(', ')})` : ''}, so there is no surface to draw`,
    );
  }
  const rows = SURFACES.flatMap((surface) => {
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
        reference: value && above ? Number((Number(value) - Number(above)).toFixed(6)) : null,
      };
    });
    return readRows(inColumns, surfaces.row, file);
  });
  if (rows.every(({ value }) => value === null)) throw new UserError(`${file}: no cell is done`);
  return { rows, notes: [] };
}

/** The part of a noise study's result that is drawn. */
const noiseResult = z.object({
  config: z.object({ published: z.enum(NOISE_PAIRS).optional() }),
});

async function noiseRows(results: readonly string[]): Promise<Found> {
  const study = 'noise study';
  const { file: ratesFile, lines: rates } = await linesInFolder(results, NOISE_FILES.noise, study);
  const { folder, file, lines } = await linesInFolder(results, NOISE_FILES.surfaces, study);
  const result = noiseResult.safeParse(readJson(path.join(folder, NOISE_FILES.result))).data;
  const pair = result?.config.published;
  const quoted = pair && publishedNoise(pair);
  const errors = new Map(
    rates.map((line) => [
      JSON.stringify([line.iteration, line.sigma, line.network]),
      line.standard_error,
    ]),
  );
  const last = lines.at(-1)!.iteration;
  const rows = lines.map((line) => {
    const { iteration, sigma } = line;
    const errorOf = (network: string) => errors.get(JSON.stringify([iteration, sigma, network]));
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
  return { rows: readRows(rows, noise.row, `${ratesFile} or ${file}`), notes: [] };
}
