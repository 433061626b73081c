import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { codeOf, Interrupted, UserError } from '../../base/errors.js';
import { collectResults } from './contents.js';
import { pageOf } from './document.js';
import { galleriesOf, galleryKey, NO_GALLERIES, type GalleryOptions } from './galleries.js';
import { plotsOf } from './plots.js';
import { serve } from './serve.js';

export interface ViewOptions extends GalleryOptions {
  /** 0: any that is free. */
  port: number;
  signal: AbortSignal;
  /** Told where the page is, as soon as it is there. */
  ready: (url: string) => void;
}

/** Between two looks; more where making the page takes long, so that runs have the machine. */
const LOOK_EVERY_MS = { least: 1000, most: 10_000 };
const REST = 4;

/**
 * Serves results as a page that follows what happens in their folders, until the signal aborts.
 *
 * @throws Interrupted then; UserError if a folder or the port cannot be had
 */
export async function view(folders: readonly string[], options: ViewOptions): Promise<never> {
  const { port, signal, ready } = options;
  let galleries = NO_GALLERIES;
  let galleriesAreOf = galleryKey([]);
  let isTold = false;
  const tellOnce = (): void => {
    if (!isTold) ready(server.url);
    isTold = true;
  };
  const build = async (): Promise<void> => {
    const collected = await collectResults(folders);
    const plots = await plotsOf(collected);
    const key = galleryKey(collected.parts);
    const isOld = key !== galleriesAreOf && options.perClass > 0;
    server.show(pageOf({ collected, galleries: { ...galleries, isOld }, plots }, true));
    tellOnce();
    if (!isOld) return;
    galleries = await galleriesOf(collected.parts, options);
    galleriesAreOf = key;
    server.show(pageOf({ collected, galleries, plots }, true));
  };

  // A folder that is not there is told before there is a server.
  await collectResults(folders);
  const server = await serve(port);
  try {
    let seen: string | undefined;
    for (;;) {
      const now = stateOf(folders);
      const begun = performance.now();
      if (now !== seen) {
        await triedAgainLater(build, seen === undefined);
        seen = now;
      }
      const rest = REST * (performance.now() - begun);
      const { least, most } = LOOK_EVERY_MS;
      await pause(Math.min(most, Math.max(least, rest)), signal);
    }
  } finally {
    await server.close();
  }
}

/** Files come and go while runs go on: what could not be read then is read when it has changed. */
async function triedAgainLater(build: () => Promise<void>, isFirst: boolean): Promise<void> {
  try {
    await build();
  } catch (error) {
    const isPassing = error instanceof UserError || codeOf(error) === 'ENOENT';
    if (isFirst || !isPassing) throw error;
  }
}

/** All files with their sizes and times, as a hash. */
function stateOf(folders: readonly string[]): string {
  const hash = createHash('sha256');
  const visit = (folder: string): void => {
    for (const entry of entriesOf(folder)) {
      const file = path.join(folder, entry.name);
      if (entry.isDirectory()) {
        visit(file);
      } else if (file.endsWith('.lock')) {
        // Its time is that of whoever holds it, who says every few seconds that it lives.
        hash.update(file);
      } else if (!file.endsWith('.tmp')) {
        const found = statSync(file, { throwIfNoEntry: false });
        hash.update(JSON.stringify([file, found?.size, found?.mtimeMs]));
      }
    }
  };
  folders.forEach(visit);
  return hash.digest('hex');
}

function entriesOf(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true }).filter(({ name }) => !name.startsWith('.'));
  } catch {
    return [];
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
  if (signal.aborted) throw new Interrupted('stopped serving');
}
