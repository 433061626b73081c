import { existsSync } from 'node:fs';
import path from 'node:path';
import { type AttackName, PROTOCOL } from '../attacks/attack.js';
import { ATTACKS } from '../attacks/attacks.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import { type Dataset, imageAt, slice } from '../data/dataset.js';
import { loadData } from '../data/load.js';
import { classNames, type ImageSize } from '../data/shapes.js';
import { threadCount } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { createPassMeter } from '../metrics/pass.js';
import type { Model } from '../model/network.js';
import { disposeNetwork } from '../model/parameters.js';
import { predict } from '../model/predict.js';
import { inWords } from '../base/text.js';
import { findRuns } from '../store/collect.js';
import { namesApart } from '../store/labels.js';
import { FILES } from '../store/resultFolder.js';
import { channelsFor, trainingInWords } from '../config/experiment.js';
import { attackAndClassify, type Attacked, evaluatedAs, type EvaluatedAs } from './evaluate.js';
import {
  type AdversarialImage,
  besideOf,
  type FigureExample,
  type FigureOptions,
  whereFlattered,
} from './figureExample.js';
import { keptExamples, keptIn } from './keptExamples.js';
import { loadModel, type OpenedModel, openModel } from './models.js';
import { announceEngine } from './runOptions.js';
import { configIn } from './weightFile.js';

/** Images to classify at once, and images of each class to attack at once. */
const CHUNK = 500;
const TRIES = 4;

/**
 * Adversarial examples for a figure: for each data set and class, the first test image that all its
 * networks classify correctly and on which the attack succeeds for all of them, with the paper's
 * protocol. Classes without such an image are left out. From folders without weights, they are those that the runs
 * kept, with the protocol of the runs.
 *
 * @param given weights, or folders of runs that hold weights or kept examples
 * @throws UserError if weights cannot be read or no class has an example; Interrupted if the signal
 *   aborts
 */
export async function adversarialExamples(
  given: readonly string[],
  options: FigureOptions,
): Promise<FigureExample[]> {
  threadCount(options.threads);
  const kept = keptIn(given);
  const examples = kept
    ? await keptExamples(kept, options)
    : await computedExamples(given, options);
  if (examples.length === 0 && kept?.every(({ result }) => !result.row.attacks[options.attack])) {
    throw new UserError(
      `${ATTACKS[options.attack].title} was not made on ${inWords(given)}: name one of its attacks with --attack`,
    );
  }
  if (examples.length === 0) {
    throw new UserError(
      `${inWords(given)}: there is no test image with which ${ATTACKS[options.attack].title} fools all networks`,
    );
  }
  return examples;
}

async function computedExamples(
  files: readonly string[],
  options: FigureOptions,
): Promise<FigureExample[]> {
  const opened: OpenedModel[] = [];
  for (const file of files) opened.push(await openModel(file));
  await announceEngine('auto', options);
  const examples: FigureExample[] = [];
  for (const data of DATA_NAMES) {
    const given = opened.flatMap((one, i) =>
      one.subject.data === data ? [{ ...one, given: files[i] }] : [],
    );
    if (given.length > 0) examples.push(...(await examplesOn(data, given, options)));
  }
  return examples;
}

interface Named extends Model {
  name: string;
  training: string;
  settings: EvaluatedAs['settings'];
}

async function examplesOn(
  data: DataName,
  opened: readonly (OpenedModel & { given: string })[],
  options: FigureOptions,
): Promise<FigureExample[]> {
  const { attack, dataDir, progress, signal } = options;
  const beside = besideOf(options);
  const splits = await loadData(data, { dataDir, progress, signal });
  const { test } = splits;
  const names = namesOf(opened);
  const models = opened.map((one, i): Named => {
    const { settings, logitScale } = settingsOf(one);
    const model = loadModel(one, splits, logitScale);
    return { ...model, name: names[i], training: trainingWords(one), settings };
  });
  const size: ImageSize = test;
  const classes = classNames(data, dataDir, test.names);
  const meter = await createPassMeter(size);
  const task = progress.start(`${ATTACKS[attack].title} on ${data}`, test.classes, 'classes');
  const found = new Map<number, FigureExample>();
  const examplesAt = (
    i: number,
    attacked: readonly Attacked[],
    by: AttackName,
    original: Uint8Array,
  ): AdversarialImage[] =>
    attacked.flatMap(({ adversarials: images, linf, predicted }, m) => {
      if (Number.isNaN(linf[i])) return [];
      const image = imageAt({ ...test, images }, i);
      const { name: network, training } = models[m];
      const { pass } = meter.measure(original, image);
      return [
        { network, training, attack: by, predicted: predicted[i], linf: linf[i], pass, image },
      ];
    });
  try {
    for (let begin = 0; begin < test.count && found.size < test.classes; begin += CHUNK) {
      const chunk = slice(test, begin, Math.min(test.count, begin + CHUNK));
      let candidates = await classifiedByAll(models, chunk, signal);
      while (candidates.length > 0) {
        const tried = firstTries(
          candidates.filter((i) => !found.has(chunk.labels[i])),
          chunk.labels,
        );
        candidates = candidates.filter((i) => !tried.includes(i) && !found.has(chunk.labels[i]));
        if (tried.length === 0) break;
        // Positions in the whole test set, which random numbers depend on.
        const where = tried.map((position) => begin + position);
        const attacked = await attackAll(models, test, where, attack, signal);
        for (const [i, index] of where.entries()) {
          const label = test.labels[index];
          if (found.has(label) || attacked.some(({ linf }) => Number.isNaN(linf[i]))) continue;
          const original = imageAt(test, index);
          const adversarials = examplesAt(i, attacked, attack, original);
          found.set(label, { data, size, classes, index, label, original, adversarials });
          task.update(found.size);
        }
      }
    }
    if (beside !== undefined && found.size > 0) {
      const examples = [...found.values()];
      const where = examples.map(({ index }) => index);
      const attacked = await attackAll(models, test, where, beside, signal);
      examples.forEach((example, i) => {
        example.adversarials.push(...examplesAt(i, attacked, beside, example.original));
      });
    }
  } finally {
    meter.close();
    models.forEach(disposeNetwork);
  }
  task.finish(`${found.size} of ${test.classes} classes`);
  const examples = [...found.values()].sort((a, b) => a.label - b.label);
  return whereFlattered(examples, beside);
}

/** Positions of the images that all networks classify correctly. */
async function classifiedByAll(
  models: readonly Model[],
  images: Dataset,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  let right = [...images.labels.keys()];
  for (const model of models) {
    const { predicted } = await predict(model, images, { signal });
    right = right.filter((i) => predicted[i] === images.labels[i]);
  }
  return right;
}

/** The first `TRIES` images of each class. */
function firstTries(positions: readonly number[], labels: Uint8Array): number[] {
  const taken = new Map<number, number>();
  return positions.filter((i) => {
    const count = taken.get(labels[i]) ?? 0;
    taken.set(labels[i], count + 1);
    return count < TRIES;
  });
}

/** For each network the results of the attack and the predictions for the adversarial images. */
async function attackAll(
  models: readonly Named[],
  images: Dataset,
  positions: readonly number[],
  attack: AttackName,
  signal: AbortSignal | undefined,
): Promise<Attacked[]> {
  const which = Uint32Array.from(positions);
  const results = [];
  for (const model of models) {
    results.push(await attackAndClassify(attack, model, images, which, model.settings, { signal }));
  }
  return results;
}

/** The name of each network; where these are equal, with what tells it from the others. */
function namesOf(opened: readonly (OpenedModel & { given: string })[]): string[] {
  return namesApart(
    opened.map(({ file, subject, given }) => {
      const config = configIn(file);
      const identity = { ...config, images: file.metadata.data?.slice(0, 12) };
      return { name: config?.name ?? subject.name, identity, folder: given };
    }),
  );
}

/** As the run of a folder was, so that the figure shows what its table says; by the paper's protocol elsewhere. */
function settingsOf({ subject, given }: OpenedModel & { given: string }): EvaluatedAs {
  const found = existsSync(path.join(given, FILES.result)) ? findRuns([given]).runs : [];
  const run = found.find(({ folder }) => folder === given);
  if (run) return evaluatedAs(run.result);
  return { settings: { ...PROTOCOL.paper, channels: channelsFor(subject.model, 'paper') } };
}

function trainingWords({ file }: OpenedModel): string {
  const config = configIn(file);
  return config ? trainingInWords(config.training) : '';
}
