import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '../errors.js';
import { readUserFile } from '../files.js';
import { printable } from '../report/entry.js';
import { FIGURE_KINDS, type FigureKindName } from '../report/figure/figures.js';
import { renderSvg } from '../report/figure/render.js';
import { trainingRow } from '../report/figure/training.js';
import { linesOf, readRows, rowsCsv, type FigureKind } from '../report/figure/rows.js';
import { findRuns, refuseNothing } from './collect.js';
import { isBang, type Config } from './config.js';
import { FILES } from './folder.js';

/** A figure as it goes into files. */
export interface DrawnFigure {
  svg: string;
  /** The rows that it is drawn from; the figure can be drawn from them again. */
  csv: string;
  /** A sentence for each result that is left out. */
  notes: string[];
}

/** Rows of a figure, as plain data. */
interface Found {
  rows: object[];
  notes: string[];
}

const READERS: Record<FigureKindName, (results: readonly string[]) => Promise<Found>> = {
  training: trainingRows,
};

/**
 * Draws a figure of results.
 *
 * @param results folders of results, or the CSV file that lay beside a figure
 * @throws UserError if they do not hold what the figure is drawn from
 */
export async function drawFigure(
  name: FigureKindName,
  results: readonly string[],
): Promise<DrawnFigure> {
  const own = await ownRows(name, results);
  const { rows, notes } = own ?? (await READERS[name](results));
  const kind = FIGURE_KINDS[name] as unknown as FigureKind<object>;
  return { svg: await renderSvg(kind.spec(rows)), csv: rowsCsv(rows), notes };
}

/** From the CSV file beside a figure. */
async function ownRows(
  name: FigureKindName,
  results: readonly string[],
): Promise<Found | undefined> {
  const [file] = results;
  if (results.length !== 1 || !statSync(file, { throwIfNoEntry: false })?.isFile())
    return undefined;
  const text = (await readUserFile(file)).toString('utf8');
  const { row } = FIGURE_KINDS[name];
  return { rows: readRows<object>(linesOf(text, file), row, file), notes: [] };
}

/** A run, and what it is called in a figure. */
interface NamedRun {
  folder: string;
  network: string;
  seed: number | null;
}

/**
 * The runs of folders that have a file, regular training first; else in the order of names.
 *
 * @throws UserError if there is none
 */
function runsWith(
  name: 'training' | 'perImage',
  results: readonly string[],
): { runs: NamedRun[]; notes: string[] } {
  const has = (folder: string): boolean => existsSync(path.join(folder, FILES[name]));
  // What is trained and not, or not yet, evaluated: it has no result.
  const open = results.filter(
    (folder) => has(folder) && !existsSync(path.join(folder, FILES.result)),
  );
  const found = findRuns(results.filter((folder) => !open.includes(folder)));
  if (open.length === 0) refuseNothing(found, results);
  const runs = found.runs.filter(({ folder }) => has(folder));
  if (runs.length + open.length === 0) {
    throw new UserError(`no run in ${results.join(', ')} has a ${FILES[name]}`);
  }
  const bang = (config: Partial<Config>): number =>
    +(config.training !== undefined && isBang(config as Config));
  runs.sort((a, b) => bang(a.result.config) - bang(b.result.config));
  const tables = new Set(runs.map(({ result }) => result.config.published?.table));
  const rowNames = tables.size === 1 && open.length === 0;
  const named = [
    ...runs.map(({ folder, result: { name: own, config } }) => ({
      folder,
      network: (rowNames ? config.published?.row : undefined) ?? printable(own),
      seed: config.seed ?? null,
    })),
    ...open.map((folder) => ({
      folder,
      network: printable(path.basename(path.resolve(folder))),
      seed: null,
    })),
  ];
  return { runs: distinct(named), notes: found.notes };
}

/** Runs that would look alike are told apart by their folders. */
function distinct(runs: readonly NamedRun[]): NamedRun[] {
  return runs.map((run) => {
    const alike = runs.filter(({ network, seed }) => network === run.network && seed === run.seed);
    if (alike.length === 1) return run;
    return { ...run, network: `${run.network} (${printable(run.folder)})` };
  });
}

async function trainingRows(results: readonly string[]): Promise<Found> {
  const { runs, notes } = runsWith('training', results);
  const rows: object[] = [];
  for (const { folder, network, seed } of runs) {
    const file = path.join(folder, FILES.training);
    const text = (await readUserFile(file)).toString('utf8');
    const lines = linesOf(text, file).map((line) => ({ ...line, network, seed }));
    rows.push(...readRows(lines, trainingRow, file));
  }
  return { rows, notes };
}
