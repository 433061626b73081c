import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Interrupted } from '#bang/base/errors.js';
import { packageRoot } from '#bang/base/files.js';
import { loadOpenCv, type OpenCv } from '#bang/metrics/opencv.js';
import type { ImageSize } from '#bang/data/shapes.js';
import { createPassMeter, type PassMeter } from '#bang/metrics/pass.js';
import { passOf } from '#bang/metrics/passPool.js';
import type { Progress } from '#bang/base/progress.js';
import { makeRandom } from '#bang/base/random.js';

const GREY: ImageSize = { height: 28, width: 28, channels: 1 };
const SIZE = 28 * 28;

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
const expected = JSON.parse(readFileSync(fixture('pass-pairs-lenet-fgs.json'), 'utf8')) as {
  pairs: { index: number; pass: number; aligned: boolean }[];
};
const { pairs } = expected;
const { originals, adversarials } = readPairs();

function readPairs(): { originals: Uint8Array; adversarials: Uint8Array } {
  const bytes = readFileSync(fixture('pass-pairs-lenet-fgs.bin'));
  const originals = new Uint8Array(pairs.length * SIZE);
  const adversarials = new Uint8Array(pairs.length * SIZE);
  for (let i = 0; i < pairs.length; i++) {
    originals.set(bytes.subarray(2 * i * SIZE, (2 * i + 1) * SIZE), i * SIZE);
    adversarials.set(bytes.subarray((2 * i + 1) * SIZE, (2 * i + 2) * SIZE), i * SIZE);
  }
  return { originals, adversarials };
}

function image(all: Uint8Array, i: number): Uint8Array {
  return all.subarray(i * SIZE, (i + 1) * SIZE);
}

function noise(length: number, seed: number): Uint8Array {
  const random = makeRandom(seed, 'noise');
  return Uint8Array.from({ length }, () => random.bits() >>> 24);
}

/** SSIM as its definition says, pixel by pixel, with a two-dimensional window. */
function directSsim(x: Uint8Array, y: Uint8Array, height: number, width: number): number {
  const reflect = (i: number, n: number): number => {
    while (i < 0 || i >= n) i = i < 0 ? -i : 2 * (n - 1) - i;
    return i;
  };
  const gauss = Array.from({ length: 11 }, (_, i) => Math.exp(-((i - 5) ** 2) / (2 * 1.5 ** 2)));
  const total = gauss.reduce((a, b) => a + b) ** 2;
  let sum = 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      let [mx, my, xx, yy, xy] = [0, 0, 0, 0, 0];
      for (let i = 0; i < 11; i++) {
        for (let j = 0; j < 11; j++) {
          const k = reflect(row + i - 5, height) * width + reflect(column + j - 5, width);
          const weight = (gauss[i] * gauss[j]) / total;
          mx += weight * x[k];
          my += weight * y[k];
          xx += weight * x[k] * x[k];
          yy += weight * y[k] * y[k];
          xy += weight * x[k] * y[k];
        }
      }
      const luminance = (2 * mx * my + 6.5025) / (mx * mx + my * my + 6.5025);
      const structure = (2 * (xy - mx * my) + 58.5225) / (xx - mx * mx + (yy - my * my) + 58.5225);
      sum += luminance * structure;
    }
  }
  return sum / (height * width);
}

/** Where OpenCV's heap ends, in words of four bytes: a loop, since a function called for each of 128 MB takes seconds. */
function written({ HEAPU8 }: OpenCv): number {
  const words = new Int32Array(HEAPU8.buffer);
  let end = words.length;
  while (words[end - 1] === 0) end--;
  return end;
}

describe('one pair', () => {
  let meter: PassMeter;
  beforeAll(async () => {
    meter = await createPassMeter(GREY);
  });
  afterAll(() => {
    meter.close();
  });

  test('an image is perfectly similar to itself', () => {
    for (let i = 0; i < 20; i++) {
      const { pass, aligned } = meter.measure(image(originals, i), image(originals, i));
      expect(pass).toBeCloseTo(1, 6);
      expect(aligned).toBe(true);
    }
  });

  test('a shifted image is aligned', () => {
    const original = image(originals, 0);
    const shifted = Uint8Array.from(original, (_, i) => (i % 28 > 0 ? original[i - 1] : 0));
    const { pass, aligned } = meter.measure(original, shifted);
    expect(aligned).toBe(true);
    expect(pass).toBeGreaterThan(0.99);
    expect(pass).toBeGreaterThan(directSsim(original, shifted, 28, 28) + 0.1);
  });

  test('images that cannot be aligned are compared as they are', () => {
    const flat = new Uint8Array(SIZE).fill(7);
    for (let i = 0; i < 10; i++) {
      const random = noise(SIZE, i);
      const negative = random.map((level) => 255 - level);
      const digit = image(originals, i);
      const unlike: [Uint8Array, Uint8Array][] = [
        [flat, flat.map((level) => level + i)],
        [flat, digit],
        [digit, flat],
        [random, negative],
        [digit, digit.map((level) => 255 - level)],
      ];
      for (const [original, adversarial] of unlike) {
        const { pass, aligned } = meter.measure(original, adversarial);
        expect(aligned).toBe(false);
        expect(pass).toBeCloseTo(directSsim(original, adversarial, 28, 28), 6);
      }
    }
  });

  test('scores are in [-1, 1] and the same again', () => {
    for (let i = 0; i < 50; i++) {
      const [x, y] = [noise(SIZE, 2 * i), noise(SIZE, 2 * i + 1)];
      const first = meter.measure(x, y);
      expect(Math.abs(first.pass)).toBeLessThanOrEqual(1);
      expect(meter.measure(x, y)).toEqual(first);
    }
  });

  test('failed alignments leave nothing behind', async () => {
    // Without care each leaves 3.5 kB of a stack of 5 MB and 70 kB of a heap of 128 MB.
    const { cv } = await loadOpenCv();
    const [flat, digit] = [new Uint8Array(SIZE), image(originals, 3)];
    const before = meter.measure(image(originals, 4), image(adversarials, 4));
    meter.measure(flat, digit);
    const [stack, end] = [cv.stackSave(), written(cv)];
    for (let i = 0; i < 30; i++) meter.measure(flat, digit);
    expect(cv.stackSave()).toBe(stack);
    expect(written(cv)).toBe(end);
    expect(meter.measure(image(originals, 4), image(adversarials, 4))).toEqual(before);
  });

  test('successful alignments leave nothing behind', async () => {
    const { cv } = await loadOpenCv();
    const measure = (): void => {
      for (let i = 0; i < pairs.length; i++) {
        meter.measure(image(originals, i), image(adversarials, i));
      }
    };
    measure();
    const [stack, end] = [cv.stackSave(), written(cv)];
    for (let round = 0; round < 3; round++) measure();
    expect(cv.stackSave()).toBe(stack);
    expect(written(cv)).toBe(end);
  });

  test('meters of several shapes live side by side', async () => {
    const colour = await createPassMeter({ height: 32, width: 24, channels: 3 });
    const x = noise(32 * 24 * 3, 1);
    const grey = Uint8Array.from({ length: 32 * 24 }, (_, i) =>
      Math.round(0.299 * x[3 * i] + 0.587 * x[3 * i + 1] + 0.114 * x[3 * i + 2]),
    );
    const negative = x.map((level) => 255 - level);
    const greyNegative = grey.map((level) => 255 - level);
    const before = meter.measure(image(originals, 1), image(adversarials, 1));
    const { pass, aligned } = colour.measure(x, negative);
    expect(aligned).toBe(false);
    expect(pass).toBeCloseTo(directSsim(grey, greyNegative, 32, 24), 3);
    expect(colour.measure(x, x).pass).toBeCloseTo(1, 6);
    colour.close();
    expect(meter.measure(image(originals, 1), image(adversarials, 1))).toEqual(before);
  });

  test('images smaller than the window', async () => {
    const small = await createPassMeter({ height: 3, width: 4, channels: 1 });
    const [x, y] = [noise(12, 1), noise(12, 1).map((level) => 255 - level)];
    expect(small.measure(x, y).pass).toBeCloseTo(directSsim(x, y, 3, 4), 6);
    small.close();
  });

  test('wrong sizes', async () => {
    expect(() => meter.measure(new Uint8Array(SIZE), new Uint8Array(3))).toThrow(RangeError);
    await expect(createPassMeter({ ...GREY, channels: 2 })).rejects.toThrow(RangeError);
    await expect(createPassMeter({ ...GREY, width: 0 })).rejects.toThrow(RangeError);
  });
});

describe('many pairs', () => {
  test('agree with an independent implementation on the authors’ LeNet under FGS', async () => {
    const { pass, aligned } = await passOf(originals, adversarials, GREY, { workers: 2 });
    const mean = (values: number[]): number => values.reduce((a, b) => a + b) / values.length;
    expect(Math.abs(mean([...pass]) - mean(pairs.map((pair) => pair.pass)))).toBeLessThan(0.0005);
    const off = pairs.map((pair, i) => Math.abs(pass[i] - pair.pass));
    // ECC is sensitive: another version of OpenCV ends elsewhere on a few pairs.
    expect(off.filter((difference) => difference < 0.001).length).toBeGreaterThanOrEqual(190);
    expect(off.filter((difference) => difference < 0.02).length).toBeGreaterThanOrEqual(198);
    expect([...aligned]).toEqual(pairs.map((pair) => (pair.aligned ? 1 : 0)));
  });

  test('do not depend on the number of threads, and come in order', async () => {
    const one = await passOf(originals, adversarials, GREY, { workers: 1 });
    const three = await passOf(originals, adversarials, GREY, { workers: 3 });
    expect(three).toEqual(one);
    const meter = await createPassMeter(GREY);
    for (const i of [0, 63, 64, 199]) {
      const { pass } = meter.measure(image(originals, i), image(adversarials, i));
      expect(one.pass[i]).toBe(Math.fround(pass));
    }
    meter.close();
  });

  test('say how far they are', async () => {
    const seen: number[] = [];
    let finished = 0;
    const progress: Progress = {
      start: (label, total, unit) => {
        expect([label, total, unit]).toEqual(['PASS', 200, 'pairs']);
        return { update: (done) => seen.push(done), finish: () => finished++ };
      },
      note: () => undefined,
    };
    await passOf(originals, adversarials, GREY, { workers: 2, progress });
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(200);
    expect(finished).toBe(1);
  });

  test('do not depend on what the threads have measured before, of any size', async () => {
    const colour = { height: 16, width: 16, channels: 3 };
    const [one, other] = [noise(70 * 768, 1), noise(70 * 768, 2)];
    const scores = [];
    for (let i = 0; i < 2; i++) {
      scores.push([
        await passOf(originals, adversarials, GREY, { workers: 2 }),
        await passOf(one, other, colour, { workers: 2 }),
      ]);
    }
    expect(scores[1]).toEqual(scores[0]);
  });

  test('none', async () => {
    const none = await passOf(new Uint8Array(0), new Uint8Array(0), GREY, { workers: 2 });
    expect(none.pass.length).toBe(0);
  });

  test('stop on request', async () => {
    const many = new Uint8Array(SIZE * 20_000);
    const controller = new AbortController();
    const work = passOf(many, many, GREY, { workers: 2, signal: controller.signal });
    setTimeout(() => {
      controller.abort();
    }, 50);
    await expect(work).rejects.toThrow(Interrupted);
    await expect(
      passOf(originals, adversarials, GREY, { workers: 2, signal: controller.signal }),
    ).rejects.toThrow(Interrupted);
  });

  test('end with an error where a thread fails', async () => {
    const shape = { height: 28, width: 14, channels: 2 };
    await expect(passOf(originals, adversarials, shape, { workers: 2 })).rejects.toThrow(
      '2 channels',
    );
    await expect(passOf(originals, noise(5, 1), GREY, { workers: 2 })).rejects.toThrow(RangeError);
  });

  // Limits of a user other than root; one that has no other processes can be given some threads.
  test.skipIf(['prlimit', 'setpriv'].some((tool) => spawnSync(tool, ['--version']).status !== 0))(
    'take fewer threads where the system refuses some, and say so where it refuses all',
    () => {
      const isRoot = process.getuid?.() === 0;
      const script = (limit: string): string => `
        const { execFileSync } = require('node:child_process');
        const status = require('node:fs').readFileSync('/proc/self/status', 'utf8');
        const own = Number(/Threads:\\s*(\\d+)/.exec(status)[1]);
        const shape = { height: 28, width: 28, channels: 1 };
        const images = Uint8Array.from({ length: 800 * ${SIZE} }, (_, i) => (i * 7919) % 256);
        import('#bang/metrics/passPool.js').then(async ({ passOf }) => {
          execFileSync('prlimit', ['--pid', String(process.pid), '--nproc=' + (${limit}) + ':']);
          await passOf(images, images, shape, { workers: 12 }).then(
            ({ pass }) => console.log(pass.length, pass[799].toFixed(2)),
            ({ name, message }) => console.log(name + ': ' + message),
          );
        });`;
      // Who may still read a project in root's own folder.
      const caps = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
      const somebody = isRoot ? ['setpriv', '--reuid=61234', '--clear-groups', ...caps] : [];
      const limited = (limit: string): string => {
        const [command, ...args] = [...somebody, process.execPath, '-e', script(limit)];
        const { stdout, stderr } = spawnSync(command, args, { cwd: packageRoot, encoding: 'utf8' });
        expect(stderr).toBe('');
        return stdout.trim();
      };
      if (isRoot) expect(limited('6 + own')).toBe('800 1.00');
      expect(limited('1')).toMatch(/^UserError: the system refuses a thread for PASS .*--threads /);
    },
  );
});
