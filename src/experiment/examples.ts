import { existsSync } from 'node:fs';
import path from 'node:path';
import { type AttackName, type GivenEffort, PROTOCOL, type Protocol } from '../attacks/attack.js';
import { attackImages, type AttackResult, ATTACKS } from '../attacks/attacks.js';
import type { SearchOptions } from '../attacks/search.js';
import { DATA_NAMES, type DataName } from '../data/sources.js';
import { type Dataset, imageAt, slice, withImages } from '../data/dataset.js';
import { loadData } from '../data/load.js';
import { classNames, type ImageSize, shapeOf } from '../data/shapes.js';
import { threadCount } from '../engine/engine.js';
import { UserError } from '../base/errors.js';
import { groupedBy } from '../base/groups.js';
import { isFolder } from '../base/files.js';
import { meanOf } from '../base/sums.js';
import { createPassMeter } from '../metrics/pass.js';
import type { Model } from '../model/network.js';
import { disposeNetwork } from '../model/parameters.js';
import { predict } from '../model/predict.js';
import { inWords } from '../base/text.js';
import { type FoundRun, findRuns } from '../store/collect.js';
import { namesApart } from '../store/labels.js';
import { type PictureGroup, readPictures } from '../store/pictures.js';
import type { DataSource, Result } from '../store/result.js';
import { FILES } from '../store/resultFolder.js';
import { channelsFor, trainingInWords } from '../config/experiment.js';
import { loadModel, type OpenedModel, openModel } from './models.js';
import { announceEngine, type RunOptions } from './runOptions.js';
import { configIn } from './weightFile.js';

/** A test image with adversarial examples of it for each of several networks. */
export interface FigureExample {
  data: DataName;
  size: ImageSize;
  /** The names of the classes, if they are known. */
  classes?: readonly string[];
  /** Position in the test set. */
  index: number;
  label: number;
  /** height × width × channels. */
  original: Uint8Array;
  /**
   * For each network, in the order given, that of the attack; and of HC1's networks, those that flatters have another
   * attack's as well.
   */
  adversarials: AdversarialImage[];
}

export interface AdversarialImage {
  network: string;
  /** `BANG` or `regular`; empty if the weights' file does not say. */
  training: string;
  attack: AttackName;
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
  /** The attack that is shown beside HC1, for networks on which it needs a smaller L∞. */
  beside?: AttackName | 'none';
}

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

/** The attack to show beside another one; undefined if there is none. */
function besideOf({ attack, beside = 'fgs-unmasked' }: FigureOptions): AttackName | undefined {
  return attack === 'hc1' && beside !== 'none' && beside !== attack ? beside : undefined;
}

/** Without the examples of the attack beside HC1 on networks that HC1 does not flatter. */
function whereFlattered(
  examples: readonly FigureExample[],
  beside: AttackName | undefined,
): FigureExample[] {
  const flattered = new Set(
    examples.flatMap(({ data, adversarials }) =>
      adversarials
        .filter(({ network, attack, linf }) =>
          adversarials.some(
            (hc1) =>
              attack === beside &&
              hc1.attack !== beside &&
              hc1.network === network &&
              linf < hc1.linf,
          ),
        )
        .map(({ network }) => JSON.stringify([data, network])),
    ),
  );
  return examples.map((example) => ({
    ...example,
    adversarials: example.adversarials.filter(
      ({ attack, network }) =>
        attack !== beside || flattered.has(JSON.stringify([example.data, network])),
    ),
  }));
}

/** The runs in folders of which none has weights, and that kept examples; undefined if there are none. */
function keptIn(given: readonly string[]): FoundRun[] | undefined {
  const hasWeights = (name: string): boolean =>
    !isFolder(name) || existsSync(path.join(name, FILES.weights));
  if (given.some(hasWeights)) return undefined;
  const { runs } = findRuns(given);
  const kept = runs.filter(({ folder }) => existsSync(path.join(folder, FILES.examples)));
  return kept.length === 0 ? undefined : kept;
}

async function keptExamples(
  runs: readonly FoundRun[],
  options: FigureOptions,
): Promise<FigureExample[]> {
  const names = namesApart(
    runs.map(({ folder, result: { name, config } }) => ({ name, identity: { ...config }, folder })),
  );
  const examples: FigureExample[] = [];
  for (const data of DATA_NAMES) {
    const given = runs.flatMap(({ folder, result }, i): Kept[] => {
      if (result.data.name !== data) return [];
      const pictures = readPictures(folder, result, shapeOf(data));
      const training = result.config.training;
      return pictures
        ? [
            {
              ...pictures,
              network: names[i],
              training: training ? trainingInWords(training) : '',
              source: result.data,
            },
          ]
        : [];
    });
    if (given.length > 0) examples.push(...(await keptOn(data, given, options)));
  }
  return examples;
}

interface Kept {
  network: string;
  training: string;
  source: DataSource;
  size: ImageSize;
  groups: PictureGroup[];
}

async function keptOn(
  data: DataName,
  kept: readonly Kept[],
  options: FigureOptions,
): Promise<FigureExample[]> {
  const [{ source, size, groups }] = kept;
  const strange = kept.find((one) => one.source.sha256 !== source.sha256);
  if (strange) {
    throw new UserError(
      `${strange.network} was run on other images than ${kept[0].network}: make a figure of each`,
    );
  }
  const { attack } = options;
  const beside = keptBeside(kept, options);
  const classes = classNames(data, source.folder, source.classes);
  const meter = await createPassMeter(size);
  try {
    const examples = groups.flatMap(({ position, label, pixels: original }): FigureExample[] => {
      const adversarials = kept.flatMap(
        ({ network, training, groups: own }): AdversarialImage[] => {
          const group = own.find((one) => one.position === position);
          return [attack, beside].flatMap((name): AdversarialImage[] => {
            const found = group?.attacks.find((one) => one.attack === name)?.found;
            if (!found || !name) return [];
            const { pixels: image, predicted, linf } = found;
            const pass = found.pass ?? meter.measure(original, image).pass;
            return [{ network, training, attack: name, predicted, linf, pass, image }];
          });
        },
      );
      const fooled = adversarials.filter((one) => one.attack === attack);
      if (fooled.length < kept.length) return [];
      return [{ data, size, classes, index: position, label, original, adversarials }];
    });
    return whereFlattered(examples, beside);
  } finally {
    meter.close();
  }
}

/** The attack to show beside another one; if it was not made, the one that needs least on average. */
function keptBeside(kept: readonly Kept[], options: FigureOptions): AttackName | undefined {
  const wanted = besideOf(options);
  if (!wanted) return undefined;
  const made = kept
    .flatMap(({ groups }) => groups.flatMap(({ attacks }) => attacks))
    .flatMap(({ attack, found }) => (found ? [{ attack, linf: found.linf }] : []));
  const byAttack = groupedBy(made, ({ attack }) => attack);
  if (byAttack.has(wanted)) return wanted;
  const means = [...byAttack].map(([attack, alike]) => {
    return { attack, mean: meanOf(alike.map(({ linf }) => linf)) };
  });
  const others = means.filter(({ attack }) => attack !== options.attack);
  return others.sort((a, b) => a.mean - b.mean).at(0)?.attack;
}

/** What an attack found, and what a network takes it for. */
type Attacked = AttackResult & { predicted: Uint8Array };

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
    const { settings, logitScale } = evaluationOf(one);
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
        const attacked = await attackAll(models, chunk, tried, attack, signal);
        for (const [i, position] of tried.entries()) {
          const label = chunk.labels[position];
          if (found.has(label) || attacked.some(({ linf }) => Number.isNaN(linf[i]))) continue;
          const original = imageAt(chunk, position);
          const adversarials = examplesAt(i, attacked, attack, original);
          const index = begin + position;
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

/**
 * Attacks images that a network classifies correctly, and classifies the adversarial images.
 *
 * @throws Interrupted if the signal aborts
 */
export async function attackAndClassify(
  attack: AttackName,
  model: Model,
  data: Dataset,
  positions: Uint32Array,
  settings: Protocol & GivenEffort,
  options: Pick<SearchOptions, 'done' | 'signal'>,
): Promise<Attacked> {
  const found = await attackImages(ATTACKS[attack], model, data, positions, settings, options);
  const perturbed = withImages(data, positions, found.adversarials);
  const { signal } = options;
  const { predicted } = await predict(model, perturbed, { signal });
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

/** How a network was evaluated, as far as adversarial examples depend on it. */
export interface EvaluatedAs {
  /** What its logits were multiplied by; left out: 1. */
  logitScale?: number | undefined;
  settings: Protocol & GivenEffort;
}

export function evaluatedAs({ row, config }: Pick<Result, 'row' | 'config'>): EvaluatedAs {
  const { pgd, apgd, square, logitScale } = config.evaluation ?? {};
  return { logitScale, settings: { ...row.protocol, pgd, apgd, square } };
}

/** As the run of a folder was, so that the figure shows what its table says; by the paper's protocol elsewhere. */
function evaluationOf({ subject, given }: OpenedModel & { given: string }): EvaluatedAs {
  const found = existsSync(path.join(given, FILES.result)) ? findRuns([given]).runs : [];
  const run = found.find(({ folder }) => folder === given);
  if (run) return evaluatedAs(run.result);
  return { settings: { ...PROTOCOL.paper, channels: channelsFor(subject.model, 'paper') } };
}

function trainingWords({ file }: OpenedModel): string {
  const config = configIn(file);
  return config ? trainingInWords(config.training) : '';
}
