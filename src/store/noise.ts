import { toCsv } from './csvFile.js';
import { z } from 'zod';
import { type DataSource, isOtherData, type Provenance } from './result.js';
import { NOISE_PAIRS, publishedNoise, type PublishedNoise } from '../paper/published.js';
import { type NoiseFlips, type NoiseRow, type NoiseStage, PAIR } from '../metrics/noise.js';
import type { NoiseStudy } from '../config/noise.js';
import { rounded } from './csv.js';
import { STUDY_FILE, SURFACES_FILE } from './resultFolder.js';

/** The files in a study's folder; its networks are in the subfolders `regular` and `bang`. */
export const NOISE_FILES = {
  identity: STUDY_FILE,
  noise: 'noise.csv',
  surfaces: SURFACES_FILE,
  accuracy: 'stages.csv',
  images: 'images.csv',
  flips: 'flips.csv',
  /** Finished pairs of stage and σ. */
  parts: 'stages',
  result: 'result.json',
} as const;

/** `result.json` of a noise study: the rates at the end of training, and how they were measured. */
export interface NoiseResult {
  format: 1;
  kind: 'noise';
  name: string;
  config: NoiseStudy;
  classes: number;
  stages: NoiseStage[];
  /** The last stage only; `noise.csv` has all stages. */
  rows: NoiseRow[];
  data: DataSource;
  provenance: Provenance;
}

const count = z.int().min(0);
const percent = z.number().min(0).max(100);
const grey = z.number().min(0).max(1e6);
const rate = z.object({
  flips: count,
  rate: percent,
  overImages: percent.nullable(),
  overCopies: percent.nullable(),
});

const trained = z.object({ name: z.string(), training: z.looseObject({}) });

/** The parts of a result that are read back. */
const resultSchema = z.object({
  format: z.literal(1),
  kind: z.literal('noise'),
  name: z.string(),
  config: z.object({
    networks: z.object({ regular: trained, bang: trained }),
    published: z.enum(NOISE_PAIRS).optional(),
    images: count,
    sigmas: z.array(grey),
    copies: z.object({ last: count, before: count }),
  }),
  classes: count.min(1),
  rows: z
    .array(
      z.object({
        iteration: count,
        sigma: grey,
        images: count,
        copies: count,
        networks: z.object({ regular: rate, bang: rate }),
        difference: z.object({
          value: z.number().min(-100).max(100),
          overImages: percent.nullable(),
        }),
      }),
    )
    .min(1),
  data: z.object({ folder: z.string().nullable(), sha256: z.string() }),
});

/** Whether a value is the result of a noise study. Checks only the parts that are read back. */
export function isNoiseResult(value: unknown): value is NoiseResult {
  return resultSchema.safeParse(value).success;
}

/** The paper's numbers for a study; undefined if it names none, or was made on other data. */
export function quotedNoise({
  config: { published },
  data,
}: Pick<NoiseResult, 'config' | 'data'>): PublishedNoise | undefined {
  return published && !isOtherData(data) ? publishedNoise(published) : undefined;
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
  return toCsv(lines);
}

/** `images.csv`: which test images were distorted. */
export function imagesCsv(images: readonly number[], labels: ArrayLike<number>): string {
  return toCsv(images.map((index) => ({ index, label: labels[index] })));
}

/** `flips.csv`: flipped copies of each image at the end of training, from which rates and errors follow. */
export function flipsCsv(flips: readonly NoiseFlips[], images: readonly number[]): string {
  const lines = flips.flatMap(({ sigma, regular, bang }) =>
    images.map((index, i) => ({ sigma, index, regular: regular[i], bang: bang[i] })),
  );
  return toCsv(lines);
}

/** `surfaces.csv`: the rates of both networks and their difference, for each stage and σ. */
export function noiseSurfacesCsv(rows: readonly NoiseRow[]): string {
  const lines = rows.map(({ stage, iteration, sigma, networks, difference }) => ({
    stage,
    iteration,
    sigma,
    regular: rounded(networks.regular.rate),
    bang: rounded(networks.bang.rate),
    difference: rounded(difference.value),
    standard_error: rounded(difference.overImages),
  }));
  return toCsv(lines);
}

/** `stages.csv`: the accuracy of both networks at each stage. */
export function stagesCsv(stages: readonly NoiseStage[]): string {
  const lines = stages.map(({ stage, iteration, accuracy }) => ({
    stage,
    iteration,
    regular_accuracy: rounded(accuracy.regular),
    bang_accuracy: rounded(accuracy.bang),
  }));
  return toCsv(lines);
}
