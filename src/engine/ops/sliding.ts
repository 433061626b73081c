import type * as tf from '@tensorflow/tfjs-core';

/** How a window slides over an image: its stride and the zero padding around the image, in pixels. */
export interface Sliding {
  stride: number;
  /** As in tfjs; explicit where the sides differ, as for poolings whose last windows are clipped. */
  pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
}

/** A max pooling over size × size windows. */
export interface MaxPooling {
  size: number;
  sliding: Sliding;
}

/** Padding above, to the left, below and to the right of an image, as tfjs takes it. */
export function padding(
  sides: readonly [top: number, left: number, bottom: number, right: number],
): tf.backend_util.ExplicitPadding {
  const [top, left, bottom, right] = sides;
  return [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ];
}

export function slidingAttributes({ stride, pad }: Sliding): Record<string, unknown> {
  return { strides: [stride, stride], pad, dataFormat: 'NHWC', dilations: [1, 1] };
}

export function poolingAttributes({ size, sliding }: MaxPooling): Record<string, unknown> {
  return { filterSize: [size, size], strides: [sliding.stride, sliding.stride], pad: sliding.pad };
}
