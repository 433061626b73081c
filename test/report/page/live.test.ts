import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { collectResults, type FirstSeen } from '#bang/report/page/contents.js';
import { pageOf } from '#bang/report/page/document.js';
import { NO_PLOTS } from '#bang/report/page/plots.js';
import { takeLock } from '#bang/store/lock.js';

const folder = mkdtempSync(path.join(os.tmpdir(), 'live page-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

async function textNow(seen?: FirstSeen): Promise<string> {
  const collected = await collectResults([folder], seen);
  const { html } = pageOf({ collected, plots: NO_PLOTS }, true);
  const main = /<main.*<\/main>/s.exec(html)![0];
  return main.replace(/<[^>]*>/g, ' ').replace(/&nbsp;|\s+/g, ' ');
}

it('an empty folder says what to run', async () => {
  expect(await textNow()).toMatch(
    /There is nothing here yet .* bang run lenet-b1 lenet-r0 --out &#39;.*live page-/,
  );
});

it('a run in progress says how long it still takes, at its speed so far', async () => {
  const run = path.join(folder, 'mine');
  mkdirSync(run);
  const lock = takeLock(path.join(run, 'bang.lock'), 'run', () => undefined);
  const config = path.join(run, 'config.yaml');
  const log = path.join(run, 'training.csv');
  writeFileSync(config, 'name: mine\ntraining:\n  iterations: 1000\n');
  const write = (iteration: number, at: number): void => {
    writeFileSync(log, `iteration,loss,validation_accuracy\n${iteration},0.5,\n`);
    utimesSync(log, at / 1000, at / 1000);
  };
  const begun = Date.now();
  write(250, begun + 60_000);
  // 250 iterations a minute: three more minutes.
  expect(await textNow()).toMatch(
    /mine iteration 250 of 1000, loss 0\.500, about (3 min 0\d s|2 min 5\d s) left/,
  );
  // Continued by another process, it counts from where the page first saw it.
  utimesSync(config, 0, 0);
  const seen: FirstSeen = new Map();
  expect(await textNow(seen)).not.toContain('left');
  write(500, begun + 90_000);
  expect(await textNow(seen)).toContain('iteration 500 of 1000, loss 0.500, about 1 min 00 s left');
  lock.release();
});
