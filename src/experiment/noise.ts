import { sumOf } from '../base/sums.js';
import { loadData } from '../data/load.js';
import { threadCount } from '../engine/engine.js';
import {
  flipsCsv,
  imagesCsv,
  isNoiseResult,
  NOISE_FILES,
  noiseCsv,
  type NoiseResult,
  noiseSurfacesCsv,
  stagesCsv,
} from '../store/noise.js';
import { ofPair, PAIR } from '../metrics/noise.js';
import { differenceOf, type Identity } from '../store/identity.js';
import { openFolder } from '../store/resultFolder.js';
import type { NoiseStudy } from '../config/noise.js';
import { provenance, refuseOtherData, sourceOf } from '../store/provenance.js';
import { decisive, refuseTooFew, type Subject } from './training.js';
import path from 'node:path';
import { refuseOtherResult } from './resultIn.js';
import { announceEngine, type RunOptions } from './runOptions.js';
import {
  classifyAll,
  openRun,
  type RunFolders,
  type StudyFolder,
  trainPair,
} from './noiseNetworks.js';
import { choose, refuseEmptyClasses } from './noiseImages.js';
import { distort } from './distortions.js';
import { jsonText } from '../base/files.js';

/**
 * Runs a study of random distortions: trains both networks, chooses images that both classify correctly
 * at all stages, and counts their noisy copies that are not. Skips steps whose results the folder has.
 *
 * @throws UserError or Interrupted from its steps; UserError if a class has no such image, before training if it has
 *   no test images at all
 */
export async function runNoise(study: NoiseStudy, options: RunOptions): Promise<NoiseResult> {
  const { progress, signal, force, inputs } = options;
  threadCount(options.threads);
  const folder = openFolder(options.out, identityOf(study), { force, inputs }, NOISE_FILES);
  const runs = ofPair((key) => openRun(study.networks[key], path.join(options.out, key), options));
  const finished = force ? undefined : finishedStudy(folder, study);
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
  for (const key of PAIR) refuseTooFew(study.networks[key], data.train);
  refuseEmptyClasses(data.test);
  const engine = await announceEngine(study.engine, options);
  return folder.hold(() =>
    runs.regular.hold(() =>
      runs.bang.hold(async () => {
        // Another process may have finished it since.
        const meanwhile = force ? undefined : finishedStudy(folder, study);
        if (!meanwhile) {
          return runInto(folder, runs, study, { engine, data, source }, begun, options);
        }
        refuseOtherData(folder, meanwhile.data.sha256, source.sha256);
        return { ...meanwhile, name: study.name, config: study };
      }),
    ),
  );
}

async function runInto(
  folder: StudyFolder,
  runs: RunFolders,
  study: NoiseStudy,
  { engine, data, source }: Pick<Subject, 'engine' | 'data' | 'source'>,
  begun: number,
  options: RunOptions,
): Promise<NoiseResult> {
  const training = await trainPair(study, data, source, engine, runs, options);
  const networks = ofPair((key) => training[key].network);
  const seconds = PAIR.flatMap((key) => training[key].seconds ?? []);

  try {
    return await measured();
  } finally {
    for (const key of PAIR) networks[key].mean?.dispose();
  }

  async function measured(): Promise<NoiseResult> {
    const { test } = data;
    const inProgress = { study, networks, runs, folder, test, source };
    const { stages, both } = await classifyAll(inProgress, options);
    const positions = choose(study, test, both, options.progress);
    const { rows, flips } = await distort(inProgress, stages, positions, options);

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
    const images = [...positions];
    folder.write('images', imagesCsv(images, test.labels));
    folder.write('flips', flipsCsv(flips, images));
    folder.write('result', jsonText(result));
    return result;
  }
}

/** The identity of a study's folder. Other keys of the study only distinguish the parts in it. */
function identityOf({ seed, stages, networks }: NoiseStudy): Identity {
  const trainings = ofPair((key) => {
    const { model, data, seed, training } = networks[key];
    return { model, data, seed, training: decisive(training) };
  });
  return JSON.parse(JSON.stringify({ seed, stages, ...trainings })) as Identity;
}

/** The result in a folder, unless it is of another number of images or copies or other values of σ. */
function finishedStudy(folder: StudyFolder, study: NoiseStudy): NoiseResult | undefined {
  const result = folder.result();
  if (!isNoiseResult(result)) return undefined;
  refuseOtherResult(folder, differenceOf(identityOf(study), identityOf(result.config), []));
  const measure = ({ images, sigmas, copies }: Pick<NoiseStudy, 'images' | 'sigmas' | 'copies'>) =>
    JSON.stringify([images, sigmas, copies.last, copies.before]);
  return measure(result.config) === measure(study) ? result : undefined;
}
