import type { AttackName, GivenEffort, Protocol } from '../attacks/attack.js';
import { attackImages, ATTACKS } from '../attacks/attacks.js';
import { type Dataset, firstImages, imageAt } from '../data/dataset.js';
import { passOf } from '../metrics/passPool.js';
import type { Network, Weights } from '../model/network.js';
import { predict } from '../model/predict.js';
import type { Progress } from '../base/progress.js';
import type { AttackOutcome, Evaluation } from '../metrics/evaluation.js';
import type { OutcomeStore } from '../store/outcomes.js';
import type { PictureStore } from '../store/pictures.js';

/** What to measure: the `evaluation` block of a config. */
export interface EvaluationSettings extends Protocol, GivenEffort {
  images: number | 'all';
  attacks: AttackName[];
  /** Whether to measure PASS of the adversarial examples. */
  pass: boolean;
}

export interface EvaluateOptions {
  /** Threads for PASS. */
  threads: number;
  progress: Progress;
  store?: OutcomeStore;
  /** Gets the perturbed images of the first image of each class that is classified correctly. */
  pictures?: PictureStore;
  signal?: AbortSignal;
}

/**
 * Measures a network on test images as in section 2 of the protocol: accuracy and, for each attack on
 * the correctly classified images, the L∞ and PASS of the perturbation.
 *
 * @throws Interrupted if the signal aborts
 */
export async function evaluate(
  network: Network,
  weights: Weights,
  test: Dataset,
  settings: EvaluationSettings,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { progress, signal } = options;
  const data = firstImages(test, settings.images);
  const task = progress.start('classifying', data.count, 'images');
  const { predicted, blank, correct } = await predict(network, weights, data, {
    done: (images) => {
      task.update(images);
    },
    signal,
  });
  task.finish(`accuracy ${((100 * correct) / data.count).toFixed(2)} %`);

  const positions = Uint32Array.from({ length: data.count }, (_, i) => i).filter(
    (i) => predicted[i] === data.labels[i],
  );
  const attacks = new Map<AttackName, AttackOutcome>();
  for (const name of settings.attacks) {
    let outcome = options.store?.read(name);
    if (outcome) {
      progress.note(`${ATTACKS[name].title}: done before`);
    } else {
      outcome = await attackAndMeasure(name, network, weights, data, positions, settings, options);
      options.store?.write(name, outcome);
    }
    attacks.set(name, outcome);
  }
  const protocol = { search: settings.search, channels: settings.channels };
  return { images: data.count, labels: data.labels, predicted, blank, protocol, attacks };
}

async function attackAndMeasure(
  name: AttackName,
  network: Network,
  weights: Weights,
  data: Dataset,
  positions: Uint32Array,
  settings: EvaluationSettings,
  { progress, signal, threads, pictures }: EvaluateOptions,
): Promise<AttackOutcome> {
  const attack = ATTACKS[name];
  const begun = performance.now();
  const task = progress.start(attack.title, positions.length, 'images');
  const { linf, l2, adversarials } = await attackImages(
    attack,
    network,
    weights,
    data,
    positions,
    settings,
    {
      done: (images) => {
        task.update(images);
      },
      signal,
    },
  );
  const successes = [...linf.keys()].filter((i) => !Number.isNaN(linf[i]));
  const attackSeconds = (performance.now() - begun) / 1000;
  task.finish(`${successes.length} of ${positions.length} images, ${attackSeconds.toFixed(1)} s`);
  const seconds = { attack: attackSeconds, pass: 0 };
  if (pictures) {
    const shown = firstOfEachClass(positions, data).filter((i) => !Number.isNaN(linf[i]));
    const images = gather(adversarials, shown, data);
    const labels = Uint8Array.from(shown, (i) => data.labels[positions[i]]);
    const perturbed = { ...data, count: shown.length, images, labels };
    const { predicted } = await predict(network, weights, perturbed, { signal });
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
    linf: spread(linf, positions, data.count),
    l2: l2 && spread(l2, positions, data.count),
    seconds,
  };
  if (!settings.pass || !attack.published) return outcome;

  const started = performance.now();
  const original = (i: number) => positions[i];
  const scores = await passOf(
    gather(data.images, successes.map(original), data),
    gather(adversarials, successes, data),
    { height: data.height, width: data.width, channels: data.channels },
    { workers: threads, progress, label: `${attack.title} PASS`, signal },
  );
  seconds.pass = (performance.now() - started) / 1000;
  const where = Uint32Array.from(successes, original);
  outcome.pass = spread(scores.pass, where, data.count);
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
function spread(values: Float32Array, positions: Uint32Array, count: number): Float32Array {
  const all = new Float32Array(count).fill(NaN);
  positions.forEach((position, i) => {
    all[position] = values[i]!;
  });
  return all;
}

function gather(images: Uint8Array, which: number[], data: Dataset): Uint8Array {
  const size = data.height * data.width * data.channels;
  const chosen = new Uint8Array(which.length * size);
  which.forEach((image, i) => {
    chosen.set(images.subarray(image * size, (image + 1) * size), i * size);
  });
  return chosen;
}
