import type { LayerSpec } from '../layers.js';
import type { NamedArray } from '../tensors.js';

/** y = factor · x + shift, for each channel of an image or value of a vector. */
export interface ByChannel {
  factor: ArrayLike<number>;
  shift: ArrayLike<number>;
}

/** The numbers of a batch normalisation outside training, by channel. */
export interface BatchNorm {
  weight?: ArrayLike<number>;
  bias?: ArrayLike<number>;
  mean: ArrayLike<number>;
  variance: ArrayLike<number>;
  epsilon: number;
}

/** What a batch normalisation with fixed mean and variance does. */
export function byChannelOf({ weight, bias, mean, variance, epsilon }: BatchNorm): ByChannel {
  const factor = Float64Array.from(
    { length: mean.length },
    (_, c) => (weight?.[c] ?? 1) / Math.sqrt(variance[c] + epsilon),
  );
  const shift = factor.map((one, c) => (bias?.[c] ?? 0) - one * mean[c]);
  return { factor, shift };
}

/** The weight and bias of a layer, outputs first, with what follows it folded in. */
export function foldedInto(
  weight: NamedArray,
  bias: NamedArray,
  { factor, shift }: ByChannel,
): { weight: NamedArray; bias: NamedArray } {
  const inputs = weight.data.length / weight.shape[0];
  return {
    weight: {
      shape: weight.shape,
      data: weight.data.map((value, i) => value * factor[Math.floor(i / inputs)]),
    },
    bias: { shape: bias.shape, data: bias.data.map((value, c) => value * factor[c] + shift[c]) },
  };
}

/** A layer that does this alone, where there is none before it: a convolution of one pixel, or an inner product. */
export function layerOf(
  { factor, shift }: ByChannel,
  kind: 'conv' | 'innerProduct',
  name: string,
): { spec: LayerSpec; weight: NamedArray; bias: NamedArray } {
  const channels = factor.length;
  const data = new Float32Array(channels ** 2);
  for (let c = 0; c < channels; c++) data[c * channels + c] = factor[c];
  const filler = { kind: 'xavier' } as const;
  const isConv = kind === 'conv';
  return {
    spec: isConv
      ? { kind, name, filters: channels, size: 1, filler }
      : { kind, name, outputs: channels, filler },
    weight: { shape: isConv ? [channels, channels, 1, 1] : [channels, channels], data },
    bias: { shape: [channels], data: Float32Array.from(shift) },
  };
}
