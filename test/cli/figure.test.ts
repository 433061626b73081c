import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/files.js';
import { bangInside } from './bang.js';

const scratch = mkdtempSync(path.join(tmpdir(), 'bang-figure-'));
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

const results = (...parts: string[]): string => path.join(packageRoot, 'results', ...parts);
const read = (...parts: string[]): string => readFileSync(path.join(scratch, ...parts), 'utf8');

describe('bang figure training', () => {
  it('draws the runs of a folder, and the same again from its own CSV', async () => {
    const out = path.join(scratch, 'first');
    const finished = await bangInside(['figure', 'training', results('table2'), '--out', out]);
    expect(finished).toMatchObject({ code: 0, stderr: '' });
    const svg = read('first', 'training.svg');
    for (const text of ['Loss (cross entropy)', 'Training accuracy (%)', 'iteration', 'R0', 'B2']) {
      expect(svg).toContain(`>${text}</text>`);
    }
    expect(readFileSync(path.join(out, 'training.png')).subarray(1, 4).toString()).toBe('PNG');

    const again = path.join(scratch, 'again');
    const csv = path.join(out, 'training.csv');
    await bangInside(['figure', 'training', csv, '--out', again, '--format', 'svg']);
    expect(read('again', 'training.svg')).toBe(svg);
    expect(read('again', 'training.csv')).toBe(read('first', 'training.csv'));
  });
});

describe('wrong input ends with 2 and one sentence', () => {
  const folder = path.join(scratch, 'empty');
  mkdirSync(folder);
  writeFileSync(path.join(scratch, 'other.csv'), 'a,b\n1,2\n');
  it.each([
    [['training', path.join(scratch, 'none')], /cannot read .*none: there is no such folder/],
    [['training', folder], /no finished run in .*empty or below/],
    [['training', path.join(scratch, 'other.csv')], /other\.csv has no column network/],
    [['pie', folder], /name: expected training/],
  ])('%j', async (args, message) => {
    const { code, stdout, stderr } = await bangInside(['figure', ...args, '--out', folder]);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});
