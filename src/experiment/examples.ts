import { type AttackName, type GivenEffort, PROTOCOL, type Protocol } from '../attacks/attack.js';
import { attackImages, type AttackResult, ATTACKS } from '../attacks/attacks.js';
import type { SearchOptions } from '../attacks/search.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import { type Dataset, imageAt, slice } from '../data/dataset.js';
import { loadData } from '../data/load.js';
import type { ImageShape } from '../data/shapes.js';
import { threadCount } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { createPassMeter } from '../metrics/pass.js';
import { disposeNetwork } from '../model/parameters.js';
import { predict } from '../model/predict.js';
import { inWords } from '../base/text.js';
import { namesApart } from '../store/labels.js';
import { isBang } from '../config/experiment.js';
import { loadModel, type Model, type OpenedModel, openModel } from './models.js';
import { announceEngine, type RunOptions } from './runOptions.js';
import { configIn } from './weightFile.js';

/** A test image with an adversarial example of it for each of several networks. */
export interface FigureExample {
  data: DataName;
  shape: ImageShape;
  /** Position in the test set. */
  index: number;
  label: number;
  /** height × width × channels. */
  original: Uint8Array;
  /** One for each network, in the order given. */
  adversarials: Adversarial[];
}

export interface Adversarial {
  network: string;
  /** `BANG` or `regular`; empty if the weights' file does not say. */
  training: string;
  predicted: number;
  /** In grey levels. */
  linf: number;
  pass: number;
  image: Uint8Array;
}

/** How to make a figure of adversarial examples; other figures have no options. */
export interface FigureOptions extends Pick<
  RunOptions,
  'dataDir' | 'threads' | 'progress' | 'signal'
> {
  attack: AttackName;
}

/** Images to classify at once, and images of each class to attack at once. */
const CHUNK = 500;
const TRIES = 4;

/**
 * Adversarial examples for a figure: for each data set and class, the first test image that all its
 * networks classify correctly and on which the attack succeeds for all of them, with the paper's
 * protocol. Classes without such an image are left out.
 *
 * @param files weights, or result folders with weights in them
 * @throws UserError if weights cannot be read or no class has an example; Interrupted if the signal
 *   aborts
 */
export async function adversarialExamples(
  files: readonly string[],
  options: FigureOptions,
): Promise<FigureExample[]> {
  threadCount(options.threads);
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
  if (examples.length === 0) {
    throw new UserError(
      `${inWords(files)}: there is no test image with which ${ATTACKS[options.attack].title} fools all networks`,
    );
  }
  return examples;
}

interface Named extends Model {
  name: string;
  training: string;
}

async function examplesOn(
  data: DataName,
  opened: readonly (OpenedModel & { given: string })[],
  { attack, dataDir, progress, signal }: FigureOptions,
): Promise<FigureExample[]> {
  const splits = await loadData(data, { dataDir, progress, signal });
  const { test } = splits;
  const names = namesOf(opened);
  const models: Named[] = opened.map((one, i) => ({
    ...loadModel(one, splits),
    name: names[i],
    training: trainingOf(one),
  }));
  const shape: ImageShape = test;
  const meter = await createPassMeter(shape);
  const task = progress.start(`${ATTACKS[attack].title} on ${data}`, shape.classes, 'classes');
  const found = new Map<number, FigureExample>();
  try {
    for (let begin = 0; begin < test.count && found.size < shape.classes; begin += CHUNK) {
      const chunk = slice(test, begin, Math.min(test.count, begin + CHUNK));
      let candidates = await classifiedByAll(models, chunk, signal);
      while (candidates.length > 0) {
        const tried = firstOfEachClass(
          candidates.filter((i) => !found.has(chunk.labels[i])),
          chunk.labels,
        );
        candidates = candidates.filter((i) => !tried.includes(i) && !found.has(chunk.labels[i]));
        if (tried.length === 0) break;
        const attacked = await attackAll(models, chunk, tried, attack, signal);
        for (const [i, position] of tried.entries()) {
          const label = chunk.labels[position];
          if (found.has(label) || attacked.some(({ linf }) => Number.isNaN(linf[i]))) continue;
          const original = imageAt(chunk, position);
          const adversarials = attacked.map(({ adversarials: images, linf, predicted }, m) => {
            const image = imageAt({ ...chunk, images }, i);
            const { name: network, training } = models[m];
            const { pass } = meter.measure(original, image);
            return { network, training, predicted: predicted[i], linf: linf[i], pass, image };
          });
          found.set(label, { data, shape, index: begin + position, label, original, adversarials });
          task.update(found.size);
        }
      }
    }
  } finally {
    meter.close();
    for (const { network, weights } of models) disposeNetwork(network, weights);
  }
  task.finish(`${found.size} of ${shape.classes} classes`);
  return [...found.values()].sort((a, b) => a.label - b.label);
}

/** Positions of the images that all networks classify correctly. */
async function classifiedByAll(
  models: readonly Model[],
  images: Dataset,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  let right = [...images.labels.keys()];
  for (const { network, weights } of models) {
    const { predicted } = await predict(network, weights, images, { signal });
    right = right.filter((i) => predicted[i] === images.labels[i]);
  }
  return right;
}

/** The first `TRIES` images of each class. */
function firstOfEachClass(positions: readonly number[], labels: Uint8Array): number[] {
  const taken = new Map<number, number>();
  return positions.filter((i) => {
    const count = taken.get(labels[i]) ?? 0;
    taken.set(labels[i], count + 1);
    return count < TRIES;
  });
}

/** For each network the results of the attack and the predictions for the adversarial images. */
async function attackAll(
  models: readonly Model[],
  images: Dataset,
  positions: readonly number[],
  attack: AttackName,
  signal: AbortSignal | undefined,
): Promise<(AttackResult & { predicted: Uint8Array })[]> {
  const which = Uint32Array.from(positions);
  const results = [];
  for (const model of models) {
    results.push(await attackAndClassify(attack, model, images, which, PROTOCOL.paper, { signal }));
  }
  return results;
}

/**
 * Attacks images that a network classifies correctly, and classifies the adversarial images.
 *
 * @throws Interrupted if the signal aborts
 */
export async function attackAndClassify(
  attack: AttackName,
  { network, weights }: Model,
  data: Dataset,
  positions: Uint32Array,
  settings: Protocol & GivenEffort,
  options: Pick<SearchOptions, 'done' | 'signal'>,
): Promise<AttackResult & { predicted: Uint8Array }> {
  const found = await attackImages(
    ATTACKS[attack],
    network,
    weights,
    data,
    positions,
    settings,
    options,
  );
  const labels = Uint8Array.from(positions, (i) => data.labels[i]);
  const perturbed = { ...data, count: positions.length, images: found.adversarials, labels };
  const { signal } = options;
  const { predicted } = await predict(network, weights, perturbed, { signal });
  return { ...found, predicted };
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

function trainingOf({ file }: OpenedModel): string {
  const config = configIn(file);
  if (!config) return '';
  return isBang(config) ? 'BANG' : 'regular';
}
