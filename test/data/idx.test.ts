import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { idxLength, parseIdx } from '#bang/data/idx.js';
import { readIdxFolder } from '#bang/data/idxFolder.js';
import { UserError } from '#bang/base/errors.js';
import { idxBytes, randomOf } from './idx-bytes.js';
import { temporaryFolder } from './registry.js';

describe('parseIdx', () => {
  it('returns the shape and a view on the elements', () => {
    const bytes = idxBytes([2, 3, 1], [1, 2, 3, 4, 5, 255]);
    const { shape, data } = parseIdx(bytes, [3], 'images');
    expect(shape).toEqual([2, 3, 1]);
    expect([...data]).toEqual([1, 2, 3, 4, 5, 255]);
    expect(data.buffer).toBe(bytes.buffer);
  });

  it('reads a view that does not begin its buffer', () => {
    const bytes = new Uint8Array([9, 9, 9, ...idxBytes([2], [7, 8])]).subarray(3);
    expect(parseIdx(bytes, [1], 'labels')).toEqual({ shape: [2], data: new Uint8Array([7, 8]) });
  });

  it('accepts an array of nothing', () => {
    expect(parseIdx(idxBytes([0], []), [1], 'labels').shape).toEqual([0]);
  });

  it.each<[string, Uint8Array, number, RegExp]>([
    ['nothing', new Uint8Array(0), 1, /is not an IDX file/],
    [
      'text',
      Buffer.from('<html>not found</html>'),
      1,
      /is not an IDX file: give one, gzipped or not, under/,
    ],
    ['floats', new Uint8Array([0, 0, 13, 1, 0, 0, 0, 0]), 1, /type 13, not unsigned bytes/],
    ['labels for images', idxBytes([2], [1, 2]), 3, /has 1 dimensions where images have 3/],
    ['images for labels', idxBytes([1, 1, 1], [1]), 1, /has 3 dimensions where labels have 1/],
    ['half a header', idxBytes([1, 1, 1], [1]).subarray(0, 9), 3, /truncated within its header/],
    ['a byte too few', idxBytes([3], [1, 2]), 1, /truncated: .* 3 bytes .* 11 bytes, not of 10/],
    ['a byte too many', idxBytes([1], [1, 2]), 1, /too long/],
    ['2^31 labels', idxBytes([2 ** 31], [1]), 1, /truncated: its header announces 2147483648/],
    ['2^93 pixels', idxBytes([2 ** 31, 2 ** 31, 2 ** 31], [1]), 3, /truncated/],
  ])('refuses %s', (_, bytes, rank, message) => {
    const parse = (): unknown => parseIdx(bytes, [rank], 'FILE');
    expect(parse).toThrow(UserError);
    expect(parse).toThrow(message);
    expect(parse).toThrow(/^FILE /);
  });

  it('refuses or reads whatever random damage makes of a file, and never does anything else', () => {
    const random = randomOf(1);
    let refused = 0;
    for (let round = 0; round < 5000; round++) {
      const rank = random(2) === 0 ? 1 : 3;
      const shape = Array.from({ length: rank }, () => random(5));
      const length = shape.reduce((product, size) => product * size, 1);
      const whole = idxBytes(
        shape,
        Array.from({ length }, () => random(256)),
      );
      const damaged = damage(whole, random);
      try {
        const parsed = parseIdx(damaged, [rank], 'FILE');
        expect(parsed.shape).toHaveLength(rank);
        expect(idxLength(parsed.shape)).toBe(damaged.length);
        expect(parsed.data).toHaveLength(damaged.length - 4 - 4 * rank);
      } catch (error) {
        expect(error).toBeInstanceOf(UserError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1000);
    expect(refused).toBeLessThan(5000);
  });
});

describe('readIdxFolder', () => {
  it('refuses images without a pixel', async () => {
    const { folder, remove } = temporaryFolder();
    for (const prefix of ['train', 't10k']) {
      writeFileSync(path.join(folder, `${prefix}-images-idx3-ubyte`), idxBytes([2, 0, 8], []));
      writeFileSync(path.join(folder, `${prefix}-labels-idx1-ubyte`), idxBytes([2], [0, 1]));
    }
    await expect(readIdxFolder(folder)).rejects.toThrow(/-ubyte has images of 0×8: give larger/);
    remove();
  });

  it('tells the planes of PyTorch from channels', async () => {
    const { folder, remove } = temporaryFolder();
    writeFileSync(
      path.join(folder, 't10k-images-idx4-ubyte'),
      idxBytes([1, 3, 4, 5], Array(60).fill(0)),
    );
    writeFileSync(path.join(folder, 't10k-labels-idx1-ubyte'), idxBytes([1], [0]));
    await expect(readIdxFolder(folder)).rejects.toThrow(
      /-ubyte has 5 channels: give grey images or RGB, N×H×W×3 instead of N×3×H×W$/,
    );
    remove();
  });

  it('needs no images for training, but both files or none', async () => {
    const { folder, remove } = temporaryFolder();
    const write = (name: string, bytes: Uint8Array) => {
      writeFileSync(path.join(folder, name), bytes);
    };
    await expect(readIdxFolder(folder)).rejects.toThrow(/lacks t10k-images-idx3-ubyte/);
    write('t10k-images-idx3-ubyte', idxBytes([2, 1, 2], [1, 2, 3, 4]));
    await expect(readIdxFolder(folder)).rejects.toThrow(/lacks t10k-labels-idx1-ubyte/);
    write('t10k-labels-idx1-ubyte', idxBytes([2], [4, 1]));
    const { train, test } = await readIdxFolder(folder);
    expect(train).toMatchObject({ count: 0, height: 1, width: 2, classes: 5 });
    expect(test).toMatchObject({ count: 2, classes: 5 });
    write('train-labels-idx1-ubyte', idxBytes([2], [4, 1]));
    await expect(readIdxFolder(folder)).rejects.toThrow(/lacks train-images-idx3-ubyte/);
    remove();
  });
});

/** Cuts, lengthens or overwrites at a random place. */
function damage(bytes: Uint8Array, random: (below: number) => number): Uint8Array {
  switch (random(4)) {
    case 0:
      return bytes.slice(0, random(bytes.length));
    case 1:
      return new Uint8Array([
        ...bytes,
        ...Array.from({ length: 1 + random(9) }, () => random(256)),
      ]);
    case 2:
      return bytes.map((byte) => (random(bytes.length) === 0 ? random(256) : byte));
    default: {
      const copy = bytes.slice();
      copy[random(copy.length)] = random(256);
      return copy;
    }
  }
}
