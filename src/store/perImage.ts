import { existsSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'csv-stringify/sync';
import {
  ATTACK_NAMES,
  type AttackName,
  type Protocol,
  STRONGER_ATTACKS,
} from '../attacks/attack.js';
import { UserError } from '../base/errors.js';
import type { BudgetOutcome, Evaluation } from '../metrics/evaluation.js';
import { type CsvLine, fieldProblem, numberIn, readCsv } from './csvFile.js';
import type { Row } from '../metrics/row.js';
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
  const within = evaluation.atBudgets ?? [];
  const { noise } = evaluation;
  const lines = Array.from({ length: images }, (_, i) => [
    ...[i, labels[i], predicted[i], blank[i]],
    ...columns.map((column) => fieldOf(column, evaluation, i)),
    ...(noise ? [noise.flips[i] < 0 ? '' : noise.flips[i]] : []),
    ...within.map(({ by }) => by[i] ?? ''),
  ]);
  const headings = [...IMAGE_HEADINGS, ...columns.map(({ heading }) => heading)];
  if (noise) headings.push('noise_flips');
  return stringify([[...headings, ...within.map(budgetHeading)], ...lines]);
}

/** The heading of the column that says who fooled each image within a budget: `auto_linf_16`. */
function budgetHeading({ norm, budget }: Pick<BudgetOutcome, 'norm' | 'budget'>): string {
  return `auto_${norm}_${Number(budget.toFixed(4))}`;
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

/** The smallest and the largest value of a column; every attack that succeeds changes a pixel by a grey level. */
const RANGES: Record<Column['array'], readonly [least: number, most: number]> = {
  linf: [1, 255],
  l2: [1, Infinity],
  pass: [-1, 1],
  aligned: [0, 1],
};

/**
 * The lines of a result folder's `per-image.csv`; undefined if it has none.
 *
 * @param row the numbers made of it, if they are known: it must have their images and attacks
 * @throws UserError if it cannot be read, or is damaged
 */
export function readPerImage(folder: string, row?: Row): CsvLine[] | undefined {
  const file = path.join(folder, FILES.perImage);
  if (!existsSync(file)) return undefined;
  const lines = readCsv(file);
  if (row && lines.length !== row.images) {
    throw new UserError(`${file} is damaged: it holds ${lines.length} images, not ${row.images}`);
  }
  for (const attack of ATTACK_NAMES.filter((name) => row?.attacks[name])) {
    const heading = linfHeading(attack, row!.protocol.search);
    if (!Object.hasOwn(lines[0], heading)) throw fieldProblem(file, 0, lines[0], heading);
  }
  const present = [...LINE_COLUMNS, ...STRONGER_COLUMNS].filter(({ heading }) =>
    Object.hasOwn(lines[0], heading),
  );
  lines.forEach((line, i) => {
    for (const heading of IMAGE_HEADINGS) {
      const value = numberIn(line[heading] ?? '');
      if (!Number.isInteger(value) || value! < 0) throw fieldProblem(file, i, line, heading);
    }
    for (const { heading, array } of present) {
      if (line[heading] === '') continue;
      const [least, most] = RANGES[array];
      const value = numberIn(line[heading]) ?? NaN;
      if (!(value >= least && value <= most)) throw fieldProblem(file, i, line, heading);
    }
  });
  return lines;
}

/** The headings of the columns in which a row's attacks have their sizes and PASS. */
export function measuredHeadings({ attacks, protocol }: Row): string[] {
  return [...LINE_COLUMNS, ...STRONGER_COLUMNS]
    .filter(({ attack, array, search = protocol.search }) => {
      const made = attacks[attack];
      if (!made || search !== protocol.search) return false;
      if (array === 'pass') return made.aligned !== null;
      return array === 'linf' || (array === 'l2' && made.l2 !== undefined);
    })
    .map(({ heading }) => heading);
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
export function linfValues(lines: readonly CsvLine[], attack: AttackName): number[][] {
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
