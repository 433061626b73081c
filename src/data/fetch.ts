import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import pacote from 'pacote';
import { Parser, type ReadEntry } from 'tar';
import { codeOf, Interrupted, messageOf, UserError } from '../errors.js';
import { reason } from '../files.js';
import type { Progress } from '../progress.js';
import { npmOptions } from './npm-config.js';
import { problemOf, unexpected, type Source, type SourceFile } from './sources.js';

/** Bytes as megabytes with one decimal, for progress. */
const megabytes = (bytes: number): number => Math.round(bytes / 1e5) / 10;

/**
 * Downloads the package of a source as npm would and writes the source's files into `folder`, each
 * under its name in the table: no path, link or mode of the tarball is ever used. If the connection
 * is lost half-way, it says so and starts over, as often as npm's setting `fetch-retries` allows.
 *
 * @throws UserError if the registry cannot be reached, has no such package or another one, or the
 *   files cannot be written; Interrupted if `signal` aborts
 */
export async function download(
  source: Source,
  folder: string,
  { progress, signal }: { progress: Progress; signal?: AbortSignal | undefined },
): Promise<void> {
  const npm = await npmOptions();
  const host = hostOf(npm.registry);
  const stopped = (): Interrupted => new Interrupted(`fetching ${source.name} was stopped`);
  // npm itself tries again only until an answer begins.
  const tries = npm.retry.retries + 1;
  for (let turn = 1; ; turn++) {
    const begun = performance.now();
    const task = progress.start(`fetch ${source.name}`, megabytes(source.bytes), 'MB');
    let received = 0;
    let summary: string | undefined;
    // Aborted at the end, whatever happened, so that no request outlives its turn.
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

/** An npm package of one version, and what its tarball hashes to. */
export interface NpmPackage {
  name: string;
  version: string;
  integrity: string;
}

/**
 * Downloads a package as npm would and unpacks all of it into `folder`. Its scripts are not run and
 * its dependencies not fetched.
 *
 * @throws UserError if the registry cannot be reached, has no such package or another one, or the
 *   folder cannot be written; Interrupted if `signal` aborts
 */
export async function extractPackage(
  { name, version, integrity }: NpmPackage,
  folder: string,
  signal?: AbortSignal,
): Promise<void> {
  const npm = await npmOptions();
  const spec = `${name}@${version}`;
  const over = new AbortController();
  try {
    const options = { ...npm, integrity, signal: over.signal };
    await unlessAborted(pacote.extract(spec, folder, options), signal);
  } catch (error) {
    if (signal?.aborted) throw new Interrupted(`fetching ${spec} was stopped`);
    if (isDamaged(error)) {
      throw new UserError(
        `the package ${spec} that was fetched is not the expected one (its checksum differs): use another registry`,
      );
    }
    throw explain(error, spec, hostOf(npm.registry), NO_REMEDIES);
  } finally {
    over.abort();
  }
}

function hostOf(registry: string): string {
  return URL.canParse(registry) ? new URL(registry).host : registry;
}

/** Waits for `work`, but no longer than until `signal` aborts: npm's pauses do not listen to it. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      reject(new Interrupted('stopped'));
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    void work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', stop);
    });
  });
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

    let bytes = 0;
    tarball.on('error', reject);
    tarball.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      // A tarball that is longer fails its integrity anyway, but only once it has ended.
      if (bytes > source.bytes) {
        reject(unexpected(source, `it is longer than ${source.bytes} bytes`));
        return;
      }
      onBytes(bytes);
      parser.write(chunk);
    });
    tarball.on('end', () => {
      parser.end();
    });
  });
}

async function save(
  entry: ReadEntry,
  file: SourceFile,
  source: Source,
  folder: string,
): Promise<void> {
  // The length first: what claims to be longer is never collected.
  if (entry.size !== file.bytes) {
    entry.resume();
    throw unexpected(source, `${file.entry} has ${entry.size} bytes instead of ${file.bytes}`);
  }
  const bytes = await entry.concat();
  const problem = problemOf(bytes, file);
  if (problem !== undefined) throw unexpected(source, problem);
  await writeFile(path.join(folder, file.name), bytes);
}

const UNREACHABLE = new Map([
  ['ENOTFOUND', 'its name cannot be resolved'],
  ['EAI_AGAIN', 'its name cannot be resolved'],
  ['ECONNREFUSED', 'the connection was refused'],
  ['ECONNRESET', 'the connection was lost'],
  ['EPIPE', 'the connection was lost'],
  ['ERR_STREAM_PREMATURE_CLOSE', 'the connection was lost'],
  ['EHOSTUNREACH', 'no route leads there'],
  ['ENETUNREACH', 'no route leads there'],
  ['ETIMEDOUT', 'it did not answer in time'],
  ['ECONNECTIONTIMEOUT', 'it did not answer in time'],
  ['EIDLETIMEOUT', 'it did not answer in time'],
  ['ERESPONSETIMEOUT', 'it did not answer in time'],
  ['ETRANSFERTIMEOUT', 'it did not answer in time'],
]);

/** What writing a file can say without naming it. */
const UNWRITABLE = new Set(['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS']);

/** What else works where a package cannot be fetched, as parts of a sentence. */
interface Remedies {
  offline: string;
  instead: string;
}

const DATA_REMEDIES: Remedies = {
  offline: ' (a filled cache or --data-dir works without a network)',
  instead: ', or give the original files with --data-dir',
};

const NO_REMEDIES: Remedies = { offline: '', instead: '' };

/** Whether what came is not what was expected. */
function isDamaged(error: unknown): boolean {
  return ['EINTEGRITY', 'Z_DATA_ERROR', 'Z_BUF_ERROR', 'TAR_BAD_ARCHIVE', 'TAR_ABORT'].includes(
    codeOf(error) ?? '',
  );
}

/** A failed download in one sentence for the user; what is no failure of the world stays as it is. */
function explain(
  error: unknown,
  name: string,
  host: string,
  { offline, instead }: Remedies,
): unknown {
  const code = codeOf(error);
  if (error instanceof UserError || code === undefined) return error;
  const cannot = `cannot fetch ${name} from ${host}`;
  const unreachable = UNREACHABLE.get(code);
  if (unreachable !== undefined) {
    return new UserError(
      `${cannot}: ${unreachable}; check the network and npm's registry and proxy settings${offline}`,
    );
  }
  const { path: place } = error as { path?: unknown };
  if (typeof place === 'string' || UNWRITABLE.has(code)) {
    return new UserError(
      `cannot write ${typeof place === 'string' ? place : "the cache of bang or npm's"} while ` +
        `fetching ${name}: ${reason(error)}; make room or set BANG_CACHE and npm's ` +
        'cache to folders that can be written',
    );
  }
  switch (code) {
    case 'ENOTCACHED':
      return new UserError(
        `${cannot}: npm is set to work offline and its cache lacks the package; ` +
          `unset npm's offline setting once${offline}`,
      );
    case 'E404':
    case 'ETARGET':
    case 'ENOVERSIONS':
      return new UserError(
        `${cannot}: this registry does not have it; set npm's registry to one that has${instead}`,
      );
    case 'E401':
    case 'E403':
    case 'ENEEDAUTH':
      return new UserError(
        `${cannot}: the registry refuses access; log in with npm login, set npm's registry to ` +
          `another${instead}`,
      );
    default:
      return new UserError(
        `${cannot}: ${messageOf(error)}; check npm's registry, proxy and cafile settings${offline}`,
      );
  }
}
