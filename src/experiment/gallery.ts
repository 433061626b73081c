import type { AttackName } from '../attacks/attack.js';
import { ATTACKS } from '../attacks/attacks.js';
import { joined } from '../base/rows.js';
import { type Dataset, type DataSplits, firstImages, imageAt } from '../data/dataset.js';
import { passOf } from '../metrics/passPool.js';
import type { Model } from '../model/network.js';
import { disposeNetwork } from '../model/parameters.js';
import { predict, type Predictions } from '../model/predict.js';
import type { Progress } from '../base/progress.js';
import { attackAndClassify, type EvaluatedAs } from './evaluate.js';
import { loadModel, openModel } from './models.js';

/** A network to make adversarial examples for. */
export interface ExampleSource extends EvaluatedAs {
  name: string;
  /** A file of weights, or the folder of a run that has one. */
  weights: string;
  attacks: readonly AttackName[];
  /** The number of test images that it was evaluated on. */
  images: number;
}

/** Test images and the adversarial examples of them for each network. */
export interface Examples {
  originals: Original[];
  /** One for each source. */
  networks: NetworkExamples[];
}

export interface Original {
  /** Index in the test set. */
  position: number;
  label: number;
  /** height × width × channels. */
  pixels: Uint8Array;
}

export interface NetworkExamples {
  name: string;
  /** The predicted class of each original; undefined where it is not known. */
  predicted: (number | undefined)[];
  /** Whether the loss gradient of each original is exactly zero in float32, so that FGS has no direction. */
  blank: boolean[];
  /** One for each original that is classified correctly and each attack, sorted by original. */
  examples: Example[];
}

export interface Example {
  /** Index in `originals`. */
  original: number;
  attack: AttackName;
  /** Null if the attack failed. */
  found: Perturbed | null;
}

export interface Perturbed {
  /** height × width × channels. */
  pixels: Uint8Array;
  /** The class that the network predicts. */
  predicted: number;
  /** The largest change of a pixel, in grey levels. */
  linf: number;
  /** NaN if it was not measured. */
  pass: number;
}

export interface ExampleOptions {
  /** How many images of each class. */
  perClass: number;
  /** Threads for PASS. */
  threads: number;
  progress: Progress;
  signal?: AbortSignal;
}

/** Originals are chosen among at most this many test images. */
const MOST_CANDIDATES = 1000;

/**
 * Adversarial examples for several networks on the same test images: for each class, the first images
 * that all networks classify correctly, then those that most do. The examples are the same as those of an
 * evaluation.
 *
 * @throws UserError if weights cannot be read; Interrupted if the signal aborts
 */
export async function examplesOf(
  sources: readonly ExampleSource[],
  data: DataSplits,
  options: ExampleOptions,
): Promise<Examples> {
  const candidates = Math.min(MOST_CANDIDATES, ...sources.map(({ images }) => images));
  const test = firstImages(data.test, candidates);
  const opened: Model[] = [];
  try {
    const seen: Predictions[] = [];
    for (const { weights, logitScale } of sources) {
      const measured = loadModel(await openModel(weights), data, logitScale);
      opened.push(measured);
      seen.push(await predict(measured, test, { signal: options.signal }));
    }
    const classes = seen.map(({ predicted }) => predicted);
    const positions = chosen(test, classes, options.perClass);
    const networks: NetworkExamples[] = [];
    for (const [i, source] of sources.entries()) {
      const predicted = positions.map((position) => seen[i].predicted[position]);
      const blank = positions.map((position) => seen[i].blank[position] === 1);
      const examples = await attacked(source, opened[i], test, positions, predicted, options);
      networks.push({ name: source.name, predicted, blank, examples });
    }
    const originals = positions.map((position) => ({
      position,
      label: test.labels[position],
      pixels: imageAt(test, position),
    }));
    await measurePass(originals, networks, test, options);
    return { originals, networks };
  } finally {
    opened.forEach(disposeNetwork);
  }
}

/** For each class the first of the images that most networks classify correctly, sorted by class. */
function chosen(
  { labels, count }: Dataset,
  predicted: readonly Uint8Array[],
  perClass: number,
): number[] {
  const right = (position: number): number =>
    predicted.filter((classes) => classes[position] === labels[position]).length;
  const positions = Array.from({ length: count }, (_, position) => position)
    .map((position) => ({ position, label: labels[position], right: right(position) }))
    .filter((one) => one.right > 0);
  return [...new Set(labels)]
    .sort((a, b) => a - b)
    .flatMap((label) =>
      positions
        .filter((one) => one.label === label)
        .sort((a, b) => b.right - a.right || a.position - b.position)
        .slice(0, perClass)
        .map(({ position }) => position),
    );
}

async function attacked(
  { name, attacks, settings }: ExampleSource,
  model: Model,
  test: Dataset,
  positions: readonly number[],
  predicted: readonly number[],
  options: ExampleOptions,
): Promise<Example[]> {
  const right = [...positions.keys()].filter((i) => predicted[i] === test.labels[positions[i]]);
  const where = Uint32Array.from(right, (i) => positions[i]);
  const examples: Example[] = [];
  for (const attack of attacks) {
    const { title } = ATTACKS[attack];
    const task = options.progress.start(`${title} on ${name}`, where.length, 'images');
    const found = await attackAndClassify(attack, model, test, where, settings, {
      done: (images) => {
        task.update(images);
      },
      signal: options.signal,
    });
    task.finish();
    right.forEach((original, i) => {
      const linf = found.linf[i];
      const pixels = imageAt({ ...test, images: found.adversarials }, i);
      const success = { pixels, predicted: found.predicted[i], linf, pass: NaN };
      examples.push({ original, attack, found: Number.isNaN(linf) ? null : success });
    });
  }
  return examples.sort((a, b) => a.original - b.original);
}

/** Measures all pairs at once, since starting the threads takes longer than their work. */
async function measurePass(
  originals: readonly Original[],
  networks: readonly NetworkExamples[],
  test: Dataset,
  { threads, progress, signal }: ExampleOptions,
): Promise<void> {
  const found = networks.flatMap(({ examples }) =>
    examples.flatMap((example) => (example.found ? [{ ...example, found: example.found }] : [])),
  );
  const { pass } = await passOf(
    joined(found.map(({ original }) => originals[original].pixels)),
    joined(found.map((example) => example.found.pixels)),
    test,
    { workers: threads, progress, label: 'PASS', signal },
  );
  found.forEach((example, i) => {
    example.found.pass = pass[i];
  });
}
