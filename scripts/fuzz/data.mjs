// Targets: the files of data sets that users bring.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { readCifar10Folder } from '#bang/data/cifar10.js';
import { parseIdx } from '#bang/data/idx.js';
import { readMnistFolder } from '#bang/data/mnist.js';
import { makeRandom } from '#bang/base/random.js';
import { attempt, Fault } from './oracle.mjs';
import { below, chance, mutateBytes, oneOf } from './mutate.mjs';
import { writeMnist } from './space.mjs';

function demandSet({ count, height, width, channels, classes, images, labels }, input) {
  if (images.length !== count * height * width * channels || labels.length !== count) {
    throw new Fault(
      `${count} images have ${images.length} bytes and ${labels.length} labels`,
      input,
    );
  }
  if (labels.some((label) => label >= classes)) throw new Fault('a label is out of range', input);
}

/** Single IDX arrays in memory. */
async function idx() {
  const header = Buffer.from([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 28, 0, 0, 0, 28]);
  const sound = Buffer.concat([header, Buffer.alloc(3 * 784, 7)]);
  return async (random) => {
    const bytes = mutateBytes(random, sound, { within: chance(random, 0.8) ? 16 : sound.length });
    const input = `base64 ${Buffer.from(bytes.subarray(0, 64)).toString('base64')}, ${bytes.length} bytes`;
    const { taken, value } = await attempt(input, () =>
      parseIdx(bytes, [3], 'x-images-idx3-ubyte'),
    );
    if (taken && value.data.length !== value.shape.reduce((a, b) => a * b, 1)) {
      throw new Fault('a shape does not fit its data', input);
    }
    return taken;
  };
}

/** A folder of a data set of which one file is damaged, gone, doubled, empty, a folder, or packed. */
function folders(write, read) {
  return async (space) => {
    const folder = path.join(space, 'data');
    mkdirSync(folder);
    write(folder);
    const names = readdirSync(folder);
    const sound = new Map(names.map((name) => [name, readFileSync(path.join(folder, name))]));
    return async (random) => {
      const name = oneOf(random, names);
      const file = path.join(folder, name);
      const upper = path.join(folder, name.toUpperCase());
      const kind = below(random, 10);
      const bytes = sound.get(name);
      rmSync(file);
      if (kind === 0) mkdirSync(file);
      else if (kind === 1) writeFileSync(file, sound.get(oneOf(random, names)));
      else if (kind === 2) writeFileSync(file, '');
      else if (kind === 3) writeFileSync(file, mutateBytes(random, gzipSync(bytes, { level: 1 })));
      else if (kind === 4) writeFileSync(upper, bytes);
      else if (kind > 5) {
        const within = chance(random, 0.7) ? 16 : bytes.length;
        writeFileSync(file, mutateBytes(random, bytes, { within }));
      }
      const input = `${name}, damage ${kind}`;
      try {
        const { taken, value } = await attempt(input, () => read(folder));
        if (taken) for (const set of [value.train, value.test]) demandSet(set, input);
        return taken;
      } finally {
        rmSync(file, { recursive: true, force: true });
        rmSync(upper, { force: true });
        writeFileSync(file, bytes);
      }
    };
  };
}

const IMAGES_PER_FILE = 4;

function writeCifar10(folder) {
  const random = makeRandom(1, 'images');
  for (const name of [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`).concat('test_batch.bin')) {
    const bytes = Uint8Array.from({ length: IMAGES_PER_FILE * 3073 }, () => below(random, 256));
    for (let i = 0; i < IMAGES_PER_FILE; i++) bytes[i * 3073] = below(random, 10);
    writeFileSync(path.join(folder, name), bytes);
  }
}

/** Half of the files packed, as they are distributed. */
function writeMixed(folder) {
  writeMnist(folder, { train: 12, test: 6 });
  for (const name of readdirSync(folder).slice(0, 2)) {
    const file = path.join(folder, name);
    const packed = gzipSync(readFileSync(file));
    if (gunzipSync(packed).length > 0) writeFileSync(`${file}.gz`, packed);
    rmSync(file);
  }
}

export const targets = {
  idx,
  mnist: folders(writeMixed, readMnistFolder),
  cifar10: folders(writeCifar10, (folder) => readCifar10Folder(folder, IMAGES_PER_FILE)),
};
