import { spawn, type ChildProcess } from 'node:child_process';
import { cpSync } from 'node:fs';
import path from 'node:path';
import type { Browser } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { executable, workspace, type Workspace } from '../cli/bang.js';
import { open, rowsOf, startChromium, textsOf } from './browser.js';

let space: Workspace;
let browser: Browser;
let server: ChildProcess;

const committed = (...parts: string[]) => path.join(packageRoot, 'results', ...parts);

beforeAll(async () => {
  space = workspace();
  for (const row of ['lenet-r0', 'lenet-b1', 'lenet-b2']) {
    cpSync(committed('table1', row), space.file('runs', row), { recursive: true });
  }
  server = spawn(process.execPath, [executable(), 'view', 'runs'], { cwd: space.folder });
  browser = await startChromium();
});
afterAll(async () => {
  server.kill('SIGKILL');
  await browser.close();
  space.remove();
});

function address(): Promise<string> {
  return new Promise((resolve, reject) => {
    server.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const found = /http:\/\/127\.0\.0\.1:\d+\/\S+/.exec(text);
      if (found) resolve(found[0]);
    });
    server.on('exit', reject);
  });
}

describe('bang view', () => {
  it('follows its folders, and leaves the reader where he is', async () => {
    const opened = await open(browser, await address());
    const { page, offences } = opened;
    const connected = () => page.waitForSelector('#live[data-state=connected]');
    await connected();
    await page.waitForFunction(() =>
      document.querySelector('#live')!.textContent.startsWith('live'),
    );
    // Changed, where the watch still hears of the folders' own copying.
    expect(await textsOf(page, '#live')).toEqual([
      expect.stringMatching(/^live, (connected|changed) at /),
    ]);

    const table = '#table-1-lenet-on-mnist-table';
    const names = () => textsOf(page, `${table} tr.ours th`);
    expect(await names()).toEqual(['lenet-r0', 'lenet-b1', 'lenet-b2']);
    const [, , , accuracy] = await page.$$(`${table} thead button`);
    await accuracy.click();
    await accuracy.click();
    const [all, , second] = await page.$$('#provenance summary');
    await all.click();
    await second.click();
    const place = await page.evaluate(() => {
      scrollTo(0, 700);
      return scrollY;
    });
    expect(place).toBe(700);
    const focus = () =>
      page.evaluate(() => document.activeElement?.textContent.replace(/\s+/g, ' ').trim());
    await accuracy.focus();
    await page.evaluate(() => {
      scrollTo(0, 700);
    });
    expect(await focus()).toBe('Accuracy %');
    const top = () => page.$eval(table, (one) => Math.round(one.getBoundingClientRect().top));
    const before = await top();

    cpSync(committed('table1', 'lenet-b0'), space.file('runs', 'lenet-b0'), { recursive: true });
    await page.waitForFunction(
      (rows) => document.querySelectorAll(rows).length === 4,
      {},
      `${table} tr.ours`,
    );
    // Sorted by accuracy, descending, as before.
    expect(await names()).toContain('lenet-b0');
    const ours = (await rowsOf(page, table)).filter(({ kind }) => kind === 'ours');
    const accuracies = ours.map(({ cells }) => cells[2].values[0]);
    expect(accuracies).toEqual(accuracies.toSorted((a, b) => b - a));
    expect(await page.$$eval(`${table} thead th`, (all) => all[3].ariaSort)).toBe('descending');
    expect(await focus()).toBe('Accuracy %');
    // What is above may have grown: what is read stays in its place.
    expect(Math.abs((await top()) - before)).toBeLessThan(3);
    const unfolded = await page.$$eval('#provenance details[open]', (all) =>
      all.map((one) => one.dataset.key),
    );
    expect(unfolded).toEqual(['provenance', 'provenance runs/lenet-r0/seed-2']);
    expect(await textsOf(page, '#live')).toEqual([expect.stringMatching(/^live, changed at /)]);
    expect(offences).toEqual([]);

    const ended = new Promise((resolve) => server.on('exit', resolve));
    server.kill('SIGINT');
    expect(await ended).toBe(130);
    await page.waitForSelector('#live[data-state=lost]');
    await page.close();
  });
});
