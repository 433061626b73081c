import { once } from 'node:events';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { namesAt, serve, type PageServer } from '#bang/report/page/serve.js';

let server: PageServer;
beforeAll(async () => {
  server = await serve(0);
  server.show({ html: '<p>first', policy: "default-src 'none'" });
});
afterAll(() => server.close());

interface Answer {
  status: number | undefined;
  headers: NodeJS.Dict<string | string[]>;
  body: string;
}

function ask(
  path: string,
  {
    host = '',
    method = 'GET',
    until,
    heard,
  }: { host?: string; method?: string; until?: RegExp; heard?: () => void } = {},
): Promise<Answer> {
  const headers = host === '' ? {} : { Host: host };
  return new Promise((resolve, reject) => {
    const asked = request(new URL(path, server.url), { method, headers }, (response) => {
      let body = '';
      const finish = (): void => {
        resolve({ status: response.statusCode, headers: response.headers, body });
      };
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
        if (body.includes('data: ')) heard?.();
        if (!until?.test(body)) return;
        finish();
        response.destroy();
      });
      response.on('end', finish);
    });
    asked.on('error', reject).end();
  });
}

describe('the server of a page', () => {
  it('listens on the loopback address, and serves the page with its policy', async () => {
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/[\w-]{22}\/$/);
    const { status, headers, body } = await ask('');
    expect([status, body]).toEqual([200, '<p>first']);
    expect(headers['content-security-policy']).toBe("default-src 'none'; frame-ancestors 'none'");
    expect(headers['cache-control']).toBe('no-store');
    expect(headers['access-control-allow-origin']).toBeUndefined();
    expect((await ask('', { method: 'HEAD' })).body).toBe('');
  });

  it('answers under its own names only, so that no other site can read it', async () => {
    const { port } = new URL(server.url);
    expect((await ask('', { host: `localhost:${port}` })).status).toBe(200);
    for (const host of [
      'evil.example',
      `evil.example:${port}`,
      '127.0.0.1',
      `127.0.0.1.evil.example:${port}`,
      `0.0.0.0:${port}`,
    ]) {
      for (const path of ['', 'events']) {
        const { status, body } = await ask(path, { host });
        expect([host, status]).toEqual([host, 403]);
        expect(body).not.toContain('first');
      }
    }
  });

  it('cannot be read by those who only know its port', async () => {
    const { pathname } = new URL(server.url);
    const changed = pathname.replace(/^\/./, (start) => (start === '/A' ? '/B' : '/A'));
    for (const path of ['/', '/events', changed, `${changed}events`, pathname.slice(0, -1)]) {
      const { status, body } = await ask(path);
      expect([path, status]).toEqual([path, 404]);
      expect(body).toBe('not found; the page is at the whole address that bang view printed\n');
    }
    const other = await serve(0);
    expect(new URL(other.url).pathname).not.toBe(pathname);
    await other.close();
  });

  it('has the names that browsers use, which leave out port 80', () => {
    expect(namesAt(8000)).toEqual(['127.0.0.1:8000', 'localhost:8000']);
    expect(namesAt(80)).toEqual(['127.0.0.1:80', 'localhost:80', '127.0.0.1', 'localhost']);
  });

  it('serves nothing but the page, read-only', async () => {
    for (const path of [
      '/../../etc/passwd',
      '/%2e%2e/package.json',
      '/page',
      '/?x',
      'page',
      '?x',
      'events/',
    ]) {
      expect((await ask(path)).status).toBe(404);
    }
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      expect((await ask('', { method })).status).toBe(405);
    }
  });

  it('notifies listeners of another page, but not of the same one', async () => {
    const version = /data: (\w+)\n\n/;
    const first = version.exec((await ask('events', { until: version })).body)![1];
    const listening = new AbortController();
    const told = ask('events', {
      until: /(data: \w+\n\n.*){2}/s,
      heard: () => {
        listening.abort();
      },
    });
    await once(listening.signal, 'abort');
    server.show({ html: '<p>first', policy: "default-src 'none'" });
    server.show({ html: '<p>second', policy: "default-src 'none'" });
    const { body } = await told;
    const versions = [...body.matchAll(/data: (\w+)/g)].map(([, one]) => one);
    expect(versions).toHaveLength(2);
    expect(versions[0]).toBe(first);
    expect(versions[1]).not.toBe(first);
    expect((await ask('')).body).toBe('<p>second');
  });

  it('refuses a port that is in use', async () => {
    const port = Number(new URL(server.url).port);
    await expect(serve(port)).rejects.toThrow(
      `--port ${port}: it is in use; choose another, or leave it out`,
    );
  });
});
