import { makeLayer, type LayerSpec, type Pad, type Shape } from '#bang/model/layers.js';
import type { NetworkSpec } from '#bang/model/networks.js';
import { makeRandom } from '#bang/base/random.js';
import { between } from './random.js';

/**
 * A random network of up to about twelve layers, each of which fits its input.
 *
 * @param options.chain whether it has only layers of which a kernel can compute all at once
 */
export function randomNetwork(seed: number, { chain = false } = {}): NetworkSpec {
  const random = makeRandom(seed, 'random network');
  const from = (low: number, high: number): number => between(random, low, high);
  const oneOf = <T>(choices: readonly T[]): T => choices[from(0, choices.length - 1)];

  const input: [number, number, number] = [from(4, 11), from(4, 11), from(1, 3)];
  const classes = from(2, 5);
  const layers: LayerSpec[] = [];
  let shape: Shape = input;
  const add = (spec: LayerSpec) => {
    layers.push(spec);
    shape = makeLayer(spec, shape).output;
  };
  const filler = () =>
    oneOf([{ kind: 'xavier' }, { kind: 'gaussian', std: 0.2 }] as const satisfies object[]);
  const plain = (): LayerSpec =>
    oneOf([{ kind: 'relu' }, { kind: 'dropout', rate: oneOf([0, 0.3, 0.5]) }]);
  const padOf = (size: number): Pad =>
    random.uniform() < 0.3
      ? [from(0, size - 1), from(0, size - 1), from(0, size - 1), from(0, size - 1)]
      : from(0, size - 1);
  const strideOf = (): { stride?: number } =>
    random.uniform() < 0.4 ? { stride: from(1, 3) } : {};
  const imageLayer = ([height, width]: number[]): LayerSpec => {
    const least = Math.min(height, width);
    const kind = oneOf(['conv', 'conv', 'maxPool', 'avgPool', 'plain'] as const);
    if (kind === 'plain') return plain();
    if (kind === 'conv') {
      const size = from(1, Math.min(5, least));
      const name = `conv${layers.length}`;
      const filters = from(1, 9);
      return { kind, name, filters, size, ...strideOf(), pad: padOf(size), filler: filler() };
    }
    // Windows that overlap, tile, leave gaps, or are larger than the image.
    const stride = from(1, 4);
    const rounding = oneOf(['up', 'down'] as const);
    const size = from(1, Math.min(5, rounding === 'up' ? least + stride - 1 : least));
    const padded = random.uniform() < 0.4 ? { pad: padOf(size) } : {};
    const counted =
      kind === 'avgPool' && rounding === 'down' && !chain && random.uniform() < 0.5
        ? { countPad: true }
        : {};
    return { kind, size, stride, rounding, ...padded, ...counted };
  };
  /** A block with a shortcut: the identity, or, where the shape changes, a convolution of one pixel. */
  const residual = ([, , channels]: number[]): void => {
    const [n, filters] = [layers.length, oneOf([channels, from(1, 5)])];
    const [stride, begin] = [oneOf([1, 1, 2]), `relu${n}`];
    add({ kind: 'relu', name: begin });
    const before = shape;
    const conv = { kind: 'conv', size: 3, pad: 1 } as const;
    add({ ...conv, name: `a${n}`, filters, stride, filler: filler() });
    add({ kind: 'relu' });
    const after = { ...conv, name: `b${n}`, filters, filler: filler() };
    add(after);
    if (stride === 1 && filters === channels) {
      add({ kind: 'add', with: begin });
      return;
    }
    const inner = shape;
    shape = before;
    add({ kind: 'conv', name: `s${n}`, filters, size: 1, stride, from: begin, filler: filler() });
    shape = inner;
    add({ kind: 'add', with: after.name });
  };
  for (let n = from(0, 5); n > 0; n--) add(imageLayer(shape));
  // All layers so far give images.
  if (!chain && random.uniform() < 0.5) residual(shape);
  if (random.uniform() < 0.3) add({ kind: 'globalAvgPool' });
  for (let n = from(0, 2); n > 0; n--) {
    const name = `ip${layers.length}`;
    add({ kind: 'innerProduct', name, outputs: from(1, 12), filler: filler() });
    if (random.uniform() < 0.7) add(plain());
  }
  add({ kind: 'innerProduct', name: 'last', outputs: classes, filler: filler() });
  const byChannel = (least: number): number[] =>
    Array.from({ length: input[2] }, () => least + random.uniform());
  return {
    ...{ name: `random ${seed}`, input, classes, subtractMean: false, scale: 1 / 128, layers },
    ...(seed % 3 === 0 && { mean: byChannel(0), std: byChannel(0.5) }),
  };
}
