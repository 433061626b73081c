import { stringify } from 'csv-stringify/sync';
import { ATTACKS } from '../attacks/run.js';
import type { Transfer } from '../experiment/transfer.js';
import { countCell, drawGrid, NOTHING, numberCell, type Grid, type GridCell } from './grid.js';

/** Percent of the perturbations that fool their own network; undefined if none does. */
function rateOf({ fooled, transferred }: Transfer): number | undefined {
  return fooled === 0 ? undefined : (100 * transferred) / fooled;
}

/** `transfer.csv`: a line for each attack and direction. */
export function transferCsv(transfers: readonly Transfer[]): string {
  const rounded = (value: number | undefined) =>
    value === undefined ? '' : Number(value.toFixed(4));
  const lines = transfers.map((one) => ({
    attack: one.attack,
    from: one.from,
    to: one.to,
    images: one.images,
    fooled: one.fooled,
    transferred: one.transferred,
    rate: rounded(rateOf(one)),
    linf_mean: rounded(one.linf?.mean),
    linf_std: rounded(one.linf?.std),
  }));
  return stringify(lines, { header: true });
}

/** The same for a console. */
export function transferTable(transfers: readonly Transfer[]): string {
  return drawGrid(transferGrid(transfers));
}

/** The table before it is drawn. */
export function transferGrid(transfers: readonly Transfer[]): Grid {
  return {
    columns: [
      { title: ['attack'], align: 'left' },
      { title: ['made on'], align: 'left' },
      { title: ['L∞'] },
      { title: ['fooled'] },
      { title: ['tried on'], align: 'left' },
      { title: ['fooled, too'] },
      { title: ['%'] },
    ],
    rows: transfers.map((one) => {
      const { attack, from, to, images, fooled, transferred, linf } = one;
      const rate = rateOf(one);
      return [
        { text: ATTACKS[attack].title },
        { text: from },
        linf ? withSpread(linf) : NOTHING,
        { text: `${fooled} of ${images}`, value: fooled },
        { text: to },
        countCell(transferred),
        rate === undefined ? NOTHING : numberCell(rate, 2),
      ];
    }),
  };
}

function withSpread({ mean, std }: NonNullable<Transfer['linf']>): GridCell {
  const { text, value } = numberCell(mean, 2);
  return { text: `${text} ± ${std.toFixed(2)}`, value };
}
