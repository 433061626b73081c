import { type Dataset, imageAt } from '../data/dataset.js';
import { UserError } from '../base/errors.js';
import { threadCount } from '../engine/engine.js';
import type { Model } from '../model/network.js';
import { budgetsCsv, maskingCsv, noiseRatesCsv, robustnessCsv, tableCsv } from '../store/csv.js';
import { perImageCsv } from '../store/perImage.js';
import { summarise } from '../metrics/row.js';
import { type Config } from '../config/experiment.js';
import { type Evaluation, rightOf } from '../metrics/evaluation.js';
import { evaluate, firstOfEachClass } from './evaluate.js';
import {
  type PictureGroup,
  picturesIn,
  picturesJson,
  type PictureStore,
} from '../store/pictures.js';
import { type ResultFolder } from '../store/resultFolder.js';
import { outcomesIn } from '../store/outcomes.js';
import { hasImages, writeImages } from '../store/savedImages.js';
import { loadSource, refuseOtherData } from '../store/provenance.js';
import { entryOf } from '../store/entry.js';
import { isResult, type Result } from '../store/result.js';
import { OTHERWISE } from '../store/identity.js';
import type { RunOptions } from './runOptions.js';
import { jsonText } from '../base/files.js';

/**
 * The result that the folder holds already, unless images are asked for that it lacks.
 *
 * @param difference how a result's experiment differs from the one that is asked for, if it does
 * @throws UserError if it is of another experiment, or was made on other data
 */
export async function finishedResult(
  folder: ResultFolder,
  name: Config['data'],
  difference: (result: Result) => string | undefined,
  { dataDir, force, progress, signal, saveImages }: RunOptions,
): Promise<Result | undefined> {
  if (force || !folder.has('result')) return undefined;
  const result = folder.result();
  if (!isResult(result)) {
    progress.note(`note: ${folder.file('result')} is damaged; making it again`);
    return undefined;
  }
  refuseOtherResult(folder, difference(result));
  if (saveImages && !hasImages(folder, saveImages)) {
    progress.note(`note: the folder holds no ${saveImages} images; attacking again`);
    return undefined;
  }
  if (dataDir === undefined && result.data.folder === null) return result;
  const { sha256 } = await loadSource(name, { dataDir, progress, signal });
  refuseOtherData(folder, result.data.sha256, sha256);
  return result;
}

/**
 * Two processes of an earlier version may have been at work in one folder.
 *
 * @param difference between the folder's experiment and its result's, if there is one
 * @throws UserError if there is one
 */
export function refuseOtherResult(
  folder: { file(name: 'result' | 'identity'): string },
  difference: string | undefined,
): void {
  if (difference === undefined) return;
  throw new UserError(
    `${folder.file('result')} is of another experiment than ${folder.file('identity')} (${difference}): ${OTHERWISE}`,
  );
}

/**
 * Evaluates a network into a folder, which keeps finished parts until `finish`.
 *
 * @param of the hash of the weights, by which results name them, and the test images
 * @returns what the result has of it
 */
export async function evaluateInto(
  folder: ResultFolder,
  model: Model,
  test: Dataset,
  settings: Config['evaluation'],
  of: Pick<Result, 'weights' | 'data'>,
  { progress, signal, threads, saveImages }: RunOptions,
): Promise<Pick<Result, 'row' | 'weights' | 'data'>> {
  const key = { weights: of.weights, data: of.data.sha256, ...settings, attacks: [] };
  const parts = folder.parts(key);
  const pictures = picturesIn(parts);
  const evaluation = await evaluate(model, test, settings, {
    threads: threadCount(threads),
    progress,
    store: outcomesIn(parts),
    keepsExamples: saveImages !== undefined,
    pictures,
    signal,
  });
  folder.write('perImage', perImageCsv(evaluation));
  if (saveImages) writeImages(folder, saveImages, evaluation, test);
  folder.write(
    'examples',
    picturesJson(of.weights, pictureGroups(evaluation, test, pictures), test),
  );
  return { row: summarise(evaluation), ...of };
}

/** Of the first image of each class that is classified correctly, what each attack made of it. */
function pictureGroups(
  evaluation: Evaluation,
  test: Dataset,
  pictures: PictureStore,
): PictureGroup[] {
  const { labels, blank, attacks } = evaluation;
  const right = rightOf(evaluation);
  // Of an attack that an earlier version finished there are none.
  const known = [...attacks].flatMap(([attack, outcome]) => {
    const list = pictures.read(attack);
    return list ? [{ attack, outcome, list }] : [];
  });
  return firstOfEachClass(right, test).map((i): PictureGroup => {
    const position = right[i];
    return {
      position,
      label: labels[position],
      pixels: imageAt(test, position),
      blank: blank[position] === 1,
      attacks: known.map(({ attack, outcome: { linf, pass }, list }) => {
        const one = list.find((picture) => picture.position === position);
        if (!one) return { attack, found: null };
        const score = pass?.[position];
        return {
          attack,
          found: {
            pixels: one.pixels,
            predicted: one.predicted,
            linf: linf[position],
            pass: score === undefined || Number.isNaN(score) ? null : Number(score.toFixed(4)),
          },
        };
      }),
    };
  });
}

/** Writes the result and its tables; returns the result. */
export function finish(folder: ResultFolder, made: Omit<Result, 'format'>): Result {
  const result: Result = { format: 1, ...made };
  const entry = entryOf([result]);
  folder.write('table', tableCsv([entry]));
  if (result.row.robustness) folder.write('robustness', robustnessCsv([entry]));
  if (result.row.noise) folder.write('noise', noiseRatesCsv([entry]));
  if (result.row.atBudgets) folder.write('budgets', budgetsCsv([entry]));
  if (result.row.masking) folder.write('masking', maskingCsv(entry.name, result.row.masking));
  folder.write('result', jsonText(result));
  folder.discard();
  return result;
}
