import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { UserError } from '#bang/base/errors.js';
import { queueAddress } from '#bang/sweep/address.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bang-address-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const prefix = 'bang';

it('is read from a URL', () => {
  const { redis, text } = queueAddress('redis://host:7000/3', { prefix }, {});
  expect(redis).toEqual({ host: 'host', port: 7000, db: 3 });
  expect(text).toBe('redis://host:7000/3');
  expect(queueAddress('rediss://me@[::1]', { prefix }, {}).redis).toEqual({
    ...{ host: '::1', port: 6379, db: 0, username: 'me' },
    tls: {},
  });
  expect(queueAddress('rediss://host', { prefix }, {}).redis.tls).toEqual({ servername: 'host' });
});

it('has the password from the environment or a file, but not in its text', () => {
  const file = path.join(folder, 'password');
  writeFileSync(file, 'p@ss w:rd\n');
  for (const address of [
    queueAddress('redis://host', { prefix, passwordFile: file }, { BANG_QUEUE_PASSWORD: 'x' }),
    queueAddress('redis://host', { prefix }, { BANG_QUEUE_PASSWORD: 'p@ss w:rd' }),
    queueAddress(undefined, { prefix }, { BANG_QUEUE: 'redis://me:p%40ss%20w%3Ard@host' }),
  ]) {
    expect(address.redis.password).toBe('p@ss w:rd');
    expect(address.text).toBe('redis://host:6379/0');
  }
});

it.each<[string, string | undefined, Parameters<typeof queueAddress>[1], RegExp]>([
  [
    'none',
    undefined,
    { prefix },
    /^no queue is given: use --queue redis:\/\/HOST:PORT or .* BANG_QUEUE$/,
  ],
  ['no URL', 'host:6379', { prefix }, /^--queue is not an address such as redis:/],
  ['another protocol', 'http://host', { prefix }, /^--queue is not an address such as redis:/],
  ['a password that all can see', 'redis://:secret@host', { prefix }, /BANG_QUEUE_PASSWORD/],
  [
    'a password elsewhere',
    'redis://host?password=secret',
    { prefix },
    /^--queue is not an address/,
  ],
  ['a user that is not encoded', 'redis://100%@host', { prefix }, /^--queue: write "%" .* %25$/],
  ['no URL as a password', 'redis://me:sec/ret@host', { prefix }, /"\/": encode it as %2F, or put/],
  ['a strange prefix', 'redis://host', { prefix: 'a b*' }, /^--queue-prefix: expected letters/],
  ['no file', 'redis://host', { prefix, passwordFile: '/nowhere' }, /^cannot read \/nowhere: /],
])('is refused: %s', (_, url, options, message) => {
  const attempt = () => queueAddress(url, options, {});
  expect(attempt).toThrow(UserError);
  expect(attempt).toThrow(message);
  expect(attempt).not.toThrow(/secret/);
});

it.each([
  ['/', '%2F'],
  ['#', '%23'],
  ['?', '%3F'],
])('says how to write a password with %s', (character, code) => {
  const attempt = (password: string) =>
    queueAddress(undefined, { prefix }, { BANG_QUEUE: `redis://me:${password}@host:1/2` });
  expect(() => attempt(`sec${character}ret`)).toThrow(
    `BANG_QUEUE: the user or password has a "${character}": encode it as ${code}, or put the password into BANG_QUEUE_PASSWORD`,
  );
  expect(() => attempt(`sec${character}ret`)).not.toThrow(/sec|ret/);
  expect(attempt(`sec${code}ret`).redis).toMatchObject({
    ...{ password: `sec${character}ret`, host: 'host', port: 1, db: 2 },
  });
});

it('puts all keys into one slot of a cluster', () => {
  expect(queueAddress('redis://host', { prefix }, {}).prefix).toBe('{bang}');
});
