import Table from 'cli-table3';
import { stringify } from 'csv-stringify/sync';
import type { Rate } from '../metrics/sampling.js';
import { countCell, numberCell, type Grid, type GridCell } from './grid.js';
import type { PublishedNoise } from '../paper/published.js';

/** The two networks of a noise study, in the order of all tables. */
export const PAIR = ['regular', 'bang'] as const;
export type OfPair<T> = Record<(typeof PAIR)[number], T>;

/** The networks at one stage of their training. */
export interface NoiseStage {
  /** 1, 2, … */
  stage: number;
  iteration: number;
  /** Percent of all test images. */
  accuracy: OfPair<number>;
  /** sha256 of the weights. */
  weights: OfPair<string>;
}

/** What one σ did to the networks at one stage. */
export interface NoiseRow {
  stage: number;
  iteration: number;
  /** In pixel units. */
  sigma: number;
  images: number;
  /** Distortions of each image. */
  copies: number;
  networks: OfPair<Rate & { flips: number }>;
  /** BANG's rate minus the regular one, in points; both met the same images and the same noise. */
  difference: { value: number; overImages: number | null };
}

/** `noise.csv`: a line for each stage, σ and network. */
export function noiseCsv(rows: readonly NoiseRow[]): string {
  const lines = rows.flatMap(({ stage, iteration, sigma, images, copies, networks }) =>
    PAIR.map((network) => {
      const { flips, rate, overImages, overCopies } = networks[network];
      return {
        stage,
        iteration,
        sigma,
        network,
        images,
        copies,
        flips,
        rate: rounded(rate),
        standard_error: rounded(overImages),
        noise_error: rounded(overCopies),
      };
    }),
  );
  return stringify(lines, { header: true });
}

/** `surfaces.csv`: over stage and σ, what is drawn of both networks and of their difference. */
export function surfacesCsv(rows: readonly NoiseRow[]): string {
  const lines = rows.map(({ stage, iteration, sigma, networks, difference }) => ({
    stage,
    iteration,
    sigma,
    regular: rounded(networks.regular.rate),
    bang: rounded(networks.bang.rate),
    difference: rounded(difference.value),
    standard_error: rounded(difference.overImages),
  }));
  return stringify(lines, { header: true });
}

/** `stages.csv`: the accuracy of both networks over their training. */
export function stagesCsv(stages: readonly NoiseStage[]): string {
  const lines = stages.map(({ stage, iteration, accuracy }) => ({
    stage,
    iteration,
    regular_accuracy: rounded(accuracy.regular),
    bang_accuracy: rounded(accuracy.bang),
  }));
  return stringify(lines, { header: true });
}

function rounded(value: number | null): number | string {
  return value === null ? '' : Number(value.toFixed(4));
}

/**
 * The end of training as a table, beside the figures that the paper quotes.
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
    head: columns.map(({ title }) => title.join('\n')),
    style: { head: [], border: [] },
    colAligns: columns.map(() => 'right' as const),
  });
  // A rule before what is published, and none elsewhere.
  for (const part of [lines.slice(0, rows.length), lines.slice(rows.length)]) {
    if (part.length === 0) continue;
    table.push(columns.map((_, i) => part.map((line) => line[i].text).join('\n')));
  }
  return table.toString();
}

/** The table before it is drawn, what is published last. */
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
    const figures = [regularPercent, bangPercent, bangPercent - regularPercent];
    const cells = figures.map((figure) => numberCell(figure, 1));
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
  const cell = numberCell(value, 2);
  const text = cell.text.replace(/^-(0\.00)$/, '$1');
  return { ...cell, text: error === null ? text : `${text} ± ${error.toFixed(2)}` };
}

/** How the table was measured, in sentences. */
export function noiseSentences(
  rows: readonly NoiseRow[],
  { classes }: { classes: number },
): string[] {
  const [{ iteration, images, copies }] = rows;
  const noise = rows.flatMap(({ networks }) => PAIR.map((name) => networks[name].overCopies ?? 0));
  const largest = Math.max(...noise);
  return [
    `Share of random distortions that are classified wrongly at iteration ${iteration}: ${images} images that both networks always classified correctly (${images / classes} of each class), ${copies} ${copies === 1 ? 'copy' : 'copies'} of each with Gaussian noise of σ pixel units.`,
    '± is the standard error over images, the noise included' +
      (copies > 1 ? `; that of the noise alone is ${largest.toFixed(2)} at most.` : '.'),
  ];
}
