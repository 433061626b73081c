import Table from 'cli-table3';
import { fixed } from '../base/text.js';

/** A table that can be drawn on a console or on a page; it has the exact numbers for the latter. */
export interface Grid {
  columns: Column[];
  rows: (readonly GridCell[])[];
}

export interface Column {
  /** Lines of the heading. */
  title: readonly string[];
  /** `left` for texts; right if left out, for numbers. */
  align?: 'left';
}

export interface GridCell {
  /** One line, or several. */
  text: string;
  /** The number behind the text, as in the CSV file. */
  value?: number;
}

/** Not measured, or nothing to measure. */
export const NOTHING: GridCell = { text: '–' };

/** For cli-table3: no rules between rows, so that the table is half as high. */
const NO_RULES = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' };

/** The table for a console. */
export function drawGrid({ columns, rows }: Grid): string {
  const table = new Table({
    head: columns.map(({ title }) => title.map(cut).join('\n')),
    chars: NO_RULES,
    style: { head: [], border: [] },
    colAligns: columns.map(({ align }) => align ?? 'right'),
  });
  for (const row of rows) table.push(row.map(({ text }) => text.split('\n').map(cut).join('\n')));
  return table.toString();
}

const LONGEST = 160;

/** Longer texts are cut, since the time that cli-table3 takes is the cube of a cell's lines. */
export function cut(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}

/** A whole number. */
export function countCell(value: number): GridCell {
  return { text: String(value), value };
}

/** A number, rounded as in the tables and as in their CSV files. */
export function numberCell(value: number, digits: number): GridCell {
  return { text: fixed(value, digits), value: Number(value.toFixed(4)) };
}
