import { clip } from '../base/clip.js';
import { breathe } from '../base/interrupt.js';
import { makeRandom, type Random } from '../base/random.js';
import type { BudgetAttack, Target, Trial } from './attack.js';
import type { Originals } from './classifier.js';
import { classOf } from '../model/predict.js';

/**
 * The L∞ Square Attack (Andriushchenko, Croce, Flammarion, Hein, 2020, arXiv 1912.00049), a random search
 * that uses logits but no gradients. It starts from vertical stripes of ±ε in each channel. Each query
 * sets a square at a random place to ±ε, with one sign per channel, and keeps it if the margin
 * z_y − max_{j≠y} z_j has decreased. The share of the image that a square covers begins at 0.8 and is
 * halved according to that paper's schedule, scaled to the number of queries.
 *
 * Perturbed pixels are integers, since the budgets ε are. To minimise ε, the search continues after each
 * success with the same signs and ε − 1, until its queries are used up. It begins at the ε found by
 * bisection, which uses a twentieth of the queries per trial.
 */
export const square: BudgetAttack = {
  kind: 'budget',
  name: 'square',
  title: 'Square',
  published: false,
  passes: ({ square: { queries } }) => 1.3 * queries,
  attempts(target, { square: { queries } }, signal) {
    return {
      quick: (trial) => squareAt(target, trial, { queries: Math.ceil(queries / 20), signal }),
      thorough: (trial) => squareAt(target, trial, { queries, shrink: true, signal }),
      lowersBudget: true,
    };
  },
};

/** The share of the image that the first squares cover, and the queries, of 10 000, at which it is halved. */
const SHARE = 0.8;
const HALVED_AFTER = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];

/** The side in pixels of a query's square, on an image of `places` pixels; queries are counted from 0. */
export function sideAt(query: number, queries: number, places: number): number {
  const at = Math.floor((query / queries) * 10_000);
  const halvings = HALVED_AFTER.filter((bound) => at > bound).length;
  return Math.max(1, Math.round(Math.sqrt((SHARE / 2 ** halvings) * places)));
}

/**
 * Runs the attack.
 *
 * @param queries maximum number of forward passes per image
 * @param shrink whether a successful search continues with a budget smaller by 1
 * @returns for each of the images, 1 if it was fooled, else 0
 * @throws Interrupted if the signal aborts
 */
export async function squareAt(
  { classifier, originals: { images: originals, labels, size, shape, positions } }: Target,
  { images, budgets, adversarials }: Trial,
  {
    queries,
    shrink = false,
    signal,
  }: { queries: number; shrink?: boolean; signal?: AbortSignal | undefined },
): Promise<Uint8Array> {
  const { classes } = classifier;
  const [height, width, channels] = shape;
  const fooled = new Uint8Array(images.length);
  const searches = Array.from(images, (image, j): Search => {
    const random = makeRandom(0, `square ${budgets[j]}`, positions[image]);
    const stripes = Int8Array.from({ length: width * channels }, () => signFrom(random));
    const signs = Int8Array.from({ length: size }, (_, p) => stripes[p % stripes.length]);
    return { random, signs, budget: budgets[j], margin: Infinity };
  });
  // The next queries of the active images, stored contiguously.
  const asked = new Float32Array(images.length * size);
  const put = (row: number, j: number, p: number): void => {
    const { signs, budget } = searches[j];
    const pixel = originals[images[j] * size + p] + budget * signs[p];
    asked[row * size + p] = clip(pixel, 0, 255);
  };
  const putAll = (row: number, j: number): void => {
    for (let p = 0; p < size; p++) put(row, j, p);
  };

  let active = [...images.keys()];
  active.forEach((j, row) => {
    putAll(row, j);
  });
  for (let query = 0; query < queries && active.length > 0; query++) {
    const side = Math.min(sideAt(query - 1, queries, height * width), height, width);
    active.forEach((j, row) => {
      const search = searches[j];
      // Stripes, and signs carried over to a smaller budget, are first queried unchanged.
      if (search.margin === Infinity) return;
      search.patch = drawPatch(search, side, shape);
      eachPixel(search.patch, shape, (p) => {
        put(row, j, p);
      });
    });
    const logits = classifier.logits(asked.slice(0, active.length * size));
    const stay: number[] = [];
    active.forEach((j, row) => {
      const image = images[j];
      const search = searches[j];
      const [begin, end] = [row * size, (row + 1) * size];
      if (classOf(logits, row * classes, classes) !== labels[image]) {
        fooled[j] = 1;
        adversarials.set(asked.subarray(begin, end), image * size);
        search.budget--;
        search.margin = Infinity;
        if (!shrink || search.budget === 0) return;
        putAll(row, j);
      } else {
        const margin = marginOf(logits, row * classes, classes, labels[image]);
        if (margin < search.margin) {
          search.margin = margin;
        } else if (search.patch) {
          const { patch } = search;
          let i = 0;
          eachPixel(patch, shape, (p) => {
            search.signs[p] = patch.before[i++];
            put(row, j, p);
          });
        }
      }
      delete search.patch;
      asked.copyWithin(stay.length * size, begin, end);
      stay.push(j);
    });
    active = stay;
    await breathe(signal);
  }
  return fooled;
}

/** The state of the search on one image. */
interface Search {
  random: Random;
  /** The perturbation is these signs times the budget. */
  signs: Int8Array;
  budget: number;
  /** Infinity if the signs have not been queried with this budget. */
  margin: number;
  patch?: Patch;
}

/** A square, and its previous signs. */
interface Patch {
  x: number;
  y: number;
  side: number;
  before: Int8Array;
}

/** Changes the signs in a random square. */
function drawPatch({ random, signs }: Search, side: number, shape: Originals['shape']): Patch {
  const [height, width, channels] = shape;
  const x = Math.floor(random.uniform() * (width - side + 1));
  const y = Math.floor(random.uniform() * (height - side + 1));
  const drawn = Int8Array.from({ length: channels }, () => signFrom(random));
  const patch = { x, y, side, before: new Int8Array(side * side * channels) };
  let i = 0;
  eachPixel(patch, shape, (p) => {
    patch.before[i++] = signs[p];
    signs[p] = drawn[p % channels];
  });
  return patch;
}

function eachPixel(
  { x, y, side }: Patch,
  [, width, channels]: Originals['shape'],
  visit: (p: number) => void,
): void {
  for (let v = y; v < y + side; v++) {
    const row = v * width;
    for (let p = (row + x) * channels; p < (row + x + side) * channels; p++) visit(p);
  }
}

function signFrom(random: Random): number {
  return random.uniform() < 0.5 ? -1 : 1;
}

/** The label's logit minus the largest other logit. */
function marginOf(logits: Float32Array, begin: number, classes: number, label: number): number {
  let other = -Infinity;
  for (let k = 0; k < classes; k++) {
    if (k !== label) other = Math.max(other, logits[begin + k]);
  }
  return logits[begin + label] - other;
}
