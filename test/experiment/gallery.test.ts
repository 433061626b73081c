import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { fixture, readCsv } from '../fixtures.js';
import type { AttackName } from '#bang/attacks/attack.js';
import { loadData } from '#bang/data/load.js';
import { startEngine, threadCount } from '#bang/engine/engine.js';
import { examplesOf, type ExampleSource } from '#bang/experiment/gallery.js';
import { silent } from '#bang/base/progress.js';
import { ENGINE } from '../engine.js';

const AUTHORS = {
  mnist: ['lenet.caffemodel.h5', 'authors-lenet-r0.per-image.csv'],
  cifar10: ['cifar10_bang.caffemodel.h5', 'authors-cifar10-b0.per-image.csv'],
} as const;

function sourceOf(name: string, weights: string, attacks: AttackName[]): ExampleSource {
  const settings = { search: 'bisection', channels: 'reversed' } as const;
  return { name, weights: fixture(weights), attacks, settings, images: 10_000 };
}

const options = { perClass: 2, threads: threadCount(), progress: silent };

beforeAll(async () => {
  await startEngine({ engine: ENGINE });
});

describe('adversarial examples', () => {
  it.each(['mnist', 'cifar10'] as const)(
    "agree with an independent implementation's scores for the authors' weights on %s",
    async (name) => {
      const [weights, scores] = AUTHORS[name];
      const reference = readCsv(fixture(scores));
      const data = await loadData(name);
      const source = sourceOf('authors', weights, ['fgs', 'hc1']);
      const tensors = tf.memory().numTensors;
      const { originals, networks } = await examplesOf([source], data, options);
      expect(tf.memory().numTensors).toBe(tensors);

      // The first two images of each class that the network classifies correctly.
      const expected = Array.from({ length: 10 }, (_, label) =>
        reference
          .filter((line) => line.label === String(label) && line.predicted === line.label)
          .slice(0, 2)
          .map(({ index }) => Number(index)),
      ).flat();
      expect(originals.map(({ position }) => position)).toEqual(expected);
      const [{ examples, predicted }] = networks;
      expect(predicted).toEqual(originals.map(({ label }) => label));
      expect(examples).toHaveLength(40);
      for (const { original, attack, found } of examples) {
        const { position, label, pixels } = originals[original];
        const line = reference[position];
        if (line[`${attack}_linf`] === '') {
          expect(found).toBeNull();
          continue;
        }
        expect(found!.linf).toBe(Number(line[`${attack}_linf`]));
        // The other implementation's alignment stops at a slightly different correlation.
        expect(Math.abs(found!.pass - Number(line[`${attack}_pass`]))).toBeLessThan(0.005);
        expect(found!.predicted).not.toBe(label);
        const changes = found!.pixels.map((value, i) => Math.abs(value - pixels[i]));
        expect(Math.max(...changes)).toBe(found!.linf);
      }
    },
  );

  it('use the same images for all networks, among those that all were evaluated on', async () => {
    const data = await loadData('mnist');
    const source = sourceOf('few', AUTHORS.mnist[0], ['fgs-unmasked']);
    const two = [source, { ...source, name: 'fewer', images: 12 }];
    const { originals, networks } = await examplesOf(two, data, options);
    expect(Math.max(...originals.map(({ position }) => position))).toBeLessThan(12);
    expect(networks.map(({ name }) => name)).toEqual(['few', 'fewer']);
    expect(networks[0].examples).toEqual(networks[1].examples);
  });
});
