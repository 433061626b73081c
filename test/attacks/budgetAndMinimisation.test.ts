import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { STRONGER_ATTACKS } from '#bang/attacks/attack.js';
import { perturbationsOf } from '#bang/attacks/deepfool.js';
import { logOddsGradient } from '#bang/engine/ops/loss.js';
import { pgdAt, ratioGradient } from '#bang/attacks/pgd.js';
import { attackImages, ATTACKS } from '#bang/attacks/attacks.js';
import { sideAt, squareAt } from '#bang/attacks/square.js';
import {
  type Classifier,
  classifierOf,
  type Originals,
  originalsOf,
} from '#bang/attacks/classifier.js';
import { loadData } from '#bang/data/load.js';
import type { Dataset } from '#bang/data/dataset.js';
import { startEngine } from '#bang/engine/engine.js';
import type { Network, Weights } from '#bang/model/network.js';
import { makeRandom } from '#bang/base/random.js';
import { ENGINE } from '../engine.js';
import { fixture, networkWith } from '../fixtures.js';
import * as tf from '@tensorflow/tfjs-core';

/** What scripts/attack-references.py found with other implementations, on the same weights. */
interface References {
  /** Of the images in the test set: the first that are classified correctly. */
  positions: number[];
  'deepfool-l2': { length: number[]; predicted: number[] };
  'deepfool-linf': { length: number[]; predicted: number[] };
  pgd: Record<'log-odds' | 'dlr', PgdReference>;
  square: { images: number; queries: number; fooled: Record<string, number[]> };
}

interface PgdReference {
  epsilon: number;
  steps: number;
  /** The step of each image's adversarial, −1 if there is none; and its int8 change. */
  step: number[];
  change: string;
}

interface Subject {
  network: Network;
  weights: Weights;
  test: Dataset;
  classifier: Classifier;
  references: References;
  originals: (count: number) => Originals;
}

async function subjectOf(model: 'lenet' | 'cifar10-quick'): Promise<Subject> {
  const file = model === 'lenet' ? 'lenet.caffemodel.h5' : 'cifar10_bang.caffemodel.h5';
  const { train, test } = await loadData(model === 'lenet' ? 'mnist' : 'cifar10');
  const { network, weights } = await networkWith(model, file, train);
  const packed = readFileSync(fixture(`attacks-${model}.json.gz`));
  const references = JSON.parse(gunzipSync(packed).toString()) as References;
  const originals = (count: number) =>
    originalsOf(test, Uint32Array.from(references.positions.slice(0, count)));
  return {
    network,
    weights,
    test,
    classifier: classifierOf({ network, weights }),
    references,
    originals,
  };
}

const range = (count: number) => Uint32Array.from({ length: count }, (_, i) => i);

beforeAll(async () => {
  await startEngine({ engine: ENGINE });
});

describe.each(['lenet', 'cifar10-quick'] as const)("the authors' %s", (model) => {
  let subject: Subject;
  beforeAll(async () => {
    subject = await subjectOf(model);
  }, 600_000);

  // Both compute in float32 and sum in other orders. Where that turns the choice between two
  // boundaries that are equally near, all further steps differ: on few images.
  it.each(['l2', 'linf'] as const)("has Foolbox's DeepFool in %s", async (norm) => {
    const { classifier, references, originals } = subject;
    const { length, predicted } = references[`deepfool-${norm}`];
    const some = originals(length.length);
    const changes = await perturbationsOf(classifier, some, range(some.count), norm);
    const moved = changes.map((change, p) => some.images[p] + change);
    const logits = tf.tensor2d(classifier.logits(moved), [some.count, classifier.classes]);
    const classes = tf.argMax(logits, 1).dataSync();
    let same = 0;
    length.forEach((theirs, i) => {
      const change = changes.subarray(i * some.size, (i + 1) * some.size);
      const ours =
        norm === 'l2'
          ? Math.hypot(...change)
          : change.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
      expect(Math.abs(ours - theirs) / theirs).toBeLessThan(0.2);
      if (classes[i] === predicted[i] && Math.abs(ours - theirs) < 1e-3 * theirs) same++;
    });
    expect(same / length.length).toBeGreaterThanOrEqual(0.97);
  });

  // The iterates are Foolbox's, step by step, but for signs of gradients that are almost zero; a sign
  // that float32 rounds otherwise early on an image's way changes more of them later.
  it.each(['log-odds', 'dlr'] as const)(
    "has the adversarials of Foolbox's PGD on %s, pixel by pixel",
    async (loss) => {
      const { classifier, references, originals } = subject;
      const { epsilon, steps, step, change } = references.pgd[loss];
      const theirs = new Int8Array(Buffer.from(change, 'base64'));
      const some = originals(step.length);
      const adversarials = some.images.slice();
      const run = {
        loss: loss === 'dlr' ? ratioGradient : logOddsGradient,
        steps,
      };
      const budgets = new Float32Array(some.count).fill(epsilon);
      const trial = { images: range(some.count), budgets, adversarials };
      const fooled = await pgdAt({ classifier, originals: some }, trial, [run]);
      let [outcomes, pixels, moved] = [0, 0, 0];
      step.forEach((at, i) => {
        if (at >= 0 === (fooled[i] === 1)) outcomes++;
        if (at < 0) return;
        for (let p = i * some.size; p < (i + 1) * some.size; p++) {
          moved++;
          if (adversarials[p] - some.images[p] === theirs[p]) pixels++;
        }
      });
      expect(moved).toBeGreaterThan(5 * some.size);
      expect(outcomes / some.count).toBe(1);
      expect(pixels / moved).toBeGreaterThanOrEqual(0.95);
    },
  );

  // Random numbers differ, and theirs draw one square for all images: rates agree within chance. The
  // standard error of a rate over 100 images is at most 5 percent, of theirs over 3 seeds less.
  it("fools as often as the authors' Square", async () => {
    const { classifier, references, originals } = subject;
    const { images, queries, fooled: theirs } = references.square;
    const some = originals(images);
    // Of their budgets, the one within which more images are fooled, and so more could be fooled wrongly.
    const largest = String(Math.max(...Object.keys(theirs).map(Number)));
    for (const [epsilon, counts] of [[largest, theirs[largest]]] as const) {
      const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length / images;
      const budgets = new Float32Array(images).fill(Number(epsilon));
      // Theirs asks the stripes before it counts.
      const trial = { images: range(images), budgets, adversarials: some.images.slice() };
      const target = { classifier, originals: some };
      const fooled = await squareAt(target, trial, { queries: queries + 1 });
      const ours = fooled.reduce((sum, one) => sum + one, 0) / images;
      expect(Math.abs(ours - mean), `ε ${epsilon}: ours ${ours}, theirs ${mean}`).toBeLessThan(
        0.15,
      );
    }
  });

  it('is attacked with integers, image by image, whatever the company and order', async () => {
    const { network, weights, test, originals, classifier } = subject;
    const effort = {
      pgd: { steps: 3, restarts: 2 },
      apgd: { steps: 3, restarts: 1 },
      square: { queries: 10 },
    };
    const settings = { search: 'bisection', channels: 'kept', ...effort } as const;
    const { positions, size } = originals(4);
    const mixed = [3, 1].map((i) => positions[i]);
    for (const name of STRONGER_ATTACKS) {
      const attack = (which: Uint32Array) =>
        attackImages(ATTACKS[name], { network, weights }, test, which, settings);
      const all = await attack(positions);
      const some = await attack(Uint32Array.from(mixed));
      [3, 1].forEach((i, j) => {
        expect(some.linf[j]).toBe(all.linf[i]);
        const found = all.adversarials.subarray(i * size, (i + 1) * size);
        expect(some.adversarials.subarray(j * size, (j + 1) * size)).toEqual(found);
      });
      const logits = classifier.logits(Float32Array.from(all.adversarials));
      const classes = tf.argMax(tf.tensor2d(logits, [4, classifier.classes]), 1).dataSync();
      positions.forEach((position, i) => {
        const change = Array.from({ length: size }, (_, p) =>
          Math.abs(all.adversarials[i * size + p] - test.images[position * size + p]),
        );
        expect(classes[i] === test.labels[position]).toBe(Number.isNaN(all.linf[i]));
        if (Number.isNaN(all.linf[i])) return;
        expect(Math.max(...change)).toBe(all.linf[i]);
        if (name === 'deepfool-l2') expect(all.l2![i]).toBeCloseTo(Math.hypot(...change), 3);
      });
    }
  });
});

describe('the losses of PGD', () => {
  // In float64, from the definition; the gradient is theirs times a positive factor.
  it('have the direction of their finite differences', () => {
    const random = makeRandom(5, 'logits');
    const logits = tf.tensor2d(
      Array.from({ length: 40 }, () => Array.from({ length: 6 }, () => 3 * random.gaussian())),
    );
    // The best class and the second in turn; the ratio of the third is 1, whatever the logits.
    const ys = logits.arraySync().map((z, i) => {
      const ordered = [...z].sort((a, b) => b - a);
      return z.indexOf(ordered[i % 2]);
    });
    const labels = tf.tensor1d(ys, 'int32');
    const ratio = (z: number[], y: number): number => {
      const ordered = [...z].sort((a, b) => b - a);
      const other = Math.max(...z.filter((_, k) => k !== y));
      return (other - z[y]) / (ordered[0] - ordered[2]);
    };
    const odds = (z: number[], y: number): number =>
      Math.log(z.reduce((sum, one, k) => sum + (k === y ? 0 : Math.exp(one)), 0)) - z[y];
    for (const [gradient, loss] of [
      [ratioGradient, ratio],
      [logOddsGradient, odds],
    ] as const) {
      const ours = gradient(logits, labels).arraySync();
      logits.arraySync().forEach((z, i) => {
        const differences = z.map((_, k) => {
          const at = (step: number) => z.map((one, j) => (j === k ? one + step : one));
          return (loss(at(1e-5), ys[i]) - loss(at(-1e-5), ys[i])) / 2e-5;
        });
        const [a, b] = [Math.hypot(...ours[i]), Math.hypot(...differences)];
        ours[i].forEach((one, k) => {
          expect(one / a).toBeCloseTo(differences[k] / b, 4);
        });
      });
    }
  });

  it('are those of the difference where there are two classes', () => {
    const logits = tf.tensor2d([3, 1, 1, 3], [2, 2]);
    const found = ratioGradient(logits, tf.tensor1d([0, 0], 'int32')).dataSync();
    expect([...found]).toEqual([-1, 1, -1, 1]);
  });

  it('do not divide by zero where logits are equal', () => {
    const equal = tf.zeros<tf.Rank.R2>([2, 6]);
    const found = ratioGradient(equal, tf.tensor1d([0, 3], 'int32')).dataSync();
    expect([...found].every(Number.isFinite)).toBe(true);
  });
});

describe('the squares', () => {
  // The schedule of the paper's code for images of 32×32, share 0.8, without stretching it.
  it('shrink by the schedule', () => {
    const sides = [0, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001].map((query) =>
      sideAt(query, 10_000, 1024),
    );
    expect(sides).toEqual([29, 20, 14, 10, 7, 5, 4, 3, 2, 1]);
    expect(sideAt(10, 10_000, 1024)).toBe(29);
    // Stretched to 100 queries, each counts as a hundred.
    expect(sideAt(3, 100, 1024)).toBe(sideAt(300, 10_000, 1024));
  });
});
