import { beforeAll, expect, it } from 'vitest';
import { loadData } from '#bang/data/load.js';
import { startEngine } from '#bang/engine/engine.js';
import { agreement, evaluated, linfAgreement, referenceOf } from '../attacks/authors.js';
import { networkWith } from '../fixtures.js';

beforeAll(async () => {
  await startEngine({ engine: 'webgpu' });
});

// Few images, since the driver of the tests is slow. Denormals, which a driver may flush, decide nothing: a loss is
// exactly zero where a sum is 1.0f.
it.each([
  ['fgs', 100],
  ['hc1', 20],
] as const)(
  "the authors' LeNet, attacked with %s, image by image as in the reference",
  { timeout: 600_000 },
  async (attack, images) => {
    const { train, test } = await loadData('mnist');
    const reference = referenceOf('authors-lenet-r0.per-image.csv');
    const network = await networkWith('lenet', 'lenet.caffemodel.h5', train);
    const authors = { ...network, test, reference };
    const { evaluation } = await evaluated(authors, 'bisection', [attack], false, images);
    expect(agreement(authors, evaluation.predicted, 'predicted')).toBe(1);
    expect(agreement(authors, evaluation.blank, 'blank')).toBe(1);
    expect(linfAgreement(authors, evaluation, attack, `${attack}_linf`)).toBeGreaterThanOrEqual(
      0.99,
    );
  },
);
