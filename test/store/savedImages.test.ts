import { readFileSync } from 'node:fs';
import { decode } from 'fast-png';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseIdx } from '#bang/data/idx.js';
import { loadData } from '#bang/data/load.js';
import type { Dataset } from '#bang/data/dataset.js';
import { bangInside, bangInsideOk, expectRefusal, workspace, type Workspace } from '../cli/bang.js';
import { fixture, readCsv } from '../fixtures.js';

const AUTHORS = fixture('lenet.caffemodel.h5');
const ASKED = [
  ...['--attacks', 'fgs,auto', '--set', 'evaluation.images=12', '--set', 'evaluation.pass=false'],
  ...['--set', 'evaluation.budgets={linf: [30, 60], l2: [2/1]}'],
  ...['--set', 'evaluation.apgd.steps=12', '--set', 'evaluation.square.queries=5'],
];

let space: Workspace;
let test: Dataset;
let lines: Record<string, string>[];
const eval_ = (format: string) =>
  bangInsideOk(['eval', AUTHORS, ...ASKED, '--save-images', format, '--out', 'out'], {
    cwd: space.folder,
  });
const file = (name: string) => readFileSync(space.file('out', 'images', name));

beforeAll(async () => {
  space = workspace();
  ({ test } = await loadData('mnist'));
  await eval_('npy');
  lines = readCsv(space.file('out', 'images', 'images.csv'));
}, 120_000);
afterAll(() => {
  space.remove();
});

/** NumPy's format as its documentation describes it (NEP 1), read by hand. */
function readNpy(bytes: Buffer): { type: string; shape: number[]; data: number[] } {
  expect(bytes.subarray(0, 8)).toEqual(Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]));
  const length = bytes.readUInt16LE(8);
  expect((10 + length) % 64).toBe(0);
  const header = bytes.toString('latin1', 10, 10 + length);
  const found = /^\{'descr': '(.+)', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n$/.exec(
    header,
  )!;
  const shape = found[2]
    .split(',')
    .filter((part) => part.trim() !== '')
    .map(Number);
  const rest = bytes.subarray(10 + length);
  const count = shape.reduce((product, one) => product * one, 1);
  const wide = found[1] === '<u4' ? 4 : 1;
  expect(rest).toHaveLength(wide * count);
  const at = (i: number) => (wide === 4 ? rest.readUInt32LE(4 * i) : rest[i]);
  return { type: found[1], shape, data: Array.from({ length: count }, (_, i) => at(i)) };
}

function changesOf(pixels: ArrayLike<number>, position: number): { linf: number; l2: number } {
  const own = test.images.subarray(position * 784, (position + 1) * 784);
  const changes = Array.from(pixels, (value, p) => Math.abs(value - own[p]));
  return { linf: Math.max(...changes), l2: Math.hypot(...changes) };
}

describe('--save-images', () => {
  it('lists every adversarial image with what the table says of it', () => {
    const perImage = readCsv(space.file('out', 'per-image.csv'));
    const of = (stem: string) => lines.filter(({ file: name }) => name === `${stem}.npy`);
    for (const [stem, heading] of [
      ['fgs', 'fgs_linf'],
      ['auto-linf-30', 'auto_linf_30'],
      ['auto-linf-60', 'auto_linf_60'],
      ['auto-l2-510', 'auto_l2_510'],
    ]) {
      const fooled = perImage.filter(({ [heading]: value }) => value !== '');
      expect(fooled.length).toBeGreaterThan(0);
      expect(of(stem).map(({ index }) => index)).toEqual(fooled.map(({ index }) => index));
      if (stem !== 'fgs')
        expect(of(stem).map(({ attack }) => attack)).toEqual(fooled.map((one) => one[heading]));
    }
    for (const { norm, budget, linf, l2 } of lines) {
      if (norm !== '')
        expect(Number(norm === 'l2' ? l2 : linf)).toBeLessThanOrEqual(Number(budget));
    }
  });

  it('writes NumPy arrays whose images, labels and indices belong together', () => {
    for (const stem of ['fgs', 'auto-linf-60', 'auto-l2-510']) {
      const images = readNpy(file(`${stem}.npy`));
      const labels = readNpy(file(`${stem}-labels.npy`));
      const indices = readNpy(file(`${stem}-indices.npy`));
      const own = lines.filter(({ file: name }) => name === `${stem}.npy`);
      expect(images).toMatchObject({ type: '|u1', shape: [own.length, 28, 28] });
      expect(labels).toMatchObject({ type: '|u1', data: own.map(({ label }) => Number(label)) });
      expect(indices).toMatchObject({ type: '<u4', data: own.map(({ index }) => Number(index)) });
      own.forEach(({ row, index, linf, l2 }, i) => {
        expect(Number(row)).toBe(i);
        const found = changesOf(images.data.slice(784 * i, 784 * (i + 1)), Number(index));
        expect(found.linf).toBe(Number(linf));
        expect(found.l2).toBeCloseTo(Number(l2), 3);
        expect(test.labels[Number(index)]).toBe(labels.data[i]);
      });
    }
  });

  it('writes the same images in the other formats, in place of those that are there', async () => {
    const images = readNpy(file('auto-linf-60.npy'));
    const numbers = readNpy(file('auto-linf-60-indices.npy')).data;
    const { stderr } = await eval_('idx');
    expect(stderr).toMatch(/the folder holds no idx images; attacking again/);
    expect([...parseIdx(file('auto-linf-60-images.idx'), [3], 'x').data]).toEqual(images.data);
    expect(parseIdx(file('auto-linf-60-labels.idx'), [1], 'x').shape).toEqual([numbers.length]);
    const indices = file('auto-linf-60-indices.idx');
    expect([...indices.subarray(0, 4)]).toEqual([0, 0, 0x0c, 1]);
    expect(numbers.map((_, i) => indices.readInt32BE(8 + 4 * i))).toEqual(numbers);

    await eval_('png');
    const listed = readCsv(space.file('out', 'images', 'images.csv'));
    const own = listed.filter(({ norm, budget }) => norm === 'linf' && budget === '60');
    own.forEach(({ file: name }, i) => {
      const png = decode(file(name));
      expect(png).toMatchObject({ width: 28, height: 28, channels: 1 });
      expect([...png.data]).toEqual(images.data.slice(784 * i, 784 * (i + 1)));
    });
    expect(() => file('fgs.npy')).toThrow();
    expect((await eval_('png')).stderr).toBe('');
  }, 120_000);

  it('is done with a list of none where no image is fooled', async () => {
    const args = ['eval', AUTHORS, '--attacks', 'fgs', '--set', 'evaluation.images=1'];
    const all = [...args, '--logit-scale', '1e6', '--save-images', 'npy', '--out', 'none'];
    const first = await bangInsideOk(all, { cwd: space.folder });
    expect(first.stderr).toMatch(/^FGS: 0 of 1 image,/m);
    expect((await bangInsideOk(all, { cwd: space.folder })).stderr).toBe('');
  });

  it('is refused where nothing is attacked', async () => {
    expectRefusal(
      await bangInside(['eval', AUTHORS, '--on', 'train', '--save-images', 'png']),
      /^bang: --save-images: with --on train errors are counted/,
    );
  });
});
