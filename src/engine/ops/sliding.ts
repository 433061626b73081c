import type * as tf from '@tensorflow/tfjs-core';

/** How a window slides over an image: its stride and the zero padding around the image, in pixels. */
export interface Sliding {
  stride: number;
  /** In tfjs's terms; explicit for a pooling whose last windows are clipped. */
  pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
}

/** A max pooling over size × size windows. */
export interface MaxPooling {
  size: number;
  sliding: Sliding;
}

/** Padding below and to the right of an image only, where Caffe's poolings clip. */
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
