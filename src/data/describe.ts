import path from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { messageOf, UserError } from '../base/errors.js';
import { readUserFile } from '../base/files.js';
import { inWords, quoted } from '../base/text.js';
import type { Dataset, DataSplits } from './dataset.js';
import { MOST_CLASSES } from './shapes.js';

/** The file in a data folder that says what its other files do not. */
const DESCRIPTION = 'data.yaml';
/** Ample for names of 256 classes. */
const MOST_BYTES = 2 ** 16;

/** What a folder says about its images. */
export interface Description {
  /** Whether the files have rows and columns exchanged, as those of EMNIST. */
  transpose: boolean;
  /** The label of the first class. */
  firstLabel: number;
  /** How many classes there are, or their names. */
  classes?: number | string[];
}

const schema = z.strictObject({
  transpose: z.boolean().default(false),
  firstLabel: z.int().min(0).max(255).default(0),
  classes: z
    .union([
      z.int().min(1).max(MOST_CLASSES),
      z
        .array(z.union([z.string(), z.number()]).transform(String))
        .min(1)
        .max(MOST_CLASSES),
    ])
    .optional(),
});

/** Files of class names that data sets come with: of CIFAR-100, and one of the user's. */
const NAME_FILES = ['classes.txt', 'fine_label_names.txt'];
/** EMNIST's: on each line a label, one more than on the line before, and codes of characters, of which the first is used. */
const MAPPING = /^emnist-.*mapping\.txt$/;
const MAPPING_LINE = /^\d+(\s+\d+)+$/;

/**
 * The folder's description: what its data.yaml says, and the names of the classes in a file beside it.
 *
 * @throws UserError if data.yaml is no description, or the file of EMNIST's characters does not list them in order
 */
export async function descriptionIn(
  folder: string,
  present: ReadonlySet<string>,
): Promise<Description> {
  const description: Description = { transpose: false, firstLabel: 0 };
  if (present.has(DESCRIPTION)) Object.assign(description, await readDescription(folder));
  if (description.classes !== undefined) return description;
  const listed = NAME_FILES.find((name) => present.has(name));
  const mapping = [...present].filter((name) => MAPPING.test(name));
  const lines = async (name: string): Promise<string[]> => {
    const text = Buffer.from(await readUserFile(path.join(folder, name), MOST_BYTES));
    return text
      .toString('utf8')
      .split('\n')
      .flatMap((line) => line.trim() || []);
  };
  if (listed !== undefined) return { ...description, classes: await lines(listed) };
  if (mapping.length !== 1) return description;
  const listing = await lines(mapping[0]);
  const firstLabel = Number.parseInt(listing[0]) || 0;
  const names = listing.map((line, i) => {
    const [label, code] = MAPPING_LINE.test(line) ? line.split(/\s+/).map(Number) : [];
    if (label === firstLabel + i) return String.fromCharCode(code);
    throw new UserError(
      `${path.join(folder, mapping[0])}: expected ${firstLabel + i} and the code of a character, found ${quoted(line)}`,
    );
  });
  return { ...description, firstLabel, classes: names };
}

async function readDescription(folder: string): Promise<z.output<typeof schema>> {
  const file = path.join(folder, DESCRIPTION);
  const text = Buffer.from(await readUserFile(file, MOST_BYTES)).toString('utf8');
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new UserError(`${file}: ${messageOf(error).split('\n')[0]}`);
  }
  const found = schema.safeParse(value ?? {});
  if (found.success) return found.data;
  const [issue] = found.error.issues;
  const keys =
    'transpose: true or false, firstLabel: a number, classes: a number or a list of names';
  const what =
    issue.code === 'unrecognized_keys'
      ? `${quoted(issue.keys[0])} is no key`
      : inWords(issue.path.map(String));
  throw new UserError(`${file}: ${what || 'it is no mapping'}: expected ${keys}`);
}

/**
 * Images and labels as a description says they are meant.
 *
 * @throws UserError if a label is not of a class
 */
export function described(
  splits: DataSplits,
  { transpose, firstLabel, classes }: Description,
  file: string,
): DataSplits {
  const all = [splits.train, splits.test];
  const largest = Math.max(...all.map(({ labels }) => labels.reduce((a, b) => Math.max(a, b), 0)));
  const smallest = Math.min(
    ...all.map(({ labels }) => labels.reduce((a, b) => Math.min(a, b), 255)),
  );
  const names = Array.isArray(classes) ? classes : undefined;
  const count = names?.length ?? (classes as number | undefined) ?? largest - firstLabel + 1;
  if (smallest < firstLabel || largest - firstLabel >= count) {
    const what =
      classes === undefined
        ? `the first label is ${firstLabel}: correct`
        : `${count} classes from ${firstLabel} on are described: correct classes or`;
    throw new UserError(
      `${file} has labels from ${smallest} to ${largest}, but ${what} firstLabel in ${DESCRIPTION}`,
    );
  }
  const [train, test] = all.map((data): Dataset => ({
    ...(transpose ? transposed(data) : data),
    classes: count,
    labels: firstLabel === 0 ? data.labels : data.labels.map((label) => label - firstLabel),
    ...(names && { names }),
  }));
  return { train, test };
}

/** The images with rows and columns exchanged. */
export function transposed(data: Dataset): Dataset {
  const { count, height, width, channels, images } = data;
  const turned = new Uint8Array(images.length);
  const size = height * width * channels;
  for (let i = 0; i < count; i++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < channels; c++)
          turned[i * size + (x * height + y) * channels + c] =
            images[i * size + (y * width + x) * channels + c];
  return { ...data, height: width, width: height, images: turned };
}
