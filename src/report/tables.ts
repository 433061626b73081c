import { type Entry, entryTitle } from '../store/entry.js';
import { legendOf, protocolSentences } from './lines.js';
import { drawGrid, type Grid } from './grid.js';
import { inMarkdown, markdownGrid, markdownTable } from './markdown.js';
import { maskingInBrief } from './masking.js';
import {
  l2Comparisons,
  NOISE_TITLE,
  noisyCopiesGrid,
  robustnessComparisons,
} from './robustness.js';
import { consoleTable } from './consoleTable.js';
import type { TablePart } from '../store/collect.js';

/** Tables for a console, followed by the legend, what FGS-Rate hides, and comparisons. */
export function consoleReport(parts: readonly TablePart[], width = Infinity): string {
  const entries = parts.flatMap((part) => part.entries);
  const hidden = hiddenLines(entries);
  return [
    ...parts.map((part) => `${part.title}\n${consoleTable(part.entries, width)}`),
    [...legendOf(entries), ...protocolSentences(entries)].join('\n'),
    ...(hidden.length > 0 ? [[HIDDEN_TITLE, ...hidden].join('\n')] : []),
    ...allComparisons(parts).map(({ title, grid }) => `${title}\n${drawGrid(grid)}`),
  ].join('\n\n');
}

/** The same as a Markdown document. */
export function markdownReport(parts: readonly TablePart[]): string {
  const entries = parts.flatMap((part) => part.entries);
  const list = (lines: readonly string[]) =>
    lines.map((line) => `- ${inMarkdown(line)}`).join('\n');
  const hidden = hiddenLines(entries);
  const blocks = [
    ...parts.flatMap((part) => [`# ${inMarkdown(part.title)}`, markdownTable(part.entries)]),
    list([...legendOf(entries), ...protocolSentences(entries)]),
    ...(hidden.length > 0 ? [inMarkdown(HIDDEN_TITLE), list(hidden)] : []),
  ];
  const compared = allComparisons(parts).flatMap(({ title, grid }) => [
    `# ${inMarkdown(title)}`,
    markdownGrid(grid),
  ]);
  return `${[...blocks, ...compared].join('\n\n')}\n`;
}

/** A table with its title. */
export interface TitledGrid {
  title: string;
  grid: Grid;
}

function allComparisons(parts: readonly TablePart[]): TitledGrid[] {
  return [...comparisons(parts), ...noiseComparisons(parts)];
}

/** The networks of each table under noise, if it was measured. */
export function noiseComparisons(parts: readonly TablePart[]): TitledGrid[] {
  return parts.flatMap(({ title, entries }) => {
    const grid = noisyCopiesGrid(entries);
    return grid ? [{ title: `${title}: ${NOISE_TITLE}`, grid }] : [];
  });
}

/** The networks of each table under the worst of all attacks, if stronger ones were made. */
export function comparisons(parts: readonly TablePart[]): TitledGrid[] {
  return parts.flatMap(({ title, entries }) => [
    ...robustnessComparisons(entries).map((grid) => ({
      title: `${title}: accuracy in percent that attacks leave, by L∞ in grey levels`,
      grid,
    })),
    ...l2Comparisons(entries).map((grid) => ({
      title: `${title}: accuracy in percent that attacks leave, by L2 in grey levels`,
      grid,
    })),
  ]);
}

export const HIDDEN_TITLE = 'What FGS-Rate hides, in percent of the correctly classified images:';

/** What the FGS column hides: a line for each experiment for which this is known. */
export function hiddenLines(entries: readonly Entry[]): string[] {
  return entries.flatMap((entry) => {
    const brief = maskingInBrief(entry.rows);
    return brief === undefined ? [] : [`${entryTitle(entry)}: ${brief}`];
  });
}
