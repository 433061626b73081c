import type { LayerSpec } from './layers.js';

/** The specification of a network: its input, how pixels are prepared, and its layers in order. */
export interface NetworkSpec {
  name: string;
  /** Height, width and channels of an image; its pixels are from 0 to 255. */
  input: [number, number, number];
  classes: number;
  /** Whether the mean training image is subtracted from the pixels. */
  subtractMean: boolean;
  /** Factor on the pixels, after subtraction of the mean image. */
  scale: number;
  /** By channel, subtracted from the scaled pixels; and what the result is divided by. */
  mean?: number[];
  std?: number[];
  layers: LayerSpec[];
}

const xavier = { kind: 'xavier' } as const;
const gaussian = (std: number) => ({ kind: 'gaussian', std }) as const;

/** The paper's networks, as in Caffe's examples. */
export const NETWORKS = {
  lenet: {
    name: 'lenet',
    input: [28, 28, 1],
    classes: 10,
    subtractMean: false,
    scale: 1 / 256,
    layers: [
      { kind: 'conv', name: 'conv1', filters: 20, size: 5, filler: xavier },
      { kind: 'maxPool', size: 2, stride: 2 },
      { kind: 'conv', name: 'conv2', filters: 50, size: 5, filler: xavier },
      { kind: 'maxPool', size: 2, stride: 2 },
      { kind: 'innerProduct', name: 'ip1', outputs: 500, filler: xavier },
      { kind: 'relu' },
      { kind: 'dropout', rate: 0.5 },
      { kind: 'innerProduct', name: 'ip2', outputs: 10, filler: xavier },
    ],
  },
  'cifar10-quick': {
    name: 'cifar10-quick',
    input: [32, 32, 3],
    classes: 10,
    subtractMean: true,
    scale: 1,
    layers: [
      { kind: 'conv', name: 'conv1', filters: 32, size: 5, pad: 2, filler: gaussian(0.0001) },
      { kind: 'maxPool', size: 3, stride: 2 },
      { kind: 'relu' },
      { kind: 'conv', name: 'conv2', filters: 32, size: 5, pad: 2, filler: gaussian(0.01) },
      { kind: 'relu' },
      { kind: 'avgPool', size: 3, stride: 2 },
      { kind: 'conv', name: 'conv3', filters: 64, size: 5, pad: 2, filler: gaussian(0.01) },
      { kind: 'relu' },
      { kind: 'avgPool', size: 3, stride: 2 },
      { kind: 'innerProduct', name: 'ip1', outputs: 64, filler: gaussian(0.1) },
      { kind: 'dropout', rate: 0.5 },
      { kind: 'innerProduct', name: 'ip2', outputs: 10, filler: gaussian(0.1) },
    ],
  },
} satisfies Record<string, NetworkSpec>;

export type NetworkName = keyof typeof NETWORKS;
