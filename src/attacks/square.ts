import { breathe } from '../base/interrupt.js';
import { makeRandom, type Random } from '../base/random.js';
import type { BudgetAttack, WithinBudgets } from './attack.js';
import { classOf, type Classifier, type Originals } from './classifier.js';

/**
 * The L∞ Square Attack (Andriushchenko, Croce, Flammarion, Hein, 2020, arXiv 1912.00049), a random
 * search that sees logits and no gradients. It starts from vertical stripes of ±ε in each channel. In
 * each query a square at a random place gets ±ε, a sign for each channel, and stays if the margin
 * z_y − max_{j≠y} z_j has become smaller. The share of the image that a square covers begins at 0.8
 * and is halved by the paper's schedule, stretched to the number of queries.
 *
 * Perturbed pixels are integers by themselves, as the budgets ε are. For the smallest one the search
 * goes on where it has fooled: with the same signs and ε − 1, until its queries are spent. It begins
 * at the ε that bisection finds with a twentieth of the queries for each.
 */
export const square: BudgetAttack = {
  kind: 'budget',
  name: 'square',
  title: 'Square',
  published: false,
  passes: ({ square: { queries } }) => 1.3 * queries,
  attempts(classifier, originals, { square: { queries } }, signal) {
    const by =
      (count: number, shrink: boolean): WithinBudgets =>
      (images, budgets, adversarials) =>
        squareAt(classifier, originals, images, budgets, count, adversarials, { shrink, signal });
    return {
      quick: by(Math.ceil(queries / 20), false),
      thorough: by(queries, true),
      lowersBudget: true,
    };
  },
};

/** The share of the image that the first squares cover, and where, of 10 000 queries, it is halved. */
const SHARE = 0.8;
const HALVED_AFTER = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];

/** The side of the square of a query, 0 … queries − 1, on an image of so many places. */
export function sideAt(query: number, queries: number, places: number): number {
  const at = Math.floor((query / queries) * 10_000);
  const halvings = HALVED_AFTER.filter((bound) => at > bound).length;
  return Math.max(1, Math.round(Math.sqrt((SHARE / 2 ** halvings) * places)));
}

/**
 * Runs the attack on some of the images with a budget for each.
 *
 * @param queries forward passes for each image at most
 * @param adversarials N×H×W×C: those of images that are fooled are written here
 * @param shrink whether a search that has fooled goes on with a budget smaller by 1
 * @returns 1 or 0 for each of the images: fooled
 */
export async function squareAt(
  classifier: Classifier,
  { images: originals, labels, size, shape, positions }: Originals,
  images: Uint32Array,
  budgets: Float32Array,
  queries: number,
  adversarials: Uint8Array,
  { shrink = false, signal }: { shrink?: boolean; signal?: AbortSignal | undefined } = {},
): Promise<Uint8Array> {
  const { classes } = classifier;
  const [height, width, channels] = shape;
  const fooled = new Uint8Array(images.length);
  const searches = Array.from(images, (image, j): Search => {
    const random = makeRandom(0, `square ${budgets[j]}`, positions[image]);
    const stripes = Int8Array.from({ length: width * channels }, () => signFrom(random));
    const signs = Int8Array.from({ length: size }, (_, p) => stripes[p % stripes.length]);
    return { random, signs, epsilon: budgets[j], margin: Infinity };
  });
  // What is asked next of the images that are left, one after the other.
  const asked = new Float32Array(images.length * size);
  const put = (row: number, j: number, p: number): void => {
    const { signs, epsilon } = searches[j];
    const pixel = originals[images[j] * size + p] + epsilon * signs[p];
    asked[row * size + p] = Math.min(255, Math.max(0, pixel));
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
      // Stripes, and signs that are tried with another budget, are asked as they are.
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
        search.epsilon--;
        search.margin = Infinity;
        if (!shrink || search.epsilon === 0) return;
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
  /** The perturbation is these signs times ε. */
  signs: Int8Array;
  epsilon: number;
  /** Infinity where the signs have not been asked with this budget. */
  margin: number;
  patch?: Patch;
}

/** A square, and the signs that were in it before. */
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

/** The lead of the label over the best other class. */
function marginOf(logits: Float32Array, begin: number, classes: number, label: number): number {
  let other = -Infinity;
  for (let k = 0; k < classes; k++) {
    if (k !== label) other = Math.max(other, logits[begin + k]);
  }
  return logits[begin + label] - other;
}
