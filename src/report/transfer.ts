import Table from 'cli-table3';
import { stringify } from 'csv-stringify/sync';
import { ATTACKS } from '../attacks/run.js';
import type { Transfer } from '../experiment/transfer.js';
import { NO_RULES } from './table.js';

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
  const table = new Table({
    head: ['attack', 'made on', 'L∞', 'fooled', 'tried on', 'fooled, too', '%'],
    chars: NO_RULES,
    style: { head: [], border: [] },
    colAligns: ['left', 'left', 'right', 'right', 'left', 'right', 'right'],
  });
  for (const one of transfers) {
    const { attack, from, to, images, fooled, transferred, linf } = one;
    table.push([
      ATTACKS[attack].title,
      from,
      linf ? `${linf.mean.toFixed(2)} ± ${linf.std.toFixed(2)}` : '–',
      `${fooled} of ${images}`,
      to,
      transferred,
      rateOf(one)?.toFixed(2) ?? '–',
    ]);
  }
  return table.toString();
}
