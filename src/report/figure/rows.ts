import type { TopLevelSpec } from 'vega-lite';
import { z } from 'zod';
import { fieldProblem, numberIn } from '../../store/csvFile.js';
import { cut } from '../grid.js';
import { xmlText } from '../xml.js';
import type { Layout } from './theme.js';

/** A figure: the schema of its rows, which are also its CSV file, and how they are drawn. */
export interface FigureKind<Row> {
  row: z.ZodType<Row>;
  spec: (rows: readonly Row[], layout: Layout) => TopLevelSpec;
}

const isEmpty = (value: unknown): boolean => value === '' || value === null || value === undefined;
const measured = (value: unknown): unknown =>
  typeof value === 'string' || typeof value === 'number' ? numberIn(String(value)) : value;

/** A number in a CSV file. */
export const number = z.preprocess(measured, z.number());
/** The same from 0 on, such as a loss, or a count. */
export const positive = z.preprocess(measured, z.number().min(0));
/** The same from 0 to 100. */
export const percent = z.preprocess(measured, z.number().min(0).max(100));
/** The same, or an empty field. */
const optional = (schema: z.ZodNumber) =>
  z.preprocess((value) => (isEmpty(value) ? null : measured(value)), schema.nullable());
export const optionalNumber = optional(z.number());
export const optionalPercent = optional(z.number().min(0).max(100));

/** The address of an image, which may be long and is no name. */
export const IMAGE = /^data:image\/png;base64,[A-Za-z0-9+/]+=*$/;

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
    let now = IMAGE.test(text) ? text : xmlText(cut(text));
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
    throw fieldProblem(file, i, line, column);
  });
}
