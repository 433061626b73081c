import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sha256Of } from '../../base/digest.js';
import { codeOf, UserError } from '../../base/errors.js';
import { reason } from '../../base/files.js';
import type { Page } from './document.js';

/** A server of one page, for those who know its address. */
export interface PageServer {
  url: string;
  /** Serves this page from now on, and notifies every browser that has another. */
  show(page: Page): void;
  close(): Promise<void>;
}

const LOOPBACK = '127.0.0.1';
/** Proxies and sleeping browsers treat a silent connection as dead. */
const SIGN_OF_LIFE_MS = 15_000;

/**
 * Serves a page on the loopback address. Requests under other host names are refused: otherwise a foreign
 * page whose name resolves to 127.0.0.1 could read the results (DNS rebinding). The address has a part that
 * cannot be guessed: otherwise every user of the machine could.
 *
 * @param port 0: any free one
 * @throws UserError if the port is not available
 */
export async function serve(port: number): Promise<PageServer> {
  let current: { page: Page; version: string } | undefined;
  const token = randomBytes(16).toString('base64url');
  const listeners = new Set<ServerResponse>();
  const tell = (listener: ServerResponse): void => {
    if (current) listener.write(`event: page\ndata: ${current.version}\n\n`);
  };

  const server = createServer((request, response) => {
    const place = placeBelow(token, request.url ?? '');
    const { port: own } = server.address() as AddressInfo;
    if (!isOurs(request, own)) {
      refuse(response, 403, `this server is ${LOOPBACK}:${own}, and answers to no other name`);
    } else if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      refuse(response, 405, 'this server only answers GET and HEAD');
    } else if (place === 'events') {
      response.writeHead(200, { ...HEADERS, 'Content-Type': 'text/event-stream' });
      response.write(':\n\n');
      listeners.add(response);
      response.on('close', () => listeners.delete(response));
      tell(response);
    } else if (place === '' && current) {
      const { html, policy } = current.page;
      response.writeHead(200, {
        ...HEADERS,
        'Content-Type': 'text/html; charset=utf-8',
        'Content-Security-Policy': `${policy}; frame-ancestors 'none'`,
      });
      response.end(request.method === 'HEAD' ? undefined : html);
    } else if (place === undefined) {
      refuse(response, 404, 'not found; the page is at the whole address that bang view printed');
    } else {
      refuse(response, 404, 'not found');
    }
  });
  await listening(server, port);
  const beat = setInterval(() => {
    for (const listener of listeners) listener.write(':\n\n');
  }, SIGN_OF_LIFE_MS);
  return {
    url: `http://${LOOPBACK}:${(server.address() as AddressInfo).port}/${token}/`,
    show(page) {
      const version = sha256Of(page.html).slice(0, 16);
      if (version === current?.version) return;
      current = { page, version };
      for (const listener of listeners) tell(listener);
    },
    async close() {
      clearInterval(beat);
      const closed = new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
      });
      server.closeAllConnections();
      await closed;
    },
  };
}

const HEADERS = {
  'Cache-Control': 'no-store',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

/** What follows `/TOKEN/` in an address; undefined if that is not there. Takes as long for every wrong token. */
function placeBelow(token: string, url: string): string | undefined {
  const expected = Buffer.from(`/${token}/`);
  const given = Buffer.from(url.slice(0, expected.length));
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  return url.slice(expected.length);
}

function isOurs({ headers: { host } }: IncomingMessage, port: number): boolean {
  return host !== undefined && namesAt(port).includes(host);
}

/** The host names that a request may use for this server. */
export function namesAt(port: number): string[] {
  const names = [LOOPBACK, 'localhost'];
  const full = names.map((name) => `${name}:${port}`);
  return port === 80 ? [...full, ...names] : full;
}

function refuse(response: ServerResponse, status: number, sentence: string): void {
  response.writeHead(status, { ...HEADERS, 'Content-Type': 'text/plain; charset=utf-8' });
  response.end(`${sentence}\n`);
}

async function listening(server: ReturnType<typeof createServer>, port: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, LOOPBACK, resolve);
    });
  } catch (error) {
    const why = codeOf(error) === 'EADDRINUSE' ? 'it is in use' : reason(error);
    throw new UserError(`--port ${port}: ${why}; choose another, or leave it out`);
  }
}
