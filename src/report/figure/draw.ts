import { FIGURE_KINDS, type FigureKindName } from './figures.js';
import { renderSvg } from './render.js';
import { drawable, type FigureKind } from './rows.js';
import { type Layout, WIDE } from './theme.js';

/** A figure of its rows as an SVG that needs no other file. */
export function drawFigure(
  name: FigureKindName,
  rows: readonly object[],
  layout: Layout = WIDE,
): Promise<string> {
  const kind = FIGURE_KINDS[name] as unknown as FigureKind<object>;
  return renderSvg(kind.spec(drawable(rows), layout));
}
