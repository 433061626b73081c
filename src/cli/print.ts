import type { Entry } from '../store/entry.js';
import { legendOf, protocolSentences } from '../report/lines.js';
import { printableText } from '../base/text.js';
import { maskingSentence, maskingTable } from '../report/masking.js';
import { robustnessTable } from '../report/robustness.js';
import { consoleTable } from '../report/consoleTable.js';

/**
 * Prints the table, how it was measured, what the FGS column hides and, if measured, robust accuracy
 * and masking.
 */
export function printEntries(entries: readonly Entry[]): void {
  print(consoleTable(entries, terminalWidth()));
  if (entries.some(({ rows }) => rows.length > 1)) legendOf(entries).forEach(print);
  protocolSentences(entries).forEach(print);
  for (const { name, rows } of entries) {
    const sentence = maskingSentence(rows);
    if (sentence !== undefined) print(`${name}: ${sentence}`);
  }
  for (const entry of entries) {
    const table = robustnessTable(entry);
    if (table !== undefined) print(`\nRobust accuracy of ${entry.name}, by L∞ in pixels\n${table}`);
    for (const { masking } of entry.rows) {
      if (!masking) continue;
      print(`\nMasking in ${entry.name}: ${maskingTable(masking)}\n${masking.conclusion}`);
    }
  }
}

/** Prints one or more lines on standard output. */
export function print(text: string): void {
  process.stdout.write(`${printableText(text)}\n`);
}

/** Columns of the terminal; unlimited for files and pipes. */
export function terminalWidth(stream: NodeJS.WriteStream = process.stdout): number {
  return stream.isTTY ? stream.columns || Infinity : Infinity;
}
