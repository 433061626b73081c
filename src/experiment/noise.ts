import { flipsUnderNoise, type Trained } from '../attacks/noise.js';
import { loadData } from '../data/load.js';
import type { Dataset, DataSplits } from '../data/dataset.js';
import { type Engine, threadCount } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { rateOf, stratifiedError } from '../metrics/sampling.js';
import type { Network } from '../model/network.js';
import { disposeWeights, importWeights } from '../model/parameters.js';
import { predict } from '../model/predict.js';
import { readWeights } from '../model/weights.js';
import type { Progress } from '../base/progress.js';
import { makeRandom, permutation } from '../base/random.js';
import {
  isNoiseResult,
  NOISE_FILES,
  noiseCsv,
  type NoiseResult,
  noiseSurfacesCsv,
  stagesCsv,
} from '../store/noise.js';
import { type NoiseRow, type NoiseStage, type OfPair, PAIR } from '../metrics/noise.js';
import type { Config } from '../config/experiment.js';
import type { Identity } from '../store/identity.js';
import { openFolder, type ResultFolder } from '../store/resultFolder.js';
import type { NoiseStudy } from '../config/noise.js';
import { digestOfWeights, provenance, refuseOtherData, sourceOf } from '../store/provenance.js';
import { type DataSource, INCIDENTAL } from '../store/result.js';
import { announceEngine, type RunOptions } from './run.js';
import { snapshotName } from '../store/snapshots.js';
import { decisive, networkFor, trainedWeights } from './training.js';
import path from 'node:path';

type StudyFolder = ResultFolder<keyof typeof NOISE_FILES>;

/**
 * Random distortions: trains both networks, chooses the images that they always classify correctly,
 * and counts which noisy copies of these they do not. What the folder holds already is not done
 * again.
 *
 * @throws UserError, Interrupted as its steps do; UserError if a class has no such image
 */
export async function runNoise(study: NoiseStudy, options: RunOptions): Promise<NoiseResult> {
  const { progress, signal, force, inputs } = options;
  threadCount(options.threads);
  const folder = openFolder(options.out, identityOf(study), { force, inputs }, NOISE_FILES);
  const runs = ofPair((key) => openRun(study.networks[key], path.join(options.out, key), options));
  const finished = force ? undefined : finishedResult(folder, study);
  const known = finished && { ...finished, name: study.name, config: study };
  const { dataDir } = options;
  if (known && dataDir === undefined && known.data.folder === null) return known;

  const begun = performance.now();
  const { data: name } = study.networks.regular;
  const data = await loadData(name, { dataDir, progress, signal });
  const source = sourceOf(name, data, dataDir);
  if (known) {
    refuseOtherData(folder, known.data.sha256, source.sha256);
    return known;
  }
  const engine = await announceEngine(study.engine, options);
  folder.begin();
  const training = await train(study, data, source, engine, runs, options);
  const networks = ofPair((key) => training[key].network);
  const seconds = PAIR.flatMap((key) => training[key].seconds ?? []);

  const { test } = data;
  const { stages, both } = await classifyAll(study, networks, runs, folder, test, source, options);
  const chosen: Chosen = { test, positions: choose(study, test, both, progress), source };
  const rows = await distort(study, stages, networks, runs, folder, chosen, options);

  const result: NoiseResult = {
    format: 1,
    kind: 'noise',
    name: study.name,
    config: study,
    classes: test.classes,
    stages,
    rows: rows.filter(({ stage }) => stage === stages.length),
    data: source,
    provenance: provenance(engine, begun, seconds.length > 0 ? sumOf(seconds) : null),
  };
  folder.write('noise', noiseCsv(rows));
  folder.write('surfaces', noiseSurfacesCsv(rows));
  folder.write('accuracy', stagesCsv(stages));
  folder.write('images', imagesCsv(chosen));
  folder.write('result', `${JSON.stringify(result, null, 2)}\n`);
  return result;
}

type RunFolders = OfPair<ResultFolder>;

/** What a folder belongs to: the networks and their stages. The rest names the parts in it. */
function identityOf({ seed, stages, networks }: NoiseStudy): Identity {
  const trainings = ofPair((key) => {
    const { model, data, seed, training } = networks[key];
    return { model, data, seed, training: decisive(training) };
  });
  return JSON.parse(JSON.stringify({ seed, stages, ...trainings })) as Identity;
}

function openRun(config: Config, folder: string, { force, inputs }: RunOptions): ResultFolder {
  return openFolder(folder, config, { ignored: [...INCIDENTAL, 'evaluation'], force, inputs });
}

async function train(
  study: NoiseStudy,
  data: DataSplits,
  source: DataSource,
  engine: Engine,
  runs: RunFolders,
  { progress, signal }: RunOptions,
): Promise<OfPair<{ network: Network; seconds: number | null }>> {
  const train = async (key: keyof RunFolders) => {
    progress.note(`${study.networks[key].name} → ${runs[key].path}`);
    runs[key].begin();
    const config = study.networks[key];
    const network = networkFor(config, data);
    const subject = { engine, network, data, source };
    const { weights, seconds } = await trainedWeights(subject, config, runs[key], {
      progress,
      signal,
    });
    disposeWeights(weights);
    return { network, seconds };
  };
  return { regular: await train('regular'), bang: await train('bang') };
}

/** The networks as they were at one stage. The caller disposes of the weights. */
async function stageOf(
  study: NoiseStudy,
  iteration: number,
  networks: OfPair<Network>,
  runs: RunFolders,
): Promise<OfPair<Trained>> {
  const load = async (key: keyof RunFolders): Promise<Trained> => {
    const file =
      iteration === study.stages.at(-1)
        ? runs[key].file('weights')
        : runs[key].file('snapshots', snapshotName(iteration));
    const network = networks[key];
    return { network, weights: importWeights(network, await readWeights(file), file) };
  };
  return { regular: await load('regular'), bang: await load('bang') };
}

function dispose(stage: OfPair<Trained>): void {
  for (const key of PAIR) disposeWeights(stage[key].weights);
}

/** What is kept of a stage's classification of all test images. */
interface Classified {
  correct: OfPair<number>;
  /** A byte for each image in base64: 1 where both are right. */
  both: string;
}

/** The accuracy at each stage, and which images both networks get right at all of them. */
async function classifyAll(
  study: NoiseStudy,
  networks: OfPair<Network>,
  runs: RunFolders,
  folder: StudyFolder,
  test: Dataset,
  source: DataSource,
  { progress, signal }: RunOptions,
): Promise<{ stages: NoiseStage[]; both: Uint8Array }> {
  const always = new Uint8Array(test.count).fill(1);
  const stages: NoiseStage[] = [];
  const each = PAIR.length * test.count;
  const task = progress.start('classifying', each * study.stages.length, 'images');
  for (const [i, iteration] of study.stages.entries()) {
    const at = await stageOf(study, iteration, networks, runs);
    const weights = ofPair((key) => digestOfWeights(at[key].network, at[key].weights));
    const parts = folder.parts({ weights, data: source.sha256 });
    const name = `iteration-${iteration}`;
    let known = parts.read(name) as Classified | undefined;
    if (!known) {
      const correct = { regular: 0, bang: 0 };
      const both = new Uint8Array(test.count).fill(1);
      for (const [k, key] of PAIR.entries()) {
        const found = await predict(at[key].network, at[key].weights, test, {
          done: (count) => {
            task.update(i * each + k * test.count + count);
          },
          signal,
        });
        correct[key] = found.correct;
        for (let n = 0; n < test.count; n++) both[n] &= +(found.predicted[n] === test.labels[n]);
      }
      known = { correct, both: Buffer.from(both).toString('base64') };
      parts.write(name, known);
    }
    dispose(at);
    const { correct, both } = known;
    Buffer.from(both, 'base64').forEach((right, n) => (always[n] &= right));
    const accuracy = ofPair((key) => (100 * correct[key]) / test.count);
    stages.push({ stage: i + 1, iteration, accuracy, weights });
  }
  const last = stages.at(-1)!.accuracy;
  task.finish(`accuracy ${last.regular.toFixed(2)} % regular, ${last.bang.toFixed(2)} % BANG`);
  return { stages, both: always };
}

/**
 * As many images of each class as the study wants, or the scarcest class has, drawn by the study's
 * seed, in ascending order.
 *
 * @throws UserError if a class has none
 */
function choose(
  { seed, images, stages }: NoiseStudy,
  test: Dataset,
  both: Uint8Array,
  progress: Progress,
): Uint32Array {
  const candidates = Array.from({ length: test.classes }, (): number[] => []);
  both.forEach((right, n) => {
    if (right) candidates[test.labels[n]].push(n);
  });
  const least = Math.min(...candidates.map(({ length }) => length));
  if (least < images) {
    const scarce = `class ${candidates.findIndex(({ length }) => length === least)}`;
    const such = `test images that both networks classify correctly at all of the ${stages.length} stages`;
    if (least === 0)
      throw new UserError(`${scarce} has no ${such}: choose fewer stages with --set every=N`);
    progress.note(`${scarce} has only ${least} ${such}: ${least} of each class, not ${images}`);
  }
  const chosen = candidates.flatMap((positions, label) => {
    const order = permutation(positions.length, makeRandom(seed, 'noise/images', label));
    return [...order.subarray(0, Math.min(images, least))].map((n) => positions[n]);
  });
  return Uint32Array.from(chosen).sort();
}

interface Chosen {
  test: Dataset;
  positions: Uint32Array;
  source: DataSource;
}

/** What is kept of one σ at one stage: flipped copies of each image. */
type Flips = OfPair<number[]>;

async function distort(
  study: NoiseStudy,
  stages: readonly NoiseStage[],
  networks: OfPair<Network>,
  runs: RunFolders,
  folder: StudyFolder,
  { test, positions, source }: Chosen,
  { progress, signal }: RunOptions,
): Promise<NoiseRow[]> {
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
    const at = await stageOf(study, stage.iteration, networks, runs);
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
  task.finish(`${size(parts)} distortions of ${images.length} images`);
  const labels = images.map((n) => test.labels[n]);
  return parts.map(({ stage, sigma, copies, flips }) =>
    rowOf(stage, sigma, copies, flips!, labels),
  );
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

/** `images.csv`: which test images were distorted. */
function imagesCsv({ test, positions }: Chosen): string {
  const lines = [...positions].map((n) => `${n},${test.labels[n]}\n`);
  return `index,label\n${lines.join('')}`;
}

/** The result that a folder holds, if it is of this study and not of other images, σ or copies. */
function finishedResult(folder: StudyFolder, study: NoiseStudy): NoiseResult | undefined {
  const result = folder.result();
  if (!isNoiseResult(result)) return undefined;
  const measure = ({ images, sigmas, copies }: Pick<NoiseStudy, 'images' | 'sigmas' | 'copies'>) =>
    JSON.stringify([images, sigmas, copies.last, copies.before]);
  return measure(result.config) === measure(study) ? result : undefined;
}

function ofPair<T>(of: (key: (typeof PAIR)[number]) => T): OfPair<T> {
  return { regular: of('regular'), bang: of('bang') };
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
