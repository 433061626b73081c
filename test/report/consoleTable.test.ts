import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'csv-parse/sync';
import { check } from 'prettier';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { type Entry, entryOf } from '#bang/store/entry.js';
import { legendOf, linesOf, protocolSentences, tableColumns } from '#bang/report/lines.js';
import { inMarkdown, markdownTable } from '#bang/report/markdown.js';
import { maskingInBrief, maskingSentence } from '#bang/report/masking.js';
import { consoleReport, markdownReport } from '#bang/report/tables.js';
import { transferGrid } from '#bang/report/transfer.js';
import { entriesTable } from '#bang/report/page/htmlTables.js';
import type { Result } from '#bang/store/result.js';
import { tableCsv } from '#bang/store/csv.js';
import { transferCsv } from '#bang/store/transfer.js';
import { publishedRow } from '#bang/paper/published.js';
import type { Row } from '#bang/metrics/row.js';
import { consoleTable } from '#bang/report/consoleTable.js';
import { randomOf } from '../data/idx-bytes.js';
import { attackWith, realResult, resultWith, rowWith } from './entries.js';

const r0 = entryOf([realResult('lenet-r0')]);

function entry(more: Partial<Entry> = {}): Entry {
  const numbers = { beta: '1', epsilon: '0.815' };
  return { name: 'mine', labels: [], ...numbers, rows: [rowWith()], seeds: [1], ...more };
}

/** Three seeds of a run with real numbers, slightly different. */
const seeds = entryOf(
  [0, 0.1, 0.3].map((more, i) => {
    const { config, row } = realResult('lenet-b1');
    return resultWith('lenet-b1', {
      config: { ...config, seed: i + 1 },
      row: { accuracy: row.accuracy + more },
    });
  }),
);

const lines = (text: string): string[] => text.split('\n');
const cellsOf = (line: string): string[] => line.split('│').map((cell) => cell.trim());

/** The line of a table that begins with a name, as cells. */
function lineOf(table: string, name: string): string[] {
  const found = lines(table).find((line) => cellsOf(line)[1] === name);
  return cellsOf(found ?? '').slice(1, -1);
}

describe('the lines of an experiment', () => {
  it('are ours, the published one and the difference', () => {
    expect(linesOf(r0, [r0]).map(({ kind }) => kind)).toEqual(['ours', 'published', 'difference']);
    const table = consoleTable([r0]);
    expect(lineOf(table, 'lenet-r0').slice(1, 8)).toEqual(
      ['–', '–', '99.17', '91.32', '0.4208', '38.08', '99.53'], //
    );
    expect(lineOf(table, 'published R0').slice(1, 8)).toEqual(
      ['–', '–', '99.16', '90.33', '0.4072', '40.51', '99.53'], //
    );
    // HC1-Rate is 0.004 below, which is not -0.00.
    expect(lineOf(table, 'difference').slice(1, 8)).toEqual(
      ['', '', '+0.01', '+0.99', '+0.0136', '-2.43', '0.00'], //
    );
    expect(table).toContain('± 0.1080');
  });

  it('show the deviation over a single image as unknown, everywhere', () => {
    const linf = { mean: 23, std: 0 };
    const one = entry({ rows: [rowWith({ attacks: { fgs: attackWith(1, { linf }) } })] });
    const cells = linesOf(one, [one])[0].cells.map(({ text, spread }) => [text, spread]);
    expect(cells[2]).toEqual(['23.00', '± –']);
    expect(consoleTable([one])).toContain('± –');
    expect(markdownTable([one])).toContain(' 23.00 ± – |');
    const [line] = parse<Record<string, string>>(tableCsv([one]), { columns: true });
    expect(line).toMatchObject({ fgs_linf_mean: '23', fgs_linf_std: '' });
    const page = entriesTable('id', '', [one]).text;
    expect(page).toContain('<data value="23">23.00</data> <span class="spread">± –</span></td>');
    const transfer = { attack: 'fgs', from: 'a', to: 'b', images: 9, fooled: 1, transferred: 1 };
    const [row] = transferGrid([{ ...transfer, attack: 'fgs', linf }]).rows;
    expect(row[2]).toEqual({ text: '23.00 ± –', value: 23 });
    expect(transferCsv([{ ...transfer, attack: 'fgs', linf }])).toMatch(/,23,$/m);
    expect([consoleTable([one]), markdownTable([one]), page].join()).not.toContain('± 0.00');
  });

  it('have the spread over seeds, and marks, if there are three', () => {
    expect(linesOf(seeds, [seeds]).map(({ kind }) => kind)).toEqual([
      ...['ours', 'seeds', 'published', 'difference'],
    ]);
    const table = consoleTable([seeds]);
    // Of 0, 0.1 and 0.3: squares of the distances 0.14 / 3, by 2.
    expect(lineOf(table, 'over 3 seeds')[3]).toBe('±0.15');
    // Every seed the same: whatever is published is outside.
    expect(lineOf(table, 'difference')[4]).toMatch(/^\* [+-]\d/);
    expect(legendOf([seeds]).join()).toMatch(/over N seeds.*\* marks/);
    expect(legendOf([r0]).join()).not.toMatch(/seeds|\*/);
  });

  it('say that nothing is outside, where something could be', () => {
    const { accuracy } = publishedRow(1, 'R0')!;
    const rows = [-1, 0, 1].map((more) => rowWith({ accuracy: accuracy + more, attacks: {} }));
    const inside = entry({ rows, seeds: [1, 2, 3], published: publishedRow(1, 'R0')! });
    expect(legendOf([inside]).join()).toMatch(
      /None of 1 published values is outside .* chance alone gives 0\.1\./,
    );
    const subset = entry({ ...inside, labels: ['60 images'], differs: true });
    expect(legendOf([subset]).join()).not.toMatch(/outside/);
  });

  it('give the number of seeds, if not all have a number', () => {
    const rows = [900, 0, 800].map((n) => rowWith({ attacks: { fgs: attackWith(n) } }));
    const line = lineOf(consoleTable([entry({ rows })]), 'over 3 seeds');
    expect([line[4], line[5]]).toEqual([expect.stringMatching(/^±[\d.]+$/), '±0.00 (2)']);
  });

  it('are dashes where there is no run, and none of a difference', () => {
    const published = publishedRow(1, 'B2');
    const none = entry({ name: '', beta: '', epsilon: '', rows: [], seeds: [], published });
    const table = consoleTable([none]);
    expect(lineOf(table, 'no run yet').slice(1)).toEqual(Array(11).fill('–'));
    expect(lineOf(table, 'published B2')[3]).toBe('99.31');
    expect(table).not.toContain('difference');
  });

  it('have no rates of no images', () => {
    const nothing = attackWith(0, { attacked: 0 });
    const rows = [rowWith({ correct: 0, accuracy: 0, attacks: { fgs: nothing, hc1: nothing } })];
    expect(lineOf(consoleTable([entry({ rows })]), 'mine').slice(3)).toEqual([
      ...['0.00', '–', '–', '–', '–'],
    ]);
  });

  it('are of what was measured: a column for each attack that any of them met, PASS where it is known', () => {
    const titled = (attacks: Row['attacks'][]): string[] =>
      tableColumns([entry({ rows: attacks.map((one) => rowWith({ attacks: one })) })]).map(
        (column) => column.quantity,
      );
    expect(titled([{}])).toEqual(['accuracy']);
    expect(titled([{}, { hc1: attackWith(0, { aligned: 0 }) }])).toEqual([
      ...['accuracy', 'hc1_rate', 'hc1_pass', 'hc1_linf'],
    ]);
    expect(titled([{ square: attackWith(9), 'fgs-unmasked': attackWith(0) }])).toEqual([
      ...['accuracy', 'fgs_unmasked_rate', 'fgs_unmasked_linf'],
    ]);
    const [plain, ours] = [r0, entry({ rows: [rowWith({ attacks: {} })] })];
    expect(linesOf(plain, [plain, ours])[1].cells).toHaveLength(9);
    const none = entry({ rows: [rowWith({ attacks: {} })], published: publishedRow(1, 'B2') });
    expect(lineOf(consoleTable([none], 30), 'published B2').slice(1)).toEqual([
      '1.2',
      '0.81',
      '99.31',
    ]);
    const legend = [...legendOf([none]), ...protocolSentences([none])].join('\n');
    expect(legend).not.toMatch(/±|Protocol/);
  });

  it('are labelled if they are measured differently from the published ones', () => {
    const labels = (row: Partial<Row>) => entryOf([resultWith('lenet-b1', { row })]).labels;
    expect(labels({})).toEqual([]);
    const corrected = { search: 'scan', channels: 'kept' } as const;
    expect(labels({ protocol: corrected, images: 60 })).toEqual([
      ...['protocol corrected', '60 images'],
    ]);
    const own = { search: 'scan', channels: 'reversed' } as const;
    expect(labels({ protocol: own })).toEqual(['scan, channels reversed']);
  });
});

describe('the console table', () => {
  it('cuts a name of any length, in a time that does not grow with its square', () => {
    for (const part of ['a', 'a b ', '-']) {
      const name = part.repeat(1_000_000 / part.length);
      const table = consoleTable([entry({ name, labels: [name] })], 80);
      expect(table).toContain('…');
      expect(table.length).toBeLessThan(20_000);
    }
  });

  const long = entry({
    name: 'a-name-of-forty-characters-and-a-few-more',
    labels: ['protocol corrected', '1000 images'],
    beta: '1 1 1.25 1',
    epsilon: '0.8125 0.815 1 1',
    published: publishedRow(1, 'B4'),
  });
  const all = [r0, seeds, long];
  const widthOf = (table: string) => Math.max(...lines(table).map((line) => line.length));

  it('is one where it fits, and anywhere but on a terminal', () => {
    const wide = consoleTable(all);
    expect(widthOf(wide)).toBeGreaterThan(120);
    expect(consoleTable(all, widthOf(wide))).toBe(wide);
    expect(lines(wide).filter((line) => line.startsWith('┌'))).toHaveLength(1);
  });

  it('is two on a terminal of 80 columns, in which nothing is lost', () => {
    const narrow = consoleTable(all, 80);
    expect(widthOf(narrow)).toBeLessThanOrEqual(80);
    expect(lines(narrow).filter((line) => line.startsWith('┌'))).toHaveLength(2);
    for (const name of ['lenet-r0', 'over 3 seeds', 'published B4']) {
      expect(lines(narrow).filter((line) => cellsOf(line)[1] === name)).toHaveLength(2);
    }
    const numbers = (table: string) =>
      [...table.matchAll(/\d+\.\d+/g)].map(([number]) => number).sort();
    expect(numbers(narrow)).toEqual(numbers(consoleTable(all)));
    const words = (table: string) =>
      lines(table)
        .filter((line) => line.startsWith('│'))
        .map((line) => cellsOf(line)[1])
        .join('');
    expect(words(narrow)).toContain(long.name);
  });

  it('keeps each entry together, with lines of equal length', () => {
    for (const width of [40, 80, 100, 140, Infinity]) {
      for (const table of consoleTable(all, width).split(/\n(?=┌)/)) {
        expect(new Set(lines(table).map((line) => line.length)).size).toBe(1);
        expect(lines(table).filter((line) => line.startsWith('├'))).toHaveLength(all.length);
      }
    }
  });
});

describe('the Markdown table', () => {
  const hostile = [
    'a|b',
    '**bold** _it_ `code`',
    '<script>alert(1)</script>',
    '[x](http://y) ~~z~~ \\| &amp; $a$',
    'ends in \\',
  ];

  it.each(hostile)('has %j as text', (text) => {
    const table = markdownTable([entry({ name: text, labels: [text] })]);
    const cells = lines(table).map((line) => line.split(/(?<!\\)(?:\\\\)*\|/).length);
    expect(new Set(cells)).toEqual(new Set([12]));
    // Taking away backslashes gives the name back, and no sign is left alone.
    expect(inMarkdown(text).replace(/\\([_\W])/g, '$1')).toBe(text);
    expect(inMarkdown(text).replace(/\\[_\W]/g, '')).not.toMatch(/[\\`*_~[\]<>|&$]/);
  });

  it('has all of the console table, each number with its deviation', () => {
    const table = markdownTable([seeds]);
    expect(lines(table)).toHaveLength(6);
    expect(table).toMatch(/\| \*\*lenet-b1\*\* +\| +1 \| 0\.815 \|/);
    expect(table).toMatch(/\| \d\.\d{4} ± \d\.\d{4} \|/);
    expect(table).toMatch(/\| +\\\* [+-]\d/);
  });

  it('is as Prettier would have it', async () => {
    const parts = [
      { title: 'Table 1: LeNet on MNIST', entries: [r0, seeds] },
      { title: 'Not in the paper', entries: hostile.slice(0, 1).map((name) => entry({ name })) },
    ];
    const document = markdownReport(parts);
    expect(await check(document, { parser: 'markdown' })).toBe(true);
    expect(document.match(/^# /gm)).toHaveLength(2);
    expect(document).toMatch(/^- Protocol paper: doubling and bisection; /m);
    expect(document).toMatch(/^- lenet-r0: 8\.6 % blank gradients; /m);
  });
});

describe('what FGS-Rate hides', () => {
  const row = (fgs: number, unmasked: number, more: Partial<Row> = {}) =>
    rowWith({
      attacks: { fgs: attackWith(fgs), 'fgs-unmasked': attackWith(unmasked) },
      ...more,
    });

  it.each<[string, Row, RegExp, RegExp]>([
    ['nothing', row(900, 905), /underflow hides nothing/, /^no blank gradient$/],
    [
      'most',
      row(20, 990, { blank: 970 }),
      /counts as robust 97\.0 % .* on 99\.00 %, not 2\.00 %/,
      /97\.0 %/,
    ],
    [
      'no matter',
      row(900, 900, { blank: 30 }),
      /3\.0 % .* succeeds no more often .*\(90\.00 %, not 90\.00 %\)/,
      /3\.0 %/,
    ],
    [
      'hardly',
      row(900, 905, { blank: 30 }),
      /succeeds hardly more often .*90\.50 %, not 90\.00/,
      /hardly more often/,
    ],
    [
      'partly',
      row(500, 990),
      /No gradient is blank .* on 99\.00 %, not 50\.00 %/,
      /^no .* not 50\.00 %/,
    ],
    [
      'partly, for other reasons than the blank ones',
      row(500, 990, { blank: 60 }),
      /of 6\.0 % of the images are blank .* on 99\.00 %, not 50\.00 %/,
      /^6\.0 % blank .* not 50\.00 %/,
    ],
    ['a network of zeros', row(0, 0), /succeeds on no image/, /neither FGS nor/],
    ['nothing at all', row(0, 0, { blank: 1000 }), /succeeds on no image/, /neither FGS nor/],
  ])('%s', (_, found, sentence, brief) => {
    expect(maskingSentence([found])).toMatch(sentence);
    expect(maskingInBrief([found])).toMatch(brief);
  });

  it('is left out if nothing was measured', () => {
    for (const rows of [
      [],
      [rowWith({ correct: 0 })],
      [rowWith({ attacks: { fgs: attackWith(1) } })],
      [rowWith({ attacks: {} })],
    ]) {
      expect(maskingSentence(rows)).toBeUndefined();
      expect(maskingInBrief(rows)).toBeUndefined();
    }
  });

  it.each(['README.md', 'docs/guide.md'])('is quoted as it is in %s', (document) => {
    const read = (file: string) => readFileSync(path.join(packageRoot, file), 'utf8');
    const b1 = JSON.parse(read('results/table1/lenet-b1/seed-1/result.json')) as Result;
    const text = read(document)
      .replace(/<!--.*?-->/g, '')
      .replace(/\s+(> )?/g, ' ');
    expect(text).toContain(maskingSentence([b1.row]));
  });

  it('is the mean over seeds', () => {
    const rows = [row(10, 980, { blank: 960 }), row(30, 1000, { blank: 980 })];
    expect(maskingSentence(rows)).toMatch(/counts as robust 97\.0 % .* on 99\.00 %, not 2\.00 %/);
  });
});

it('prints no control characters', () => {
  const random = randomOf(3);
  const name = `a\u001b[31m\u009b${String.fromCharCode(random(32))}\u202eb`;
  const hostile = entryOf([resultWith('lenet-b1', { name })]);
  const text = consoleReport([{ title: 'Table 1', entries: [hostile] }]);
  // eslint-disable-next-line no-control-regex
  expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
});
