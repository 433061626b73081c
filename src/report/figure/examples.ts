import { encode } from 'fast-png';
import { z } from 'zod';
import { ATTACK_NAMES } from '../../attacks/attack.js';
import { ATTACKS } from '../../attacks/attacks.js';
import { CLASS_NAMES, DATA_TITLES } from '../../data/shapes.js';
import { DATA_NAMES, type DataName } from '../../data/sources.js';
import { textWidth } from './font.js';
import { IMAGE, number, optionalNumber, type FigureKind } from './rows.js';
import { INK, TEXT } from './theme.js';

/** An image of the figure: a test image, or one perturbed by an attack to fool a network. */
export const exampleRow = z.object({
  data: z.enum(DATA_NAMES),
  attack: z.enum(ATTACK_NAMES),
  /** In the test set. */
  index: number,
  label: number,
  /** Empty for the test image itself. */
  network: z.string(),
  /** `BANG`, `regular`, or empty where it is not known. */
  training: z.string(),
  /** All null for the test image itself; L∞ in grey levels. */
  predicted: optionalNumber,
  linf: optionalNumber,
  pass: optionalNumber,
  /** A PNG as data URL. */
  image: z.string().regex(IMAGE),
});
export type ExampleRow = z.infer<typeof exampleRow>;

/** The image of height × width × channels values as a PNG in a data URL. */
export function imageUrl(
  data: Uint8Array,
  { height, width, channels }: { height: number; width: number; channels: number },
): string {
  const png = encode({ data, height, width, channels, depth: 8 });
  return `data:image/png;base64,${Buffer.from(png).toString('base64')}`;
}

/** Chosen so that each pixel of an image is a whole number of pixels in the PNG. */
const SIZES: Record<DataName, number> = { mnist: 56, cifar10: 48, cifar100: 48, idx: 56 };
/** From image to image. */
const STEP = 58;
const LINE = 12;

/**
 * A block for each data set: a column for each image; in the first row as it is, below it what fools
 * each network, with the class that this then takes it for, L∞ and PASS.
 */
export const examples: FigureKind<ExampleRow> = {
  row: exampleRow,
  spec(rows) {
    const sets = DATA_NAMES.filter((name) => rows.some(({ data }) => data === name));
    return {
      description:
        'Adversarial examples: test images, and what an attack made of each to fool networks',
      spacing: 14,
      vconcat: sets.map((name) =>
        blockOf(
          name,
          rows.filter(({ data }) => data === name),
        ),
      ),
    };
  },
};

function blockOf(name: DataName, rows: readonly ExampleRow[]) {
  const size = SIZES[name];
  const indices = [...new Set(rows.map(({ index }) => index))];
  const networks = [...new Set(rows.map(({ network }) => network))];
  // Whole, as everything else in this figure is, so that the images' pixels are.
  const namesWidth = Math.ceil(
    12 + Math.max(...['original', ...networks].map((text) => textWidth(text, TEXT.title, true))),
  );
  // Below the first row the class; below the others that, L∞ and PASS.
  const top = (row: number): number =>
    row === 0 ? 0 : size + LINE + 10 + (row - 1) * (size + 3 * LINE + 10);
  const classOf = (label: number): string => CLASS_NAMES[name]?.[label] ?? String(label);
  const images = rows.map((row) => ({
    image: row.image,
    left: namesWidth + STEP * indices.indexOf(row.index),
    top: top(networks.indexOf(row.network)),
  }));
  const texts = rows.flatMap((row, i) => {
    const { left, top: at } = images[i];
    const lines =
      row.predicted === null
        ? [classOf(row.label)]
        : [classOf(row.predicted), `L∞ ${row.linf ?? '–'}`, `PASS ${row.pass?.toFixed(2) ?? '–'}`];
    return lines.map((text, l) => ({
      text,
      x: left + size / 2,
      y: at + size + 2 + LINE * l,
    }));
  });
  const names = networks.flatMap((network, r) => {
    const training = rows.find((row) => row.network === network)!.training;
    const y = top(r) + size / 2 - LINE;
    const first = { text: network === '' ? 'original' : network, y, bold: network !== '' };
    return [first, ...(training === '' ? [] : [{ text: training, y: y + LINE + 2, bold: false }])];
  });
  const place = (field: string) => ({ field, type: 'quantitative' as const, scale: null });
  return {
    title: {
      text: `${DATA_TITLES[name]}, ${ATTACKS[rows[0].attack].title}`,
      subtitle: 'Below each image: the class that the network sees, L∞ (grey levels), PASS',
    },
    width: namesWidth + STEP * indices.length,
    height: top(networks.length) - 10,
    layer: [
      {
        data: { values: images },
        mark: {
          type: 'image' as const,
          width: size,
          height: size,
          align: 'left' as const,
          baseline: 'top' as const,
          // A Vega property that Vega-Lite passes on: pixels stay squares.
          ...{ smooth: false },
        },
        encoding: { x: place('left'), y: place('top'), url: { field: 'image' } },
      },
      {
        data: { values: texts },
        mark: {
          type: 'text' as const,
          baseline: 'top' as const,
          fontSize: TEXT.label,
          color: INK,
        },
        encoding: { x: place('x'), y: place('y'), text: { field: 'text' } },
      },
      ...[true, false].map((bold) => ({
        data: { values: names.filter((one) => one.bold === bold) },
        mark: {
          type: 'text' as const,
          align: 'left' as const,
          baseline: 'top' as const,
          fontSize: TEXT.title,
          fontWeight: bold ? ('bold' as const) : ('normal' as const),
          color: INK,
          x: 0,
        },
        encoding: { y: place('y'), text: { field: 'text' } },
      })),
    ],
  };
}
