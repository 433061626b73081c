import { breathe } from '../interrupt.js';

/**
 * Whether image i is misclassified when it is moved by scales[j] along its direction, for each
 * i = images[j]: 1 or 0. Images are numbered from 0 to count − 1.
 */
export type Probe = (images: Uint32Array, scales: Float32Array) => Uint8Array;

export interface SearchOptions {
  /** Images that one call of the probe takes at most. */
  batch: number;
  /** Told how many images are done. */
  done?: (images: number) => void;
  signal?: AbortSignal | undefined;
}

/** How far `bisection` goes: doubling up to `limit`, then halving down to `width`. */
export interface BisectionRange {
  limit: number;
  width: number;
}

/**
 * For each image the scale at which it is misclassified, found by doubling (1, 2, 4, … limit) and
 * then bisection between the last two scales, which keeps the misclassified end; NaN where even the
 * limit does not fool. Not always the smallest: an image may be misclassified, right again and
 * misclassified again along its line. This is the search of the paper (section 2 of the protocol).
 */
export async function bisection(
  count: number,
  { limit, width }: BisectionRange,
  probe: Probe,
  options: SearchOptions,
): Promise<Float32Array> {
  const right = new Float32Array(count); // the largest scale known not to fool, below `wrong`
  const wrong = new Float32Array(count).fill(NaN);
  const trial = new Float32Array(count).fill(1);
  await searchRounds(count, trial, probe, options, (image, fooled) => {
    const scale = trial[image];
    if (fooled) wrong[image] = scale;
    else right[image] = scale;
    if (Number.isNaN(wrong[image])) {
      trial[image] = 2 * scale;
      return 2 * scale > limit;
    }
    trial[image] = (right[image] + wrong[image]) / 2;
    return wrong[image] - right[image] <= width;
  });
  return wrong;
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
  await searchRounds(count, trial, probe, options, (image, fooled) => {
    if (fooled) {
      found[image] = trial[image]!;
      return true;
    }
    next[image]++;
    trial[image] = scales[next[image]]!;
    return next[image] === scales.length;
  });
  return found;
}

/**
 * Probes every image at its trial scale, round after round, in full batches across images, until
 * `judge` (which sets the next trial) says that an image is done.
 */
async function searchRounds(
  count: number,
  trial: Float32Array,
  probe: Probe,
  { batch, done, signal }: SearchOptions,
  judge: (image: number, fooled: boolean) => boolean,
): Promise<void> {
  let active = Uint32Array.from({ length: count }, (_, i) => i);
  while (active.length > 0) {
    const remaining = new Uint32Array(active.length);
    let kept = 0;
    for (let start = 0; start < active.length; start += batch) {
      const images = active.subarray(start, start + batch);
      const fooled = probe(
        images,
        Float32Array.from(images, (image) => trial[image]),
      );
      for (let j = 0; j < images.length; j++) {
        if (!judge(images[j], fooled[j] === 1)) remaining[kept++] = images[j]!;
      }
      await breathe(signal);
      done?.(count - (active.length - (start + images.length)) - kept);
    }
    active = remaining.subarray(0, kept);
  }
}
