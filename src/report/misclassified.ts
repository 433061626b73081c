import type { ErrorCount } from '../metrics/misclassified.js';
import { countCell, drawGrid, numberCell } from './grid.js';

/** The table for a console. */
export function errorTable(counts: readonly ErrorCount[]): string {
  return drawGrid({
    columns: [
      { title: ['training images'], align: 'left' },
      { title: ['images'] },
      { title: ['errors'] },
      { title: ['%'] },
      { title: ['trained on'] },
    ],
    rows: counts.map(({ part, images, errors, trainedOn }) => [
      { text: part },
      countCell(images),
      countCell(errors),
      numberCell((100 * errors) / images, 3),
      trainedOn === undefined ? { text: 'not known' } : countCell(trainedOn),
    ]),
  });
}
