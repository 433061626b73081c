import path from 'node:path';
import { UserError } from '../base/errors.js';
import { inWords, shapeText } from '../base/text.js';
import { type DataSplits, slice } from './dataset.js';
import { described, descriptionIn } from './describe.js';
import { LABELS_RANK, type NamedIdx, pair } from './labelled.js';
import { readIdxFile } from './mnist.js';
import { MOST_CLASSES } from './shapes.js';
import { namesIn } from './userFiles.js';

/** A file of IDX data by the name that it is distributed under, such as emnist-balanced-train-images-idx3-ubyte.gz. */
const NAME = /^(.*?)-?(train|test|t10k)-(images|labels)[-.]idx([134])-ubyte(\.gz)?$/i;

interface Found {
  file: string;
  set: string;
  split: 'train' | 'test';
  what: 'images' | 'labels';
}

/**
 * Images of any size, grey or in colour, and labels of any number of classes, from a folder with four IDX files:
 * images and labels for training and for tests, gzipped or not. Those for training may be missing. Its data.yaml may
 * say more.
 *
 * @throws UserError that names a file that is missing, damaged, or does not fit the others
 */
export async function readIdxFolder(folder: string): Promise<DataSplits> {
  const present = await namesIn(folder);
  const all = [...present].flatMap((name): Found[] => {
    const match = NAME.exec(name);
    if (!match) return [];
    const split = match[2].toLowerCase() === 'train' ? 'train' : 'test';
    const what = match[3].toLowerCase() as Found['what'];
    return [{ file: path.join(folder, name), set: match[1], split, what }];
  });
  const sets = [...new Set(all.map(({ set }) => set))];
  if (sets.length > 1) {
    throw new UserError(
      `${folder} holds several data sets, ${inWords(sets.map((set) => set || 'one without a name'))}: put each into its own folder`,
    );
  }
  const read = async (split: Found['split'], what: Found['what']): Promise<NamedIdx> => {
    const found = all.find((one) => one.split === split && one.what === what);
    if (!found) {
      const name = `${split === 'train' ? 'train' : 't10k'}-${what}-idx${what === 'images' ? 3 : 1}-ubyte`;
      throw new UserError(
        `${folder} lacks ${name} (or ${name}.gz): put four IDX files there, images and labels for training and for tests`,
      );
    }
    const ranks = what === 'labels' ? [LABELS_RANK] : [3, 4];
    return { file: found.file, ...(await readIdxFile(found.file, ranks)) };
  };
  const splitOf = async (split: Found['split']) => {
    const images = await read(split, 'images');
    const [count, height, width, channels = 1] = images.shape;
    // An axis of one channel says no more than none.
    const shape = channels === 1 ? [count, height, width] : images.shape;
    const size = { height, width, channels, classes: MOST_CLASSES };
    if (height * width === 0) {
      throw new UserError(`${images.file} has images of ${height}×${width}: give larger ones`);
    }
    const dataset = pair({ ...images, shape }, await read(split, 'labels'), size);
    if (channels !== 1 && channels !== 3) {
      const isPlanar = [1, 3].includes(height);
      throw new UserError(
        `${images.file} has ${channels} channels: give grey images or RGB${isPlanar ? ', N×H×W×3 instead of N×3×H×W' : ''}`,
      );
    }
    return dataset;
  };
  const lacksTraining = all.length > 0 && all.every(({ split }) => split === 'test');
  const test = await splitOf('test');
  const train = lacksTraining ? slice(test, 0, 0) : await splitOf('train');
  const sizes = [train, test].map(({ height, width, channels }) =>
    shapeText([height, width, channels]),
  );
  if (sizes[0] !== sizes[1]) {
    throw new UserError(
      `${folder} has images of ${sizes[0]} for training and of ${sizes[1]} for tests: give equal ones`,
    );
  }
  return described({ train, test }, await descriptionIn(folder, present), folder);
}
