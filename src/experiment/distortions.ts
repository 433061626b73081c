import { counted } from '../base/text.js';
import { sumOf } from '../base/sums.js';
import { flipsUnderNoise } from '../attacks/flips.js';
import { rateOf, stratifiedError } from '../metrics/sampling.js';
import {
  type NoiseFlips,
  type NoiseRow,
  type NoiseStage,
  type OfPair,
  ofPair,
  PAIR,
} from '../metrics/noise.js';
import { dispose, stageOf, type StudyInProgress } from './noiseNetworks.js';
import type { RunOptions } from './runOptions.js';

/** The part that is kept for a stage and a σ: the number of flipped copies of each image. */
type Flips = OfPair<number[]>;

/** How many noisy copies are flipped. */
export interface Distorted {
  rows: NoiseRow[];
  /** Flipped copies of each image at the last stage, for each σ. */
  flips: NoiseFlips[];
}

/**
 * Counts the noisy copies of each image that flip, for each stage and σ. Skips parts that the folder has.
 *
 * @throws Interrupted if the signal aborts
 */
export async function distort(
  inProgress: StudyInProgress,
  stages: readonly NoiseStage[],
  positions: Uint32Array,
  { progress, signal }: RunOptions,
): Promise<Distorted> {
  const { study, folder, test, source } = inProgress;
  const { seed, sigmas } = study;
  const images = [...positions];
  const copiesAt = ({ stage }: NoiseStage) =>
    stage === stages.length ? study.copies.last : study.copies.before;
  const parts = stages.flatMap((stage) => {
    const copies = copiesAt(stage);
    const { weights, iteration } = stage;
    const kept = folder.parts({ weights, seed, images, copies, data: source.sha256 });
    return sigmas.map((sigma) => {
      const name = `iteration-${iteration}-sigma-${sigma}-copies-${copies}`;
      return { stage, sigma, copies, name, kept, flips: kept.read(name) as Flips | undefined };
    });
  });

  const size = (some: typeof parts) => sumOf(some.map(({ copies }) => copies)) * images.length;
  const task = progress.start('noise', size(parts), 'distortions');
  let done = size(parts.filter(({ flips }) => flips));
  task.update(done);
  for (const stage of stages) {
    const open = parts.filter((part) => part.stage === stage && !part.flips);
    if (open.length === 0) continue;
    const at = await stageOf(inProgress, stage.iteration);
    try {
      for (const part of open) {
        const { sigma, copies } = part;
        const pair = PAIR.map((key) => at[key]);
        const settings = { sigma, copies, seed };
        const [regular, bang] = await flipsUnderNoise(pair, test, positions, settings, {
          done: (count) => {
            task.update(done + count, `| iteration ${stage.iteration}, σ ${sigma}`);
          },
          signal,
        });
        part.flips = { regular: [...regular], bang: [...bang] };
        part.kept.write(part.name, part.flips);
        done += size([part]);
      }
    } catch (error) {
      task.finish(`stopped at iteration ${stage.iteration}`);
      throw error;
    } finally {
      dispose(at);
    }
  }
  task.finish(`${counted(size(parts), 'distortion')} of ${counted(images.length, 'image')}`);
  const labels = images.map((n) => test.labels[n]);
  const last = parts.filter(({ stage }) => stage === stages.at(-1));
  return {
    rows: parts.map(({ stage, sigma, copies, flips }) =>
      rowOf(stage, sigma, copies, flips!, labels),
    ),
    flips: last.map(({ sigma, flips }) => ({ sigma, ...flips! })),
  };
}

function rowOf(
  { stage, iteration }: NoiseStage,
  sigma: number,
  copies: number,
  flips: Flips,
  labels: readonly number[],
): NoiseRow {
  const networks = ofPair((key) => ({
    flips: sumOf(flips[key]),
    ...rateOf(flips[key], labels, copies),
  }));
  const differences = flips.bang.map((count, i) => (count - flips.regular[i]) / copies);
  const difference = {
    value: networks.bang.rate - networks.regular.rate,
    overImages: stratifiedError(differences, labels),
  };
  return { stage, iteration, sigma, images: labels.length, copies, networks, difference };
}
