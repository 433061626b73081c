import { eta } from './eta.js';
import { examples } from './examples.js';
import { linf } from './linf.js';
import { noise } from './noise.js';
import { renderSvg } from './render.js';
import { drawable, type FigureKind } from './rows.js';
import { surfaces } from './surfaces.js';
import type { Layout } from './theme.js';
import { training } from './training.js';

/** Every figure by its name. */
export const FIGURE_KINDS = { examples, surfaces, noise, training, eta, linf };

export type FigureKindName = keyof typeof FIGURE_KINDS;
export const FIGURE_KIND_NAMES = Object.keys(FIGURE_KINDS) as FigureKindName[];

/** A figure of its rows as an SVG that needs no other file. */
export function drawFigure(
  name: FigureKindName,
  rows: readonly object[],
  layout: Layout,
): Promise<string> {
  const kind = FIGURE_KINDS[name] as unknown as FigureKind<object>;
  return renderSvg(kind.spec(drawable(rows), layout));
}
