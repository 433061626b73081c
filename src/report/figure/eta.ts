import { z } from 'zod';
import { optionalNumber, positive, type FigureKind } from './rows.js';
import { BESIDE, iterationAxis, lineScales, logScale, panelWidth, powerLabels } from './theme.js';

/** η of a layer since the row before: over the images of the batches, its mean and its largest. */
export const etaRow = z.object({
  network: z.string(),
  seed: optionalNumber,
  layer: z.string(),
  iteration: positive,
  eta_mean: positive,
  eta_max: positive,
});
export type EtaRow = z.infer<typeof etaRow>;

const HEIGHT = 120;

/** η of each layer over the iterations: a column for each layer, a line for each network and seed. */
export const eta: FigureKind<EtaRow> = {
  row: etaRow,
  spec(rows) {
    const { colour, dash } = lineScales(rows.map(({ network }) => network));
    const layers = [...new Set(rows.map(({ layer }) => layer))];
    const { scale, ticks } = logScale(
      rows.flatMap((row) => [row.eta_mean, row.eta_max]).filter((value) => value > 0),
    );
    const statistics = [
      { field: 'eta_mean', name: 'mean η' },
      { field: 'eta_max', name: 'largest η' },
    ];
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
      columns: layers.length,
      bounds: 'flush',
      spacing: { column: BESIDE / 2, row: BESIDE / 2 },
      concat: statistics.flatMap(({ field, name }, r) =>
        layers.map((layer, c) => ({
          ...(r === 0 && { title: layer }),
          width: panelWidth(layers.length, BESIDE / 2),
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
                ...(r === 0 && { title: null, labels: false }),
              },
            },
            y: {
              field,
              type: 'quantitative' as const,
              scale,
              axis: {
                title: c === 0 ? name : null,
                values: ticks,
                labelExpr: powerLabels(ticks),
                // A label all the same, so that the titles are level.
                ...(c > 0 && { labelExpr: "' '" }),
              },
            },
            color: { field: 'network', scale: colour, legend: { title: null } },
            strokeDash: { field: 'network', scale: dash },
            detail: { field: 'seed' },
          },
        })),
      ),
    };
  },
};
