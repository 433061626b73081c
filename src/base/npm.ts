import { codeOf, Interrupted, messageOf, UserError } from './errors.js';
import { cacheFolder, homeFolder } from './cacheFolder.js';
import { makeFolder, reason } from './files.js';

/** One version of an npm package, and the subresource integrity of its tarball. */
export interface NpmPackage {
  name: string;
  version: string;
  integrity: string;
}

/**
 * Downloads a package as npm would and unpacks it into `folder`. Its scripts are not run and its
 * dependencies are not fetched.
 *
 * @throws UserError if the registry cannot be reached, does not have the package, or serves a
 *   different one, or if the folder cannot be written; Interrupted if `signal` aborts
 */
export async function extractPackage(
  { name, version, integrity }: NpmPackage,
  folder: string,
  signal?: AbortSignal,
): Promise<void> {
  const spec = `${name}@${version}`;
  const { pacote, npm } = await npmClient(spec);
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

/**
 * npm's code and settings, for fetching `spec`. Loaded when something is fetched, because it is large.
 *
 * @throws UserError if npm would reject the settings, or its cache cannot be created
 */
export async function npmClient(spec: string) {
  giveHome();
  const [{ default: pacote }, { npmOptions }] = await Promise.all([
    import('pacote'),
    import('./npmConfig.js'),
  ]);
  const npm = await npmOptions();
  try {
    // npm's own way of creating it never ends in folders such as /proc.
    makeFolder(npm.cache);
  } catch (error) {
    throw explain(error, spec, hostOf(npm.registry), NO_REMEDIES);
  }
  return { pacote, npm };
}

/** Parts of npm fail as soon as they are loaded where no home folder is known. */
function giveHome(): void {
  try {
    homeFolder();
  } catch {
    process.env.HOME = cacheFolder();
  }
}

/** The host of a registry, for messages. */
export function hostOf(registry: string): string {
  return URL.canParse(registry) ? new URL(registry).host : registry;
}

/**
 * Waits for `work`, or until `signal` aborts. npm's pauses between attempts ignore the signal.
 *
 * @throws Interrupted if `signal` aborts
 */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
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

/** Error codes of a host that cannot be reached, explained as clauses. */
export const UNREACHABLE = new Map([
  ['ENOTFOUND', 'its name cannot be resolved'],
  ['EAI_AGAIN', 'its name cannot be resolved'],
  ['ECONNREFUSED', 'the connection was refused'],
  ['ECONNRESET', 'the connection was lost'],
  ['EPIPE', 'the connection was lost'],
  ['ERR_STREAM_PREMATURE_CLOSE', 'the connection was lost'],
  ['EHOSTUNREACH', 'there is no route to it'],
  ['ENETUNREACH', 'there is no route to it'],
  ['ETIMEDOUT', 'it did not answer in time'],
  ['ECONNECTIONTIMEOUT', 'it did not answer in time'],
  ['EIDLETIMEOUT', 'it did not answer in time'],
  ['ERESPONSETIMEOUT', 'it did not answer in time'],
  ['ETRANSFERTIMEOUT', 'it did not answer in time'],
]);

/** Codes of write errors, which may not name the file. */
const UNWRITABLE = new Set(['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS']);

/** Alternatives if a package cannot be fetched, appended to the error message. */
export interface Remedies {
  offline: string;
  instead: string;
}

const NO_REMEDIES: Remedies = { offline: '', instead: '' };

/** Whether the error means that the downloaded content was not the expected one. */
export function isDamaged(error: unknown): boolean {
  return ['EINTEGRITY', 'Z_DATA_ERROR', 'Z_BUF_ERROR', 'TAR_BAD_ARCHIVE', 'TAR_ABORT'].includes(
    codeOf(error) ?? '',
  );
}

/** A failed download as a UserError; errors without a system or npm error code are returned unchanged. */
export function explain(
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
        `fetching ${name}: ${reason(error)}; make room or set BANG_CACHE and ` +
        'npm_config_cache to folders that can be written',
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
