import { encode } from 'fast-png';
import { sumOf } from '../base/sums.js';
import { type Dataset, imageAt } from './dataset.js';

/** How many images there are of each class. */
export function classCounts({ labels, classes }: Dataset): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (const label of labels) counts[label]++;
  return counts;
}

/** The side of a square that a pixel becomes. */
const ZOOM = 2;
/** Pixels between two images. */
const GAP = 2;
const BACKGROUND = 128;

/**
 * The first images of each class as a PNG: a row for each class, in the order of the labels.
 *
 * @param perClass images in a row
 */
export function samplePicture(data: Dataset, perClass: number): Uint8Array {
  const { height, width, channels, classes } = data;
  const [stepY, stepX] = [ZOOM * height + GAP, ZOOM * width + GAP];
  const [rows, columns] = [classes * stepY + GAP, perClass * stepX + GAP];
  const picture = new Uint8Array(rows * columns * channels).fill(BACKGROUND);
  samplesOf(data, perClass).forEach((positions, row) => {
    positions.forEach((position, column) => {
      const image = imageAt(data, position);
      for (let y = 0; y < ZOOM * height; y++)
        for (let x = 0; x < ZOOM * width; x++) {
          const from = (Math.floor(y / ZOOM) * width + Math.floor(x / ZOOM)) * channels;
          const to = (row * stepY + GAP + y) * columns + column * stepX + GAP + x;
          for (let c = 0; c < channels; c++) picture[to * channels + c] = image[from + c];
        }
    });
  });
  return encode({ data: picture, height: rows, width: columns, channels, depth: 8 });
}

/** The positions of the first images of each class. */
function samplesOf({ labels, classes }: Dataset, perClass: number): number[][] {
  const found = Array.from({ length: classes }, (): number[] => []);
  labels.forEach((label, position) => {
    if (found[label].length < perClass) found[label].push(position);
  });
  return found;
}

const SHADES = ' .:-=+*#%@';

/** An image in letters, darker ones for brighter pixels, two for a pixel. */
export function inLetters(data: Dataset, position: number): string[] {
  const { height, width, channels } = data;
  const image = imageAt(data, position);
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => {
      const pixel = image.subarray((y * width + x) * channels, (y * width + x + 1) * channels);
      const mean = sumOf(pixel) / channels;
      return SHADES[Math.min(SHADES.length - 1, Math.floor((mean / 256) * SHADES.length))].repeat(
        2,
      );
    })
      .join('')
      .trimEnd(),
  );
}
