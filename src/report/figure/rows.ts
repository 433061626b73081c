import { parse } from 'csv-parse/sync';
import { stringify } from 'csv-stringify/sync';
import type { TopLevelSpec } from 'vega-lite';
import { z } from 'zod';
import { UserError } from '../../base/errors.js';
import { briefJson } from '../../base/text.js';
import { xmlText } from '../xml.js';

/** A figure: the schema of its rows, which are also its CSV file, and how they are drawn. */
export interface FigureKind<Row> {
  row: z.ZodType<Row>;
  spec: (rows: readonly Row[]) => TopLevelSpec;
}

const filled = (value: unknown): unknown => (value === '' || value === null ? undefined : value);

/** A number in a CSV file. */
export const number = z.preprocess((value) => Number(filled(value)), z.number());
/** The same, or an empty field. */
export const optionalNumber = z.preprocess(
  (value) => (filled(value) === undefined ? null : Number(value)),
  z.number().nullable(),
);

/**
 * Rows whose texts can be drawn: without characters that XML cannot represent, and none a name of
 * `Object.prototype`, since Vega keeps groups in plain objects. Different texts stay different.
 */
export function drawable<Row extends object>(rows: readonly Row[]): Row[] {
  const drawn = new Map<string, string>();
  const taken = new Set<string>();
  const textOf = (text: string): string => {
    const before = drawn.get(text);
    if (before !== undefined) return before;
    let now = text.startsWith('data:') ? text : xmlText(text);
    while (now in Object.prototype || taken.has(now)) now += ' ';
    taken.add(now);
    drawn.set(text, now);
    return now;
  };
  return rows.map(
    (row) =>
      Object.fromEntries(
        Object.entries(row).map(([key, value]: [string, unknown]) => [
          key,
          typeof value === 'string' ? textOf(value) : value,
        ]),
      ) as Row,
  );
}

/** Rows as CSV; null is an empty field. */
export function rowsCsv(rows: readonly object[]): string {
  return stringify([...rows], { header: true });
}

/**
 * Rows from the lines of a CSV file; other columns are dropped.
 *
 * @throws UserError if a column is missing or a field is invalid
 */
export function readRows<Row>(
  lines: readonly Record<string, unknown>[],
  schema: z.ZodType<Row>,
  file: string,
): Row[] {
  return lines.map((line, i) => {
    const { data, error } = schema.safeParse(line);
    if (!error) return data;
    const [column] = error.issues[0].path as [string];
    throw new UserError(
      Object.hasOwn(line, column)
        ? `${file}: line ${i + 2} has ${briefJson(line[column])} as ${column}, which is not valid`
        : `${file} has no column ${column}`,
    );
  });
}

/**
 * The lines of a CSV file by the names of their columns.
 *
 * @throws UserError if it is not CSV, or has no line
 */
export function csvLines(text: string, file: string): Record<string, string>[] {
  let lines: Record<string, string>[];
  try {
    lines = parse(text, { columns: true, bom: true });
  } catch {
    throw new UserError(`${file} is damaged: its lines are not CSV`);
  }
  if (lines.length === 0) throw new UserError(`${file} holds no line`);
  return lines;
}
