import { linesOf, tableColumns } from './lines.js';
import type { Entry } from '../store/entry.js';
import type { Grid } from './grid.js';

/** The table in Markdown, as GitHub reads it. */
export function markdownTable(entries: readonly Entry[]): string {
  const titles = ['', 'β', 'ε', ...tableColumns(entries).map(({ title }) => title.join(' '))];
  const rows = entries.flatMap((entry) =>
    linesOf(entry, entries).map(({ kind, name, labels, beta, epsilon, cells }) => {
      const title = kind === 'ours' && entry.rows.length > 0 ? bold(name) : inMarkdown(name);
      const label = labels.length === 0 ? '' : ` (${inMarkdown(labels.join(', '))})`;
      const numbers = cells.map(({ text, spread }) =>
        inMarkdown(spread === undefined ? text : `${text} ${spread}`),
      );
      return [`${title}${label}`, inMarkdown(beta), inMarkdown(epsilon), ...numbers];
    }),
  );
  return markdownOf(titles, rows);
}

/** Any other table. */
export function markdownGrid({ columns, rows }: Grid): string {
  return markdownOf(
    columns.map(({ title }) => inMarkdown(title.join(' '))),
    rows.map((row) => row.map(({ text }) => inMarkdown(text.replaceAll('\n', ', ')))),
  );
}

/** The first column is left-aligned, all others right-aligned. */
function markdownOf(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const width = (i: number) => Math.max(3, ...[titles, ...rows].map((row) => row[i].length));
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const aligned = (row: readonly string[]) =>
    line(row.map((text, i) => (i === 0 ? text.padEnd(width(0)) : text.padStart(width(i)))));
  const rule = titles.map((_, i) =>
    i === 0 ? '-'.repeat(width(0)) : `${'-'.repeat(width(i) - 1)}:`,
  );
  return [aligned(titles), line(rule), ...rows.map(aligned)].join('\n');
}

function bold(text: string): string {
  return `**${inMarkdown(text)}**`;
}

/** Text with Markdown's special characters escaped. */
export function inMarkdown(text: string): string {
  return text.replace(/[\\`*_~[\]<>|&$]/g, '\\$&').replace(/\s+/g, ' ');
}
