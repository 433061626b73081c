import type { Dataset, DataSplits } from '../data/dataset.js';
import { type Engine } from '../engine/engine.js';
import type { Model, Network } from '../model/network.js';
import { disposeWeights, importWeights } from '../model/parameters.js';
import { predict } from '../model/predict.js';
import { readWeights } from '../model/files/weights.js';
import { NOISE_FILES } from '../store/noise.js';
import { type NoiseStage, type OfPair, ofPair, PAIR } from '../metrics/noise.js';
import type { Config } from '../config/experiment.js';
import { openFolder, type ResultFolder } from '../store/resultFolder.js';
import type { NoiseStudy } from '../config/noise.js';
import { digestOfWeights } from '../store/provenance.js';
import { INCIDENTAL } from '../store/identity.js';
import type { DataSource } from '../store/result.js';
import { snapshotName } from '../store/snapshots.js';
import { networkFor, trainedWeights } from './training.js';
import type { RunOptions } from './runOptions.js';

export type StudyFolder = ResultFolder<keyof typeof NOISE_FILES>;

export type RunFolders = OfPair<ResultFolder>;

/** A study whose networks are trained. */
export interface StudyInProgress {
  study: NoiseStudy;
  networks: OfPair<Network>;
  runs: RunFolders;
  folder: StudyFolder;
  test: Dataset;
  source: DataSource;
}

export function openRun(
  config: Config,
  folder: string,
  { force, inputs }: RunOptions,
): ResultFolder {
  return openFolder(folder, config, { ignored: [...INCIDENTAL, 'evaluation'], force, inputs });
}

/** Trains both networks, each into its folder. */
export async function trainPair(
  study: NoiseStudy,
  data: DataSplits,
  source: DataSource,
  engine: Engine,
  runs: RunFolders,
  { progress, signal }: RunOptions,
): Promise<OfPair<{ network: Network; seconds: number | null }>> {
  const train = async (key: keyof RunFolders) => {
    progress.note(`${study.networks[key].name} → ${runs[key].path}`);
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
export async function stageOf(
  { study, networks, runs }: StudyInProgress,
  iteration: number,
): Promise<OfPair<Model>> {
  const load = async (key: keyof RunFolders): Promise<Model> => {
    const file =
      iteration === study.stages.at(-1)
        ? runs[key].file('weights')
        : runs[key].file('snapshots', snapshotName(iteration));
    const network = networks[key];
    return { network, weights: importWeights(network, await readWeights(file), file) };
  };
  return { regular: await load('regular'), bang: await load('bang') };
}

export function dispose(stage: OfPair<Model>): void {
  for (const key of PAIR) disposeWeights(stage[key].weights);
}

/** The part that is kept of the classification of all test images at a stage. */
interface Classified {
  correct: OfPair<number>;
  /** Base64 of a byte for each image: 1 if both networks classify it correctly. */
  both: string;
}

/** The accuracy at each stage, and the images that both networks classify correctly at all stages. */
export async function classifyAll(
  inProgress: StudyInProgress,
  { progress, signal }: RunOptions,
): Promise<{ stages: NoiseStage[]; both: Uint8Array }> {
  const { study, folder, test, source } = inProgress;
  const always = new Uint8Array(test.count).fill(1);
  const stages: NoiseStage[] = [];
  const each = PAIR.length * test.count;
  const task = progress.start('classifying', each * study.stages.length, 'images');
  for (const [i, iteration] of study.stages.entries()) {
    const at = await stageOf(inProgress, iteration);
    const weights = ofPair((key) => digestOfWeights(at[key]));
    const parts = folder.parts({ weights, data: source.sha256 });
    const name = `iteration-${iteration}`;
    let known = parts.read(name) as Classified | undefined;
    try {
      if (!known) {
        const correct = { regular: 0, bang: 0 };
        const both = new Uint8Array(test.count).fill(1);
        for (const [k, key] of PAIR.entries()) {
          const found = await predict(at[key], test, {
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
    } finally {
      dispose(at);
    }
    const { correct, both } = known;
    Buffer.from(both, 'base64').forEach((right, n) => (always[n] &= right));
    const accuracy = ofPair((key) => (100 * correct[key]) / test.count);
    stages.push({ stage: i + 1, iteration, accuracy, weights });
  }
  const last = stages.at(-1)!.accuracy;
  task.finish(`accuracy ${last.regular.toFixed(2)} % regular, ${last.bang.toFixed(2)} % BANG`);
  return { stages, both: always };
}
