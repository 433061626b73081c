import {
  type AttackChoice,
  type AttackName,
  attacksIn,
  AUTO,
  type Budgets,
  type GivenEffort,
  NORMS,
  type Protocol,
  type AttackPart,
} from '../attacks/attack.js';
import { counted } from '../base/text.js';
import { attackImages, type AttackResult, ATTACKS, attackWithin } from '../attacks/attacks.js';
import { usualBudgets } from '../attacks/auto.js';
import { flipsUnderNoise, type NoiseSettings } from '../attacks/flips.js';
import type { SearchOptions } from '../attacks/search.js';
import { copyRows, joined } from '../base/rows.js';
import { sumOf } from '../base/sums.js';
import { type Dataset, firstImages, imageAt, imagesAt, withImages } from '../data/dataset.js';
import { passOf } from '../metrics/passPool.js';
import type { Model } from '../model/network.js';
import { disposeWeights, withScaledLogits } from '../model/parameters.js';
import { predict } from '../model/predict.js';
import type { Progress } from '../base/progress.js';
import {
  type AdversarialExamples,
  type AttackOutcome,
  type BudgetOutcome,
  type Evaluation,
  rightOf,
} from '../metrics/evaluation.js';
import type { OutcomeStore } from '../store/outcomes.js';
import type { PictureStore } from '../store/pictures.js';
import type { Result } from '../store/result.js';

/** What to measure: the `evaluation` block of a config. */
export interface EvaluationSettings extends Protocol, GivenEffort {
  images: number | 'all';
  attacks: AttackChoice[];
  /**
   * Budgets in grey levels for robust accuracy, each list ascending; those in L∞ are integers. If left out, `auto`
   * takes the usual ones.
   */
  budgets?: Budgets | undefined;
  /** Noise to count misclassified copies under. */
  noise?: Omit<NoiseSettings, 'seed'> | undefined;
  /** Multiplies the logits before anything is measured; if left out, they are as they are. */
  logitScale?: number | undefined;
  /** Whether to measure PASS of the adversarial examples. */
  pass: boolean;
}

export interface EvaluateOptions {
  /** Threads for PASS. */
  threads: number;
  progress: Progress;
  store?: OutcomeStore;
  /** Whether to keep the adversarial examples; by default they are dropped. */
  keepsExamples?: boolean;
  /** Gets the perturbed images of the first image of each class that is classified correctly. */
  pictures?: PictureStore;
  signal?: AbortSignal;
}

/** Measures a network with its logits multiplied, which is freed afterwards; without a scale, the one given. */
export async function withLogitScale<T>(
  model: Model,
  { logitScale }: Pick<EvaluationSettings, 'logitScale'>,
  measure: (model: Model) => Promise<T>,
): Promise<T> {
  if (logitScale === undefined) return measure(model);
  const scaled = withScaledLogits(model, logitScale);
  try {
    return await measure(scaled);
  } finally {
    disposeWeights(scaled.weights);
  }
}

/**
 * Measures a network on test images as in section 2 of the protocol: accuracy and, for each attack on
 * the correctly classified images, the L∞ and PASS of the perturbation. With `auto` among the attacks, also which
 * images the strongest attacks fool within each budget.
 *
 * @throws Interrupted if the signal aborts
 */
export function evaluate(
  model: Model,
  test: Dataset,
  settings: EvaluationSettings,
  options: EvaluateOptions,
): Promise<Evaluation> {
  return withLogitScale(model, settings, (scaled) => measured(scaled, test, settings, options));
}

async function measured(
  model: Model,
  test: Dataset,
  settings: EvaluationSettings,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { progress, signal } = options;
  const data = firstImages(test, settings.images);
  const task = progress.start('classifying', data.count, 'images');
  const { predicted, blank, correct } = await predict(model, data, {
    done: (images) => {
      task.update(images);
    },
    signal,
  });
  task.finish(`accuracy ${((100 * correct) / data.count).toFixed(2)} %`);

  const positions = rightOf({ labels: data.labels, predicted });
  const attacks = new Map<AttackName, AttackOutcome>();
  for (const name of attacksIn(settings.attacks)) {
    let outcome = options.store?.read(name);
    if (outcome && (outcome.examples || !options.keepsExamples)) {
      progress.note(`${ATTACKS[name].title}: done before`);
    } else {
      outcome = await attackAndMeasure(name, model, data, positions, settings, options);
      options.store?.write(name, outcome);
    }
    attacks.set(name, outcome);
  }
  const protocol = { search: settings.search, channels: settings.channels };
  const noise =
    settings.noise && (await distorted(model, data, positions, settings.noise, options));
  const { count: images, channels, labels } = data;
  const found = { images, channels, labels, predicted, blank, protocol, attacks, noise };
  const budgets =
    settings.budgets ?? (settings.attacks.includes(AUTO) ? usualBudgets(data.channels) : undefined);
  if (!budgets) return found;
  if (!settings.attacks.includes(AUTO)) return { ...found, budgets };
  const atBudgets = await attackAtBudgets(
    model,
    data,
    positions,
    attacks,
    budgets,
    settings,
    options,
  );
  return { ...found, budgets, atBudgets };
}

/** Noisy copies of the correctly classified images. */
async function distorted(
  model: Model,
  data: Dataset,
  positions: Uint32Array,
  noise: NonNullable<EvaluationSettings['noise']>,
  { progress, signal, store }: EvaluateOptions,
): Promise<Evaluation['noise']> {
  // Networks that are compared are given the same noise.
  const settings = { ...noise, seed: 1 };
  const title = `noise of σ ${settings.sigma}`;
  let flips = store?.readNoise();
  if (flips) {
    progress.note(`${title}: done before`);
    return { ...settings, flips };
  }
  const copies = settings.copies * positions.length;
  const task = progress.start(title, copies, 'distortions');
  const done = (count: number) => {
    task.update(count);
  };
  const [found] = await flipsUnderNoise([model], data, positions, settings, { done, signal });
  flips = new Int32Array(data.count).fill(-1);
  for (const [i, position] of positions.entries()) flips[position] = found[i];
  const rate = (100 * sumOf(found)) / Math.max(1, copies);
  task.finish(`${rate.toFixed(2)} % of ${copies} copies misclassified`);
  store?.writeNoise(flips);
  return { ...settings, flips };
}

/** Who has fooled an image with the smallest change so far, in one norm. */
interface Fooled {
  by: AttackPart;
  size: number;
  /** If examples are kept: the perturbed image. */
  pixels: Uint8Array | undefined;
}

/**
 * Attacks within each budget, the largest first: an image that is left there is left within smaller budgets, too,
 * and what fooled within it, or was the smallest perturbation of an attack before, may be within smaller ones.
 */
async function attackAtBudgets(
  model: Model,
  data: Dataset,
  positions: Uint32Array,
  attacks: Evaluation['attacks'],
  budgets: Budgets,
  effort: GivenEffort,
  { progress, signal, store, keepsExamples = false }: EvaluateOptions,
): Promise<BudgetOutcome[]> {
  const outcomes: BudgetOutcome[] = [];
  for (const norm of NORMS) {
    const known = new Map<number, Fooled>();
    for (const [by, outcome] of attacks) {
      const pixels = pixelsIn(outcome.examples, data);
      for (const position of positions) {
        const size = outcome[norm]?.[position] ?? NaN;
        // False if the attack failed, whose size is NaN.
        if (size < (known.get(position)?.size ?? Infinity)) {
          known.set(position, { by, size, pixels: pixels.get(position) });
        }
      }
    }
    let open = positions;
    for (const budget of (budgets[norm] ?? []).toReversed()) {
      const title = `${norm === 'linf' ? 'L∞' : 'L2'} ≤ ${budget}`;
      const kept = store?.readBudget(norm, budget);
      const isKept = kept && (kept.examples !== undefined || !keepsExamples);
      if (isKept) progress.note(`${title}: done before`);
      const outcome = isKept ? kept : await within(budget, title);
      if (!isKept) store?.writeBudget(outcome);
      const pixels = pixelsIn(outcome.examples, data);
      for (const position of open) {
        const by = outcome.by[position];
        if (by === undefined) continue;
        known.set(position, { by, size: outcome.size[position], pixels: pixels.get(position) });
      }
      open = open.filter((position) => outcome.by[position] !== undefined);
      outcomes.push(outcome);
    }

    async function within(budget: number, title: string): Promise<BudgetOutcome> {
      const begun = performance.now();
      const task = progress.start(title, open.length, 'images');
      const isKnown = (position: number) => (known.get(position)?.size ?? Infinity) <= budget;
      const unknown = open.filter((position) => !isKnown(position));
      const before = open.length - unknown.length;
      const done = (images: number) => {
        task.update(before + images);
      };
      const how = { norm, budget, effort };
      const result = await attackWithin(model, data, unknown, how, { done, signal });
      const by = Array<AttackPart | undefined>(data.count).fill(undefined);
      const size = new Float32Array(data.count).fill(NaN);
      for (const position of open.filter(isKnown)) {
        const change = known.get(position)!;
        by[position] = change.by;
        size[position] = change.size;
      }
      unknown.forEach((position, i) => {
        by[position] = result.by[i];
        size[position] = result.size[i];
      });
      const fooled = open.filter((position) => by[position] !== undefined);
      const seconds = (performance.now() - begun) / 1000;
      const left = positions.length - fooled.length;
      task.finish(`${left} of ${counted(positions.length, 'image')} left, ${seconds.toFixed(1)} s`);
      const outcome: BudgetOutcome = { norm, budget, by, size, seconds };
      if (!keepsExamples) return outcome;
      const found = pixelsIn({ positions: unknown, images: result.adversarials }, data);
      const pixels = (position: number) => found.get(position) ?? known.get(position)!.pixels!;
      const images = joined(Array.from(fooled, pixels));
      return { ...outcome, examples: { positions: fooled, images } };
    }
  }
  const order = (outcome: BudgetOutcome) => NORMS.indexOf(outcome.norm);
  return outcomes.sort((a, b) => order(a) - order(b) || a.budget - b.budget);
}

/** The perturbed image of each position that has one. */
function pixelsIn(
  examples: AdversarialExamples | undefined,
  { height, width, channels }: Dataset,
): Map<number, Uint8Array> {
  const size = height * width * channels;
  return new Map(
    Array.from(examples?.positions ?? [], (position, i) => [
      position,
      examples!.images.subarray(i * size, (i + 1) * size),
    ]),
  );
}

async function attackAndMeasure(
  name: AttackName,
  model: Model,
  data: Dataset,
  positions: Uint32Array,
  settings: EvaluationSettings,
  { progress, signal, threads, keepsExamples, pictures }: EvaluateOptions,
): Promise<AttackOutcome> {
  const attack = ATTACKS[name];
  const begun = performance.now();
  const task = progress.start(attack.title, positions.length, 'images');
  const { linf, l2, adversarials } = await attackImages(attack, model, data, positions, settings, {
    done: (images) => {
      task.update(images);
    },
    signal,
  });
  const original = (i: number) => positions[i];
  const size = data.height * data.width * data.channels;
  const perturbedAt = (which: readonly number[]): Uint8Array =>
    copyRows(new Uint8Array(which.length * size), adversarials, which, size);
  const successes = [...linf.keys()].filter((i) => !Number.isNaN(linf[i]));
  const attackSeconds = (performance.now() - begun) / 1000;
  task.finish(
    `${successes.length} of ${counted(positions.length, 'image')}, ${attackSeconds.toFixed(1)} s`,
  );
  const seconds = { attack: attackSeconds, pass: 0 };
  if (pictures) {
    const shown = firstOfEachClass(positions, data).filter((i) => !Number.isNaN(linf[i]));
    const perturbed = withImages(data, shown.map(original), perturbedAt(shown));
    const { predicted } = await predict(model, perturbed, { signal });
    pictures.write(
      name,
      shown.map((i, k) => ({
        position: positions[i],
        pixels: imageAt(perturbed, k),
        predicted: predicted[k],
      })),
    );
  }
  const outcome: AttackOutcome = {
    linf: scattered(linf, positions, data.count),
    l2: l2 && scattered(l2, positions, data.count),
    seconds,
  };
  const where = Uint32Array.from(successes, original);
  if (keepsExamples) outcome.examples = { positions: where, images: perturbedAt(successes) };
  if (!settings.pass || !attack.published) return outcome;

  const started = performance.now();
  const scores = await passOf(
    imagesAt(data, where).images,
    perturbedAt(successes),
    { height: data.height, width: data.width, channels: data.channels },
    { workers: threads, progress, label: `${attack.title} PASS`, signal },
  );
  seconds.pass = (performance.now() - started) / 1000;
  outcome.pass = scattered(scores.pass, where, data.count);
  outcome.aligned = new Uint8Array(data.count);
  where.forEach((position, i) => {
    outcome.aligned![position] = scores.aligned[i]!;
  });
  return outcome;
}

/** The indices of the first position of each class, in the order of classes. */
export function firstOfEachClass(positions: Uint32Array, { labels }: Dataset): number[] {
  const first = new Map<number, number>();
  positions.forEach((position, i) => {
    const label = labels[position];
    if (!first.has(label)) first.set(label, i);
  });
  return [...first].sort(([a], [b]) => a - b).map(([, i]) => i);
}

/** values[i] at positions[i], NaN elsewhere. */
function scattered(values: Float32Array, positions: Uint32Array, count: number): Float32Array {
  const all = new Float32Array(count).fill(NaN);
  positions.forEach((position, i) => {
    all[position] = values[i]!;
  });
  return all;
}

/** What an attack found, and what a network takes it for. */
export type Attacked = AttackResult & { predicted: Uint8Array };

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
