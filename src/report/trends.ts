import { signed } from '../base/text.js';
import { shortKeys } from '../config/points.js';
import type { Trends } from '../sweep/trends.js';
import { NOTHING, numberCell, type Grid } from './grid.js';
import { columnOf } from './lines.js';

/** The trends as a table, a line for each quantity. */
export function trendGrid({ keys, trends }: Trends): Grid {
  const short = shortKeys(keys.map(({ key }) => key));
  return {
    columns: [
      { title: ['quantity'], align: 'left' },
      { title: ['reference'] },
      { title: ['mean of', 'points'] },
      { title: ['explained', '%'] },
      { title: ['scatter'] },
      ...keys.map(({ least, greatest }, v) => ({ title: [short[v], `${least} → ${greatest}`] })),
      { title: ['points', 'above'] },
    ],
    rows: trends.map(({ quantity, points, mean, reference, rise, explained, scatter }) => {
      const { digits, title } = columnOf(quantity);
      return [
        { text: title.join(' ') },
        reference === undefined ? NOTHING : numberCell(reference.value, digits),
        numberCell(mean, digits),
        explained === undefined ? NOTHING : numberCell(100 * explained, 0),
        numberCell(scatter, digits),
        ...rise.map((by) => ({ ...numberCell(by, digits), text: signed(by, digits) })),
        reference === undefined
          ? NOTHING
          : { text: `${reference.above} of ${points}`, value: reference.above },
      ];
    }),
  };
}

/** How to read the table. */
export const TRENDS =
  'A plane over the keys, by least squares: how far each quantity rises over the range of a key, the share of its variance that the plane explains beyond chance (adjusted R²), and the scatter of single points about it (standard deviation).';
