import { breathe } from '../base/interrupt.js';

/**
 * For each i = images[j]: 1 if image i is misclassified when it is moved by scales[j] along its direction,
 * or attacked within that budget, else 0. Images are numbered from 0 to count − 1.
 */
export type Probe = (images: Uint32Array, scales: Float32Array) => Uint8Array | Promise<Uint8Array>;

export interface SearchOptions {
  /** The maximum number of images per call of the probe. */
  batch: number;
  /**
   * Called with the amount of work done, in images: an image in progress counts as the share of its
   * possible trials that is done. Never decreases; ends with all images.
   */
  done?: (images: number) => void;
  signal?: AbortSignal | undefined;
}

/** The options of one half of a search; `before` is the work done in the other half, in images. */
export function halfOf({ done, ...options }: SearchOptions, before: number): SearchOptions {
  if (!done) return options;
  return {
    ...options,
    done: (images) => {
      done(Math.floor((before + images) / 2));
    },
  };
}

/** The range of `bisection`: doubling up to `limit`, then halving down to `width`. */
export interface BisectionRange {
  limit: number;
  width: number;
  /**
   * The scale that is tried first; 1 by default. If it is the limit, budgets are halved from above, which
   * is faster if successful attempts take less time than failures.
   */
  first?: number;
}

/**
 * For each image, a scale at which it is misclassified, found by doubling (1, 2, 4, … limit) and then
 * bisecting between the last two scales, keeping the misclassified end; NaN if the limit does not fool.
 * Not always the smallest, because an image may be misclassified, classified correctly again, and
 * misclassified again along its line. This is the search of the paper (section 2 of the protocol).
 */
export async function bisection(
  count: number,
  { limit, width, first = 1 }: BisectionRange,
  probe: Probe,
  options: SearchOptions,
): Promise<Float32Array> {
  const right = new Float32Array(count); // the largest scale known not to fool, below `wrong`
  const wrong = new Float32Array(count).fill(NaN);
  const trial = new Float32Array(count).fill(first);
  const halvings = (between: number) => Math.max(0, Math.ceil(Math.log2(between / width)));
  /** The number of trials from `scale` on for an image that only the last doubling fools. */
  const doublings = (scale: number) =>
    scale > limit ? 0 : Math.floor(Math.log2(limit / scale)) + 1 + halvings(limit / 2);
  const trials = Math.max(doublings(first), 1 + halvings(first));
  await searchRounds(count, trial, trials, probe, options, (image, fooled) => {
    const scale = trial[image];
    if (fooled) wrong[image] = scale;
    else right[image] = scale;
    if (Number.isNaN(wrong[image])) {
      trial[image] = 2 * scale;
      return doublings(2 * scale);
    }
    trial[image] = (right[image] + wrong[image]) / 2;
    return halvings(wrong[image] - right[image]);
  });
  return wrong;
}

/** Probes each image below `start` in steps of 1, down to the first scale that does not fool, or to 1. */
export async function descent(
  count: number,
  start: Float32Array,
  probe: Probe,
  options: SearchOptions,
): Promise<void> {
  const trial = start.map((scale) => scale - 1);
  // The number of trials is unknown: each may be the last.
  await searchRounds(count, trial, 1, probe, options, (image, fooled) => {
    if (!fooled) return 0;
    trial[image]--;
    return trial[image] < 1 ? 0 : 1;
  });
}

/** Probes each image once, at its own scale. */
export async function once(
  count: number,
  scales: Float32Array,
  probe: Probe,
  options: SearchOptions,
): Promise<void> {
  await searchRounds(count, scales, 1, probe, options, () => 0);
}

/** For each image, the first of `scales` (ascending) at which it is misclassified, else NaN. */
export async function scan(
  count: number,
  scales: Float32Array,
  probe: Probe,
  options: SearchOptions,
): Promise<Float32Array> {
  const found = new Float32Array(count).fill(NaN);
  const next = new Uint32Array(count);
  const trial = new Float32Array(count).fill(scales[0]);
  await searchRounds(count, trial, scales.length, probe, options, (image, fooled) => {
    if (fooled) {
      found[image] = trial[image]!;
      return 0;
    }
    next[image]++;
    trial[image] = scales[next[image]]!;
    return scales.length - next[image];
  });
  return found;
}

/**
 * Probes all images whose trial scale is above 0, in rounds and in full batches, until none has trials
 * left. `judge` sets an image's next trial scale and returns the maximum number of trials left, which is
 * `trials` at first.
 */
async function searchRounds(
  count: number,
  trial: Float32Array,
  trials: number,
  probe: Probe,
  { batch, done, signal }: SearchOptions,
  judge: (image: number, fooled: boolean) => number,
): Promise<void> {
  let active = Uint32Array.from({ length: count }, (_, i) => i).filter((i) => trial[i] > 0);
  const left = new Uint32Array(count).fill(trials);
  let allLeft = active.length * trials;
  while (active.length > 0) {
    const remaining = new Uint32Array(active.length);
    let kept = 0;
    for (let start = 0; start < active.length; start += batch) {
      const images = active.subarray(start, start + batch);
      const fooled = await probe(
        images,
        Float32Array.from(images, (image) => trial[image]),
      );
      for (let j = 0; j < images.length; j++) {
        const image = images[j];
        const now = judge(image, fooled[j] === 1);
        allLeft -= left[image] - now;
        left[image] = now;
        if (now > 0) remaining[kept++] = image;
      }
      await breathe(signal);
      done?.(count - Math.ceil(allLeft / trials));
    }
    active = remaining.subarray(0, kept);
  }
}
