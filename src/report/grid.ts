import Table from 'cli-table3';

/** A table before it is drawn: as plain texts for a console, with exact numbers for a page. */
export interface Grid {
  columns: Column[];
  rows: (readonly GridCell[])[];
}

export interface Column {
  /** Lines of the heading. */
  title: readonly string[];
  /** Texts stand left, numbers right, which is where they stand if it is left out. */
  align?: 'left';
}

export interface GridCell {
  /** One line, or several. */
  text: string;
  /** The number that the text is of, as the CSV file has it. */
  value?: number;
}

/** What is not measured, or has nothing to measure. */
export const NOTHING: GridCell = { text: '–' };

/** A table of cli-table3 without lines between its rows. */
const NO_RULES = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' };

/** The table for a console. */
export function drawGrid({ columns, rows }: Grid): string {
  const table = new Table({
    head: columns.map(({ title }) => title.join('\n')),
    chars: NO_RULES,
    style: { head: [], border: [] },
    colAligns: columns.map(({ align }) => align ?? 'right'),
  });
  for (const row of rows) table.push(row.map(({ text }) => text));
  return table.toString();
}

/** A whole number. */
export function countCell(value: number): GridCell {
  return { text: String(value), value };
}

/** A number as the tables have it, and as their CSV files do. */
export function numberCell(value: number, digits: number): GridCell {
  return { text: value.toFixed(digits), value: Number(value.toFixed(4)) };
}
