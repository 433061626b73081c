import { makeLayer, type LayerSpec, type Shape } from '#bang/model/layers.js';
import type { NetworkSpec } from '#bang/model/networks.js';
import { makeRandom } from '#bang/base/random.js';
import { between } from './random.js';

/** A random network of up to about eight layers, each of which fits its input. */
export function randomNetwork(seed: number): NetworkSpec {
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
  const imageLayer = ([height, width]: number[]): LayerSpec => {
    const least = Math.min(height, width);
    const kind = oneOf(['conv', 'conv', 'maxPool', 'avgPool', 'plain'] as const);
    if (kind === 'plain') return plain();
    if (kind === 'conv') {
      const size = from(1, Math.min(5, least));
      const name = `conv${layers.length}`;
      const pad = from(0, size - 1);
      return { kind, name, filters: from(1, 9), size, pad, filler: filler() };
    }
    // Windows that overlap, tile, leave gaps, or are larger than the image.
    const stride = from(1, 4);
    return { kind, size: from(1, Math.min(5, least + stride - 1)), stride };
  };
  for (let n = from(0, 5); n > 0; n--) add(imageLayer(shape));
  for (let n = from(0, 2); n > 0; n--) {
    const name = `ip${layers.length}`;
    add({ kind: 'innerProduct', name, outputs: from(1, 12), filler: filler() });
    if (random.uniform() < 0.7) add(plain());
  }
  add({ kind: 'innerProduct', name: 'last', outputs: classes, filler: filler() });
  return { name: `random ${seed}`, input, classes, subtractMean: false, scale: 1 / 128, layers };
}
