import { Resvg } from '@resvg/resvg-js';
import { decode } from 'fast-png';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { makeRandom } from '#bang/base/random.js';
import {
  drawFigure,
  FIGURE_KINDS,
  FIGURE_KIND_NAMES,
  type FigureKindName,
} from '#bang/report/figure/figures.js';
import { fontFiles, textWidth } from '#bang/report/figure/font.js';
import { imageUrl } from '#bang/report/imageUrl.js';
import { linfBins } from '#bang/report/figure/linf.js';
import { renderPng } from '#bang/report/figure/render.js';
import { type FigureKind, readRows } from '#bang/report/figure/rows.js';
import { csvLines, toCsv } from '#bang/store/csvFile.js';
import { figureRows } from '#bang/report/figure/rowsOfResults.js';
import type { SurfaceRow } from '#bang/report/figure/surfaces.js';
import type { TrainingRow } from '#bang/report/figure/training.js';
import { logScale, NARROW, powerLabels, WIDE } from '#bang/report/figure/theme.js';
import path from 'node:path';

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Rows of each figure: two networks of long names, one with two seeds; values without meaning. */
const NETWORKS = [
  { network: 'R0', seed: 1 },
  { network: 'R0', seed: 2 },
  { network: 'a network with a long name & <signs>', seed: null },
];
const ROWS: Record<FigureKindName, object[]> = {
  examples: range(3).flatMap((index) =>
    ['', 'R0', 'a network with a long name'].map((network, n) => ({
      data: index < 2 ? 'mnist' : 'cifar10',
      attack: 'hc1',
      index,
      label: index,
      network,
      training: n === 0 ? '' : 'regular',
      predicted: n === 0 ? null : 1,
      linf: n === 0 ? null : 255,
      pass: n === 0 ? null : -0.123,
      image: imageUrl(new Uint8Array(28 * 28).fill(90 * n), { height: 28, width: 28, channels: 1 }),
    })),
  ),
  surfaces: (['accuracy', 'hc1_pass'] as const).flatMap((surface) =>
    range(3).flatMap((x) =>
      range(4).map((y) => ({
        surface,
        x_key: 'training.bang.beta',
        x: String(1 + x / 10),
        y_key: 'training.a.rather.long.key',
        y: String(y),
        seeds: 1,
        value: 10 + x * y,
        reference: 13,
      })),
    ),
  ),
  noise: range(8).flatMap((stage) =>
    range(3).map((s) => ({
      iteration: 500 * (stage + 1),
      sigma: 10 * s,
      regular: 20 * s + stage,
      bang: 22 * s,
      regular_error: 1,
      bang_error: null,
      difference: 2 * s - stage,
      difference_error: 1,
      quoted_regular: stage === 7 && s === 2 ? 46 : null,
      quoted_bang: stage === 7 && s === 2 ? 39.1 : null,
    })),
  ),
  training: NETWORKS.flatMap((run) =>
    range(5).map((i) => ({
      ...run,
      iteration: 100 * i,
      loss: 2.3 / 10 ** i,
      train_accuracy: 10 + 20 * i,
      validation_accuracy: run.seed === null ? null : 12 + 20 * i,
    })),
  ),
  eta: NETWORKS.flatMap((run) =>
    ['conv1', 'ip1'].flatMap((layer) =>
      range(4).map((i) => ({
        ...run,
        layer,
        iteration: 100 * i,
        eta_mean: 10 ** (4 * i),
        eta_max: 3 * 10 ** (5 * i),
      })),
    ),
  ),
  linf: NETWORKS.flatMap((run) =>
    (['fgs', 'hc1', 'pgd', 'square', 'deepfool-l2'] as const).flatMap((attack) =>
      linfBins([1, 2, 2, 30, 255, NaN]).map((bin) => ({ ...run, attack, ...bin })),
    ),
  ),
};

function draw(name: FigureKindName, layout = WIDE): Promise<string> {
  return drawFigure(name, ROWS[name], layout);
}

/** What stands in a figure. */
function textsOf(svg: string): string[] {
  return [...svg.matchAll(/<(?:text|tspan)[^>]*>([^<]+)</g)].map(([, text]) => text);
}

function count(svg: string, pattern: RegExp): number {
  return [...svg.matchAll(pattern)].length;
}

it('a log may have more lines than a call takes arguments', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'log-'));
  const lines = range(150_000).map((i) => `${i},${1 + i},0,`);
  const head = 'iteration,loss,train_accuracy,validation_accuracy';
  writeFileSync(path.join(folder, 'training.csv'), `${[head, ...lines].join('\n')}\n`);
  const { rows } = await figureRows('training', [folder]);
  rmSync(folder, { recursive: true });
  expect(rows).toHaveLength(lines.length);
  const { ticks } = logScale((rows as TrainingRow[]).map(({ loss }) => loss));
  expect([ticks[0], ticks.at(-1)]).toEqual([1, 1_000_000]);
});

describe.each(FIGURE_KIND_NAMES)('the figure %s', (name) => {
  it('is the same each time, whatever was drawn before, and from its own CSV', async () => {
    const first = await draw(name);
    await draw(name === 'linf' ? 'eta' : 'linf');
    expect(await draw(name)).toBe(first);
    const { row } = FIGURE_KINDS[name] as unknown as FigureKind<object>;
    const lines = csvLines(toCsv(ROWS[name]), 'figure.csv');
    expect(await drawFigure(name, readRows(lines, row, 'figure.csv'), WIDE)).toBe(first);
  });

  it('needs no other file, and has a description', async () => {
    const svg = await draw(name);
    expect(svg).toMatch(/^<svg role="img" aria-label="[^"]{10,}"/);
    expect(svg.replaceAll(/xmlns(:\w+)?="[^"]*"/g, '')).not.toMatch(/https?:|url\(["']?(?!#)/);
    expect(svg).not.toMatch(/NaN|undefined|\[object/);
  });

  it.each([WIDE, NARROW])(
    'has no text below 11 pixels, and is dark in dark surroundings: %o',
    async (layout) => {
      const svg = await draw(name, layout);
      const sizes = [...svg.matchAll(/font-size="([\d.]+)px"/g)].map(([, size]) => Number(size));
      expect(sizes.length).toBeGreaterThan(5);
      expect(Math.min(...sizes)).toBeGreaterThanOrEqual(11);
      const [, dark] = /@media \(prefers-color-scheme: dark\)\{(.*?)\}<\/style>/.exec(svg)!;
      // The colours that the style replaces are those of the paper and of what is written on it.
      expect(svg).toContain('<rect width');
      for (const colour of ['#ffffff', '#1a1a1a']) expect(dark).toContain(`[fill="${colour}"]`);
    },
  );

  it('says the same where it is narrow, on as much of the width', async () => {
    const svg = await draw(name, NARROW);
    const sorted = (text: string): string[] =>
      [...new Set(textsOf(text).join(' ').split(/[ ,]+/))]
        .filter((word) => /^[a-zβεηL]{2}/i.test(word))
        .sort();
    const better = (words: string[]): string[] => words.filter((word) => word !== 'better');
    expect(better(sorted(svg))).toEqual(better(sorted(await draw(name))));
    // That of a phone of 390 pixels, within its margins.
    const [, width] = /<svg [^>]*?width="(\d+)"/.exec(svg)!;
    expect(Number(width)).toBeLessThanOrEqual(346);
    expect(Number(width)).toBeGreaterThan(200);
  });

  it.each([WIDE, NARROW])('has nothing cut off: %o', async (layout) => {
    const svg = await draw(name, layout);
    const { width, height, data, channels } = decode(await renderPng(svg));
    const border = (x: number, y: number): boolean =>
      x < 2 || y < 2 || x >= width - 2 || y >= height - 2;
    const stained = range(width * height).filter(
      (i) => border(i % width, Math.floor(i / width)) && data[i * channels] < 255,
    );
    expect(stained).toEqual([]);
  });
});

describe('what the figures show', () => {
  it('training: a line for each network and seed in each panel, all of one name alike', async () => {
    const svg = await draw('training');
    const lines = [...svg.matchAll(/<path d="M[^"]*L[^"]*" stroke="(#\w+)"[^>]*>/g)].filter(
      ([tag]) => !tag.includes('Z"'),
    );
    // Three of the loss, three of the training accuracy, and two where there is a validation.
    expect(
      lines.map(([, colour]) => colour).filter((colour) => colour.startsWith('#0')),
    ).toHaveLength(8);
    expect(new Set(lines.map(([, colour]) => colour)).size).toBe(2);
    expect(textsOf(svg)).toContain('a network with a long name &amp; &lt;signs&gt;');
  });

  it('surfaces: a cell for each value, a dot for each above the reference', async () => {
    const svg = await draw('surfaces');
    const level = 'regular 13.00, ● above';
    expect(textsOf(svg)).toEqual(
      expect.arrayContaining(['Accuracy (%) ↑ better', 'Mean HC1-PASS ↓ better']),
    );
    expect(textsOf(svg).filter((text) => text.startsWith(level))).toHaveLength(1);
    // x · y > 3, on two surfaces.
    expect(count(svg, /<path transform="translate[^>]*d="M[^>]*A/g)).toBe(2 * 2);
    expect(textsOf(svg)).toEqual(
      expect.arrayContaining(['β', 'training.a.rather.long.key', '16.0']),
    );
  });

  it('surfaces: ticks have as many decimals, and a map of scatter is faint and says so', async () => {
    const random = makeRandom(1, 'scatter', 0);
    const rowsWith = (value: (x: number, y: number) => number) =>
      range(5).flatMap((x) =>
        range(5).map((y) => ({
          ...(ROWS.surfaces[0] as SurfaceRow),
          x: String(1 + x / 20),
          y: String(y),
          value: value(x, y),
        })),
      );
    const drawn = (rows: SurfaceRow[]) => drawFigure('surfaces', rows, WIDE);
    const plane = await drawn(rowsWith((x, y) => x + 2 * y));
    const bowl = await drawn(rowsWith((x, y) => (x - 2) ** 2 + (y - 2) ** 2));
    const noise = await drawn(rowsWith(() => random.uniform()));
    expect(textsOf(plane)).toEqual(
      expect.arrayContaining(['1.00', '1.05', '1.10', '1.15', '1.20', '0', '4']),
    );
    for (const clear of [plane, bowl]) expect(textsOf(clear).join()).not.toContain('scatter');
    expect(textsOf(noise)).toContain('mostly scatter: faint colours');
    // Of the cells, the legend aside.
    const brightness = (svg: string): number => {
      const cells = [...svg.matchAll(/<path [^>]*fill="rgb\(\d+, (\d+), \d+\)"/g)];
      const all = cells.map(([, green]) => Number(green));
      expect(all.length).toBeGreaterThanOrEqual(25);
      return Math.max(...all) - Math.min(...all);
    };
    expect(brightness(noise)).toBeLessThan(brightness(plane) / 2);
  });

  it('noise: dots where BANG is worse by two standard errors, and the quoted numbers', async () => {
    const svg = await draw('noise');
    const worse = (ROWS.noise as { difference: number }[]).filter(
      ({ difference }) => difference >= 2,
    );
    expect(worse.length).toBeGreaterThan(0);
    expect(count(svg, /<path transform="translate[^>]*d="M[^>]*A/g)).toBe(worse.length);
    expect(textsOf(svg)).toContain('± standard error; ♦ quoted in the paper');
    expect(textsOf(svg)).toEqual(
      expect.arrayContaining(['After 4000 iterations (% wrong) ↓ better', '1000', '4000']),
    );
  });

  it('noise: without standard errors, nothing is said of them', async () => {
    const none = { regular_error: null, bang_error: null, difference_error: null };
    const svg = await drawFigure(
      'noise',
      ROWS.noise.map((row) => ({ ...row, ...none })),
      WIDE,
    );
    expect(count(svg, /<path transform="translate[^>]*d="M[^>]*A/g)).toBe(0);
    expect(textsOf(svg)).toContain('♦ quoted in the paper');
    expect(svg).not.toContain('standard error');
  });

  it('eta: powers of ten', async () => {
    const texts = textsOf(await draw('eta'));
    expect(texts).toEqual(expect.arrayContaining(['conv1', 'ip1', 'mean η', 'largest η', '10¹⁶']));
  });

  it('linf: what is not fooled, all seeds of a network together', async () => {
    const texts = textsOf(await draw('linf'));
    expect(texts.filter((text) => text === '16.67 % not fooled')).toHaveLength(10);
    expect(texts).toEqual(expect.arrayContaining(['R0, 2 seeds', 'DeepFool L2']));
    expect(texts).toContain('a network with a long name &amp; &lt;signs&gt;');
  });

  it('linf: an attack that one network lacks leaves its place empty', async () => {
    const rows = [
      { network: 'R0', attacks: ['fgs', 'hc1'] as const },
      { network: 'B1', attacks: ['fgs', 'hc1', 'pgd'] as const },
    ].flatMap(({ network, attacks }, i) =>
      attacks.flatMap((attack) =>
        linfBins(i === 0 ? [4, 5] : [NaN, 4]).map((bin) => ({ network, seed: 1, attack, ...bin })),
      ),
    );
    const svg = await drawFigure('linf', rows, WIDE);
    const texts = textsOf(svg).filter((text) => /fooled|measured/.test(text));
    // Row by row: no panel slides into the place of one that is not there.
    expect(texts).toEqual([
      ...['all fooled', 'all fooled', 'not measured'],
      ...Array.from({ length: 3 }, () => '50.00 % not fooled'),
    ]);
  });

  it('examples: the pixels as they are, with class, L∞ and PASS', async () => {
    const svg = await draw('examples');
    expect(count(svg, /<image [^>]*image-rendering: pixelated/g)).toBe(9);
    const texts = textsOf(svg);
    expect(texts).toEqual(
      expect.arrayContaining(['MNIST, HC1', 'CIFAR-10, HC1', 'bird', 'automobile', 'PASS -0.12']),
    );
    expect(texts.filter((text) => text === 'L∞ 255')).toHaveLength(6);
  });

  it('examples: no names for classes of a folder that names none; only files of earlier versions lack them', async () => {
    const own = { label_name: '', predicted_name: '' };
    const rows = ROWS.examples.map((row) => ({ ...row, ...own }));
    const texts = textsOf(await drawFigure('examples', rows, WIDE));
    expect(texts).not.toContain('bird');
    expect(texts.filter((text) => text === '2')).toHaveLength(1);
  });

  it('a PNG has no smoothed pixels', async () => {
    const image = new Uint8Array(28 * 28).map(
      (_, i) => (((i % 28) + Math.floor(i / 28)) % 2) * 255,
    );
    const rows = (ROWS.examples as { index: number }[])
      .filter(({ index }) => index === 0)
      .map((row) => ({ ...row, image: imageUrl(image, { height: 28, width: 28, channels: 1 }) }));
    const svg = await drawFigure('examples', rows, WIDE);
    const bare = svg.replaceAll(/<text[^>]*>[^<]*<\/text>/g, '');
    const { data, channels } = decode(await renderPng(bare));
    const greys = new Set(range(data.length / channels).map((i) => data[i * channels]));
    expect([...greys].sort()).toEqual([0, 255]);
  });
});

describe('docs/figures', () => {
  const folder = path.join(packageRoot, 'docs', 'figures');
  // The others are drawn from the results by test/cli/commands.test.ts; this one needs weights.
  it.each(['examples.csv'])('%s is what is drawn', async (file) => {
    const name = path.basename(file, '.csv') as FigureKindName;
    const { row } = FIGURE_KINDS[name] as unknown as FigureKind<object>;
    const read = (ending: string): string =>
      readFileSync(path.join(folder, file.replace(/csv$/, ending)), 'utf8');
    const svg = await drawFigure(name, readRows(csvLines(read('csv'), file), row, file), WIDE);
    expect(svg, 'npm run figures draws them anew').toBe(read('svg'));
  });
});

describe('the letters', () => {
  // Between two bars, whose place tells how wide resvg, which reads the font itself, draws the text.
  const drawn = (text: string, weight: string): number => {
    const width = (inner: string): number =>
      new Resvg(
        `<svg xmlns="http://www.w3.org/2000/svg" width="9000" height="300"><text x="50" y="200" font-size="100" font-weight="${weight}" font-family="Arimo" style="font-kerning: none">|${inner}|</text></svg>`,
        { font: { loadSystemFonts: false, fontFiles: fontFiles() } },
      ).getBBox()!.width;
    return width(text) - width('');
  };
  it.each(['0123456789', 'iteration', 'L∞ 255', 'σβεη', '10¹⁷⁻⁰', '±●♦−–'])('%s', (text) => {
    for (const bold of [false, true]) {
      const ours = textWidth(text, 100, bold);
      expect(Math.abs(ours - drawn(text, bold ? 'bold' : 'normal'))).toBeLessThan(0.1);
    }
  });
  it('all of the figures are in the font', () => {
    const missing = textWidth('\u{e000}', 100);
    const letters = new Set('%βεησ∞●♦±−→⁻⁰¹²³⁴⁵⁶⁷⁸⁹');
    expect(missing).toBeGreaterThan(0);
    expect([...letters].filter((letter) => textWidth(letter, 100) === missing)).toEqual([]);
  });
});

describe('scales', () => {
  const random = makeRandom(1, 'figure test', 0);
  const uniform = (): number => random.uniform();
  it('a logarithmic one covers all values, from tick to tick, with few ticks', () => {
    for (let i = 0; i < 300; i++) {
      const values = range(5).map(() => 10 ** (uniform() * 40 * uniform() - 20 * uniform()));
      const { scale, ticks } = logScale(values);
      expect(ticks[0]).toBeLessThanOrEqual(Math.min(...values));
      expect(ticks.at(-1)).toBeGreaterThanOrEqual(Math.max(...values));
      expect(scale.domain).toEqual([ticks[0], ticks.at(-1)]);
      expect(ticks.length).toBeLessThanOrEqual(13);
      expect(ticks).toEqual([...new Set(ticks)].sort((a, b) => a - b));
    }
  });

  it('powers of ten are written as such', () => {
    expect(powerLabels([1, 1e5, 1e17, 0.01, 2])).toBe(
      '({"1":"10⁰","2":"2","100000":"10⁵","100000000000000000":"10¹⁷","0.01":"10⁻²"})[datum.value]',
    );
  });

  it('the bins of L∞ hold each value once', () => {
    const linf = range(5000).map(() =>
      uniform() < 0.2 ? NaN : 1 + Math.floor(uniform() ** 3 * 255),
    );
    const bins = linfBins(linf);
    expect(bins.reduce((sum, { images }) => sum + images, 0)).toBe(linf.length);
    expect(bins.at(-1)).toEqual({ from: null, to: null, images: linf.filter(Number.isNaN).length });
    for (const { from, to, images } of bins.slice(0, -1)) {
      expect(linf.filter((value) => from! <= value && value < to!)).toHaveLength(images);
    }
    expect(bins.slice(1, -1).map(({ from }) => from)).toEqual(
      bins.slice(0, -2).map(({ to }) => to),
    );
  });
});
