import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'csv-parse/sync';
import { stringify } from 'csv-stringify/sync';
import { type AttackName, type Protocol, STRONGER_ATTACKS } from '../attacks/attack.js';
import { messageOf, UserError } from '../base/errors.js';
import { reason } from '../base/files.js';
import type { Evaluation } from '../metrics/evaluation.js';
import { FILES } from './resultFolder.js';

/** A column with an array of an attack's outcome. */
interface Column {
  heading: string;
  attack: AttackName;
  array: 'linf' | 'l2' | 'pass' | 'aligned';
  /** The column is empty if the evaluation used another line search. */
  search?: Protocol['search'];
}

/** Each line begins with these. */
const IMAGE_HEADINGS = ['index', 'label', 'predicted', 'blank'];

/** All files have these columns, even without the attacks. */
const LINE_COLUMNS: readonly Column[] = [
  { heading: 'fgs_linf', attack: 'fgs', array: 'linf', search: 'bisection' },
  { heading: 'fgs_pass', attack: 'fgs', array: 'pass' },
  { heading: 'fgs_aligned', attack: 'fgs', array: 'aligned' },
  { heading: 'fgs_linf_scan', attack: 'fgs', array: 'linf', search: 'scan' },
  { heading: 'hc1_linf', attack: 'hc1', array: 'linf', search: 'bisection' },
  { heading: 'hc1_pass', attack: 'hc1', array: 'pass' },
  { heading: 'hc1_aligned', attack: 'hc1', array: 'aligned' },
  { heading: 'hc1_linf_scan', attack: 'hc1', array: 'linf', search: 'scan' },
  { heading: 'fgs_unmasked_linf', attack: 'fgs-unmasked', array: 'linf', search: 'bisection' },
  { heading: 'fgs_unmasked_linf_scan', attack: 'fgs-unmasked', array: 'linf', search: 'scan' },
];

/** Only files of evaluations with these attacks have these columns. */
const STRONGER_COLUMNS: readonly Column[] = STRONGER_ATTACKS.flatMap((attack) =>
  (['linf', 'l2'] as const).map((array) => ({
    heading: `${attack.replaceAll('-', '_')}_${array}`,
    attack,
    array,
  })),
);

/** Decimals. */
const DIGITS: Record<Column['array'], number> = { linf: 6, l2: 4, pass: 4, aligned: 0 };

/** `per-image.csv`: a line for each image. A field is empty if the attack failed or was not made. */
export function perImageCsv(evaluation: Evaluation): string {
  const { images, labels, predicted, blank, attacks } = evaluation;
  const made = STRONGER_COLUMNS.filter(({ attack, array }) => attacks.get(attack)?.[array]);
  const columns = [...LINE_COLUMNS, ...made];
  const lines = Array.from({ length: images }, (_, i) => [
    ...[i, labels[i], predicted[i], blank[i]],
    ...columns.map((column) => fieldOf(column, evaluation, i)),
  ]);
  return stringify([[...IMAGE_HEADINGS, ...columns.map(({ heading }) => heading)], ...lines]);
}

function fieldOf(
  { attack, array, search }: Column,
  { attacks, protocol }: Evaluation,
  image: number,
): number | '' {
  const outcome = attacks.get(attack);
  const value = outcome?.[array]?.[image];
  // `aligned` is 0, not NaN, where the attack failed.
  if (value === undefined || Number.isNaN(value) || Number.isNaN(outcome!.linf[image])) return '';
  if (search && search !== protocol.search) return '';
  return Number(value.toFixed(DIGITS[array]));
}

/** A line of `per-image.csv`, its fields by heading. */
export type ImageLine = Partial<Record<string, string>>;

/**
 * The lines of a result folder's `per-image.csv`; undefined if it has none.
 *
 * @throws UserError if it cannot be read
 */
export function readPerImage(folder: string): ImageLine[] | undefined {
  const file = path.join(folder, FILES.perImage);
  if (!existsSync(file)) return undefined;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UserError(`cannot read ${file}: ${reason(error)}`);
  }
  try {
    return parse(text, { columns: true, bom: true });
  } catch (error) {
    throw new UserError(`${file} is damaged: ${messageOf(error)}`);
  }
}

/** The heading of an attack's L∞ in an evaluation with this line search. */
export function linfHeading(attack: AttackName, search: Protocol['search']): string {
  return linfColumns(attack).find((column) => (column.search ?? search) === search)!.heading;
}

/**
 * The L∞ of an attack for each image, in grey levels; NaN where a field is empty.
 *
 * @returns one list for each column that the file has for the attack
 */
export function linfValues(lines: readonly ImageLine[], attack: AttackName): number[][] {
  return linfColumns(attack)
    .filter(({ heading }) => Object.hasOwn(lines.at(0) ?? {}, heading))
    .map(({ heading }) =>
      lines.map(({ [heading]: field }) => (field === '' ? NaN : Number(field))),
    );
}

function linfColumns(attack: AttackName): Column[] {
  return [...LINE_COLUMNS, ...STRONGER_COLUMNS].filter(
    (column) => column.attack === attack && column.array === 'linf',
  );
}
