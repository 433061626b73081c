import { afterEach, describe, expect, it, vi } from 'vitest';
import { parseJson } from '#bang/base/files.js';
import { parsePlainYaml } from '#bang/config/yamlTree.js';
import { drawGrid } from '#bang/report/grid.js';
import { drawable } from '#bang/report/figure/rows.js';

afterEach(() => {
  vi.restoreAllMocks();
});

describe('brackets of megabytes', () => {
  it.each([
    '['.repeat(5e6),
    '{"a":'.repeat(1e6),
    `${'['.repeat(1e6)}${']'.repeat(1e6)}`,
    `{"row": ${'['.repeat(101)}${']'.repeat(101)}}`,
  ])('are no JSON, and are not parsed: %#', (text) => {
    const parse = vi.spyOn(JSON, 'parse');
    expect(parseJson(text)).toBe(undefined);
    expect(parse).not.toHaveBeenCalled();
  });

  it('count only outside of strings', () => {
    const deep = '['.repeat(1e6);
    expect(parseJson(JSON.stringify({ a: [[deep, `\\"${deep}`]] }))).toEqual({
      a: [[deep, `\\"${deep}`]],
    });
    const [open, close] = ['['.repeat(100), ']'.repeat(100)];
    expect(parseJson(open + close)).not.toBe(undefined);
    expect(parseJson('"[')).toBe(undefined);
  });

  it.each(['['.repeat(5e4), '- '.repeat(5e4), 'a: {'.repeat(1e4)])(
    'are no YAML of a result folder: %#',
    (text) => {
      expect(() => parsePlainYaml(text)).toThrow(/^nested too deeply$/);
    },
  );
});

describe('a name of a megabyte', () => {
  const name = 'n'.repeat(1e6);

  it('is cut in a table on the console', () => {
    const table = drawGrid({
      columns: [{ title: [name], align: 'left' }],
      rows: [[{ text: `${name}\nlabel` }]],
    });
    expect(table.length).toBeLessThan(2000);
    expect(table).toContain('n…');
    expect(table).toContain('label');
  });

  it('is cut in a figure, and stays different from others', () => {
    const drawn = drawable([{ network: `${name}a` }, { network: `${name}b` }]);
    expect(drawn[0].network).not.toBe(drawn[1].network);
    for (const { network } of drawn) expect(network.length).toBeLessThan(200);
  });
});
