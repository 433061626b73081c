import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collectResults } from '#bang/report/page/contents.js';
import { pageOf } from '#bang/report/page/document.js';
import { NO_GALLERIES } from '#bang/report/page/galleries.js';
import { NO_PLOTS } from '#bang/report/page/plots.js';
import { workspace, type Workspace } from '../cli/bang.js';
import { resultWith } from '../report/entries.js';
import { open, startChromium } from './browser.js';

let space: Workspace;
let browser: Browser;
beforeAll(async () => {
  space = workspace();
  browser = await startChromium();
});
afterAll(async () => {
  await browser.close();
  space.remove();
});

/** Opens a page of a folder's results, without pictures. */
async function openPage(folder: string, galleries = NO_GALLERIES) {
  const collected = await collectResults([space.file(folder)]);
  const { html } = pageOf({ collected, galleries, plots: NO_PLOTS });
  return open(browser, pathToFileURL(space.write(`${folder}.html`, html)).href);
}

function writeResult(folder: string, ...result: Parameters<typeof resultWith>): void {
  space.write(path.join(folder, 'result.json'), JSON.stringify(resultWith(...result)));
}

describe('two runs side by side', () => {
  it('have numbers from tables with different columns, and of settings only those that differ', async () => {
    const { fgs } = resultWith('lenet-b1').row.attacks;
    writeResult('two/whole', 'lenet-b1');
    const some = { accuracy: 99.1, images: 100, attacks: { fgs } };
    const model = { layers: [{ kind: 'relu' }, { kind: 'innerProduct', name: 'ip', outputs: 10 }] };
    const config = { model: model as never, published: undefined };
    writeResult('two/subset', 'lenet-b1', { name: 'subset', config, row: some });
    const description = `As long as what YAML folds: ${'on and '.repeat(9)}on`;
    writeResult('two/described', 'lenet-b1', {
      name: 'described',
      config: { ...config, description },
      row: some,
    });
    const { page, offences } = await openPage('two');
    const compared = async (...names: string[]) => {
      for (const [i, name] of names.entries()) {
        const chosen = await page.$$eval(
          '#compare option',
          (all, text) => all.find((one) => one.text.startsWith(text))!.value,
          name,
        );
        await page.select(`#compare select[name=${'ab'[i]}]`, chosen);
      }
      return page.$$eval('.compared tbody tr', (all) =>
        all.map((row) => [...row.cells].map(({ textContent }) => textContent).join(' | ')),
      );
    };
    await (await page.$('#compare summary'))!.click();
    const numbers = await compared('lenet-b1', 'subset');
    expect(numbers.slice(0, 4)).toEqual([
      'Accuracy % | 98.97 | 99.10 | +0.13',
      'FGS-Rate % | 2.15 | 2.15 | 0.00',
      'unmasked FGS-Rate % | 99.98 | – | –',
      'unmasked FGS-L∞ grey levels | 38.35 | – | –',
    ]);
    expect(await compared('subset', 'lenet-b1')).toContain('unmasked FGS-Rate % | – | 99.98 | –');
    expect((await compared('subset', 'described')).slice(4)).toEqual([
      `description | – | ${JSON.stringify(description)} | `,
    ]);
    expect(offences).toEqual([]);
    await page.close();
  });
});
