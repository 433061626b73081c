import type { TopLevelSpec } from 'vega-lite';
import { textWidth } from './font.js';
import {
  DIVERGING,
  INK_ON_LIGHT,
  type Layout,
  panelWidth,
  SEQUENTIAL,
  TEXT,
  titleLines,
} from './theme.js';

/** A value over two others, as coloured cells. */
export interface HeatMap {
  title: string;
  /** Lines. */
  subtitle?: readonly string[];
  x: HeatAxis;
  y: HeatAxis;
  cells: readonly HeatCell[];
  /** From which value to which the colours go; around zero if `diverging`. */
  domain: readonly [number, number];
  diverging?: boolean;
  /** Whether the values differ by chance: then the colours must not differ much. */
  quiet?: boolean;
  /** Decimals of the numbers in the cells, where there is room for them. */
  digits: number;
}

export interface HeatAxis {
  title: string;
  /** In their order, from left to right or from below. */
  values: readonly string[];
}

export interface HeatCell {
  x: string;
  y: string;
  value: number;
  /** Gets a dot. */
  marked: boolean;
}

export type Panel = Extract<TopLevelSpec, { hconcat: unknown }>['hconcat'][number];

/** The most columns that leave room for a number in each cell. */
const NUMBERED = 6;
const HEIGHT = 170;
/** Between two panels: the legend of the first and the axis of the second. */
const SPACE = 104;
const LEGEND = 44;
const columnsOf = ({ isNarrow }: Layout): number => (isNarrow ? 1 : 2);

/** The size of a panel. */
export function heatSize(layout: Layout): { width: number; height: number } {
  return { width: panelWidth(layout, columnsOf(layout), SPACE, LEGEND), height: HEIGHT };
}

/** Panels of that size, two in a row, or one. */
export function heatGrid(
  description: string,
  panels: readonly Panel[],
  layout: Layout,
): TopLevelSpec {
  return {
    description,
    concat: [...panels],
    columns: columnsOf(layout),
    bounds: 'flush',
    // Between rows: an axis, a title and what is below it.
    spacing: { column: SPACE, row: layout.isNarrow ? 112 : 92 },
    resolve: { scale: { color: 'independent', strokeDash: 'independent' } },
  };
}

/** The values of an axis that get a label: as many as there is room for, including the last. */
function labelled(
  values: readonly string[],
  room: number,
  size = (value: string): number => textWidth(value, TEXT.label),
): string[] {
  const needed = Math.max(...values.map(size)) + 6;
  const step = Math.ceil((needed * values.length) / room);
  return values.filter((_, i) => (values.length - 1 - i) % step === 0);
}

/** The ticks of an axis; numbers all with as many decimals as one of them needs. */
function ticksOf(values: readonly string[]): { values: string[]; labelExpr?: string } {
  const decimals = values.map((text) => /^-?\d+(?:\.(\d+?)0*)?$/.exec(text));
  const most = Math.max(...decimals.map((found) => found?.[1]?.length ?? 0));
  const isNumbers = !decimals.includes(null);
  return {
    values: [...values],
    ...(isNumbers && { labelExpr: `format(toNumber(datum.value), '.${most}f')` }),
  };
}

/** Chance differences as a third of the colours, in their middle. */
function widened([low, high]: readonly [number, number]): [number, number] {
  return [low - (high - low), high + (high - low)];
}

/** The title of a panel, in lines where it is narrow. */
export function panelTitle(
  title: string,
  subtitle: readonly string[] | undefined,
  layout: Layout,
): { text: string | string[]; subtitle?: string[] } {
  if (!layout.isNarrow) return { text: title, ...(subtitle && { subtitle: [...subtitle] }) };
  const room = heatSize(layout).width + LEGEND;
  return {
    text: titleLines(title, room, TEXT.panel, true),
    ...(subtitle && {
      subtitle: subtitle.flatMap((line) => titleLines(line, room, TEXT.label)),
    }),
  };
}

/** The panel of a heat map. */
export function heatPanel(
  { title, subtitle, x, y, cells, ...scale }: HeatMap,
  layout: Layout,
): Panel {
  const room = heatSize(layout).width;
  const [low, high] = scale.quiet ? widened(scale.domain) : scale.domain;
  const width = x.values.length * Math.floor(room / x.values.length) || room;
  const height = y.values.length * Math.floor(HEIGHT / y.values.length) || HEIGHT;
  const numbered = x.values.length <= NUMBERED;
  const axis = (of: HeatAxis, vertical: boolean) => ({
    type: 'ordinal' as const,
    scale: {
      domain: vertical ? of.values.toReversed() : [...of.values],
      // Not 0 outside: rounded, the first tick would lie before the axis, and be left out.
      paddingInner: 0.04,
      paddingOuter: 0.02,
    },
    axis: {
      title: of.title,
      ...(of.title.length === 1 && { titleAngle: 0 }),
      labelAngle: 0,
      ...ticksOf(
        vertical ? labelled(of.values, HEIGHT, () => TEXT.label) : labelled(of.values, room),
      ),
      grid: false,
      domain: false,
    },
  });
  const textOf = (value: number): string => {
    const digits = Math.abs(value).toFixed(scale.digits);
    if (Number(digits) === 0) return digits;
    return `${value < 0 ? '−' : scale.diverging ? '+' : ''}${digits}`;
  };
  const middle = (low + high) / 2;
  // Sequential colours are dark at the low end, diverging ones at both ends.
  const onDark = scale.diverging ? `abs(datum.value) > ${0.6 * high}` : `datum.value < ${middle}`;
  return {
    title: panelTitle(title, subtitle, layout),
    width,
    height,
    data: { values: cells.map((cell) => ({ ...cell, text: textOf(cell.value) })) },
    encoding: {
      x: { field: 'x', ...axis(x, false) },
      y: { field: 'y', ...axis(y, true) },
    },
    layer: [
      {
        mark: 'rect',
        encoding: {
          color: {
            field: 'value',
            type: 'quantitative',
            scale: {
              domain: [low, high],
              scheme: scale.diverging ? DIVERGING : SEQUENTIAL,
            },
            legend: {
              title: null,
              orient: 'right',
              direction: 'vertical',
              gradientLength: height,
              gradientThickness: 10,
              labelFontSize: TEXT.label,
              tickCount: 5,
              offset: 8,
            },
          },
        },
      },
      ...(numbered
        ? [
            {
              mark: { type: 'text' as const, fontSize: TEXT.label },
              encoding: {
                text: { field: 'text' },
                color: { condition: { test: onDark, value: '#ffffff' }, value: INK_ON_LIGHT },
              },
            },
          ]
        : []),
      {
        transform: [{ filter: 'datum.marked' }],
        mark: {
          type: 'point',
          filled: true,
          size: 10,
          opacity: 1,
          ...(numbered && { xOffset: width / x.values.length / 2 - 4 }),
        },
        encoding: { color: { condition: { test: onDark, value: '#ffffff' }, value: INK_ON_LIGHT } },
      },
    ],
    resolve: { scale: { color: 'independent' } },
  };
}
