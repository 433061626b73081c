import { legendOf, protocolSentences, type Entry } from '../report/entry.js';
import { maskingSentence } from '../report/masking.js';
import { consoleTable } from '../report/table.js';

/** The console table, how it was measured, and what the FGS column hides. */
export function printEntries(entries: readonly Entry[]): void {
  print(consoleTable(entries, terminalWidth()));
  if (entries.some(({ rows }) => rows.length > 1)) legendOf(entries).forEach(print);
  protocolSentences(entries).forEach(print);
  for (const { name, rows } of entries) {
    const sentence = maskingSentence(rows);
    if (sentence !== undefined) print(`${name}: ${sentence}`);
  }
}

/** A line, or several, on the standard output. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Columns of the terminal; what goes elsewhere is as wide as it is. */
export function terminalWidth(stream: NodeJS.WriteStream = process.stdout): number {
  return stream.isTTY ? stream.columns || Infinity : Infinity;
}
