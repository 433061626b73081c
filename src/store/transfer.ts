import { toCsv } from './csvFile.js';
import { z } from 'zod';
import { ATTACK_NAMES } from '../attacks/attack.js';
import { rounded } from './csv.js';
import { STUDY_FILE } from './resultFolder.js';
import { deviationOf, type Transfer, transferRate } from '../metrics/transfer.js';

/** The files in a transfer's folder. */
export const TRANSFER_FILES = {
  identity: STUDY_FILE,
  table: 'transfer.csv',
  result: 'result.json',
  /** A folder with finished attacks of an unfinished transfer. */
  parts: 'stages',
} as const;

const grey = z.number().min(0).max(255);

/** The counts of one attack in one direction. */
export const transferSchema = z.object({
  attack: z.enum(ATTACK_NAMES),
  from: z.string(),
  to: z.string(),
  images: z.int().min(0),
  fooled: z.int().min(0),
  transferred: z.int().min(0),
  linf: z.object({ mean: grey, std: grey.nullable() }).nullable(),
});

/** `result.json` of a transfer. */
export const transferResultSchema = z.object({
  format: z.literal(1),
  kind: z.literal('transfer'),
  data: z.string(),
  transfers: z.array(transferSchema),
});

/** `transfer.csv`: a line for each attack and direction. */
export function transferCsv(transfers: readonly Transfer[]): string {
  const lines = transfers.map((one) => ({
    attack: one.attack,
    from: one.from,
    to: one.to,
    images: one.images,
    fooled: one.fooled,
    transferred: one.transferred,
    rate: rounded(transferRate(one)),
    linf_mean: rounded(one.linf?.mean),
    linf_std: rounded(deviationOf(one)),
  }));
  return toCsv(lines);
}
