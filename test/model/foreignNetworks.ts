import type { LayerSpec } from '#bang/model/layers.js';
import type { NetworkSpec } from '#bang/model/networks.js';

const filler = { kind: 'xavier' } as const;

/** The layers of `lenet_like` in scripts/model-references.py. */
export const SMALL: Omit<NetworkSpec, 'name'> = {
  input: [28, 28, 1],
  classes: 10,
  subtractMean: false,
  scale: 1 / 255,
  mean: [0.1307],
  std: [0.3081],
  layers: [
    { kind: 'conv', name: 'conv1', filters: 4, size: 5, filler },
    { kind: 'relu' },
    { kind: 'maxPool', size: 2, stride: 2 },
    { kind: 'conv', name: 'conv2', filters: 6, size: 3, stride: 2, pad: 1, filler },
    { kind: 'relu' },
    { kind: 'avgPool', size: 2, stride: 2, pad: 1, rounding: 'down', countPad: true },
    { kind: 'innerProduct', name: 'ip1', outputs: 16, filler },
    { kind: 'relu' },
    { kind: 'dropout', rate: 0.4 },
    { kind: 'innerProduct', name: 'ip2', outputs: 10, filler },
  ],
};

function conv(name: string, weights: string, filters: number, more: object = {}): LayerSpec[] {
  const bn = weights.includes('shortcut')
    ? weights.replace(/0$/, '1')
    : weights.replace('conv', 'bn');
  return [
    { ...{ kind: 'conv', name, weights, filters, size: 3, pad: 1, filler }, ...more },
    { kind: 'batchNorm', name: `${name}_bn`, weights: bn },
  ];
}

function block(i: number, filters: number, before: string): LayerSpec[] {
  const tensor = (name: string) => `layers.${i}.${name}`;
  const short = { from: before, size: 1, pad: 0, stride: 2 };
  return [
    ...conv(`a${i}`, tensor('conv1'), filters, { stride: i === 0 ? 1 : 2 }),
    { kind: 'relu' },
    ...conv(`b${i}`, tensor('conv2'), filters),
    ...(i === 0 ? [] : conv(`s${i}`, tensor('shortcut.0'), filters, short)),
    // The name of a batch normalisation, which is gone after the import.
    { kind: 'add', with: i === 0 ? before : `b${i}_bn` },
    { kind: 'relu', name: `r${i}` },
  ];
}

/** `ResNet` of scripts/model-references.py, with batch normalisation. */
export const RESNET: Omit<NetworkSpec, 'name'> = {
  input: [32, 32, 3],
  classes: 10,
  subtractMean: false,
  scale: 1 / 255,
  mean: [0.4914, 0.4822, 0.4465],
  std: [0.247, 0.2435, 0.2616],
  layers: [
    ...conv('first', 'conv1', 4),
    { kind: 'relu', name: 'r' },
    ...block(0, 4, 'r'),
    ...block(1, 6, 'r0'),
    ...block(2, 8, 'r1'),
    { kind: 'globalAvgPool' },
    { kind: 'innerProduct', name: 'fc', outputs: 10, filler },
  ],
};
