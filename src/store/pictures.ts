import { existsSync } from 'node:fs';
import path from 'node:path';
import { decode, encode } from 'fast-png';
import { z } from 'zod';
import { ATTACK_NAMES, type AttackName } from '../attacks/attack.js';
import { UserError } from '../base/errors.js';
import { readJson } from '../base/files.js';
import type { ImageSize } from '../data/shapes.js';
import type { Parts } from './parts.js';
import { FILES } from './resultFolder.js';
import type { Result } from './result.js';

/** A perturbed test image that fools a network. */
export interface Picture {
  /** Index in the test set. */
  position: number;
  /** height × width × channels. */
  pixels: Uint8Array;
  /** The class that the network predicts. */
  predicted: number;
}

/** A test image that a network classifies correctly, and what each attack made of it. */
export interface PictureGroup {
  position: number;
  label: number;
  /** height × width × channels. */
  pixels: Uint8Array;
  /** Whether its loss gradient is exactly zero in float32. */
  blank: boolean;
  /** One for each attack; `found` is null if the attack failed, and `pass` if it was not measured. */
  attacks: {
    attack: AttackName;
    found: { pixels: Uint8Array; predicted: number; linf: number; pass: number | null } | null;
  }[];
}

/** Keeps the pictures of finished attacks, so that an interrupted evaluation can continue after them. */
export interface PictureStore {
  read(attack: AttackName): Picture[] | undefined;
  write(attack: AttackName, pictures: readonly Picture[]): void;
}

/** A store of pictures in the parts of a result. */
export function picturesIn(parts: Parts): PictureStore {
  const name = (attack: AttackName): string => `${attack}-pictures`;
  return {
    read(attack) {
      const stored = parts.read(name(attack)) as
        (Omit<Picture, 'pixels'> & { pixels: string })[] | undefined;
      return stored?.map((one) => ({
        ...one,
        pixels: new Uint8Array(Buffer.from(one.pixels, 'base64')),
      }));
    },
    write(attack, pictures) {
      parts.write(
        name(attack),
        pictures.map((one) => ({ ...one, pixels: Buffer.from(one.pixels).toString('base64') })),
      );
    },
  };
}

const index = z.int().min(0).max(1e6);
const image = z.base64().max(1e5);
const fileSchema = z.object({
  format: z.literal(1),
  weights: z.string(),
  images: z
    .array(
      z.object({
        position: index,
        label: index,
        png: image,
        blank: z.boolean(),
        attacks: z
          .array(
            z.object({
              attack: z.string(),
              found: z
                .object({
                  png: image,
                  predicted: index,
                  linf: z.number().min(1).max(255),
                  pass: z.number().min(-1).max(1).nullable(),
                })
                .nullable(),
            }),
          )
          .max(100),
      }),
    )
    .max(1000),
});

/** A PNG in base64 of height × width × channels values. */
export function pngText(data: Uint8Array, { height, width, channels }: ImageSize): string {
  return Buffer.from(encode({ width, height, channels, depth: 8, data })).toString('base64');
}

/** The content of `examples.json`: images are PNGs, in base64. */
export function picturesJson(
  weights: string,
  groups: readonly PictureGroup[],
  size: ImageSize,
): string {
  const images = groups.map(({ pixels, attacks, ...group }) => ({
    ...group,
    png: pngText(pixels, size),
    attacks: attacks.map(({ attack, found }) => {
      if (!found) return { attack, found };
      const { pixels: perturbed, ...more } = found;
      return { attack, found: { ...more, png: pngText(perturbed, size) } };
    }),
  }));
  return `${JSON.stringify({ format: 1, weights, images })}\n`;
}

/**
 * The pictures in a run's folder, and their size; undefined if it has none.
 *
 * @param known their size, if the data set's name tells it
 * @throws UserError if they are damaged, of other weights than the result, or not of one size
 */
export function readPictures(
  folder: string,
  { weights }: Pick<Result, 'weights'>,
  known: ImageSize | undefined,
): { size: ImageSize; groups: PictureGroup[] } | undefined {
  const file = path.join(folder, FILES.examples);
  if (!existsSync(file)) return undefined;
  const { data } = fileSchema.safeParse(readJson(file));
  if (!data) throw new UserError(`${file} is damaged`);
  if (data.weights !== weights) throw new UserError(`${file} is of other weights than the result`);
  const first = data.images.at(0);
  const size = known ?? (first && decoded(first.png));
  if (!size) return undefined;
  const groups = data.images.map(({ png, attacks, ...group }) => ({
    ...group,
    pixels: pixelsOf(png, size, file),
    attacks: attacks.flatMap(({ attack, found }): PictureGroup['attacks'] => {
      const name = ATTACK_NAMES.find((one) => one === attack);
      // An attack of a later version.
      if (!name) return [];
      if (!found) return [{ attack: name, found }];
      const { png: perturbed, ...more } = found;
      return [{ attack: name, found: { ...more, pixels: pixelsOf(perturbed, size, file) } }];
    }),
  }));
  return { size, groups };
}

function pixelsOf(
  base64: string,
  { height, width, channels }: ImageSize,
  file: string,
): Uint8Array {
  const image = decoded(base64);
  const fits =
    image?.width === width &&
    image.height === height &&
    image.channels === channels &&
    image.depth === 8;
  if (!fits) throw new UserError(`${file} is damaged: it holds an image of another size, or none`);
  return Uint8Array.from(image.data);
}

function decoded(base64: string): ReturnType<typeof decode> | undefined {
  try {
    return decode(Buffer.from(base64, 'base64'));
  } catch {
    return undefined;
  }
}
