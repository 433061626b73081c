import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cachedFiles, readCache, type FetchOptions } from '#bang/data/cache.js';
import type { Source } from '#bang/data/sources.js';
import { Interrupted, UserError } from '#bang/base/errors.js';
import { packageRoot } from '#bang/base/files.js';
import { cacheFolder } from '#bang/base/cacheFolder.js';
import {
  FILES,
  npmEnv,
  PACKAGE,
  recorder,
  serveRegistry,
  integrityOf,
  sourceOf,
  tarball,
  temporaryFolder,
  type Entry,
  type Registry,
} from './registry.js';
import { Parser } from 'tar';

const tgz = tarball(PACKAGE);
const source = sourceOf(tgz);

let registry: Registry;
let folder: string;
let root: string;

// Removed at the very end: npm goes on writing to its cache for a moment after a fetch was stopped.
const all = temporaryFolder();
afterAll(all.remove);

beforeEach(async () => {
  folder = mkdtempSync(path.join(all.folder, 'test-'));
  root = path.join(folder, 'cache');
  registry = await serveRegistry(tgz);
  for (const [key, value] of Object.entries(npmEnv(registry.host, folder))) vi.stubEnv(key, value);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await registry.close();
});

const place = (...parts: string[]): string => path.join(root, 'data', ...parts);
const fetchFiles = (from: Source = source, options: FetchOptions = {}): Promise<unknown> =>
  cachedFiles(from, { root, ...options });

/** The message of the UserError that `work` fails with; nothing may be left of its fetch. */
async function failure(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  expect(existsSync(place()) ? readdirSync(place()) : []).toEqual([]);
  return (error as UserError).message;
}

describe('cachedFiles', () => {
  it('fetches once, keeps only the files of the table, and then works without a network', async () => {
    const { said, updates, progress } = recorder();
    const files = await cachedFiles(source, { root, progress });
    expect(Object.fromEntries(files)).toEqual(FILES);
    expect(readdirSync(place())).toEqual(['fake']);
    expect(readdirSync(place('fake')).sort()).toEqual(['first.bin', 'second.bin']);
    expect(updates.at(-1)).toBe(0.3);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/^fetch fake 0.3 MB: 0.3 MB from 127.0.0.1:\d+ in [\d.]+ s$/);

    const asked = registry.requests.length;
    await fetchFiles();
    expect(registry.requests).toHaveLength(asked);
  });

  it.each<[string, () => void, string]>([
    [
      'altered',
      () => {
        writeFileSync(place('fake/second.bin'), Buffer.alloc(1000));
      },
      'second.bin has the MD5',
    ],
    [
      'truncated',
      () => {
        writeFileSync(place('fake/first.bin'), '');
      },
      'first.bin has 0 bytes instead of 300000',
    ],
    [
      'missing',
      () => {
        rmSync(place('fake/second.bin'));
      },
      'second.bin is missing',
    ],
    [
      'replaced by a folder',
      () => {
        rmSync(place('fake/second.bin'));
        mkdirSync(place('fake/second.bin'));
      },
      'second.bin cannot be read: it is a folder',
    ],
    [
      'gone, and a file in the place of the folder',
      () => {
        rmSync(place('fake'), { recursive: true });
        writeFileSync(place('fake'), '');
      },
      'first.bin cannot be read: a part of the path is a file',
    ],
  ])('notices that a file is %s and fetches again', async (_, harm, problem) => {
    await fetchFiles();
    harm();
    const { said, progress } = recorder();
    await fetchFiles(source, { progress });
    expect(said[0]).toContain(problem);
    expect((await readCache(source, root)).state).toBe('cached');
    expect(readdirSync(place())).toEqual(['fake']);
  });

  it('works offline from the cache of npm', async () => {
    await fetchFiles();
    rmSync(place('fake'), { recursive: true });
    vi.stubEnv('npm_config_offline', 'true');
    await fetchFiles();
    expect((await readCache(source, root)).state).toBe('cached');

    rmSync(place('fake'), { recursive: true });
    rmSync(path.join(folder, 'npm-cache'), { recursive: true });
    expect(await failure(fetchFiles())).toMatch(/npm is set to work offline and its cache lacks/);
  });

  it('sends the token that an npmrc names for the registry', async () => {
    writeFileSync(path.join(folder, 'npmrc'), `//${registry.host}/:_authToken=secret\n`);
    let authorization: string | undefined;
    registry.answer = (response) => {
      authorization = response.req.headers.authorization;
      response.end(tgz);
    };
    await fetchFiles();
    expect(authorization).toBe('Bearer secret');
  });
});

describe('a connection that is lost half-way', () => {
  const half = tgz.subarray(0, tgz.length / 2);
  const breakOff = (): void => {
    registry.answer = (response) => {
      response.setHeader('content-length', tgz.length);
      response.write(half, () => response.destroy());
    };
  };

  beforeEach(() => {
    vi.stubEnv('npm_config_fetch_retries', '2');
    vi.stubEnv('npm_config_fetch_retry_mintimeout', '10');
  });

  it('is told, and the fetch starts over', async () => {
    breakOff();
    const { said, progress } = recorder();
    const fetched = fetchFiles(source, {
      progress: {
        ...progress,
        start: (...task) => {
          if (said.length === 1) registry.answer = (response) => response.end(tgz);
          return progress.start(...task);
        },
      },
    });
    await fetched;
    expect(said).toHaveLength(2);
    expect(said[0]).toMatch(
      /^fetch fake .*: the connection was lost after 0.\d MB; trying again \(2 of 3\)$/,
    );
    expect((await readCache(source, root)).state).toBe('cached');
  });

  it('is not tried more often than npm would, and can be stopped', async () => {
    breakOff();
    const { said, progress } = recorder();
    expect(await failure(fetchFiles(source, { progress }))).toMatch(/the connection was lost/);
    expect(said).toHaveLength(3);

    vi.stubEnv('npm_config_fetch_retry_mintimeout', '60000');
    const signal = AbortSignal.timeout(500);
    await expect(fetchFiles(source, { signal })).rejects.toThrow(Interrupted);
    expect(readdirSync(place())).toEqual([]);
  });
});

describe('a fetch that fails says in one sentence why, and leaves nothing', () => {
  it('when the registry is not there', async () => {
    vi.stubEnv('npm_config_registry', 'http://127.0.0.1:9/');
    expect(await failure(fetchFiles())).toBe(
      'cannot fetch fake-data@1.0.0 from 127.0.0.1:9: the connection was refused; check the ' +
        "network and npm's registry and proxy settings (a filled cache or --data-dir works " +
        'without a network)',
    );
  });

  it('when the registry does not have the package, the version, or the tarball', async () => {
    const lacks = /does not have it; set npm's registry/;
    expect(await failure(fetchFiles({ ...source, package: 'other@1.0.0' }))).toMatch(lacks);
    expect(await failure(fetchFiles({ ...source, package: 'fake-data@2.0.0' }))).toMatch(lacks);
    registry.answer = (response) => response.writeHead(404).end();
    expect(await failure(fetchFiles())).toMatch(lacks);
  });

  it.each([401, 403])('when the registry answers %i', async (status) => {
    registry.answer = (response) => response.writeHead(status).end();
    expect(await failure(fetchFiles())).toMatch(/refuses access; log in/);
  });

  it('when the registry is broken', async () => {
    registry.answer = (response) => response.writeHead(500).end();
    expect(await failure(fetchFiles())).toMatch(/^cannot fetch fake-data@1.0.0 from 127.*: 500 /);
  });

  it('when the connection drops half-way, with and without a length', async () => {
    for (const length of [tgz.length, undefined]) {
      registry.answer = (response) => {
        if (length !== undefined) response.setHeader('content-length', length);
        response.write(tgz.subarray(0, tgz.length / 2), () => response.destroy());
      };
      expect(await failure(fetchFiles())).toMatch(/the connection was lost|was not kept/);
    }
  });

  it('when the tarball ends early', async () => {
    registry.answer = (response) => response.end(tgz.subarray(0, tgz.length / 2));
    expect(await failure(fetchFiles())).toMatch(/is not the expected one/);
  });

  it('when the tarball is another, whatever the registry says of it', async () => {
    const other = tarball([...PACKAGE.slice(0, 2), { ...PACKAGE[2], body: Buffer.alloc(1000) }]);
    registry.answer = (response) => response.end(other);
    expect(await failure(fetchFiles())).toMatch(/is not the expected one .* was not kept/);
    registry.integrity = sourceOf(other).integrity;
    expect(await failure(fetchFiles())).toMatch(/is not the expected one .* was not kept/);
  });

  it('when the tarball unpacks to far more than its files', async () => {
    const bomb = { path: 'package/zeros', body: new Uint8Array(2 ** 27) };
    const bombed = tarball([PACKAGE[0], bomb, ...PACKAGE.slice(1)]);
    registry.integrity = integrityOf(bombed);
    registry.answer = (response) => {
      response.end(bombed);
    };
    const write = vi.spyOn(Parser.prototype, 'write');
    expect(await failure(fetchFiles(sourceOf(bombed)))).toMatch(
      /it unpacks to more than \d+ bytes/,
    );
    const unpacked = write.mock.calls.reduce((sum, [chunk]) => sum + chunk.length, 0);
    write.mockRestore();
    expect(unpacked).toBeGreaterThan(2 ** 23);
    expect(unpacked).toBeLessThan(2 ** 25);
  });

  it('when the tarball does not end', async () => {
    let closed = false;
    registry.answer = (response) => {
      // In turn with all else: on newer Nodes the callbacks of writes leave no room for it.
      const more = (): void => void response.write(Buffer.alloc(100_000), () => setImmediate(more));
      response.on('close', () => {
        closed = true;
      });
      response.write(tgz, more);
    };
    expect(await failure(fetchFiles())).toMatch(/it is longer than \d+ bytes/);
    await expect.poll(() => closed).toBe(true);
  });

  it('when the cache cannot be written', async () => {
    writeFileSync(path.join(folder, 'file'), '');
    const inFile = path.join(folder, 'file', 'cache');
    await expect(cachedFiles(source, { root: inFile })).rejects.toThrow(
      /BANG_CACHE|part of the path/,
    );
  });

  it("when npm's cache cannot be written", async () => {
    writeFileSync(path.join(folder, 'npm-cache'), '');
    expect(await failure(fetchFiles())).toMatch(
      /^cannot write .*npm-cache.* make room or set BANG_CACHE and npm_config_cache/,
    );
  });

  it("when npm's settings are wrong", async () => {
    writeFileSync(path.join(folder, 'npmrc'), '_authToken=unscoped\n');
    expect(await failure(fetchFiles())).toMatch(/^npm's settings cannot be used: /);

    writeFileSync(
      path.join(folder, 'npmrc'),
      'fetch-retry-mintimeout=2000\nfetch-retry-maxtimeout=1000\n',
    );
    expect(await failure(fetchFiles())).toMatch(/mintimeout is greater than fetch-retry-max/);
  });

  it('when it is stopped', async () => {
    const controller = new AbortController();
    registry.answer = (response) => {
      response.write(tgz.subarray(0, 1000));
      setTimeout(() => {
        controller.abort();
      }, 50);
    };
    await expect(fetchFiles(source, { signal: controller.signal })).rejects.toThrow(Interrupted);
    expect(readdirSync(place())).toEqual([]);
    await expect(fetchFiles(source, { signal: controller.signal })).rejects.toThrow(Interrupted);
  });
});

describe('a tarball is not trusted', () => {
  const good = Object.entries(FILES).map(([name, body]) => ({
    path: `package/data/${name}`,
    body,
  }));
  const fetchEntries = async (entries: Entry[]): Promise<unknown> => {
    const bytes = tarball(entries);
    registry.answer = (response) => response.end(bytes);
    const hostile = sourceOf(bytes);
    registry.integrity = hostile.integrity;
    return fetchFiles(hostile);
  };

  it('with paths that lead elsewhere', async () => {
    await fetchEntries([
      { path: '../../escaped', body: 'x' },
      { path: path.join(folder, 'absolute'), body: 'x' },
      { path: 'package/../../escaped', body: 'x' },
      ...good,
    ]);
    expect(readdirSync(folder).sort()).toEqual(['cache', 'npm-cache']);
    expect(readdirSync(root)).toEqual(['data']);
    expect(readdirSync(place('fake')).sort()).toEqual(['first.bin', 'second.bin']);
  });

  it.each(['SymbolicLink', 'Link'] as const)('with a %s in a place of a file', async (type) => {
    const link = { path: 'package/data/second.bin', type, linkpath: '/etc/passwd' };
    expect(await failure(fetchEntries([good[0], link]))).toMatch(
      /it lacks package\/data\/second.bin/,
    );
  });

  it('with a file of another length or content', async () => {
    const longer = { path: 'package/data/second.bin', body: Buffer.alloc(1001) };
    expect(await failure(fetchEntries([good[0], longer]))).toMatch(/1001 bytes instead of 1000/);
    const other = { path: 'package/data/second.bin', body: Buffer.alloc(1000) };
    expect(await failure(fetchEntries([good[0], other]))).toMatch(/has the MD5/);
  });
});

describe('several processes', () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  /** A process that fetches `source` as this one would. */
  function fetcher(): ChildProcess {
    const code = `
      import { cachedFiles } from '#bang/data/cache.js';
      const [source, root] = process.argv.slice(1);
      const files = await cachedFiles(JSON.parse(source), { root });
      console.log([...files.keys()].join());
    `;
    const child = spawn(
      process.execPath,
      ['--input-type=module', '--eval', code, JSON.stringify(source), root],
      { cwd: packageRoot, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    children.push(child);
    return child;
  }

  async function outputOf(child: ChildProcess): Promise<string> {
    let output = '';
    child.stdout!.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    expect(code).toBe(0);
    return output.trim();
  }

  it.each(['an empty', 'a damaged'])('fill %s cache at once, and all read it', async (which) => {
    if (which === 'a damaged') {
      mkdirSync(place('fake'), { recursive: true });
      writeFileSync(place('fake/first.bin'), 'damaged');
    }
    // Held until each has asked, so that all are in the middle of a fetch together.
    const held: (() => void)[] = [];
    registry.answer = (response) => {
      held.push(() => response.end(tgz));
      if (held.length === 3) for (const release of held) release();
    };
    const outputs = await Promise.all([fetcher(), fetcher(), fetcher()].map(outputOf));
    expect(outputs).toEqual(Array.from({ length: 3 }, () => 'first.bin,second.bin'));
    expect(readdirSync(place())).toEqual(['fake']);
  });

  it('remove what a killed one left, but nothing of those that live or are elsewhere', async () => {
    registry.answer = (response) => response.write(tgz.subarray(0, 1000));
    const child = fetcher();
    await expect.poll(() => registry.requests.at(-1)).toMatch(/tgz$/);
    child.kill('SIGKILL');
    await once(child, 'close');
    const [leftover] = readdirSync(place());
    expect(leftover).toContain(`-${child.pid!}-`);

    const here = hostname().replace(/[^A-Za-z0-9.-]/g, '_');
    const kept = [
      `.fetch-${here}-${process.pid}-abcdef`,
      '.fetch-elsewhere.test-1-abcdef',
      'other',
    ];
    for (const name of kept) mkdirSync(place(name));
    registry.answer = (response) => response.end(tgz);
    await fetchFiles();
    expect(readdirSync(place()).sort()).toEqual([...kept, 'fake'].sort());
  });

  it('may find a link in the place of the folder', async () => {
    mkdirSync(path.join(folder, 'elsewhere'));
    mkdirSync(place(), { recursive: true });
    symlinkSync(path.join(folder, 'elsewhere'), place('fake'));
    await fetchFiles();
    expect((await readCache(source, root)).state).toBe('cached');
    expect(existsSync(path.join(folder, 'elsewhere'))).toBe(true);
  });
});

describe('cacheFolder', () => {
  it('is where the platform keeps caches, unless BANG_CACHE says otherwise', () => {
    const home = path.dirname(cacheFolder({}, 'linux').replace(/\.cache.*/, 'x'));
    expect(cacheFolder({}, 'linux')).toBe(path.join(home, '.cache', 'bang'));
    expect(cacheFolder({ XDG_CACHE_HOME: '/xdg' }, 'linux')).toBe(path.join('/xdg', 'bang'));
    expect(cacheFolder({ XDG_CACHE_HOME: 'xdg' }, 'linux')).toBe(path.join(home, '.cache', 'bang'));
    expect(cacheFolder({}, 'darwin')).toBe(path.join(home, 'Library', 'Caches', 'bang'));
    expect(cacheFolder({ LOCALAPPDATA: '/local' }, 'win32')).toBe(path.join('/local', 'bang'));
    for (const platform of ['linux', 'darwin', 'win32'] as const) {
      expect(cacheFolder({ BANG_CACHE: '/mine', XDG_CACHE_HOME: '/xdg' }, platform)).toBe(
        path.resolve('/mine'),
      );
    }
  });
});
