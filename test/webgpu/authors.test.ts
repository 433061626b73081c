import { beforeAll, expect, it } from 'vitest';
import { loadData } from '#bang/data/load.js';
import { firstImages } from '#bang/data/dataset.js';
import { startEngine } from '#bang/engine/engine.js';
import { predict } from '#bang/model/predict.js';
import { agreement, evaluated, linfAgreement, referenceOf } from '../attacks/authors.js';
import { networkWith } from '../fixtures.js';

beforeAll(async () => {
  await startEngine({ engine: 'webgpu' });
});

// Few images, since the driver of the tests is slow. Denormals, which a driver may flush, decide nothing: a loss is
// exactly zero where a sum is 1.0f.
it("the authors' LeNet, image by image as in the reference, attacked, too", async () => {
  const { train, test } = await loadData('mnist');
  const reference = referenceOf('authors-lenet-r0.per-image.csv');
  const network = await networkWith('lenet', 'lenet.caffemodel.h5', train);
  const authors = { ...network, test, reference };
  const found = await predict(network, firstImages(test, 100));
  expect(found.predicted).toHaveLength(100);
  expect(agreement(authors, found.predicted, 'predicted')).toBe(1);
  expect(agreement(authors, found.blank, 'blank')).toBe(1);
  for (const [attack, images] of [
    ['fgs', 20],
    ['hc1', 4],
  ] as const) {
    const { evaluation } = await evaluated(authors, 'bisection', [attack], false, images);
    expect(linfAgreement(authors, evaluation, attack, `${attack}_linf`)).toBe(1);
  }
});
