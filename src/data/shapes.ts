import type { DataName } from './sources.js';

/** The size of an image in pixels. */
export interface ImageSize {
  height: number;
  width: number;
  channels: number;
}

/** The size of a data set's images, and the number of classes. */
export interface ImageShape extends ImageSize {
  classes: number;
}

/** Labels and predicted classes are bytes. */
export const MOST_CLASSES = 256;

/** What is known of a data set by its name; nothing of `idx`. */
export const SHAPES = {
  mnist: { height: 28, width: 28, channels: 1, classes: 10 },
  cifar10: { height: 32, width: 32, channels: 3, classes: 10 },
  cifar100: { height: 32, width: 32, channels: 3, classes: 100 },
} satisfies Record<Exclude<DataName, 'idx'>, ImageShape>;

/** The size of a data set's images and the number of classes; undefined of `idx`, whose files say it. */
export function shapeOf(data: DataName): ImageShape | undefined {
  return data === 'idx' ? undefined : SHAPES[data];
}

/** The names of the data sets in headings. */
export const DATA_TITLES: Record<DataName, string> = {
  mnist: 'MNIST',
  cifar10: 'CIFAR-10',
  cifar100: 'CIFAR-100',
  idx: 'IDX files',
};

/** The names of the classes, in the order of the labels, where the data set's name tells them. */
export const CLASS_NAMES: Partial<Record<DataName, readonly string[]>> = {
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

/**
 * The names of the classes, in the order of the labels, if they are known: a folder of the user's may hold other
 * classes than the data set whose format it has.
 *
 * @param own those that the files tell
 */
export function classNames(
  data: DataName,
  folder: string | null | undefined,
  own: readonly string[] | undefined,
): readonly string[] | undefined {
  return own ?? (typeof folder === 'string' ? undefined : CLASS_NAMES[data]);
}
