import type { DataName } from './sources.js';

/** The size of a data set's images in pixels, and the number of classes. */
export interface ImageShape {
  height: number;
  width: number;
  channels: number;
  classes: number;
}

export const SHAPES: Record<DataName, ImageShape> = {
  mnist: { height: 28, width: 28, channels: 1, classes: 10 },
  cifar10: { height: 32, width: 32, channels: 3, classes: 10 },
};

/** The names of the classes, in the order of the labels. */
export const CLASS_NAMES: Record<DataName, readonly string[]> = {
  mnist: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
  cifar10: [
    'airplane',
    'automobile',
    'bird',
    'cat',
    'deer',
    'dog',
    'frog',
    'horse',
    'ship',
    'truck',
  ],
};
