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
  /** 0: any free one. */
  port: number;
  signal: AbortSignal;
  /** Gets the address of the page as soon as it is served. */
  ready: (url: string) => void;
}

/** Between two looks; longer if making the page takes long, to leave the machine to the runs. */
const LOOK_EVERY_MS = { least: 1000, most: 10_000 };
const REST = 4;

/**
 * Serves results as a page that follows changes in their folders, until the signal aborts.
 *
 * @throws Interrupted then; UserError if a folder or the port is not available
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

  // A missing folder is reported before the server starts.
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

/** Files come and go during runs: what could not be read is read when it changes. */
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
        // The holder of a lock renews its time every few seconds.
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
