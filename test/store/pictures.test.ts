import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot, readJson } from '#bang/base/files.js';
import { makeRandom } from '#bang/base/random.js';
import { SHAPES } from '#bang/data/shapes.js';
import { type PictureGroup, picturesJson, readPictures } from '#bang/store/pictures.js';
import type { Result } from '#bang/store/result.js';
import { readCsv } from '../fixtures.js';

const folder = mkdtempSync(path.join(os.tmpdir(), 'pictures-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const write = (text: string): void => {
  writeFileSync(path.join(folder, 'examples.json'), text);
};

describe('the pictures that a run keeps', () => {
  it.each(['mnist', 'cifar10'] as const)('come back pixel by pixel, on %s', (data) => {
    const shape = SHAPES[data];
    const random = makeRandom(3, data, 0);
    const pixels = () =>
      Uint8Array.from({ length: shape.height * shape.width * shape.channels }, () =>
        Math.floor(256 * random.uniform()),
      );
    const groups: PictureGroup[] = [0, 1].map((label) => ({
      position: 10 + label,
      label,
      pixels: pixels(),
      blank: label === 0,
      attacks: [
        { attack: 'fgs', found: null },
        { attack: 'hc1', found: { pixels: pixels(), predicted: 3, linf: 12, pass: null } },
        { attack: 'pgd', found: { pixels: pixels(), predicted: 4, linf: 9, pass: 0.5 } },
      ],
    }));
    write(picturesJson('abc', groups, shape));
    const { height, width, channels } = shape;
    for (const known of [shape, undefined]) {
      const found = readPictures(folder, { weights: 'abc' }, known)!;
      expect(found.groups).toEqual(groups);
      expect(found.size).toMatchObject({ height, width, channels });
    }
  });

  it('are refused if they are damaged, of other weights or of another size', () => {
    const group = { position: 1, label: 0, pixels: new Uint8Array(784), blank: false, attacks: [] };
    const text = picturesJson('abc', [group], SHAPES.mnist);
    const read = (weights = 'abc', shape = SHAPES.mnist) =>
      readPictures(folder, { weights }, shape);
    write(text);
    expect(() => read('other')).toThrow(/examples\.json is of other weights than the result/);
    expect(() => read('abc', SHAPES.cifar10)).toThrow(
      /is damaged: it holds an image of another size/,
    );
    write(text.replace('"png":"', '"png":"AAAA'));
    expect(() => read()).toThrow(/is damaged/);
    write(text.replace('"position":1', '"position":-1'));
    expect(() => read()).toThrow(/is damaged$/);
    write('{');
    expect(() => read()).toThrow(/examples\.json/);
  });

  it.each(['lenet-r0', 'lenet-b1'])('of %s in results are those of per-image.csv', (name) => {
    const place = path.join(packageRoot, 'results', 'robustness', name, 'seed-1');
    const result = readJson(path.join(place, 'result.json')) as Result;
    const lines = readCsv(path.join(place, 'per-image.csv'));
    const { groups } = readPictures(place, result, SHAPES.mnist)!;
    expect(groups.map(({ label }) => label)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (const { position, label, blank, pixels, attacks } of groups) {
      const line = lines[position];
      expect([line.label, line.predicted, line.blank]).toEqual([label, label, +blank].map(String));
      // The first that is classified correctly.
      const first = lines.findIndex(
        (one) => one.label === line.label && one.predicted === one.label,
      );
      expect(position).toBe(first);
      expect(attacks.map(({ attack }) => attack)).toEqual(['fgs', 'fgs-unmasked', 'hc1']);
      for (const { attack, found } of attacks) {
        const linf = line[`${attack.replaceAll('-', '_')}_linf`];
        expect(found === null ? '' : String(found.linf), attack).toBe(linf);
        if (!found) continue;
        const changes = found.pixels.map((value, i) => Math.abs(value - pixels[i]));
        expect(Math.max(...changes)).toBe(found.linf);
        expect(found.predicted).not.toBe(label);
      }
    }
  });
});
