import { UserError } from '../../base/errors.js';
import { figureRows, NothingToDraw } from '../figure/rowsOfResults.js';
import { drawFigure, type FigureKindName } from '../figure/figures.js';
import { toCsv } from '../../store/csvFile.js';
import { NARROW, WIDE } from '../figure/theme.js';
import type { Entry } from '../../store/entry.js';
import type { Collected } from './contents.js';
import { splitEntries } from './splitEntries.js';

/** All except the figure of examples, which the gallery replaces. */
export type PlotName = Exclude<FigureKindName, 'examples'>;

/** A figure as an SVG, and the data behind it as CSV. */
export interface Plot {
  name: PlotName;
  svg: string;
  /** For a phone. */
  narrow: string;
  csv: string;
}

export interface Plots {
  /** By the title of a table, or the folder of a sweep or study. */
  of: ReadonlyMap<string, readonly Plot[]>;
  /** Those of runs on subsets or with other settings, by the title of their table. */
  ofOthers: ReadonlyMap<string, readonly Plot[]>;
  /** A sentence for each damaged file, of which nothing is drawn. */
  notes: string[];
}

export const NO_PLOTS: Plots = { of: new Map(), ofOthers: new Map(), notes: [] };

const OF_RUNS = ['linf', 'training', 'eta'] as const;

/** Every figure for which the folders hold the data; for several seeds, the first. */
export async function plotsOf({ parts, sweeps, studies }: Collected): Promise<Plots> {
  const of = new Map<string, readonly Plot[]>();
  const ofOthers = new Map<string, readonly Plot[]>();
  const notes = new Set<string>();
  for (const { title, entries, groups } of parts) {
    const { main, others } = splitEntries(entries);
    const foldersOf = (which: readonly Entry[]): string[] =>
      which.map((entry) => groups[entries.indexOf(entry)][0].folder);
    of.set(title, await drawn(OF_RUNS, foldersOf(main), notes));
    if (others.length > 0) ofOthers.set(title, await drawn(['linf'], foldersOf(others), notes));
  }
  for (const { folder } of sweeps) of.set(folder, await drawn(['surfaces'], [folder], notes));
  for (const { folder } of studies) of.set(folder, await drawn(['noise'], [folder], notes));
  return { of, ofOthers, notes: [...notes] };
}

async function drawn(
  names: readonly PlotName[],
  folders: readonly string[],
  notes: Set<string>,
): Promise<Plot[]> {
  const plots: Plot[] = [];
  for (const name of names) {
    try {
      const { rows, notes: more } = await figureRows(name, folders);
      const svg = await drawFigure(name, rows, WIDE);
      plots.push({ name, svg, narrow: await drawFigure(name, rows, NARROW), csv: toCsv(rows) });
      for (const note of more) notes.add(note);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      // Committed results may lack logs, and sweeps keep none.
      if (!(error instanceof NothingToDraw)) notes.add(`${error.message}: it is not drawn`);
    }
  }
  return plots;
}
