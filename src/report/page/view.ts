import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { codeOf, Interrupted, UserError } from '../../base/errors.js';
import { didYouMean } from '../../base/nearFile.js';
import type { Progress } from '../../base/progress.js';
import { collectResults, type FirstSeen } from './contents.js';
import { pageOf } from './document.js';
import { galleriesBeside } from './galleriesBeside.js';
import { type Galleries, galleryKey, type GalleryOptions } from '../../experiment/galleries.js';
import { NO_PLOTS, plotsOf, type Plots } from './plots.js';
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
 * Serves results as a page that follows changes in their folders, until the signal aborts. Waits for folders
 * that do not exist yet.
 *
 * @throws Interrupted then; UserError if a folder or the port is not available
 */
export async function view(folders: readonly string[], options: ViewOptions): Promise<never> {
  const { port, signal, ready, progress, ...job } = options;
  let galleries: Galleries | undefined =
    options.perClass === 0 ? undefined : { galleries: [], notes: [] };
  let galleriesAreOf = galleryKey([]);
  let drawing: Promise<void> | undefined;
  let isTold = false;
  const fresh = { galleries: false };
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const draw = async (key: string): Promise<void> => {
    galleries = await galleriesBeside({ ...job, folders }, { progress, signal: either });
    galleriesAreOf = key;
    drawing = undefined;
    fresh.galleries = true;
  };
  const firstSeen: FirstSeen = new Map();
  let plots: Plots = NO_PLOTS;
  const build = async (): Promise<void> => {
    const collected = await collectResults(folders, firstSeen);
    const key = galleryKey(collected.parts);
    const isOld = galleries !== undefined && key !== galleriesAreOf;
    const show = (): void => {
      const shown = galleries && { ...galleries, isOld };
      server.show(pageOf({ collected, galleries: shown, plots }, true));
    };
    // Numbers do not wait for figures: those from before stay until they are drawn again.
    show();
    if (!isTold) ready(server.url);
    isTold = true;
    plots = await plotsOf(collected);
    show();
    if (!isOld || drawing) return;
    drawing = draw(key);
    // If it fails, the wait below says so.
    drawing.catch(() => undefined);
  };

  await appearing(folders, progress, signal);
  // What cannot be read is reported before the server starts.
  await collectResults(folders);
  const server = await serve(port);
  try {
    let shown: string | undefined;
    for (;;) {
      const now = stateOf(folders);
      const begun = performance.now();
      if (now !== shown || fresh.galleries) {
        fresh.galleries = false;
        await triedAgainLater(build, !isTold);
        shown = now;
      }
      const rest = REST * (performance.now() - begun);
      const { least, most } = LOOK_EVERY_MS;
      const pausing = pause(Math.min(most, Math.max(least, rest)), signal);
      await (drawing ? Promise.race([pausing, drawing]) : pausing);
    }
  } finally {
    over.abort();
    await server.close();
  }
}

/** Waits until all folders are there: what fills them may not have begun. */
async function appearing(
  folders: readonly string[],
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const missing = folders.filter((folder) => !existsSync(folder));
  if (missing.length === 0) return;
  const [first] = missing;
  const near = didYouMean(first, { code: 'ENOENT' }, 'folder');
  progress.note(`${first} does not exist yet: waiting for it (Ctrl-C ends this)${near}`);
  while (missing.some((folder) => !existsSync(folder))) await pause(LOOK_EVERY_MS.least, signal);
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
  await setTimeout(ms, undefined, { signal }).catch(() => {
    throw new Interrupted('stopped serving');
  });
}
