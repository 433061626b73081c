import type * as tf from '@tensorflow/tfjs-core';

/** How a window slides over an image: its stride and the zero padding around the image, in pixels. */
export interface Sliding {
  stride: number;
  /** As in tfjs; explicit for poolings whose last windows are clipped. */
  pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
}

/** A max pooling over size × size windows. */
export interface MaxPooling {
  size: number;
  sliding: Sliding;
}

/** Padding only below and to the right of an image, where Caffe's pooling windows are clipped. */
export function clippedAt(below: number, right: number): tf.backend_util.ExplicitPadding {
  return [
    [0, 0],
    [0, below],
    [0, right],
    [0, 0],
  ];
}

export function slidingAttributes({ stride, pad }: Sliding): Record<string, unknown> {
  return { strides: [stride, stride], pad, dataFormat: 'NHWC', dilations: [1, 1] };
}

export function poolingAttributes({ size, sliding }: MaxPooling): Record<string, unknown> {
  return { filterSize: [size, size], strides: [sliding.stride, sliding.stride], pad: sliding.pad };
}
