import { z } from 'zod';
import { extentOf } from '../../base/sums.js';
import { heatGrid, heatPanel, heatSize, type Panel, panelTitle } from './heatMap.js';
import {
  number,
  optionalNumber,
  optionalPercent,
  percent,
  positive,
  type FigureKind,
} from './rows.js';
import { INK, type Layout, lineScales, TEXT } from './theme.js';

/** The effect of noise of one σ on both networks at a stage of their training, in percent. */
const noiseRow = z.object({
  iteration: positive,
  /** In grey levels. */
  sigma: positive,
  /** The share of noisy copies that are misclassified. */
  regular: percent,
  bang: percent,
  /** Standard errors over images; null with one image of each class. */
  regular_error: optionalPercent,
  bang_error: optionalPercent,
  /** bang − regular, in points. */
  difference: number,
  difference_error: optionalNumber,
  /** What the paper quotes. */
  quoted_regular: optionalNumber,
  quoted_bang: optionalNumber,
});
export type NoiseFigureRow = z.infer<typeof noiseRow>;

const NETWORKS = [
  { key: 'regular', title: 'Regular training' },
  { key: 'bang', title: 'BANG' },
] as const;

/** Both networks and their difference over stage and σ, and the last stage as curves. */
export const noise: FigureKind<NoiseFigureRow> = {
  row: noiseRow,
  spec(rows, layout) {
    const ascending = (key: 'iteration' | 'sigma'): string[] =>
      [...new Set(rows.map((row) => row[key]))].sort((a, b) => a - b).map(String);
    const x = { title: 'iteration', values: ascending('iteration') };
    const y = { title: 'σ (grey levels)', values: ascending('sigma') };
    const map = (
      value: (row: NoiseFigureRow) => number,
      marked?: (row: NoiseFigureRow) => boolean,
    ) =>
      rows.map((row) => ({
        x: String(row.iteration),
        y: String(row.sigma),
        value: value(row),
        marked: marked?.(row) ?? false,
      }));
    const [, most] = extentOf(rows.flatMap(({ regular, bang }) => [regular, bang]));
    const gap = extentOf(rows.map(({ difference }) => Math.abs(difference)))[1] || 1;
    const hasErrors = rows.some(({ difference_error }) => difference_error !== null);
    const [regular, bang] = NETWORKS.map(({ key, title }) =>
      heatPanel(
        {
          title: `${title} (% wrong) ↓ better`,
          x,
          y,
          cells: map((row) => row[key]),
          domain: [0, most],
          digits: 1,
        },
        layout,
      ),
    );
    const difference = heatPanel(
      {
        title: 'BANG minus regular (points) ↓ better',
        subtitle: hasErrors ? ['● BANG worse by two standard errors or more'] : [],
        x,
        y,
        cells: map(
          (row) => row.difference,
          ({ difference: by, difference_error: error }) =>
            error !== null && by > 0 && by >= 2 * error,
        ),
        domain: [-gap, gap],
        diverging: true,
        digits: 1,
      },
      layout,
    );
    return heatGrid(
      'Shares of noisy images that are classified wrongly, over stage of training and σ',
      [regular, bang, difference, lastStage(rows, layout)],
      layout,
    );
  },
};

function lastStage(rows: readonly NoiseFigureRow[], layout: Layout): Panel {
  const [, last] = extentOf(rows.map(({ iteration }) => iteration));
  const { colour, dash } = lineScales(NETWORKS.map(({ title }) => title));
  const points = rows
    .filter(({ iteration }) => iteration === last)
    .flatMap((row) =>
      NETWORKS.map(({ key, title }) => {
        const [rate, error] = [row[key], row[`${key}_error`]];
        const [low, high] = [rate - (error ?? 0), rate + (error ?? 0)];
        const quoted = row[`quoted_${key}`];
        return { network: title, sigma: row.sigma, rate, error, low, high, quoted };
      }),
    );
  const explained = [
    ...(points.some(({ error }) => error !== null) ? ['± standard error'] : []),
    ...(points.some(({ quoted }) => quoted !== null) ? ['♦ quoted in the paper'] : []),
  ];
  const x = {
    field: 'sigma',
    type: 'quantitative' as const,
    axis: { title: 'σ (grey levels)', grid: false },
  };
  const color = { field: 'network', scale: colour, legend: null };
  const strokeDash = { field: 'network', scale: dash, legend: null };
  // A legend inside the panel, where no curve is: more noise fools more.
  const key = { values: NETWORKS.map(({ title }, i) => ({ network: title, y: 10 + 15 * i })) };
  const y = { field: 'y', type: 'quantitative' as const, scale: null };
  return {
    title: panelTitle(
      `After ${last} iterations (% wrong) ↓ better`,
      explained.length === 0 ? [] : [explained.join('; ')],
      layout,
    ),
    ...heatSize(layout),
    data: { values: points },
    layer: [
      {
        data: key,
        mark: { type: 'rule', strokeWidth: 1.5 },
        encoding: { x: { value: 8 }, x2: { value: 34 }, y, color, strokeDash },
      },
      {
        data: key,
        mark: { type: 'text', align: 'left', fontSize: TEXT.label, x: 40 },
        encoding: { y, text: { field: 'network' } },
      },
      {
        mark: 'line' as const,
        encoding: {
          x,
          y: {
            field: 'rate',
            type: 'quantitative' as const,
            axis: { title: null, labelFlush: true },
          },
          color,
          strokeDash,
        },
      },
      {
        mark: { type: 'rule' as const },
        encoding: {
          x,
          y: { field: 'low', type: 'quantitative' as const },
          y2: { field: 'high' },
          color,
        },
      },
      {
        transform: [{ filter: 'isValid(datum.quoted)' }],
        mark: {
          type: 'point' as const,
          shape: 'diamond',
          filled: true,
          size: 60,
          stroke: INK,
          opacity: 1,
        },
        encoding: { x, y: { field: 'quoted', type: 'quantitative' as const }, color },
      },
    ],
  };
}
