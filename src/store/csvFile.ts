import { CsvError, parse } from 'csv-parse/sync';
import { stringify } from 'csv-stringify/sync';
import { UserError } from '../base/errors.js';
import { readRegularFile } from '../base/files.js';
import { briefJson, quoted } from '../base/text.js';

/** A line of a CSV file, its fields by heading. */
export type CsvLine = Record<string, string>;

/** In bytes: as lines, a file takes many times the memory. */
export const LARGEST_CSV = 2 ** 25;

/** Outside of what a float32 holds, nothing was measured. */
const FLOAT32 = { largest: 3.5e38, least: 1e-45 };

/**
 * The lines of a CSV file that this program wrote, at least one.
 *
 * @throws UserError that names the file and, where one is damaged, the line
 */
export function readCsv(file: string): CsvLine[] {
  const text = readRegularFile(file, LARGEST_CSV).toString('utf8');
  if (text !== '' && !text.endsWith('\n')) {
    throw new UserError(`${file} is damaged: line ${lineAt(text, text.length)} is cut off`);
  }
  return csvLines(text, file);
}

/**
 * The lines of CSV, at least one.
 *
 * @throws UserError as `readCsv`
 */
export function csvLines(text: string, file: string): CsvLine[] {
  const lines = parsed(text, file);
  if (lines.length === 0) throw new UserError(`${file} holds no line`);
  return lines;
}

function parsed(text: string, file: string): CsvLine[] {
  const zero = text.indexOf('\0');
  if (zero >= 0) {
    throw new UserError(`${file} is damaged: line ${lineAt(text, zero)} holds a zero byte`);
  }
  try {
    return plain(text) ?? parse(text, { columns: headings, bom: true });
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${file} is damaged: ${error.message}`);
    if (!(error instanceof CsvError)) throw error;
    const { lines = 1 } = error as { lines?: number };
    throw new UserError(
      `${file} is damaged: its lines are not CSV (line ${lines} does not fit the first)`,
    );
  }
}

/**
 * The lines of CSV that quotes nothing, as most files do, in a tenth of the time that the parser takes for the tens of
 * thousands of lines of a run; undefined where the parser has to look, or to say what is wrong.
 */
function plain(text: string): CsvLine[] | undefined {
  if (/["\r]/.test(text)) return undefined;
  const [first, ...rows] = text.replace(/^\ufeff/, '').split('\n');
  const names = headings(first.split(','));
  // Assigning to the second would not make a column of it.
  if (names.length === 1 || names.includes('__proto__')) return undefined;
  if (rows.at(-1) === '') rows.pop();
  const lines: CsvLine[] = [];
  for (const row of rows) {
    const fields = row.split(',');
    if (fields.length !== names.length) return undefined;
    const line: CsvLine = {};
    for (let i = 0; i < names.length; i++) line[names[i]] = fields[i];
    lines.push(line);
  }
  return lines;
}

function headings(names: string[]): string[] {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UserError(`line 1 has ${quoted(twice)} twice`);
  return names;
}

function lineAt(text: string, position: number): number {
  return text.slice(0, position).split('\n').length;
}

/** Lines as CSV, under headings; null is an empty field. */
export function toCsv(lines: readonly object[], columns?: readonly string[]): string {
  return stringify([...lines], { header: true, columns });
}

/** The number that a field holds; undefined if it is no number or none that can be measured. */
export function numberIn(field: string): number | undefined {
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(field)) return undefined;
  const value = Number(field);
  if (Math.abs(value) > FLOAT32.largest) return undefined;
  return Math.abs(value) < FLOAT32.least ? 0 : value;
}

/** What is wrong with a field of line `i` of a file, counted from 0 after the headings. */
export function fieldProblem(
  file: string,
  i: number,
  line: Partial<Record<string, unknown>>,
  column: string,
): UserError {
  return new UserError(
    Object.hasOwn(line, column)
      ? `${file}: line ${i + 2} has ${briefJson(line[column])} as ${column}, which is not valid`
      : `${file} has no column ${column}`,
  );
}
