import Table from 'cli-table3';
import { cut } from './grid.js';
import { type Line, linesOf, tableColumns } from './lines.js';
import type { Entry } from '../store/entry.js';

interface TextColumn {
  title: readonly string[];
  of: (line: Line) => string[];
}

const NAME_WIDTH = { least: 12, most: 40 };
const MOST_LINES = 40;

const NUMBERS: readonly TextColumn[] = [
  // A number for each layer, one below the other.
  { title: ['β'], of: ({ beta }) => beta.split(' ') },
  { title: ['ε'], of: ({ epsilon }) => epsilon.split(' ') },
];

/** They and β and ε take half of the width. */
const FIRST_HALF: readonly string[] = ['accuracy', 'fgs_rate', 'fgs_pass', 'fgs_linf'];

/**
 * The table for a console, in the layout of the paper's Tables 1 and 2.
 *
 * @param width in characters; a wider table is split into two, one above the other
 */
export function consoleTable(entries: readonly Entry[], width = Infinity): string {
  const all = entries.map((entry) => linesOf(entry, entries));
  const shown = tableColumns(entries);
  const results = shown.map(({ title }, i): TextColumn => {
    const of = ({ cells }: Line): string[] => {
      const { text, spread } = cells[i];
      return spread === undefined ? [text] : [text, spread];
    };
    return { title, of };
  });
  const whole = draw(all, [...NUMBERS, ...results], width);
  const half = shown.filter(({ quantity }) => FIRST_HALF.includes(quantity)).length;
  if (widthOf(whole) <= width || half === results.length) return whole;
  const parts = [[...NUMBERS, ...results.slice(0, half)], results.slice(half)];
  return parts.map((columns) => draw(all, columns, width)).join('\n');
}

/** Breaks names if that makes the table fit. */
function draw(entries: readonly Line[][], columns: readonly TextColumn[], width: number): string {
  const { least, most } = NAME_WIDTH;
  const drawn = drawWith(entries, columns, most);
  const excess = widthOf(drawn) - width;
  if (excess <= 0) return drawn;
  const names = entries.flat().flatMap((line) => namesOf(line, most));
  const longest = Math.max(...names.map((name) => name.length));
  return drawWith(entries, columns, Math.max(least, longest - excess));
}

function drawWith(
  entries: readonly Line[][],
  columns: readonly TextColumn[],
  nameWidth: number,
): string {
  const table = new Table({
    head: ['', ...columns.map(({ title }) => title.join('\n'))],
    style: { head: [], border: [], 'padding-left': 1, 'padding-right': 1 },
    colAligns: ['left', ...columns.map(() => 'right' as const)],
  });
  for (const lines of entries) {
    const blocks = lines.map((line) => {
      const cells = [namesOf(line, nameWidth), ...columns.map(({ of }) => of(line))];
      const height = Math.max(...cells.map(({ length }) => length));
      return cells.map((texts) => [...texts, ...Array<string>(height - texts.length).fill('')]);
    });
    table.push(blocks[0].map((_, i) => blocks.flatMap((block) => block[i]).join('\n')));
  }
  return table.toString();
}

/** The name and, below it, the labels that distinguish the line from others. */
function namesOf({ name, labels }: Line, width: number): string[] {
  const lines = [name, ...labels].flatMap((text) => broken(cut(text), width));
  return lines.length > MOST_LINES ? [...lines.slice(0, MOST_LINES - 1), '…'] : lines;
}

/** Breaks text into lines of at most `width` characters, at spaces and hyphens where possible. */
function broken(text: string, width: number): string[] {
  const lines: string[] = [];
  let from = 0;
  while (text.length - from > width) {
    const part = text.slice(from, from + width + 1);
    const cut = part.lastIndexOf(' ');
    const hyphen = part.lastIndexOf('-', width - 1) + 1;
    const at = Math.max(cut, hyphen) > width / 3 ? Math.max(cut, hyphen) : width;
    lines.push(part.slice(0, at).trimEnd());
    from += at;
    while (text[from] === ' ') from++;
  }
  return [...lines, text.slice(from)];
}

function widthOf(table: string): number {
  return table.split('\n', 1)[0].length;
}
