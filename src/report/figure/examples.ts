import { z } from 'zod';
import { ATTACK_NAMES, type AttackName } from '../../attacks/attack.js';
import { ATTACKS } from '../../attacks/attacks.js';
import { CLASS_NAMES, DATA_TITLES } from '../../data/shapes.js';
import { DATA_NAMES, type DataName } from '../../data/sources.js';
import { textWidth } from './font.js';
import { IMAGE, number, optionalNumber, type FigureKind } from './rows.js';
import { chunks, INK, type Layout, TEXT } from './theme.js';

/** An image of the figure: a test image, or one perturbed by an attack to fool a network. */
const exampleRow = z.object({
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
  /** Of the classes; empty where they have none. Files of earlier versions lack both. */
  label_name: z.string().optional(),
  predicted_name: z.string().optional(),
});
export type ExampleRow = z.infer<typeof exampleRow>;

/** Chosen so that each pixel of an image is a whole number of pixels in the PNG. */
const SIZES: Record<DataName, number> = { mnist: 56, cifar10: 48, cifar100: 48, idx: 56 };
/** From image to image. */
const STEP = 58;
const LINE = 12;
/** Between lines of images, where they do not fit one. */
const BELOW = 14;

/**
 * A block for each data set: a column for each image; in the first row as it is, below it what fools each network by
 * each attack, with the class that this then takes it for, L∞ and PASS.
 */
export const examples: FigureKind<ExampleRow> = {
  row: exampleRow,
  spec(rows, layout) {
    const sets = DATA_NAMES.map((name) => rows.filter(({ data }) => data === name));
    return {
      description:
        'Adversarial examples: test images, and what an attack made of each to fool networks',
      spacing: BELOW,
      vconcat: sets.filter((own) => own.length > 0).flatMap((own) => blocksOf(own, layout)),
    };
  },
};

/** A row of images: of a network under an attack, or the test images themselves, whose network is empty. */
interface Line {
  network: string;
  attack: AttackName;
  /** Beside the images; the first is bold but for test images. */
  names: string[];
}

function imageLines(rows: readonly ExampleRow[]): Line[] {
  const networks = [...new Set(rows.map(({ network }) => network))];
  return networks.flatMap((network) => {
    const own = rows.filter((row) => row.network === network);
    const attacks = [...new Set(own.map(({ attack }) => attack))];
    const { training } = own[0];
    return attacks.map((attack, i): Line => {
      if (network === '') return { network, attack, names: ['original'] };
      const title = attacks.length > 1 ? ATTACKS[attack].title.split(' ') : [];
      const names = i === 0 ? [network, ...(training === '' ? [] : [training]), ...title] : title;
      return { network, attack, names };
    });
  });
}

/** As many images beside each other as there is room for. */
function blocksOf(rows: readonly ExampleRow[], layout: Layout) {
  const lines = imageLines(rows);
  const indices = [...new Set(rows.map(({ index }) => index))];
  // Whole, as everything else in this figure is, so that the images' pixels are.
  const before = Math.ceil(
    12 +
      Math.max(
        ...lines.flatMap(({ names }) => names.map((text) => textWidth(text, TEXT.title, true))),
      ),
  );
  const room = layout.isNarrow ? Math.max(1, Math.floor((layout.width - before) / STEP)) : Infinity;
  const attacks = [...new Set(rows.map(({ attack }) => ATTACKS[attack].title))];
  const title = {
    text: `${DATA_TITLES[rows[0].data]}, ${attacks.join(' and ')}`,
    subtitle: layout.isNarrow
      ? ['Below each image: the class that the', 'network sees, L∞ (grey levels), PASS']
      : 'Below each image: the class that the network sees, L∞ (grey levels), PASS',
  };
  return chunks(indices, Math.min(room, indices.length)).map((own, i) => {
    const within = rows.filter(({ index }) => own.includes(index));
    return { ...(i === 0 && { title }), ...blockOf(within, own, lines, before) };
  });
}

function blockOf(
  rows: readonly ExampleRow[],
  indices: readonly number[],
  lines: readonly Line[],
  before: number,
) {
  const name = rows[0].data;
  const size = SIZES[name];
  // Below the first row the class; below the others that, L∞ and PASS.
  const top = (line: number): number =>
    line === 0 ? 0 : size + LINE + 10 + (line - 1) * (size + 3 * LINE + 10);
  const classOf = (label: number, given = CLASS_NAMES[name]?.[label] ?? ''): string =>
    fitted(given === '' ? String(label) : given);
  const images = rows.map((row) => ({
    image: row.image,
    left: before + STEP * indices.indexOf(row.index),
    top: top(
      lines.findIndex(({ network, attack }) => network === row.network && attack === row.attack),
    ),
  }));
  const texts = rows.flatMap((row, i) => {
    const { left, top: at } = images[i];
    const below =
      row.predicted === null
        ? [classOf(row.label, row.label_name)]
        : [
            classOf(row.predicted, row.predicted_name),
            `L∞ ${row.linf ?? '–'}`,
            `PASS ${row.pass?.toFixed(2) ?? '–'}`,
          ];
    return below.map((text, l) => ({ text, x: left + size / 2, y: at + size + 2 + LINE * l }));
  });
  const names = lines.flatMap(({ network, names: own }, r) => {
    const first = top(r) + size / 2 - LINE - (own.length > 2 ? LINE / 2 : 0);
    const isBold = (text: string): boolean => text === network;
    return own.map((text, l) => ({ text, y: first + (LINE + 2) * l, bold: isBold(text) }));
  });
  const place = (field: string) => ({ field, type: 'quantitative' as const, scale: null });
  return {
    width: before + STEP * indices.length,
    height: top(lines.length) - 10,
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

/** A name of a class, cut so that it does not run into that of the next image. */
function fitted(text: string): string {
  if (textWidth(text, TEXT.label) <= STEP) return text;
  const letters = Array.from(text);
  while (letters.length > 1 && textWidth(`${letters.join('')}…`, TEXT.label) > STEP) letters.pop();
  return `${letters.join('')}…`;
}
