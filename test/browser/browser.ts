import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import axe from 'axe-core';
import puppeteer, { type Browser, type Page } from 'puppeteer-core';
import { expect } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { PATIENCE } from '../patience.js';

/** Chromium, which Debian's package of that name installs. */
export async function startChromium(): Promise<Browser> {
  const found = spawnSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' });
  const executablePath = found.stdout.trim();
  if (executablePath === '') throw new Error('these tests need chromium: apt-get install chromium');
  // Its sandbox refuses root, which CI often is.
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return puppeteer.launch({
    executablePath,
    args: [...sandbox, '--disable-gpu'],
    timeout: PATIENCE,
    protocolTimeout: PATIENCE,
  });
}

export const DESKTOP = { width: 1280, height: 900 };
export const WIDE = { width: 1400, height: 1000 };
export const TABLET = { width: 820, height: 1100 };
export const PHONE = { width: 360, height: 740, isMobile: true, hasTouch: true };

/** A page, and whatever it did that it should not. */
export interface Watched {
  page: Page;
  /** Requests but for the page itself and what is in it, messages of the console, errors, dialogs. */
  offences: string[];
}

export async function open(
  browser: Browser,
  address: string,
  { viewport = DESKTOP, scheme = 'light' }: { viewport?: typeof DESKTOP; scheme?: string } = {},
): Promise<Watched> {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  const offences: string[] = [];
  const origin = new URL(address).origin;
  page.on('request', (request) => {
    const url = request.url();
    const isOwn = url === address || (origin !== 'null' && url.startsWith(origin));
    if (!isOwn && !url.startsWith('data:')) offences.push(`requests ${url}`);
  });
  page.on('console', (message) => offences.push(`says ${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => offences.push(`fails: ${String(error)}`));
  page.on('dialog', (dialog) => {
    offences.push(`asks: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await page.setViewport(viewport);
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await page.goto(address);
  return { page, offences };
}

/** What axe-core finds against the Web Content Accessibility Guidelines 2.2, AA. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate(
    `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })`,
  )) as axe.AxeResults;
  return violations.map(
    ({ id, nodes }) =>
      `${id}: ${nodes
        .slice(0, 3)
        .map(({ html }) => html)
        .join(' ')}`,
  );
}

/** For people to look at; a picture of one colour would be a blank page. */
export async function photograph(page: Page, name: string): Promise<void> {
  const folder = path.join(packageRoot, 'screenshots');
  mkdirSync(folder, { recursive: true });
  const bytes = await page.screenshot({ path: path.join(folder, `${name}.png`) });
  expect(bytes.length).toBeGreaterThan(10_000);
}

/** A table as it stands in the page: of each row its class, name, texts and the exact numbers. */
export interface SeenRow {
  kind: string;
  name: string;
  /** Of each cell, the numbers in it. */
  cells: { text: string; values: number[] }[];
}

export async function rowsOf(page: Page, table: string): Promise<SeenRow[]> {
  return page.$$eval(`${table} > tbody > tr`, (rows) =>
    rows.map((row) => ({
      kind: row.className,
      name: (row.querySelector('th')!.innerText || row.querySelector('th')!.textContent)
        .replace(/\s+/g, ' ')
        .trim(),
      cells: [...row.querySelectorAll('td')].map((cell) => ({
        text: (cell.innerText || cell.textContent).replace(/\s+/g, ' ').trim(),
        values: [...cell.querySelectorAll('data')].map((data) => Number(data.value)),
      })),
    })),
  );
}

/** What can be read in the elements that a selector finds. */
export async function textsOf(page: Page, selector: string): Promise<string[]> {
  return page.$$eval(selector, (all) => all.map((one) => (one as HTMLElement).innerText));
}
