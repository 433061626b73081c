import { z } from 'zod';
import { optionalNumber, optionalPercent, percent, positive, type FigureKind } from './rows.js';
import { BESIDE, iterationAxis, legendColumns, lineScales, logScale, panelWidth } from './theme.js';

/** A line of the log of a training. */
const trainingRow = z.object({
  network: z.string(),
  seed: optionalNumber,
  iteration: positive,
  loss: positive,
  /** Percent; in passing, with dropout. */
  train_accuracy: percent,
  /** Percent; null without validation images. */
  validation_accuracy: optionalPercent,
});
export type TrainingRow = z.infer<typeof trainingRow>;

const HEIGHT = 170;

/** Loss and accuracy over the iterations, a line for each network and seed. */
export const training: FigureKind<TrainingRow> = {
  row: trainingRow,
  spec(rows, layout) {
    const { colour, dash } = lineScales(rows.map(({ network }) => network));
    const loss = logScale(rows.map((row) => row.loss).filter((value) => value > 0));
    const panels = [
      {
        field: 'loss',
        title: 'Loss (cross entropy) ↓',
        scale: loss.scale,
        axis: { values: loss.ticks, format: '~g' },
      },
      {
        field: 'train_accuracy',
        title: 'Training accuracy (%) ↑',
        scale: { zero: false },
        axis: { tickCount: 6 },
      },
      {
        field: 'validation_accuracy',
        title: 'Validation accuracy (%) ↑',
        scale: { zero: false },
        axis: { tickCount: 6 },
      },
    ] as const;
    const columns = legendColumns(layout, colour.domain);
    const drawn = panels.filter(({ field }) => rows.some((row) => row[field] !== null));
    const across = layout.isNarrow ? 1 : drawn.length;
    return {
      description: 'Loss and accuracy over the iterations of training',
      bounds: 'flush',
      // Below: an axis, and the title of the next.
      spacing: { column: BESIDE, row: 1.5 * BESIDE },
      // A logarithmic axis has no 0: the line is broken there.
      data: { values: rows.map((row) => ({ ...row, loss: row.loss || null })) },
      columns: across,
      concat: drawn.map(({ field, title, scale, axis }) => ({
        title,
        width: panelWidth(layout, across),
        height: HEIGHT,
        mark: 'line',
        encoding: {
          x: { field: 'iteration', type: 'quantitative', axis: iterationAxis },
          y: {
            field,
            type: 'quantitative',
            scale,
            axis: { title: null, ...axis },
          },
          color: { field: 'network', scale: colour, legend: { title: null, columns } },
          strokeDash: { field: 'network', scale: dash },
          detail: { field: 'seed' },
        },
      })),
    };
  },
};
