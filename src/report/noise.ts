import Table from 'cli-table3';
import { counted } from '../base/text.js';
import { countCell, cut, type Grid, type GridCell, numberCell } from './grid.js';
import type { PublishedNoise } from '../paper/published.js';
import { type NoiseRow, type OfPair, PAIR } from '../metrics/noise.js';

/**
 * The last stage as a table, followed by the numbers that the paper quotes.
 *
 * @param rows of one stage
 */
export function noiseTable(
  rows: readonly NoiseRow[],
  titles: OfPair<string>,
  published?: PublishedNoise,
): string {
  const { columns, rows: lines } = noiseGrid(rows, titles, published);
  const table = new Table({
    head: columns.map(({ title }) => title.map(cut).join('\n')),
    style: { head: [], border: [] },
    colAligns: columns.map(() => 'right' as const),
  });
  // A rule only before the published line.
  for (const part of [lines.slice(0, rows.length), lines.slice(rows.length)]) {
    if (part.length === 0) continue;
    table.push(columns.map((_, i) => part.map((line) => line[i].text).join('\n')));
  }
  return table.toString();
}

/** The table before it is drawn; the published line is last. */
export function noiseGrid(
  rows: readonly NoiseRow[],
  titles: OfPair<string>,
  published?: PublishedNoise,
): Grid {
  const lines = rows.map(({ sigma, networks, difference }) => [
    countCell(sigma),
    ...PAIR.map((network) => withError(networks[network].rate, networks[network].overImages)),
    withError(difference.value, difference.overImages),
  ]);
  if (published) {
    const { sigma, regularPercent, bangPercent } = published;
    const percents = [regularPercent, bangPercent, bangPercent - regularPercent];
    const cells = percents.map((percent) => numberCell(percent, 1));
    lines.push([{ text: `published, ${sigma}`, value: sigma }, ...cells]);
  }
  return {
    columns: [
      { title: ['σ'] },
      { title: [titles.regular, '%'] },
      { title: [titles.bang, '%'] },
      { title: ['difference', 'points'] },
    ],
    rows: lines,
  };
}

function withError(value: number, error: number | null): GridCell {
  const { text, value: number } = numberCell(value, 2);
  return { text: error === null ? text : `${text} ± ${error.toFixed(2)}`, value: number };
}

/** How the table was measured, in sentences. */
export function noiseSentences(
  rows: readonly NoiseRow[],
  { classes }: { classes: number },
): string[] {
  const [{ iteration, images, copies }] = rows;
  const noise = rows.flatMap(({ networks }) => PAIR.map((name) => networks[name].overCopies ?? 0));
  const largest = Math.max(...noise);
  const hasErrors = rows.some(({ difference }) => difference.overImages !== null);
  return [
    `Share of random distortions that are misclassified at iteration ${iteration}: ${counted(images, 'image')} that both networks always classified correctly (${images / classes} of each class), ${counted(copies, 'copy', 'copies')} of each with Gaussian noise of σ grey levels.`,
    hasErrors
      ? '± is the standard error over images, including the noise' +
        (copies > 1 ? `; that of the noise alone is at most ${largest.toFixed(2)}.` : '.')
      : 'One image of each class gives no standard error: --set images=20 takes more.',
  ];
}
