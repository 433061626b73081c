import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collectResults } from '#bang/report/page/contents.js';
import { pageOf } from '#bang/report/page/document.js';
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

/** A page of a folder's results, without pictures. */
async function htmlOf(folder: string, live = false): Promise<string> {
  const collected = await collectResults([space.file(folder)]);
  return pageOf({ collected, plots: NO_PLOTS }, live).html;
}

async function openPage(folder: string) {
  const file = space.write(`${folder}.html`, await htmlOf(folder));
  return open(browser, pathToFileURL(file).href);
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

it('a link to where the last one led unfolds the section again', async () => {
  writeResult('one/run', 'lenet-b1');
  const { page, offences } = await openPage('one');
  const link = (await page.$('#contents a[href="#terms"]'))!;
  const details = '#terms > details';
  for (let i = 0; i < 2; i++) {
    await link.click();
    await page.waitForSelector(`${details}[open]`);
    await page.$eval(details, (one) => {
      one.open = false;
    });
  }
  expect(offences).toEqual([]);
  await page.close();
});

it('a page that finds its server again, unchanged, says so', async () => {
  writeResult('live/run', 'lenet-b1');
  const html = await htmlOf('live', true);
  let listener: ServerResponse | undefined;
  const server = createServer((request, response) => {
    if (request.url !== '/events') {
      response.setHeader('Content-Type', 'text/html').end(html);
      return;
    }
    listener = response.setHeader('Content-Type', 'text/event-stream');
    response.write('retry: 100\nevent: page\ndata: same\n\n');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const { page } = await open(browser, `http://127.0.0.1:${port}/`);
  const saysLive = () =>
    page.waitForFunction(() => document.querySelector('#live')!.textContent.startsWith('live'));
  await saysLive();
  await page.evaluate(() => {
    document.querySelector('#live')!.textContent = '';
  });
  listener!.destroy();
  await saysLive();
  expect(await page.$eval('#live', (one) => (one as HTMLElement).dataset.state)).toBe('connected');
  await page.close();
  server.close();
  server.closeAllConnections();
});
