import { NORM_TITLES } from '../attacks/attack.js';
import { concludeMasking, conclusionText } from '../metrics/masking.js';
import type { Engine } from '../engine/engine.js';
import type { AnyEvaluation } from '../config/experiment.js';
import { publishedRowNames } from '../paper/published.js';
import type { Entry } from '../store/entry.js';
import { legendOf, protocolSentences } from '../report/lines.js';
import { counted, printable, printableText, wrapped } from '../base/text.js';
import { blankSentence, maskingGrid, maskingSentence } from '../report/masking.js';
import {
  atBudgetsGrids,
  NOISE_TITLE,
  noisyCopiesGrid,
  robustnessGrid,
} from '../report/robustness.js';
import { drawGrid } from '../report/grid.js';
import { HIDDEN_TITLE, hiddenLines } from '../report/tables.js';
import { consoleTable } from '../report/consoleTable.js';
import type { Plan } from '../config/sweep.js';
import { sweepReport } from '../report/sweep.js';
import { trendGrid, TRENDS } from '../report/trends.js';
import type { SweepPoint } from '../sweep/summary.js';
import { trendsOf } from '../sweep/trends.js';

/**
 * Prints the table, how it was measured, what the FGS column hides and, if measured, robust accuracy
 * and masking.
 */
export function printEntries(unordered: readonly Entry[]): void {
  const entries = inPaperOrder(unordered);
  printMarked(consoleTable(entries, terminalWidth()));
  if (entries.some(({ rows }) => rows.length > 1)) legendOf(entries).forEach(print);
  protocolSentences(entries).forEach(print);
  if (entries.length > 1) {
    const hidden = hiddenLines(entries);
    if (hidden.length > 0) print(['', HIDDEN_TITLE, ...hidden].join('\n'));
  } else {
    const [{ name, rows }] = entries;
    const sentence = maskingSentence(rows);
    if (sentence !== undefined) print(`${name}: ${sentence}`);
  }
  const noisy = noisyCopiesGrid(entries);
  if (noisy) print(`\n${NOISE_TITLE}\n${drawGrid(noisy)}`);
  for (const entry of entries) {
    const robust = robustnessGrid(entry);
    if (robust)
      print(`\nRobust accuracy of ${entry.name}, by L∞ in grey levels\n${drawGrid(robust)}`);
    for (const { norm, grid } of atBudgetsGrids(entry)) {
      print(
        `\nWhat the strongest attacks leave of ${entry.name}, by ${NORM_TITLES[norm]} in grey levels\n${drawGrid(grid)}`,
      );
    }
    for (const { masking } of entry.rows) {
      if (!masking) continue;
      print(
        `\nMasking in ${entry.name}: ${blankSentence(masking)}\n${drawGrid(maskingGrid(masking))}\n${conclusionText(concludeMasking(masking))}`,
      );
    }
  }
}

/** Rows of the paper in its order, then the others in theirs. */
function inPaperOrder(entries: readonly Entry[]): Entry[] {
  const place = ({ published }: Entry): number =>
    published
      ? 100 * published.table + publishedRowNames(published.table).indexOf(published.id)
      : Infinity;
  return entries.toSorted((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
}

/** The first line of a run: what is done, where to, and on which engine. */
export function beginning(
  name: string,
  before: readonly string[],
  folder: string,
  { description, threads }: Engine,
  { evaluation: { attacks, images, noise } }: { evaluation: AnyEvaluation },
): string {
  const made = attacks.length === 0 ? 'no attack' : attacks.join(', ');
  const on = images === 'all' ? 'all test images' : counted(images, 'test image');
  const noisy = noise ? [`noise of σ ${noise.sigma}`] : [];
  const steps = [...before, `${[made, ...noisy].join(', ')} on ${on}`].join('; ');
  return `${name}: ${steps} → ${folder} (${description}, ${counted(threads, 'thread')})`;
}

/** Whether to print in colour: on terminals, unless NO_COLOR or FORCE_COLOR says otherwise. */
export function wantsColour(stream: { isTTY?: boolean } = process.stdout): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '') return !['0', 'false'].includes(FORCE_COLOR);
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false;
  return stream.isTTY === true && TERM !== 'dumb';
}

/** Verdicts at the beginning of a line, and the marks of differences that are significant. */
const PAINTED: readonly [RegExp, colour: number][] = [
  [/^(FAIL|ERROR)\b/gm, 31],
  [/^ok\b/gm, 32],
  [/\*(?= [+−-]?\d)/g, 33],
];

/** The same as `print`, with what matters most in colour where that is wanted. */
export function printMarked(text: string): void {
  let shown = wrapped(printableText(text), terminalWidth());
  if (wantsColour()) {
    for (const [mark, colour] of PAINTED)
      shown = shown.replace(mark, `\u001b[${colour}m$&\u001b[39m`);
  }
  process.stdout.write(`${shown}\n`);
}

/** Prints one or more lines on standard output. */
export function print(text: string): void {
  process.stdout.write(`${wrapped(printableText(text), terminalWidth())}\n`);
}

/** Prints where results are; a name that breaks the line would look like more of them. */
export function printFiles(...names: readonly string[]): void {
  print(`Files: ${names.map(printable).join(', ')}`);
}

/** Prints on standard error what a user should know about the results. */
export function printNotes(notes: readonly string[]): void {
  for (const note of notes) process.stderr.write(`note: ${printable(note)}\n`);
}

/** The maps or the table, and the trends. */
export function printPoints({ keys }: Plan, points: readonly SweepPoint[]): void {
  print(sweepReport(keys, points, terminalWidth()));
  const trends = trendsOf(keys, points);
  if (trends) print(`\n${TRENDS}\n${drawGrid(trendGrid(trends))}`);
}

/** Columns of the terminal; unlimited for files and pipes. */
export function terminalWidth(): number {
  return process.stdout.isTTY ? process.stdout.columns || Infinity : Infinity;
}
