import { ATTACKS } from '../attacks/attacks.js';
import { deviationOf, type Transfer, transferRate } from '../metrics/transfer.js';
import { countCell, type Grid, type GridCell, NOTHING, numberCell } from './grid.js';

/** A line for each attack and direction. */
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
      const rate = transferRate(one);
      return [
        { text: ATTACKS[attack].title },
        { text: from },
        linf ? withSpread(linf.mean, deviationOf(one)) : NOTHING,
        { text: `${fooled} of ${images}`, value: fooled },
        { text: to },
        countCell(transferred),
        rate === undefined ? NOTHING : numberCell(rate, 2),
      ];
    }),
  };
}

function withSpread(mean: number, std: number | null): GridCell {
  const { text, value } = numberCell(mean, 2);
  return { text: `${text} ± ${std === null ? NOTHING.text : std.toFixed(2)}`, value };
}
