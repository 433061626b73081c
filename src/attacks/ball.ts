import { clip } from '../base/clip.js';
import type { Random } from '../base/random.js';
import type { Norm } from './attack.js';

/**
 * The points around an image whose distance in a norm is at most a budget in grey levels, and whose pixels are from
 * 0 to 255. All functions write to `point`, H×W×C like the image.
 */
export interface Ball {
  /** A random point to start from. */
  draw(point: Float32Array, image: Uint8Array, budget: number, random: Generator): void;
  /** Brings the point into the ball. */
  project(point: Float32Array, image: Uint8Array, budget: number): void;
  /**
   * One step of Auto-PGD: along the gradient by `length`, into the ball, and with the share `momentum` of the last
   * step, into the ball again. `before`, the point before this one, becomes the point.
   */
  step(
    point: Float32Array,
    before: Float32Array,
    gradient: Float32Array,
    image: Uint8Array,
    budget: number,
    length: number,
    momentum: number,
  ): void;
  /** Rounds the pixels of a point of the ball to integers that are in it, too. */
  round(point: Float32Array, image: Uint8Array, budget: number): void;
}

/** What random starts are drawn from. */
export type Generator = Pick<Random, 'uniform' | 'gaussian'>;

const linf: Ball = {
  draw(point, image, budget, random) {
    for (let p = 0; p < point.length; p++) {
      point[p] = clip(image[p] + budget * (2 * random.uniform() - 1), 0, 255);
    }
  },
  project(point, image, budget) {
    for (let p = 0; p < point.length; p++) {
      point[p] = clip(clip(point[p], image[p] - budget, image[p] + budget), 0, 255);
    }
  },
  step(point, before, gradient, image, budget, length, momentum) {
    for (let p = 0; p < point.length; p++) {
      const low = Math.max(0, image[p] - budget);
      const high = Math.min(255, image[p] + budget);
      const here = point[p];
      const stepped = clip(here + length * Math.sign(gradient[p]), low, high);
      const moved = (1 - momentum) * (stepped - here) + momentum * (here - before[p]);
      point[p] = clip(here + moved, low, high);
      before[p] = here;
    }
  },
  // The budget is an integer.
  round(point) {
    for (let p = 0; p < point.length; p++) point[p] = Math.round(point[p]);
  },
};

const l2: Ball = {
  draw(point, image, budget, random) {
    let squares = 0;
    for (let p = 0; p < point.length; p++) {
      point[p] = random.gaussian();
      squares += point[p] ** 2;
    }
    const factor = budget / Math.sqrt(squares);
    for (let p = 0; p < point.length; p++) {
      point[p] = clip(image[p] + factor * point[p], 0, 255);
    }
  },
  project(point, image, budget) {
    const distance = distanceOf(point, image);
    const factor = distance > budget ? budget / distance : 1;
    for (let p = 0; p < point.length; p++) {
      point[p] = clip(image[p] + factor * (point[p] - image[p]), 0, 255);
    }
  },
  step(point, before, gradient, image, budget, length, momentum) {
    let squares = 0;
    for (let p = 0; p < point.length; p++) squares += gradient[p] ** 2;
    // Without a gradient there is no direction.
    const factor = squares === 0 ? 0 : length / Math.sqrt(squares);
    const stepped = point.slice();
    for (let p = 0; p < point.length; p++) stepped[p] += factor * gradient[p];
    l2.project(stepped, image, budget);
    for (let p = 0; p < point.length; p++) {
      const here = point[p];
      point[p] += (1 - momentum) * (stepped[p] - here) + momentum * (here - before[p]);
      before[p] = here;
    }
    l2.project(point, image, budget);
  },
  // To the nearest integers; if these are too far away, the pixels that rounding moved furthest outwards are
  // rounded towards the image instead.
  round(point, image, budget) {
    const outwards: { p: number; by: number }[] = [];
    let squares = 0;
    for (let p = 0; p < point.length; p++) {
      const change = point[p] - image[p];
      const rounded = Math.round(point[p]) - image[p];
      const by = Math.abs(rounded) - Math.abs(change);
      if (by > 0) outwards.push({ p, by });
      squares += rounded ** 2;
      point[p] = rounded;
    }
    if (squares > budget ** 2) outwards.sort((a, b) => b.by - a.by || a.p - b.p);
    for (const { p } of outwards) {
      if (squares <= budget ** 2) break;
      const inwards = point[p] - Math.sign(point[p]);
      squares += inwards ** 2 - point[p] ** 2;
      point[p] = inwards;
    }
    // A point that float32 rounds to just outside, all of whose changes are integers already.
    for (let p = 0; squares > budget ** 2 && p < point.length; p++) {
      const inwards = point[p] - Math.sign(point[p]);
      squares += inwards ** 2 - point[p] ** 2;
      point[p] = inwards;
    }
    for (let p = 0; p < point.length; p++) point[p] += image[p];
  },
};

export const BALLS: Record<Norm, Ball> = { linf, l2 };

function distanceOf(point: Float32Array, image: Uint8Array): number {
  let squares = 0;
  for (let p = 0; p < point.length; p++) squares += (point[p] - image[p]) ** 2;
  return Math.sqrt(squares);
}
