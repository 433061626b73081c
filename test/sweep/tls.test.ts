import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  bang,
  bangOk,
  expectRefusal,
  tinyConfig,
  workspace,
  writeSmallData,
  type Workspace,
} from '../cli/bang.js';
import { startRedis, type RedisServer } from './redis.js';

const password = 'not for everyone';
let space: Workspace;
let redis: RedisServer;

function openssl(args: string): void {
  const { status, stderr } = spawnSync('openssl', args.split(' '), { cwd: space.folder });
  expect(status, String(stderr)).toBe(0);
}

beforeAll(async () => {
  space = workspace();
  const ec = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes';
  openssl(`req -x509 ${ec} -keyout ca.key -out ca.pem -days 2 -subj /CN=tests`);
  openssl(`req ${ec} -keyout server.key -out server.csr -subj /CN=localhost`);
  space.write('names', 'subjectAltName=DNS:localhost\n');
  openssl(
    'x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names',
  );
  const [key, cert, ca] = ['server.key', 'server.pem', 'ca.pem'].map((name) => space.file(name));
  redis = await startRedis(password, { key, cert, ca });
  space.write('password', `${password}\n`);
  writeSmallData(space, 'data', { train: 100, test: 60 });
  space.write('tiny.yaml', tinyConfig());
  space.write('one.yaml', 'base: tiny.yaml\ngrid: {training.bang.beta: [1.5]}\n');
});
afterAll(async () => {
  await redis.stop();
  space.remove();
});

const queue = (url: string) => ['--queue', url, '--queue-password-file', 'password'];
const worker = (url: string) => ['worker', ...queue(url), '--data-dir', 'data'];

it('connects by TLS to a server whose certificate it can check, with a password from a file', async () => {
  const options = { cwd: space.folder, env: { NODE_EXTRA_CA_CERTS: space.file('ca.pem') } };
  const set = ['training.iterations=3', 'evaluation.images=5', 'evaluation.attacks=[fgs]'];
  const settings = set.flatMap((one) => ['--set', one]);
  let done = false;
  const [sweep, works] = await Promise.all([
    bangOk(
      ['sweep', 'one.yaml', ...settings, '--data-dir', 'data', '--out', 'out', ...queue(redis.url)],
      options,
    ).finally(() => (done = true)),
    bang(worker(redis.url), { ...options, when: () => done, signal: 'SIGTERM' }),
  ]);
  expect(sweep.stderr).toMatch(/^sweep: 1 of 1 cell done$/m);
  expect(works.stderr).toMatch(/^bang: stopped after 1 cell$/m);
  for (const { stdout, stderr } of [sweep, works]) {
    expect(stdout + stderr).not.toContain(password);
    expect(stderr).not.toMatch(/warning/i);
  }
});

it('refuses a server whose identity it cannot check, and says why', async () => {
  const env = { NODE_EXTRA_CA_CERTS: space.file('ca.pem') };
  const [unknown, other, plain] = await Promise.all([
    bang(worker(redis.url), { cwd: space.folder }),
    bang(worker(`rediss://127.0.0.1:${redis.port}`), { cwd: space.folder, env }),
    bang(worker(`redis://127.0.0.1:${redis.port}`), { cwd: space.folder }),
  ]);
  expectRefusal(unknown, /^bang: cannot reach the queue rediss:.*(certificate|self-signed)/);
  expectRefusal(other, /^bang: cannot reach the queue rediss:.*127\.0\.0\.1/);
  expectRefusal(plain, /^bang: cannot reach the queue redis:/);
});
