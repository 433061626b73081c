import { z } from 'zod';
import { optionalNumber, positive, type FigureKind } from './rows.js';
import {
  BESIDE,
  iterationAxis,
  legendColumns,
  lineScales,
  logScale,
  panelWidth,
  powerLabels,
} from './theme.js';

/** η of a layer since the row before: over the images of the batches, its mean and its largest. */
const etaRow = z.object({
  network: z.string(),
  seed: optionalNumber,
  layer: z.string(),
  iteration: positive,
  eta_mean: positive,
  eta_max: positive,
});
export type EtaRow = z.infer<typeof etaRow>;

const HEIGHT = 120;

/**
 * η of each layer over the iterations: a column for each layer, or a row where it is narrow; a line for each network
 * and seed.
 */
export const eta: FigureKind<EtaRow> = {
  row: etaRow,
  spec(rows, layout) {
    const { colour, dash } = lineScales(rows.map(({ network }) => network));
    const layers = [...new Set(rows.map(({ layer }) => layer))];
    const { scale, ticks } = logScale(
      rows.flatMap((row) => [row.eta_mean, row.eta_max]).filter((value) => value > 0),
    );
    const statistics = [
      { field: 'eta_mean', name: 'mean η' },
      { field: 'eta_max', name: 'largest η' },
    ];
    const keys = legendColumns(layout, colour.domain);
    const across = layout.isNarrow ? statistics.length : layers.length;
    const panels = layout.isNarrow
      ? layers.flatMap((layer) => statistics.map((one) => ({ layer, ...one })))
      : statistics.flatMap((one) => layers.map((layer) => ({ layer, ...one })));
    const title = (i: number, layer: string, name: string) =>
      i < across && { title: layout.isNarrow ? name : layer };
    return {
      description: 'η of each layer over the iterations of training',
      data: {
        // A logarithmic axis has no 0: the line is broken there.
        values: rows.map((row) => ({
          ...row,
          eta_mean: row.eta_mean || null,
          eta_max: row.eta_max || null,
        })),
      },
      columns: across,
      bounds: 'flush',
      spacing: { column: BESIDE / 2, row: BESIDE / 2 },
      concat: panels.map(({ layer, field, name }, i) => {
        const [isFirst, isLast] = [i % across === 0, i >= panels.length - across];
        return {
          ...title(i, layer, name),
          // Labels such as 10¹⁷ are wider than most.
          width: panelWidth(layout, across, BESIDE / 2, 16),
          height: HEIGHT,
          transform: [{ filter: { field: 'layer', equal: layer } }],
          mark: 'line' as const,
          encoding: {
            x: {
              field: 'iteration',
              type: 'quantitative' as const,
              axis: {
                ...iterationAxis,
                tickCount: 2,
                ...(!isLast && { title: null, labels: false }),
              },
            },
            y: {
              field,
              type: 'quantitative' as const,
              scale,
              axis: {
                title: isFirst ? (layout.isNarrow ? layer : name) : null,
                values: ticks,
                labelExpr: powerLabels(ticks),
                // A label all the same, so that the titles are level.
                ...(!isFirst && { labelExpr: "' '" }),
              },
            },
            color: { field: 'network', scale: colour, legend: { title: null, columns: keys } },
            strokeDash: { field: 'network', scale: dash },
            detail: { field: 'seed' },
          },
        };
      }),
    };
  },
};
