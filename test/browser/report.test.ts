import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Result } from '#bang/store/result.js';
import { packageRoot } from '#bang/base/files.js';
import { bangOk, tinyConfig, workspace, writeSmallData, type Workspace } from '../cli/bang.js';
import { readCsv } from '../fixtures.js';
import {
  accessibilityProblems,
  DESKTOP,
  open,
  PHONE,
  TABLET,
  WIDE,
  photograph,
  rowsOf,
  startChromium,
  textsOf,
  type SeenRow,
  type Watched,
} from './browser.js';

/** What would do harm if it were markup, in a name, a description and the name of a folder. */
const HOSTILE = '<img src=x onerror=alert(1)>';
const CLOSING = `</script></style></pre><script>alert(2)</script>${HOSTILE}`;
const QUOTES = `"'onmouseover='alert(3)' onfocus="alert(4)" autofocus`;

let space: Workspace;
let browser: Browser;
/** The committed results, and runs of seconds with weights, a sweep and a study. */
const pages = { committed: '', own: '' };

beforeAll(async () => {
  space = workspace();
  const cwd = space.folder;
  writeSmallData(space);
  const { write } = space;
  write('tiny.yaml', tinyConfig());
  const more = ['--data-dir', 'data'];
  const set = ['--set', 'training.iterations=30', '--set', 'evaluation.images=40'];
  await bangOk(['run', 'tiny.yaml', ...set, ...more, '--out', 'runs/bang'], { cwd });
  const regular = ['--set', 'training.bang=null', '--set', 'name=regular'];
  const attacks = ['--set', 'evaluation.attacks=[fgs,fgs-unmasked,hc1,pgd]'];
  const effort = [
    '--set',
    'evaluation.pgd={steps: 5, restarts: 1}',
    '--set',
    'evaluation.pass=true',
  ];
  await bangOk(
    [
      'run',
      'tiny.yaml',
      ...set,
      ...regular,
      ...attacks,
      ...effort,
      ...more,
      '--out',
      `runs/${QUOTES}`,
    ],
    { cwd },
  );
  disguise(`runs/${QUOTES}`);
  const grid = 'grid: { training.bang.beta: [1, 1.5], training.bang.epsilon: [0.7, 0.8] }';
  write(
    'sweep.yaml',
    `name: small\nbase: tiny.yaml\n${grid}\nreference: { training.bang: null }\n`,
  );
  const quick = ['--set', 'training.iterations=5', '--set', 'evaluation.images=20'];
  await bangOk(['sweep', 'sweep.yaml', ...quick, ...more, '--out', 'runs/sweep'], { cwd });
  await bangOk(
    [
      'transfer',
      'runs/bang',
      `runs/${QUOTES}`,
      '--attacks',
      'fgs-unmasked',
      '--set',
      'evaluation.images=30',
      ...more,
      '--out',
      'runs/transfer',
    ],
    { cwd },
  );
  for (const [file, name] of [
    ['r', 'lenet-r0'],
    ['b', 'lenet-b1'],
  ]) {
    const from = path.join(packageRoot, 'configs', `${name}.yaml`);
    const training =
      '{ iterations: 20, batch: 16, split: first, shuffle: false, logEvery: 10, checkpointEvery: 10 }';
    write(`${file}.yaml`, `extends: ${from}\ntraining: ${training}\nname: noise-${file}\n`);
  }
  write(
    'noise.yaml',
    'study: noise\nregular: r.yaml\nbang: b.yaml\nevery: 10\nsigmas: [40, 120]\nimages: 2\ncopies: { last: 4, before: 2 }\npublished: lenet\n',
  );
  await bangOk(['noise', 'noise.yaml', ...more, '--out', 'runs/noise'], { cwd });
  await bangOk(['report', 'runs', ...more, '--out', 'own.html'], { cwd });
  pages.own = pathToFileURL(space.file('own.html')).href;

  const results = path.join(packageRoot, 'results');
  const tables = ['table1', 'table2', 'robustness', 'controls', 'claims'];
  const folders = tables.map((name) => path.join(results, name));
  await bangOk(['report', results, '--out', 'committed.html'], { cwd });
  pages.committed = pathToFileURL(space.file('committed.html')).href;
  await bangOk(['table', ...folders, '--out', 'tables'], { cwd });
  browser = await startChromium();
}, 240_000);
afterAll(async () => {
  await browser.close();
  space.remove();
});

/** Gives a result names that nobody checks again. */
function disguise(folder: string): void {
  const file = space.file(folder, 'result.json');
  const result = JSON.parse(readFileSync(file, 'utf8')) as Result;
  result.name = HOSTILE;
  result.config.name = HOSTILE;
  result.config.description = CLOSING;
  writeFileSync(file, JSON.stringify(result));
}

async function closed<T>({ page, offences }: Watched, what: () => Promise<T>): Promise<T> {
  try {
    const found = await what();
    expect(offences).toEqual([]);
    return found;
  } finally {
    await page.close();
  }
}

/** In the order of the page: what decides comes first. */
const TABLE_QUANTITIES = [
  'accuracy',
  'fgs_rate',
  'fgs_unmasked_rate',
  'fgs_unmasked_linf',
  'fgs_pass',
  'fgs_linf',
  'hc1_rate',
  'hc1_pass',
  'hc1_linf',
];

/** The numbers of a line of table.csv that there are, as the page has them: with deviations only where it shows them. */
function numbersIn(line: Record<string, string>): number[][] {
  const withSpread = line.source === 'bang' || line.source === 'published';
  return TABLE_QUANTITIES.map((figure) => {
    const columns =
      figure in line ? [figure] : [`${figure}_mean`, ...(withSpread ? [`${figure}_std`] : [])];
    return columns.flatMap((column) => (line[column] === '' ? [] : [Number(line[column])]));
  }).filter(isNumber);
}

/** Whether there is a number: a table has no column of what none of its experiments measured. */
const isNumber = (numbers: number[]): boolean => numbers.length > 0;

const KINDS: Record<string, string> = {
  ours: 'bang',
  seeds: 'over seeds',
  published: 'published',
  difference: 'difference',
};

/** Whether a text is a number rounded to as many digits as it has. */
function isRounded(text: string, value: number): boolean {
  const shown = text.replace(/[*±+ ]|\(\d+\)/g, '');
  const digits = shown.split('.')[1]?.length ?? 0;
  // The CSV file is rounded, too.
  return Math.abs(Number(shown) - value) <= 0.5 * 10 ** -digits + 1e-4;
}

/** The lines of each experiment as one text. */
function experimentsIn(rows: readonly SeenRow[]): string[] {
  const starts = rows.flatMap(({ kind }, i) => (kind === 'ours' || kind === 'none' ? [i] : []));
  return starts.map((start, i) => JSON.stringify(rows.slice(start, starts[i + 1])));
}

describe('the page of the committed results', () => {
  it('opens from disk, with nothing asked for and nothing said, and is small', async () => {
    expect(statSync(space.file('committed.html')).size).toBeLessThan(3 * 2 ** 20);
    const opened = await open(browser, pages.committed);
    await closed(opened, async () => {
      await photograph(opened.page, 'desktop');
      const broken = await opened.page.$$eval(
        'img',
        (images) => images.filter((image) => image.naturalWidth === 0).length,
      );
      expect(broken).toBe(0);
    });
  });

  it('has exactly the numbers of table.csv', async () => {
    const lines = readCsv(space.file('tables', 'table.csv'));
    const opened = await open(browser, pages.committed);
    await closed(opened, async () => {
      const seen: SeenRow[] = [];
      const tables = [
        'table-1-lenet-on-mnist',
        'table-2-cifar-10-quick-on-cifar-10',
        'not-in-the-paper',
      ];
      for (const table of tables) {
        for (const part of ['table', 'others-table', 'missing-table']) {
          seen.push(...(await rowsOf(opened.page, `#${table}-${part}`)));
        }
      }
      const rows = seen.filter(({ kind }) => kind !== 'none');
      const numbersOf = (row: SeenRow): string =>
        JSON.stringify([
          KINDS[row.kind],
          row.cells
            .slice(2)
            .map(({ values }) => values)
            .filter(isNumber),
        ]);
      const inFile = lines.map((line) => JSON.stringify([line.source, numbersIn(line)]));
      // Ours as often as in the file; what is published once for each row, with one difference at most.
      const own = (text: string): boolean => /^\["(bang|over seeds)/.test(text);
      const onPage = rows.map(numbersOf);
      expect(onPage.filter(own).sort()).toEqual(inFile.filter(own).sort());
      const others = onPage.filter((text) => !own(text));
      expect(others.filter((text) => !inFile.includes(text))).toEqual([]);
      const published = others.filter((text) => text.startsWith('["published'));
      expect(published).toHaveLength(16);
      expect(new Set(published).size).toBe(16);
      rows.forEach(({ cells }) => {
        const figures = cells.slice(2);
        for (const { text, values } of figures) {
          const shown = text.split(/ ?(?=± )/).filter((part) => part !== '–' && part !== '');
          expect(
            shown.every((part, n) => isRounded(part, values[n])),
            text,
          ).toBe(true);
          expect(shown.length).toBe(values.length);
        }
      });
    });
  });

  it('has the numbers of robustness.csv and masking.csv', async () => {
    const opened = await open(browser, pages.committed);
    await closed(opened, async () => {
      const { page } = opened;
      const compared = await rowsOf(page, '[id^=compared-]');
      // As a reader unfolds them.
      for (const summary of await page.$$('#robustness summary')) await summary.click();
      for (const name of ['authors-cifar10-b0', 'authors-lenet-r0']) {
        const folder = path.join(packageRoot, 'results', 'robustness', name);
        const robust = readCsv(path.join(folder, 'robustness.csv'));
        const tables = await page.$$eval('[id^=robustness-][id$=_accuracy]', (all) =>
          all.map(({ id, textContent }) => ({ id, text: textContent })),
        );
        const { id } = tables.find(({ text }) => text.includes(robust[0].name))!;
        const rows = await rowsOf(page, `#${id}`);
        const attacks = [...new Set(robust.map(({ attack }) => attack))];
        expect(rows).toHaveLength(attacks.length);
        rows.forEach(({ cells }, n) => {
          const lines = robust.filter(({ attack }) => attack === attacks[n]);
          const [clean, ...budgets] = cells.map(({ values }) => values);
          const median = budgets.pop();
          expect(clean).toEqual([Number(lines[0].accuracy)]);
          expect(budgets).toEqual(lines.map((line) => [Number(line.robust_accuracy)]));
          expect(median).toEqual(lines[0].median_linf === '' ? [] : [Number(lines[0].median_linf)]);
        });
        const beside = compared.find((row) => row.name.startsWith(`${robust[0].name} 1000 images`));
        const worst = robust.filter(({ attack }) => attack === 'worst');
        expect(beside?.cells.slice(2, 2 + worst.length).map(({ values }) => values)).toEqual(
          worst.map(({ robust_accuracy }) => [Number(robust_accuracy)]),
        );
        const masking = readCsv(path.join(folder, 'masking.csv'));
        const masked = await rowsOf(page, `#${id.replace(/accuracy$/, 'masking-0')}`);
        expect(masked.map(({ cells }) => cells[0].values)).toEqual(
          masking.map(({ fooled }) => [Number(fooled)]),
        );
      }
    });
  });

  it('sorts by click and by keyboard, whole experiments, and says so', async () => {
    const opened = await open(browser, pages.committed);
    await closed(opened, async () => {
      const { page } = opened;
      const table = '#table-1-lenet-on-mnist-table';
      const before = await rowsOf(page, table);
      const heads = await page.$$(`${table} thead button`);
      const accuracy = async () => {
        const rows = await rowsOf(page, table);
        return rows.filter(({ kind }) => kind === 'ours').map(({ cells }) => cells[2].values[0]);
      };
      const sorting = () =>
        page.$$eval(`${table} thead th`, (all) => all.map((one) => one.ariaSort));
      const none = Array<null>(12).fill(null);
      expect(await sorting()).toEqual(none);

      await heads[3].click();
      expect(await sorting()).toEqual(none.with(3, 'ascending' as never));
      const ascending = await accuracy();
      expect(ascending).toEqual(ascending.toSorted((a, b) => a - b));
      const mixed = await rowsOf(page, table);
      // Each experiment still has its own lines below it.
      expect(experimentsIn(mixed).sort()).toEqual(experimentsIn(before).sort());

      await heads[3].focus();
      await page.keyboard.press('Enter');
      expect(await sorting()).toEqual(none.with(3, 'descending' as never));
      expect(await accuracy()).toEqual(ascending.toReversed());
      expect(await page.$eval('#announcer', (one) => one.textContent)).toBe(
        'sorted by Accuracy %, descending',
      );
      await page.keyboard.press('Space');
      expect(await rowsOf(page, table)).toEqual(before);

      // The next heading is the next stop of the tab key, and its focus can be seen.
      await page.keyboard.press('Tab');
      const focus = await page.evaluate(() => {
        const { textContent } = document.activeElement!;
        return [textContent, getComputedStyle(document.activeElement!).outlineStyle];
      });
      expect(focus).toEqual([expect.stringMatching(/^\s*FGS-Rate/), 'solid']);
    });
  });

  it('tells on its first screen what was found, and is short', async () => {
    const opened = await open(browser, pages.committed, { viewport: WIDE });
    await closed(opened, async () => {
      const { page } = opened;
      const [height, painted] = await page.evaluate(() => [
        document.documentElement.scrollHeight,
        performance.getEntriesByName('first-contentful-paint')[0].startTime,
      ]);
      expect(height).toBeLessThan(9000);
      // Half a second on a machine that does nothing else.
      expect(painted).toBeLessThan(2000);
      expect(await page.$eval('main > section', ({ id }) => id)).toBe('verdict');
      const headlines = await textsOf(page, '.finding h3');
      expect(headlines[0]).toMatch(
        /^Table 1: LeNet on MNIST\s+BANG is less robust than regular training: what FGS says of it is masking$/,
      );
      // The numbers are those of robustness.csv, at the middle budget.
      const charted = await rowsOf(page, '#verdict .finding:first-child table');
      for (const { name, cells } of charted.filter(({ name }) => !name.includes('seeds'))) {
        const [own] = name.split(' ');
        const folder = own === 'lenet' ? 'authors-lenet-r0' : path.join(own, 'seed-1');
        const lines = readCsv(
          path.join(packageRoot, 'results', 'robustness', folder, 'robustness.csv'),
        ).filter(({ budget }) => budget === '32');
        const of = (wanted: string) => lines.find(({ attack }) => attack === wanted)!;
        expect(cells.slice(1).map(({ values }) => values)).toEqual(
          ['fgs', 'fgs-unmasked', 'worst'].map((attack) => [Number(of(attack).robust_accuracy)]),
        );
      }
      expect(charted).toHaveLength(9);
      const down = await page.$$eval('#verdict a', (all) => all.map(({ hash }) => hash));
      expect(down.length).toBeGreaterThan(4);
      for (const hash of down) expect(await page.$(hash), hash).not.toBeNull();
      const folded = await page.$$eval('details', (all) => all.filter(({ open }) => open).length);
      expect(folded).toBe(0);
    });
  });

  it('unfolds a section that a link leads to, and no other', async () => {
    const opened = await open(browser, pages.committed, { viewport: WIDE });
    await closed(opened, async () => {
      const { page } = opened;
      const unfolded = () =>
        page.$$eval('section:has(> details:only-child[open])', (all) => all.map(({ id }) => id));
      expect(await unfolded()).toEqual([]);
      await (await page.$('#contents a[href="#transfer"]'))!.click();
      await page.waitForSelector('#transfer > details[open]');
      expect(await unfolded()).toEqual(['transfer']);
    });
  });

  it('puts two runs side by side', async () => {
    const opened = await open(browser, pages.committed);
    await closed(opened, async () => {
      const { page } = opened;
      await (await page.$('#compare summary'))!.click();
      const options = await page.$$eval('#compare select[name=b] option', (all) =>
        all.map(({ value, textContent }) => ({ value, text: textContent })),
      );
      const valueOf = (text: string): string => options.find((one) => one.text === text)!.value;
      await page.select('#compare select[name=a]', valueOf('lenet-b0'));
      await page.select('#compare select[name=b]', valueOf('lenet-b2'));
      const rows = await page.$$eval('.compared tbody tr', (all) =>
        all.map((row) => [...row.cells].map((cell) => cell.innerText.replace(/\s+/g, ' ').trim())),
      );
      const beta = rows.find(([key]) => key === 'training.bang.beta');
      expect(beta).toEqual(['training.bang.beta', '1', '1.2', '']);
      const means = readCsv(path.join(packageRoot, 'results', 'table1', 'table.csv'));
      const [a, b] = ['lenet-b0', 'lenet-b2'].map((wanted) =>
        means.find(({ name, source }) => name === wanted && source === 'bang')!,
      );
      const accuracy = rows.find(([key]) => key === 'Accuracy %')!;
      expect(accuracy.slice(1, 3)).toEqual([a, b].map((line) => Number(line.accuracy).toFixed(2)));
      expect(Number(accuracy[3])).toBeCloseTo(Number(b.accuracy) - Number(a.accuracy), 2);
      expect(rows.map(([key]) => key)).not.toContain('training.iterations');
    });
  });

  it.each([
    ['light', DESKTOP],
    ['dark', PHONE],
  ] as const)('is accessible: %s, %o', async (scheme, viewport) => {
    const opened = await open(browser, pages.committed, { scheme, viewport });
    await closed(opened, async () => {
      expect(await accessibilityProblems(opened.page)).toEqual([]);
    });
  });

  it.each([
    ['light', DESKTOP],
    ['dark', DESKTOP],
    ['light', TABLET],
    ['dark', TABLET],
    ['light', PHONE],
    ['dark', PHONE],
  ] as const)('fits: %s, %o', async (scheme, viewport) => {
    const opened = await open(browser, pages.committed, { scheme, viewport });
    await closed(opened, async () => {
      const { page } = opened;
      const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      expect(widths[0]).toBeLessThanOrEqual(viewport.width);
      expect(widths[1]).toBe(viewport.width);
      if (viewport === PHONE) {
        await page.$eval('#table-1-lenet-on-mnist', (section) => {
          section.scrollIntoView();
        });
        const scrolls = await page.$eval(
          '#table-1-lenet-on-mnist .box',
          (box) => box.scrollWidth > box.clientWidth,
        );
        expect(scrolls).toBe(true);
        // What decides is to be seen before that, and a hint that there is more.
        const seen = await page.$$eval('#table-1-lenet-on-mnist-table th', (all) =>
          all
            .filter((one) => {
              const { left, right, width } = one.getBoundingClientRect();
              return width > 0 && left >= 0 && right <= innerWidth;
            })
            .map((one) => one.innerText.replace(/\s+/g, ' ').trim()),
        );
        expect(seen.slice(0, 3)).toEqual(['Experiment', 'Accuracy %', 'FGS-Rate %']);
        const [hint] = await textsOf(page, '#table-1-lenet-on-mnist-table .hint');
        expect(hint).toMatch(/^Scroll the table/);
      }
      const name = viewport === PHONE ? 'phone' : viewport === TABLET ? 'tablet' : 'desktop';
      await photograph(page, `${name}-${scheme}`);
    });
  });
});

describe('the figures of the page', () => {
  // The smallest text in them has 11 pixels (test/report/figure.test.ts), if nothing makes them smaller.
  it.each([390, 768, 1400])('can be read, and fit, %i pixels wide', async (width) => {
    const isMobile = width < 500;
    const viewport = { width, height: 900, isMobile, hasTouch: isMobile };
    const opened = await open(browser, pages.committed, { viewport });
    await closed(opened, async () => {
      const { page } = opened;
      const found = await page.evaluate(async () => {
        for (const one of document.querySelectorAll('details')) one.open = true;
        const images = [...document.querySelectorAll<HTMLImageElement>('.plot img')];
        await Promise.all(images.map((image) => image.decode()));
        return images.map((image) => {
          const { paddingLeft, paddingRight } = getComputedStyle(image);
          const drawn = image.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
          const { left, right } = image.getBoundingClientRect();
          return { scale: drawn / image.naturalWidth, left, right, drawn };
        });
      });
      expect(found.length).toBeGreaterThanOrEqual(12);
      for (const { scale, left, right, drawn } of found) {
        expect(scale).toBeGreaterThanOrEqual(0.999);
        expect(left).toBeGreaterThanOrEqual(0);
        expect(right).toBeLessThanOrEqual(width);
        // The width is used.
        expect(drawn).toBeGreaterThan(isMobile ? 270 : 550);
      }
      await page.$eval('.plots', (one) => {
        one.closest('details')?.scrollIntoView();
        one.scrollIntoView();
      });
      await photograph(page, `figures-${width}`);
    });
  });
});

describe('the page of runs with weights', () => {
  it('shows their adversarial examples, with the L∞ of per-image.csv, and filters them', async () => {
    const opened = await open(browser, pages.own);
    await closed(opened, async () => {
      const { page } = opened;
      const lines = readCsv(space.file('runs/bang/per-image.csv'));
      expect(await page.$eval('.gallery p', (one) => one.innerText)).toMatch(
        /Their L∞ is that of per-image.csv, for all \d+\./,
      );
      const choose = (name: string, value: string) =>
        page.select(`.gallery select[name=${name}]`, value);
      const shown = () =>
        page.$$eval(
          '.gallery .example:not([hidden]) .network:not([hidden]) [data-attack]:not([hidden])',
          (all) =>
            all.map((one) => ({
              image: Number(
                /\d+/.exec(one.closest('.example')!.querySelector('h4')!.innerText)![0],
              ),
              label: one.closest<HTMLElement>('.example')!.dataset.class!,
              network: one.closest<HTMLElement>('.network')!.dataset.row!,
              attack: (one as HTMLElement).dataset.attack!,
              text: (one as HTMLElement).innerText.replace(/\s+/g, ' '),
              pictures: [...one.querySelectorAll('img')].map(
                ({ naturalWidth, alt }) => `${naturalWidth} ${alt}`,
              ),
            })),
        );
      const first = await shown();
      expect(new Set(first.map(({ label }) => label)).size).toBe(1);
      await choose('class', '');
      const all = await shown();
      expect(all.length).toBeGreaterThan(first.length);
      expect(await page.$eval('.gallery output', (one) => one.innerText)).toBe(
        `${all.length} of ${all.length} shown`,
      );
      await choose('attack', 'fgs-unmasked');
      await choose('row', 'tiny (40 images)');
      const some = await shown();
      expect(some).toEqual(
        all.filter(
          ({ attack, network }) => attack === 'fgs-unmasked' && network === 'tiny (40 images)',
        ),
      );
      expect(some.length).toBeGreaterThan(5);
      for (const { image, label, text, pictures } of some) {
        const line = lines[image];
        expect(line.label).toBe(label);
        if (line.fgs_unmasked_linf === '') expect(text).toMatch(/unmasked FGS fails/);
        else
          expect(text).toMatch(
            new RegExp(
              `^unmasked FGS ${label} → \\d L∞ ${line.fgs_unmasked_linf} PASS -?[\\d.]+ below × `,
            ),
          );
        expect(pictures.length).toBe(line.fgs_unmasked_linf === '' ? 0 : 2);
        for (const picture of pictures) expect(picture).toMatch(/^28 .{20}/);
      }
      await choose('class', some[0].label);
      expect(await shown()).toEqual(some.filter(({ label }) => label === some[0].label));
      await page.$eval('#gallery', (one) => {
        one.scrollIntoView();
      });
      await photograph(page, 'gallery');
      expect(await accessibilityProblems(page)).toEqual([]);
    });
  });

  it('does not take text for markup', async () => {
    const opened = await open(browser, pages.own);
    await closed(opened, async () => {
      const { page } = opened;
      const found = await page.evaluate(() => ({
        images: document.querySelectorAll('img:not([src^="data:"])').length,
        scripts: document.querySelectorAll('script').length,
        handlers: [...document.querySelectorAll('*')].filter((one) =>
          [...one.attributes].some(({ name }) => name.startsWith('on') || name === 'autofocus'),
        ).length,
        names: [...document.querySelectorAll('tr.ours th')].map((one) => one.textContent.trim()),
      }));
      expect(found).toMatchObject({ images: 0, scripts: 1, handlers: 0 });
      expect(found.names.filter((name) => name.startsWith(HOSTILE))).toHaveLength(1);
      await page.$$eval('#provenance details', (all) => {
        for (const one of all) one.open = true;
      });
      const [text] = await textsOf(page, '#provenance');
      expect(text).toContain(CLOSING);
      expect(text).toContain(`runs/${QUOTES}`);
    });
  });

  it('has the numbers of the sweep, the study and the transfer', async () => {
    const opened = await open(browser, pages.own);
    await closed(opened, async () => {
      const { page } = opened;
      const sweep = readCsv(space.file('runs/sweep/sweep.csv'));
      const points = await rowsOf(page, '#sweep-small_points');
      expect(points).toHaveLength(5);
      const accuracies = points.map(({ cells }) => cells[2].values[0]).sort();
      expect(accuracies).toEqual(sweep.map(({ accuracy }) => Number(accuracy)).sort());

      const noise = readCsv(space.file('runs/noise/noise.csv')).filter(
        ({ stage }) => stage === '2',
      );
      const study = await rowsOf(page, '#noise-noise_table');
      expect(
        study.slice(0, 2).map(({ cells }) => [...cells[0].values, ...cells[1].values]),
      ).toEqual(
        ['40', '120'].map((sigma) =>
          ['regular', 'bang'].map((network) =>
            Number(noise.find((line) => line.sigma === sigma && line.network === network)!.rate),
          ),
        ),
      );

      const transfer = readCsv(space.file('runs/transfer/transfer.csv'));
      const tried = await rowsOf(page, '#transfer table');
      expect(tried.map(({ cells }) => cells[4].values[0])).toEqual(
        transfer.map(({ transferred }) => Number(transferred)),
      );
      const broken = await page.$$eval('.plot img', (images) =>
        images.map((image) => image.naturalWidth > 0),
      );
      expect(broken.length).toBeGreaterThanOrEqual(4);
      expect(broken).not.toContain(false);
    });
  });
});
