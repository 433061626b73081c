import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { Header } from 'tar';
import type { Source } from '#bang/data/sources.js';
import type { Progress } from '#bang/base/progress.js';

/** An entry of a tarball made for a test, true to nobody's rules. */
export interface Entry {
  path: string;
  body?: Uint8Array | string;
  type?: 'File' | 'SymbolicLink' | 'Link' | 'Directory';
  linkpath?: string;
}

/** A gzipped tarball of these entries, whatever their paths. */
export function tarball(entries: Entry[]): Buffer {
  const blocks: Buffer[] = [];
  for (const { path: name, body = '', type = 'File', linkpath } of entries) {
    const bytes = Buffer.from(body);
    const block = Buffer.alloc(512);
    const header = { path: name, type, size: bytes.length, mode: 0o644, mtime: new Date(0) };
    new Header(linkpath === undefined ? header : { ...header, linkpath }).encode(block, 0);
    blocks.push(block, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512));
  }
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

/** Files that cannot be compressed, so that half of the tarball is half of them. */
export const FILES: Record<string, Buffer> = {
  'first.bin': noise(300_000),
  'second.bin': noise(1000),
};

function noise(length: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(length / 64) }, (_, i) =>
    createHash('sha512').update(`${length}.${i}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, length);
}

export const PACKAGE: Entry[] = [
  { path: 'package/package.json', body: '{"name":"fake-data","version":"1.0.0"}' },
  ...Object.entries(FILES).map(([name, body]) => ({ path: `package/data/${name}`, body })),
  { path: 'package/index.js', body: 'throw new Error()' },
];

export function integrityOf(bytes: Uint8Array): string {
  return `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
}

/** The source whose package is `tgz`. */
export function sourceOf(tgz: Buffer): Source {
  return {
    name: 'fake',
    package: 'fake-data@1.0.0',
    integrity: integrityOf(tgz),
    bytes: tgz.length,
    files: Object.entries(FILES).map(([name, body]) => ({
      name,
      entry: `package/data/${name}`,
      bytes: body.length,
      md5: createHash('md5').update(body).digest('hex'),
    })),
  };
}

export interface Registry {
  host: string;
  /** The paths that were asked for. */
  requests: string[];
  /** What answers a request for the tarball. */
  answer: (response: ServerResponse) => void;
  /** What the packument says of the tarball. */
  integrity: string;
  close: () => Promise<void>;
}

/** An npm registry on this machine with one package, `fake-data@1.0.0`. */
export async function serveRegistry(tgz: Buffer): Promise<Registry> {
  const requests: string[] = [];
  const server: Server = createServer((request, response) => {
    const url = request.url ?? '';
    requests.push(url);
    if (url === '/fake-data') {
      const dist = {
        tarball: `http://${registry.host}/fake-data/-/fake-data-1.0.0.tgz`,
        integrity: registry.integrity,
      };
      const version = { name: 'fake-data', version: '1.0.0', dist };
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({
          name: 'fake-data',
          'dist-tags': { latest: '1.0.0' },
          versions: { '1.0.0': version },
        }),
      );
    } else if (url === '/fake-data/-/fake-data-1.0.0.tgz') {
      registry.answer(response);
    } else {
      response.statusCode = 404;
      response.end('{}');
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const registry: Registry = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    answer: (response) => response.end(tgz),
    integrity: integrityOf(tgz),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return registry;
}

/** Environment variables under which npm asks `host`, keeps its cache in `folder`, and never waits. */
export function npmEnv(host: string, folder: string): Record<string, string> {
  return {
    npm_config_registry: `http://${host}/`,
    npm_config_cache: path.join(folder, 'npm-cache'),
    npm_config_userconfig: path.join(folder, 'npmrc'),
    npm_config_globalconfig: path.join(folder, 'global-npmrc'),
    npm_config_noproxy: '127.0.0.1',
    npm_config_fetch_retries: '0',
  };
}

/** Progress that remembers what it was told, the end of each task included. */
export function recorder(onUpdate: (label: string, done: number) => void = () => undefined) {
  const said: string[] = [];
  const updates: number[] = [];
  const progress: Progress = {
    start: (label, total, unit) => ({
      update: (done) => {
        updates.push(done);
        onUpdate(label, done);
      },
      finish: (summary = 'no summary') => void said.push(`${label} ${total} ${unit}: ${summary}`),
    }),
    note: (line) => void said.push(line),
  };
  return { said, updates, progress };
}

/** A folder for one test, and how to remove it. */
export function temporaryFolder(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(path.join(tmpdir(), 'bang-data-'));
  return {
    folder,
    remove: () => {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
