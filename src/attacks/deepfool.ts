import * as tf from '@tensorflow/tfjs-core';
import { perturb } from '../engine/ops/perturbation.js';
import { read } from '../engine/ops/read.js';
import { breathe } from '../base/interrupt.js';
import type { StepAttack } from './attack.js';
import { bisection, type Probe } from './search.js';
import { classOf, type Target, type Victims } from './target.js';

/** In which norm a perturbation is to be small. */
type Norm = 'l2' | 'linf';

const STEPS = 50;
const OVERSHOOT = 0.02;
/** Pixel units added to each step, so that it reaches beyond the boundary; as Foolbox has it. */
const BEYOND = 1e-4;

export const deepfoolL2 = deepfool('deepfool-l2', 'DeepFool L2', 'l2');
export const deepfoolLinf = deepfool('deepfool-linf', 'DeepFool L∞', 'linf');

/**
 * DeepFool (Moosavi-Dezfooli, Fawzi, Frossard, 2016, arXiv 1511.04599): the network is linearised at
 * the iterate, which then steps to the nearest of the boundaries between the label and each other
 * class, until it is across one; at most 50 steps, each 2 % longer than that.
 *
 * Its iterates are real numbers, as published. Perturbed pixels are integers: what DeepFool finds is
 * taken as a direction, along which the smallest perturbation that still fools once it is rounded is
 * searched as for HC1.
 */
function deepfool(name: StepAttack['name'], title: string, norm: Norm): StepAttack {
  return {
    name,
    title,
    published: false,
    // A few steps with a pass back for each other class, and the line search.
    passes: () => 100,
    ...(norm === 'l2' && { norm }),
    async find(target, victims, _, { done, signal }) {
      const { count, size } = victims;
      const directions = new Float32Array(count * size);
      for (let start = 0; start < count; start += target.batch) {
        const images = range(start, Math.min(start + target.batch, count));
        const perturbations = await perturbationsOf(target, victims, images, norm, signal);
        directions.set(perturbations, start * size);
        // Half of the way: the search is the other.
        done?.(Math.floor((start + images.length) / 2));
      }
      scaleToOne(directions, size);
      return alongLines(target, victims, directions, {
        batch: target.batch,
        ...(done && {
          done: (images: number) => {
            done(Math.floor((count + images) / 2));
          },
        }),
        ...(signal && { signal }),
      });
    },
  };
}

/** DeepFool's perturbations of some of the images, one after the other, in pixel units. */
export async function perturbationsOf(
  target: Target,
  { images: originals, labels, size }: Victims,
  images: Uint32Array,
  norm: Norm,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const { classes } = target;
  const total = new Float32Array(images.length * size); // the sum of all steps, without overshoot
  const iterates = new Float32Array(images.length * size);
  images.forEach((image, j) => {
    iterates.set(originals.subarray(image * size, (image + 1) * size), j * size);
  });
  let active = [...images.keys()];
  for (let step = 0; step < STEPS && active.length > 0; step++) {
    const here = new Float32Array(active.length * size);
    active.forEach((j, row) => {
      here.set(iterates.subarray(j * size, (j + 1) * size), row * size);
    });
    const y = Uint8Array.from(active, (j) => labels[images[j]]);
    const nearest = nearestBoundaries(target, here, y, size, norm);
    active = active.filter((j, row) => {
      if (classOf(nearest.logits, row * classes, classes) !== y[row]) return false;
      const own = images[j] * size;
      for (let p = 0; p < size; p++) {
        total[j * size + p] += nearest.steps[row * size + p];
        const moved = originals[own + p] + (1 + OVERSHOOT) * total[j * size + p];
        iterates[j * size + p] = Math.min(255, Math.max(0, moved));
      }
      return true;
    });
    await breathe(signal);
  }
  images.forEach((image, j) => {
    for (let p = 0; p < size; p++) iterates[j * size + p] -= originals[image * size + p];
  });
  return iterates;
}

/**
 * The step of each image to the nearest boundary of the linearised network. With f the lead of a
 * class over the label and w its gradient, that boundary is |f| / ‖w‖₂ away in L2, along w, and
 * |f| / ‖w‖₁ in L∞, along the sign of w.
 */
function nearestBoundaries(
  target: Target,
  pixels: Float32Array,
  labels: Uint8Array,
  size: number,
  norm: Norm,
): { logits: Float32Array; steps: Float32Array } {
  const { classes } = target;
  const count = labels.length;
  const steps = new Float32Array(pixels.length);
  const nearest = new Float64Array(count).fill(Infinity);
  let values: Float32Array = new Float32Array();
  const leads = function* (logits: tf.Tensor2D) {
    values = logits.dataSync<'float32'>();
    const label = tf.oneHot(tf.tensor1d(labels, 'int32'), classes, 1, 0, 'float32');
    // The k-th of the others is class k below the label and class k + 1 from there on.
    for (let k = 0; k < classes - 1; k++) {
      const other = Int32Array.from(labels, (y) => (k < y ? k : k + 1));
      const hot = tf.oneHot(tf.tensor1d(other, 'int32'), classes, 1, 0, 'float32');
      yield tf.sub<tf.Tensor2D>(hot, label);
    }
  };
  const logits = target.gradients(pixels, leads, (gradient, k) => {
    for (let row = 0; row < count; row++) {
      const y = labels[row];
      const z = row * classes;
      const lead = values[z + (k < y ? k : k + 1)] - values[z + y];
      const [begin, end] = [row * size, (row + 1) * size];
      let length = 0;
      if (norm === 'l2') {
        for (let p = begin; p < end; p++) length += gradient[p] ** 2;
        length = Math.sqrt(length);
      } else {
        for (let p = begin; p < end; p++) length += Math.abs(gradient[p]);
      }
      const distance = Math.abs(lead) / length;
      if (!(distance < nearest[row])) continue;
      nearest[row] = distance;
      if (norm === 'l2') {
        const factor = (distance + BEYOND) / length;
        for (let p = begin; p < end; p++) steps[p] = factor * gradient[p];
      } else {
        for (let p = begin; p < end; p++) steps[p] = (distance + BEYOND) * Math.sign(gradient[p]);
      }
    }
  });
  return { logits, steps };
}

/** Divides each direction by its largest magnitude, so that a scale is an L∞. */
function scaleToOne(directions: Float32Array, size: number): void {
  for (let begin = 0; begin < directions.length; begin += size) {
    let largest = 0;
    for (let p = 0; p < size; p++) largest = Math.max(largest, Math.abs(directions[begin + p]));
    if (largest === 0) continue;
    for (let p = 0; p < size; p++) directions[begin + p] /= largest;
  }
}

/** What doubling and bisection find along the direction of each image, N×H×W×C. */
async function alongLines(
  target: Target,
  { count, size, shape, images: originals, labels }: Victims,
  directions: Float32Array,
  options: Parameters<typeof bisection>[3],
): Promise<{ adversarials: Uint8Array; fooled: Uint8Array }> {
  const adversarials = originals.slice();
  const fooled = new Uint8Array(count);
  const pixels = tf.tensor4d(Float32Array.from(originals), [count, ...shape]);
  const direction = tf.tensor4d(directions, [count, ...shape]);
  const probe: Probe = (images, scales) => {
    const moved = read(() =>
      perturb(
        pixels,
        direction,
        tf.tensor1d(Int32Array.from(images), 'int32'),
        tf.tensor1d(scales),
      ),
    ) as Float32Array;
    const logits = target.logits(moved);
    return Uint8Array.from(images, (image, j) => {
      if (classOf(logits, j * target.classes, target.classes) === labels[image]) return 0;
      fooled[image] = 1;
      adversarials.set(moved.subarray(j * size, (j + 1) * size), image * size);
      return 1;
    });
  };
  try {
    await bisection(count, { limit: 2 ** 17, width: 1 / 16 }, probe, options);
    return { adversarials, fooled };
  } finally {
    tf.dispose([pixels, direction]);
  }
}

function range(begin: number, end: number): Uint32Array {
  return Uint32Array.from({ length: end - begin }, (_, i) => begin + i);
}
