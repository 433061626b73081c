import { UserError } from '../../base/errors.js';
import { drawFigure } from '../figure/draw.js';
import type { FigureKindName } from '../figure/figures.js';
import type { Collected } from './contents.js';

/** All except the figure of examples, which the gallery replaces. */
export type PlotName = Exclude<FigureKindName, 'examples'>;

/** A figure as an SVG, and the data behind it as CSV. */
export interface Plot {
  name: PlotName;
  svg: string;
  csv: string;
}

/** By the title of a table, or the folder of a sweep or study. */
export type Plots = ReadonlyMap<string, readonly Plot[]>;

const OF_RUNS = ['linf', 'training', 'eta'] as const;

/** Every figure for which the folders hold the data; for several seeds, the first. */
export async function plotsOf({ parts, sweeps, studies }: Collected): Promise<Plots> {
  const plots = new Map<string, readonly Plot[]>();
  for (const { title, groups } of parts) {
    const folders = groups.flatMap((group) => group.slice(0, 1).map(({ folder }) => folder));
    plots.set(title, await drawn(OF_RUNS, folders));
  }
  for (const { folder } of sweeps) plots.set(folder, await drawn(['surfaces'], [folder]));
  for (const { folder } of studies) plots.set(folder, await drawn(['noise'], [folder]));
  return plots;
}

async function drawn(names: readonly PlotName[], folders: readonly string[]): Promise<Plot[]> {
  const plots: Plot[] = [];
  for (const name of names) {
    try {
      const { svg, csv } = await drawFigure(name, folders);
      plots.push({ name, svg, csv });
    } catch (error) {
      // No data: committed results may lack logs, and sweeps keep none.
      if (!(error instanceof UserError)) throw error;
    }
  }
  return plots;
}
