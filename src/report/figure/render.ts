import type { TopLevelSpec } from 'vega-lite';
import { UserError } from '../../base/errors.js';
import { fontFiles, FONT_FAMILY, textWidth } from './font.js';
import { DARK_STYLE, TEXT, THEME } from './theme.js';

/** Pixels of a PNG per pixel of the figure. */
const ZOOM = 2;

/** What Vega passes to ask for the width of a text. */
interface TextItem {
  fontSize?: number;
  fontWeight?: string | number;
}

/** Public, but missing from Vega's types. */
interface Untyped {
  textMetrics: { width: (item: TextItem, line?: string | number | null) => number };
  resetSVGDefIds: () => void;
}

/**
 * Draws a specification. Gives the same bytes on every machine, and fetches nothing.
 *
 * @returns an SVG that needs no other file
 */
export async function renderSvg(spec: TopLevelSpec): Promise<string> {
  // Loaded only here: they take as long to load as everything else.
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const { textMetrics, resetSVGDefIds } = vega as unknown as Untyped;
  // Without a browser or canvas, Vega guesses.
  textMetrics.width = ({ fontSize = TEXT.title, fontWeight }, line) =>
    textWidth(String(line ?? ''), fontSize, fontWeight === 'bold');
  resetSVGDefIds();
  const compiled = compile(spec, { config: THEME, logger: vega.logger(vega.Error) });
  const view = new vega.View(vega.parse(compiled.spec), {
    renderer: 'none',
    logger: vega.logger(vega.Error),
  });
  try {
    const svg = compact(rounded(await view.toSVG()));
    const named = svg.replace('<svg ', `<svg role="img" aria-label="${spec.description ?? ''}" `);
    // After the first tag.
    const style = `<style>text{font-family:${FONT_FAMILY}}@media (prefers-color-scheme: dark){${DARK_STYLE}}</style>`;
    return `${named.replace('>', `>${style}`)}\n`;
  } finally {
    view.finalize();
  }
}

/** What Vega writes and nobody sees: roles for its own use, defaults, and the font, which the style has once. */
const SUPERFLUOUS =
  / (?:class|role|aria-label|aria-roledescription|aria-hidden|pointer-events|font-family)="[^"]*"| (?:opacity|stroke-width)="1"| font-weight="normal"| transform="translate\(0,0\)"/g;
/** Of groups that are not clipped or coloured. */
const INVISIBLE = /<path(?: display="none"| d="[^"]*"){1,2}\/>/g;

/** The same picture in less than half the bytes. */
function compact(svg: string): string {
  const bare = svg
    .replace(/<(?!svg)[^>]*>/g, (tag) => tag.replace(SUPERFLUOUS, ''))
    .replace(INVISIBLE, '');
  // Groups that only hold others, or nothing.
  const open: { at: number; isBare: boolean }[] = [];
  const kept: string[] = [];
  for (const part of bare.match(/<[^>]*>|[^<]+/g) ?? []) {
    if (part === '<g>' || part.startsWith('<g ')) {
      open.push({ at: kept.length, isBare: part === '<g>' });
      if (part !== '<g>') kept.push(part);
    } else if (part === '</g>') {
      const { at, isBare } = open.pop()!;
      if (!isBare && kept.length === at + 1) kept.pop();
      else if (!isBare) kept.push(part);
    } else if (part !== '<g/>') {
      kept.push(part);
    }
  }
  return kept.join('');
}

/** With two decimals of a pixel: shorter, and without the last bits, which differ between processors. */
function rounded(svg: string): string {
  return svg.replace(/<[^>]*>/g, (tag) =>
    tag.replace(/\d+\.\d{3,}/g, (number) => String(Number(Number(number).toFixed(2)))),
  );
}

/** It is compiled for each system, and not available on all. */
async function loadResvg(): Promise<typeof import('@resvg/resvg-js')> {
  try {
    return await import('@resvg/resvg-js');
  } catch {
    throw new UserError('no PNG can be drawn on this system, only SVG: --format svg');
  }
}

/**
 * An SVG of `renderSvg` as PNG, drawn with the fonts that this program has, not the system's.
 *
 * @throws UserError where resvg does not run
 */
export async function renderPng(svg: string): Promise<Uint8Array> {
  const { Resvg } = await loadResvg();
  const image = new Resvg(svg, {
    font: {
      loadSystemFonts: false,
      fontFiles: fontFiles(),
      defaultFontFamily: FONT_FAMILY.split(',')[0],
    },
    // No smoothing by default, nor for `pixelated`, which this renderer does not know.
    imageRendering: 1,
    fitTo: { mode: 'zoom', value: ZOOM },
  });
  return image.render().asPng();
}
