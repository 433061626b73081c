import { breathe } from '../base/interrupt.js';

/**
 * Whether image i is misclassified when it is moved by scales[j] along its direction, or attacked
 * within that budget, for each i = images[j]: 1 or 0. Images are numbered from 0 to count − 1.
 */
export type Probe = (images: Uint32Array, scales: Float32Array) => Uint8Array | Promise<Uint8Array>;

export interface SearchOptions {
  /** Images that one call of the probe takes at most. */
  batch: number;
  /**
   * Told how many images' worth of work is done: an image under way counts for the share of its
   * trials, of all that it can need, that have been made. Never falls; ends with all.
   */
  done?: (images: number) => void;
  signal?: AbortSignal | undefined;
}

/** The options of one half of a search, of which so many images' worth has been done `before`. */
export function halfOf({ done, ...options }: SearchOptions, before: number): SearchOptions {
  if (!done) return options;
  return {
    ...options,
    done: (images) => {
      done(Math.floor((before + images) / 2));
    },
  };
}

/** How far `bisection` goes: doubling up to `limit`, then halving down to `width`. */
export interface BisectionRange {
  limit: number;
  width: number;
  /**
   * The scale that is tried first; 1 if left out. With the limit itself, budgets are halved from above,
   * which is quicker where fooling takes less time than failing.
   */
  first?: number;
}

/**
 * For each image the scale at which it is misclassified, found by doubling (1, 2, 4, … limit) and
 * then bisection between the last two scales, which keeps the misclassified end; NaN where even the
 * limit does not fool. Not always the smallest: an image may be misclassified, right again and
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
  /** Trials from `scale` on of an image that only the last doubling fools. */
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

/**
 * For each image the smallest scale at which it is misclassified on the way down from `start` in
 * steps of 1, up to the first that does not fool; `start` itself, which is not probed, if none does.
 */
export async function descent(
  count: number,
  start: Float32Array,
  probe: Probe,
  options: SearchOptions,
): Promise<Float32Array> {
  const found = start.slice();
  const trial = start.map((scale) => scale - 1);
  // Nobody knows how many: each trial may be the last.
  await searchRounds(count, trial, 1, probe, options, (image, fooled) => {
    if (!fooled) return 0;
    found[image] = trial[image];
    trial[image]--;
    return trial[image] < 1 ? 0 : 1;
  });
  return found;
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

/** For each image the first of `scales` (ascending) at which it is misclassified, else NaN. */
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
 * Probes every image whose trial scale is above 0 at that scale, round after round, in full batches
 * across images, until `judge` says that it has no more trials. `judge` sets the next one and returns
 * how many are left at most; at first these are `trials`.
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
