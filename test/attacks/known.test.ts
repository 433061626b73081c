import { beforeAll, describe, expect, it } from 'vitest';
import type { AttackName, Protocol } from '#bang/attacks/attack.js';
import { attackImages, type AttackResult, ATTACKS } from '#bang/attacks/attacks.js';
import type { Dataset } from '#bang/data/dataset.js';
import { startEngine } from '#bang/engine/engine.js';
import { makeNetwork, type Network, type Weights } from '#bang/model/network.js';
import { makeWeights } from '#bang/model/parameters.js';
import { makeRandom } from '#bang/base/random.js';
import { ENGINE } from '../engine.js';

// Networks so small that the smallest perturbation of an image is known from a formula. All weights
// are multiples of powers of two, so that logits are exact and what is equal is so bit for bit.

/** What an inner product computes: for each output a weight for each input, and a bias. */
interface Product {
  rows: number[][];
  bias: number[];
}

interface Subject {
  network: Network;
  weights: Weights;
  data: Dataset;
}

const SIDE = 4;

/** Inner products with ReLU between them on images of SIDE × SIDE pixels, which are all of class 0. */
function subjectOf(products: Product[], channels: number, images: number[][]): Subject {
  const network = makeNetwork({
    name: 'known',
    input: [SIDE, SIDE, channels],
    classes: products.at(-1)!.bias.length,
    subtractMean: false,
    scale: 1,
    layers: products.flatMap(({ bias }, i) => [
      ...(i > 0 ? [{ kind: 'relu' } as const] : []),
      {
        kind: 'innerProduct',
        name: `ip${i}`,
        outputs: bias.length,
        filler: { kind: 'xavier' },
      } as const,
    ]),
  });
  const weights = makeWeights(
    network,
    products.map(({ rows, bias }) => {
      const [inputs, outputs] = [rows[0].length, rows.length];
      const weight = Float32Array.from({ length: inputs * outputs }, (_, at) => {
        return rows[at % outputs][Math.floor(at / outputs)];
      });
      return { weight, bias: Float32Array.from(bias) };
    }),
  );
  const data = {
    ...{ height: SIDE, width: SIDE, channels, classes: network.spec.classes, count: images.length },
    images: Uint8Array.from(images.flat()),
    labels: new Uint8Array(images.length),
  };
  return { network, weights, data };
}

/** Attacks all images. */
function attack(
  name: AttackName,
  { network, weights, data }: Subject,
  settings: Partial<Protocol> & { restarts?: number; queries?: number } = {},
): Promise<AttackResult> {
  const { search = 'bisection', channels = 'kept', restarts = 1, queries = 20 } = settings;
  const effort = {
    pgd: { steps: 10, restarts },
    apgd: { steps: 20, restarts },
    square: { queries },
  };
  const positions = Uint32Array.from({ length: data.count }, (_, i) => i);
  return attackImages(ATTACKS[name], { network, weights }, data, positions, {
    ...{ search, channels, ...effort },
  });
}

const PIXELS = SIDE * SIDE;
const GREY = 128;
const random = makeRandom(1, 'signs');
const signs = Array.from({ length: PIXELS }, () => (random.uniform() < 0.5 ? -1 : 1));
const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * b[i], 0);

/** Logits that `rows` give of the distance from grey, with `bias` added. */
const fromGrey = (rows: number[][], bias: number[]): Product => ({
  rows,
  bias: bias.map((value, k) => value - GREY * rows[k].reduce((sum, one) => sum + one, 0)),
});

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
});

describe('stronger attacks, where the smallest L∞ is known', () => {
  // The lead of class 1 is mean(signs · d) - 10.5, d the distance from grey. Images lie `away` from
  // grey against the signs, so what fools needs an L∞ above away + 10.5, and all pixels at that.
  const away = [0, 1, 5, 30, 71, 90];
  const smallest = Float32Array.from(away, (distance) => distance + 11);
  const rows = [0, 1, 0].map((factor) => signs.map((sign) => (factor * sign) / PIXELS));
  const linear = (): Subject =>
    subjectOf(
      [fromGrey(rows, [0, -10.5, -1000])],
      1,
      away.map((distance) => signs.map((sign) => GREY - distance * sign)),
    );

  it.each(['pgd', 'apgd', 'deepfool-l2', 'deepfool-linf'] as const)('%s finds it', async (name) => {
    const { linf } = await attack(name, linear(), { restarts: 2 });
    expect(linf).toEqual(smallest);
  });

  // Bisection with a twentieth of the queries alone stays far above it, as random signs do.
  it('Square comes near to it by going on with smaller budgets', async () => {
    const { linf } = await attack('square', linear(), { queries: 600 });
    linf.forEach((found, i) => {
      expect(found).toBeGreaterThanOrEqual(smallest[i]);
      expect(found).toBeLessThan(1.1 * smallest[i]);
    });
  });

  // Classes 1 and 2 have opposite gradients, both as far away: their sum, the log-odds' gradient, is
  // zero. Only the other loss chooses between them.
  it.each(['pgd', 'apgd'] as const)('%s tries the difference-of-logits ratio too', async (name) => {
    const opposite = [0, 1, -1].map((factor) => signs.map((sign) => (factor * sign) / PIXELS));
    const across = signs.map((sign, i) => GREY + (i % 2 ? 1 : -1) * sign);
    expect(dot(across, signs)).toBe(dot(Array<number>(PIXELS).fill(GREY), signs));
    const subject = subjectOf([fromGrey(opposite, [10.5, 0, 0])], 1, [
      Array<number>(PIXELS).fill(GREY),
      across,
    ]);
    const { linf } = await attack(name, subject);
    expect(linf).toEqual(Float32Array.of(11, 11));
  });

  // One pixel decides, from a quarter on, and class 1 or 2 leads from 5.25 on. On the plateau between
  // there is no gradient: only who starts elsewhere finds out.
  it('PGD starts elsewhere, too, if it is asked for more than one start', async () => {
    const first = signs.map((_, i) => +(i === 0));
    const plateau = fromGrey([first, first.map((value) => -value)], [-0.25, -0.25]);
    const logits = {
      rows: [
        [0, 0],
        [1, 0],
        [0, 1],
      ],
      bias: [5, 0, 0],
    };
    const images = [GREY, 100, 7].map((other) => signs.map((_, i) => (i === 0 ? GREY : other)));
    const subject = subjectOf([plateau, logits], 1, images);
    const one = await attack('pgd', subject, { restarts: 1 });
    expect(one.linf).toEqual(Float32Array.of(NaN, NaN, NaN));
    expect(one.adversarials).toEqual(subject.data.images);
    const two = await attack('pgd', subject, { restarts: 2 });
    expect(two.linf).toEqual(Float32Array.of(6, 6, 6));
  });
});

describe('colour channels of a direction', () => {
  // Signs of the channels' weights: + + -; reversed, - + +, they still lead to class 1.
  const channels = [1, 4, -1];
  const pattern = (ofChannels: number[]) => Array<number[]>(PIXELS).fill(ofChannels).flat();
  const weights = pattern(channels).map((value) => value / 64);
  const zeros = weights.map(() => 0);
  // Six to a pixel as they are, two if they are reversed: what fools is above 3.5 or 10.5.
  const lead = (3.5 * 6 * PIXELS) / 64;
  const grey = pattern([GREY, GREY, GREY]);

  it.each([
    ['fgs', 'kept', 4, [1, 1, -1]],
    ['fgs', 'reversed', 11, [-1, 1, 1]],
    ['fgs-unmasked', 'kept', 4, [1, 1, -1]],
    ['fgs-unmasked', 'reversed', 4, [1, 1, -1]],
    ['hc1', 'kept', 5, [1, 1, -1]],
    ['hc1', 'reversed', 7, [-1, 1, 1]],
  ] as const)('%s, %s', async (name, given, expected, directions) => {
    const subject = subjectOf([fromGrey([zeros, weights, zeros], [0, -lead, -50])], 3, [grey]);
    for (const search of ['bisection', 'scan'] as const) {
      const { linf, adversarials } = await attack(name, subject, { search, channels: given });
      const moved = [...adversarials].map((value) => Math.sign(value - GREY));
      expect(moved).toEqual(pattern([...directions]));
      expect([...linf]).toEqual([expected]);
    }
  });
});
