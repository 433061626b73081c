import { tf } from '../base/tf.js';
import { overLargest } from '../engine/ops/perturbation.js';
import { read } from '../engine/ops/read.js';
import { clip } from '../base/clip.js';
import { floatRows } from '../base/rows.js';
import { breathe } from '../base/interrupt.js';
import type { MinimisationAttack, Norm } from './attack.js';
import { hc1 } from './hc1.js';
import { type LineSearch, searchLines } from './line.js';
import { bisection, halfOf } from './search.js';
import type { Classifier, Originals } from './classifier.js';
import { classOf } from '../model/predict.js';

const STEPS = 50;
const OVERSHOOT = 0.02;
/**
 * Added to the length of each step, in grey levels, so that it crosses the boundary. Foolbox adds the
 * same number in units of its model, which are 255 times as large if pixels range from 0 to 1.
 */
const BEYOND = 1e-4;

export const deepfoolL2 = deepfool('deepfool-l2', 'DeepFool L2', 'l2');
export const deepfoolLinf = deepfool('deepfool-linf', 'DeepFool L∞', 'linf');

/**
 * DeepFool (Moosavi-Dezfooli, Fawzi, Frossard, 2016, arXiv 1511.04599). Each step linearises the network
 * at the iterate and moves to the nearest boundary between the label and another class, until one is
 * crossed. At most 50 steps; the sum of the steps is lengthened by 2 %.
 *
 * The iterates are real numbers, as published, but perturbed pixels are integers. So the perturbation
 * found is used as a direction, along which the smallest rounded perturbation that fools is searched for
 * as with HC1.
 */
function deepfool(name: MinimisationAttack['name'], title: string, norm: Norm): MinimisationAttack {
  return {
    kind: 'minimisation',
    name,
    title,
    published: false,
    norm,
    // A few steps, each with a backward pass for every other class, and the line search.
    passes: () => 100,
    async minimise(classifier, originals, options) {
      const { count, size, shape } = originals;
      const { batch } = classifier;
      const directions = new Float32Array(count * size);
      const [steps, line] = [0, count].map((before) => halfOf({ batch, ...options }, before));
      for (let start = 0; start < count; start += batch) {
        const end = Math.min(start + batch, count);
        const images = Uint32Array.from({ length: end - start }, (_, i) => start + i);
        const found = await perturbationsOf(classifier, originals, images, norm, options.signal);
        // Divided by its largest magnitude, so that a scale is an L∞.
        const scaled = read(() => overLargest(tf.tensor4d(found, [images.length, ...shape])));
        directions.set(scaled, start * size);
        steps.done?.(end);
      }
      const search: LineSearch = (all, probe, given) => bisection(all, hc1.bisection, probe, given);
      return searchLines(classifier, originals, directions, search, line);
    },
  };
}

/** DeepFool's perturbations of the originals with the indices `images`, in grey levels, N×H×W×C. */
export async function perturbationsOf(
  classifier: Classifier,
  { images: originals, labels, size }: Originals,
  images: Uint32Array,
  norm: Norm,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const { classes } = classifier;
  const total = new Float32Array(images.length * size); // the sum of all steps, without overshoot
  const iterates = floatRows(originals, images, size);
  let active = [...images.keys()];
  for (let step = 0; step < STEPS && active.length > 0; step++) {
    const here = floatRows(iterates, active, size);
    const y = Uint8Array.from(active, (j) => labels[images[j]]);
    const nearest = nearestBoundaries(classifier, here, y, size, norm);
    active = active.filter((j, row) => {
      if (classOf(nearest.logits, row * classes, classes) !== y[row]) return false;
      const own = images[j] * size;
      for (let p = 0; p < size; p++) {
        total[j * size + p] += nearest.steps[row * size + p];
        const moved = originals[own + p] + (1 + OVERSHOOT) * total[j * size + p];
        iterates[j * size + p] = clip(moved, 0, 255);
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
 * The step of each image to the nearest boundary of the linearised network. With f the logit of a class
 * minus that of the label and w the gradient of f, the distance to that boundary is |f| / ‖w‖₂ in L2,
 * along w, and |f| / ‖w‖₁ in L∞, along the sign of w.
 */
function nearestBoundaries(
  classifier: Classifier,
  pixels: Float32Array,
  labels: Uint8Array,
  size: number,
  norm: Norm,
): { logits: Float32Array; steps: Float32Array } {
  const { classes } = classifier;
  const count = labels.length;
  const steps = new Float32Array(pixels.length);
  const nearest = new Float64Array(count).fill(Infinity);
  let values: Float32Array = new Float32Array();
  const leads = function* (logits: tf.Tensor2D) {
    values = logits.dataSync<'float32'>();
    const label = tf.oneHot(tf.tensor1d(labels, 'int32'), classes, 1, 0, 'float32');
    // The k-th other class is k if that is below the label, else k + 1.
    for (let k = 0; k < classes - 1; k++) {
      const other = Int32Array.from(labels, (y) => (k < y ? k : k + 1));
      const hot = tf.oneHot(tf.tensor1d(other, 'int32'), classes, 1, 0, 'float32');
      yield tf.sub<tf.Tensor2D>(hot, label);
    }
  };
  const logits = classifier.gradients(pixels, leads, (gradient, k) => {
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
