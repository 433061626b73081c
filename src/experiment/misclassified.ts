import { refuseNoTraining } from '../data/dataset.js';
import { loadData } from '../data/load.js';
import { membersOf, splitImages } from '../data/split.js';
import { UserError } from '../base/errors.js';
import { type Config, networkOf } from '../config/experiment.js';
import { type ErrorCount, errorsByMembership, errorsByRange } from '../metrics/misclassified.js';
import { disposeNetwork } from '../model/parameters.js';
import { predict } from '../model/predict.js';
import { sourceOf } from '../store/provenance.js';
import { loadModel, openModel } from './models.js';
import { announceEngine, type RunOptions } from './runOptions.js';
import { configIn, type Reading, refuseOtherImages } from './weightFile.js';

/** Images that are not the test images. */
export const OTHER_IMAGES = ['train', 'validation'] as const;

export interface ErrorOptions
  extends Pick<RunOptions, 'dataDir' | 'threads' | 'progress' | 'signal'>, Reading {
  /** All images of the training files, or those of them that the network was not trained on. */
  on: (typeof OTHER_IMAGES)[number];
  engine: Config['engine'];
}

/**
 * Counts the errors of a network on images of the training files. A network errs less on what it was trained on,
 * so the counts tell something about which images these were.
 *
 * @param given a file of weights, or the folder of a run
 * @throws UserError if the weights cannot be read or, for `validation`, do not say what they were trained on;
 *   Interrupted if the signal aborts
 */
export async function countErrors(given: string, options: ErrorOptions): Promise<ErrorCount[]> {
  const { dataDir, progress, signal, on } = options;
  const opened = await openModel(given, options);
  const name = opened.subject.data;
  const data = await loadData(name, { dataDir, progress, signal });
  const trainedBy = configIn(opened.file);
  refuseOtherImages(networkOf(opened.subject), data.train, dataDir);
  refuseNoTraining(data.train);
  const { sha256 } = sourceOf(name, data, dataDir);
  const isOfThese = (opened.file.metadata.data ?? sha256) === sha256;
  const known = isOfThese ? trainedBy : undefined;
  const heldOut = known && splitImages(data.train, known.training, known.seed).validation;
  if (on === 'validation' && !heldOut) throw noneHeldOut(opened.name, trainedBy, isOfThese);
  const images = on === 'validation' ? heldOut! : data.train;

  await announceEngine(options.engine, options);
  const model = loadModel(opened, data);
  try {
    const { labels, count } = images;
    const task = progress.start('classifying', count, 'images');
    const { predicted, correct } = await predict(model, images, {
      done: (classified) => {
        task.update(classified);
      },
      signal,
    });
    task.finish(`${count - correct} errors on ${count} training images`);
    const wrong = predicted.map((label, i) => +(label !== labels[i]));
    if (on === 'validation') return errorsByMembership(wrong, new Uint8Array(count));
    if (!known) return errorsByRange(wrong);
    const members = membersOf(count, known.training, known.seed);
    // Where the two divisions are the same, once is enough.
    const isRandom = known.training.split === 'random';
    return [
      ...errorsByRange(wrong, members),
      ...(isRandom ? errorsByMembership(wrong, members) : []),
    ];
  } finally {
    disposeNetwork(model);
  }
}

function noneHeldOut(file: string, trainedBy: Config | undefined, isOfThese: boolean): UserError {
  const unknown = 'does not say what it was trained on, so no images are known to be held out';
  const other = 'was trained on other data, of which nothing is held out here';
  const none = 'was trained on all training images';
  return new UserError(
    `${file} ${!trainedBy ? unknown : isOfThese ? none : other}: use --on train`,
  );
}
