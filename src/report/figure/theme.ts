import type { Config } from 'vega-lite';
import { extentOf } from '../../base/sums.js';
import { FONT_FAMILY, textWidth } from './font.js';

/** The look of all figures. Lengths are pixels of 1/96 inch. */

/** What a figure is laid out for. */
export interface Layout {
  /** Of what is drawn, without the padding. */
  width: number;
  /** Panels below each other instead of beside. */
  isNarrow: boolean;
}
/** A column of text. */
export const WIDE: Layout = { width: 624, isNarrow: false };
/** A phone, or a column of a page that has two. */
export const NARROW: Layout = { width: 296, isNarrow: true };
/** At the size at which figures are read, no text is smaller than 11 pixels. */
export const TEXT = { label: 11, title: 12, panel: 13 } as const;

export const INK = '#1a1a1a';
/** On cells that are light in any surroundings. */
export const INK_ON_LIGHT = '#111111';
export const PAPER = '#ffffff';
/** Of the part of a bar that is not filled. */
export const EMPTY = '#d9d9d9';
export const FAINT = '#8c8c8c';
/** Of bars. */
export const FILL = '#0072b2';
const GRID = '#e6e6e6';

/** Colours of Okabe and Ito, which colour-blind people can tell apart, each with a pattern for lines in grey. */
const LINES = [
  { colour: '#000000', dash: [1, 0] },
  { colour: '#0072b2', dash: [6, 2] },
  { colour: '#d55e00', dash: [2, 2] },
  { colour: '#009e73', dash: [8, 2, 2, 2] },
  { colour: '#cc79a7', dash: [1, 0] },
  { colour: '#56b4e9', dash: [6, 2] },
  { colour: '#e69f00', dash: [2, 2] },
  { colour: '#7f7f7f', dash: [8, 2, 2, 2] },
] as const;

/**
 * What an SVG looks like in dark surroundings: its own style, so that one file is right in both. Cells of maps keep
 * their colours, and what is written on them.
 */
export const DARK_STYLE = [
  ['svg>rect', 'fill', PAPER, '#14181d'],
  ['', 'fill', INK, '#e4e8ed'],
  ['', 'stroke', INK, '#e4e8ed'],
  ['', 'stroke', GRID, '#39424d'],
  ['', 'fill', EMPTY, '#39424d'],
  ['', 'fill', '#000000', '#ffffff'],
  ['', 'stroke', '#000000', '#ffffff'],
  ['', 'fill', FILL, '#4aa3df'],
  ['', 'stroke', FILL, '#4aa3df'],
]
  .map(([of, key, light, dark]) => `${of}[${key}="${light}"]{${key}:${dark}}`)
  .join('');

/** The colour and pattern scales of lines with these names, in this order. */
export function lineScales(all: readonly string[]) {
  const names = [...new Set(all)];
  const style = (i: number) => LINES[i % LINES.length];
  return {
    colour: { domain: names, range: names.map((_, i) => style(i).colour) },
    dash: { domain: names, range: names.map((_, i) => [...style(i).dash]) },
  };
}

/** By this share, text may be wider in a viewer without a font of Arial's widths. */
export const WIDER_FONT = 0.25;

/** The lines of a title, so that it fits a width also in a wider font. */
export function titleLines(title: string, width: number, size: number, bold = false): string[] {
  const lines: string[] = [];
  for (const word of title.split(' ')) {
    const longer = [...lines.slice(-1), word].join(' ');
    const fits = (1 + WIDER_FONT) * textWidth(longer, size, bold) <= width;
    if (fits) lines.splice(-1, 1, longer);
    else lines.push(word);
  }
  return lines;
}

/** An entry of a legend: its line, the space to its name, and that to the next. */
const KEY = { length: 20, gap: 4, padding: 14 };

/** The space between two panels, which the axis of the second is in. */
export const BESIDE = 48;

/**
 * The width of each of several panels side by side.
 *
 * @param before space to the left of them, besides the axis
 */
export function panelWidth({ width }: Layout, panels: number, space = BESIDE, before = 0): number {
  return Math.floor((width - before - BESIDE + space) / panels - space);
}

/** How many columns of a legend with these names fit the width. */
export function legendColumns({ width }: Layout, names: readonly string[]): number {
  const widest = Math.max(...names.map((name) => textWidth(name, TEXT.title)));
  const column = KEY.length + KEY.gap + widest + KEY.padding;
  return Math.max(1, Math.min(names.length, Math.floor((width + KEY.padding) / column)));
}

/** Splits a list into pieces of a length; the last may be shorter. */
export function chunks<T>(list: readonly T[], length: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / length) }, (_, i) =>
    list.slice(i * length, (i + 1) * length),
  );
}

/** A logarithmic scale around positive values, from tick to tick: 1, 2, 5 of each decade, or less. */
export function logScale(values: readonly number[]) {
  if (values.length === 0) return { scale: { type: 'log' as const }, ticks: [] };
  const [least, greatest] = extentOf(values);
  const [low, high] = [least, greatest].map(Math.log10);
  const digits = high - low < 3 ? [1, 2, 5] : [1];
  const step = Math.ceil((high - low) / 9) || 1;
  const all: number[] = [];
  for (
    let decade = step * Math.floor(low / step);
    decade <= Math.ceil(high) + step;
    decade += step
  ) {
    all.push(...digits.map((digit) => Number(`${digit}e${decade}`)));
  }
  const first = all.findLastIndex((tick) => tick <= least);
  const last = all.findIndex((tick) => tick >= greatest);
  const ticks = all.slice(first, last + 1);
  return { scale: { type: 'log' as const, domain: [ticks[0], ticks.at(-1)!], nice: false }, ticks };
}

/** The labels of ticks that are powers of ten, as 10⁵, for Vega. */
export function powerLabels(ticks: readonly number[]): string {
  const superscript = (exponent: number): string =>
    String(exponent).replace(/./g, (sign) => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'['-0123456789'.indexOf(sign)]);
  const labels = ticks.map((tick) => {
    const exponent = Math.log10(tick);
    const isPower = tick === Number(`1e${exponent}`);
    return [String(tick), isPower ? `10${superscript(exponent)}` : String(tick)];
  });
  return `(${JSON.stringify(Object.fromEntries(labels))})[datum.value]`;
}

/** `0`, `5k`, `10k`. */
export const iterationAxis = {
  title: 'iteration',
  labelExpr: "format(datum.value, '~s')",
  grid: false,
  tickCount: 4,
} as const;

/** Sequential: even also for colour-blind readers, and from dark to light in grey. */
export const SEQUENTIAL = 'cividis';
/** Diverging around zero, which is lightest. */
export const DIVERGING = 'blueorange';

export const THEME: Config = {
  background: PAPER,
  padding: 6,
  // Otherwise a screen reader would read out each mark; the figure has one description.
  aria: false,
  font: FONT_FAMILY,
  // Sizes are those of the plots; text around them makes the figure larger.
  autosize: { type: 'pad' },
  view: { stroke: null },
  axis: {
    labelFontSize: TEXT.label,
    titleFontSize: TEXT.title,
    titleFontWeight: 'normal',
    labelColor: INK,
    titleColor: INK,
    domainColor: INK,
    tickColor: INK,
    gridColor: GRID,
    tickSize: 4,
    titlePadding: 6,
    labelFlush: false,
    labelLimit: 0,
    titleLimit: 0,
  },
  legend: {
    orient: 'top',
    direction: 'horizontal',
    labelFontSize: TEXT.title,
    titleFontSize: TEXT.title,
    titleFontWeight: 'normal',
    labelColor: INK,
    titleColor: INK,
    symbolType: 'stroke',
    symbolSize: KEY.length ** 2,
    symbolStrokeWidth: 1.8,
    labelLimit: 0,
    titleLimit: 0,
    columnPadding: KEY.padding,
    offset: 10,
  },
  header: {
    labelFontSize: TEXT.panel,
    labelFontWeight: 'bold',
    labelColor: INK,
    titleColor: INK,
    labelLimit: 0,
  },
  title: {
    fontSize: TEXT.panel,
    fontWeight: 'bold',
    anchor: 'start',
    frame: 'group',
    color: INK,
    subtitleFontSize: TEXT.label,
    subtitleColor: INK,
    offset: 8,
    limit: 0,
  },
  line: { strokeWidth: 1.5 },
  concat: { spacing: 18 },
  facet: { spacing: 14 },
};
