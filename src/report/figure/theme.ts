import type { Config } from 'vega-lite';
import { FONT_FAMILY } from './font.js';

/** The one look of all figures. Lengths are pixels of 1/96 inch: the width is that of a text column. */

export const WIDTH = 640;
export const TEXT = { label: 10, title: 11, panel: 12 } as const;

export const INK = '#1a1a1a';
export const FAINT = '#8c8c8c';
/** Of bars. */
export const FILL = '#0072b2';
const GRID = '#e6e6e6';

/**
 * Colours of Okabe and Ito, which people see apart however they see colours, each with a pattern of
 * its own, by which lines are told apart in grey.
 */
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

/** The scales of lines that belong to these names, in this order: colour and pattern. */
export function lineScales(all: readonly string[]) {
  const names = [...new Set(all)];
  const style = (i: number) => LINES[i % LINES.length];
  return {
    colour: { domain: names, range: names.map((_, i) => style(i).colour) },
    dash: { domain: names, range: names.map((_, i) => [...style(i).dash]) },
  };
}

/** The space between two panels, which the axis of the second is in. */
export const BESIDE = 48;

/**
 * How wide each of so many panels is that are side by side with a space between.
 *
 * @param before what else is left of them, beside the axis
 */
export function panelWidth(panels: number, space = BESIDE, before = 0): number {
  return Math.floor((WIDTH - before - BESIDE + space) / panels - space);
}

/** A list in pieces of a length, the last maybe shorter. */
export function chunks<T>(list: readonly T[], length: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / length) }, (_, i) =>
    list.slice(i * length, (i + 1) * length),
  );
}

/** A logarithmic scale around positive values, from tick to tick: 1, 2, 5 of each decade, or less. */
export function logScale(values: readonly number[]) {
  if (values.length === 0) return { scale: { type: 'log' as const }, ticks: [] };
  const [low, high] = [Math.min(...values), Math.max(...values)].map(Math.log10);
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
  const first = all.findLastIndex((tick) => tick <= Math.min(...values));
  const last = all.findIndex((tick) => tick >= Math.max(...values));
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

/** From little to much: as even to colour-blind readers, and in grey from dark to light. */
export const SEQUENTIAL = 'cividis';
/** From less to more than nothing, by which nothing is lightest. */
export const DIVERGING = 'blueorange';

export const THEME: Config = {
  background: '#ffffff',
  padding: 6,
  // Each mark would be read out; the figure has one description.
  aria: false,
  font: FONT_FAMILY,
  // Plots have the size that is asked for; what is written around them makes the figure larger.
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
    symbolSize: 400,
    symbolStrokeWidth: 1.8,
    labelLimit: 0,
    titleLimit: 0,
    columnPadding: 14,
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
