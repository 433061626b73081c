import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, vi } from 'vitest';
import { main } from '#bang/cli/main.js';
import { packageRoot } from '#bang/base/files.js';
import { decodeSafetensors } from '#bang/model/files/safetensors.js';
import type { Result } from '#bang/store/result.js';
import { idxBytes, randomOf } from '../data/idx-bytes.js';

/** How a command line ended. */
export interface Finished {
  /** The exit code; null if a signal killed it. */
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface BangOptions {
  cwd: string;
  env?: Record<string, string>;
  /** Another copy of the program than this package. */
  program?: string;
  /** Sends `signal` as soon as this is true. */
  when?: () => boolean;
  signal?: NodeJS.Signals;
  /** Reads nothing of what is printed. */
  deaf?: boolean;
}

/** Must not be changed by the environment of the tests; test files run in parallel. */
const UNSET = { BANG_THREADS: '1', BANG_DEBUG: '', NODE_OPTIONS: '' };

/** The file that a shell would start. */
export function executable(program = packageRoot): string {
  return path.join(program, 'bin', 'bang.js');
}

/** Runs `bang` in a separate process, as a shell would. */
export function bang(
  args: readonly string[],
  { cwd, env = {}, program = packageRoot, when, signal = 'SIGINT', deaf = false }: BangOptions,
): Promise<Finished> {
  const child = spawn(process.execPath, [executable(program), ...args], {
    cwd,
    env: { ...process.env, ...UNSET, ...env },
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  if (deaf) child.stdout.destroy();
  const watch =
    when &&
    setInterval(() => {
      if (!when()) return;
      clearInterval(watch);
      child.kill(signal);
    }, 2);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      clearInterval(watch);
      resolve({ code, stdout, stderr });
    });
  });
}

/** Ends when the last command in this process has, which has the working folder and the output to itself. */
let idle: Promise<unknown> = Promise.resolve();

/**
 * The same in this process, without the half second that a start takes; but it cannot be interrupted or run
 * elsewhere, and one runs after the other.
 */
export function bangInside(
  args: readonly string[],
  { cwd = process.cwd() }: Partial<Pick<BangOptions, 'cwd'>> = {},
): Promise<Finished> {
  const finished = idle.then(() => inside(args, cwd));
  idle = finished.catch(() => undefined);
  return finished;
}

async function inside(args: readonly string[], cwd: string): Promise<Finished> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      written[name] += String(text);
      return true;
    }),
  );
  // What yargs prints: vitest's console is not that of Node.
  const log = vi.spyOn(console, 'log').mockImplementation((text: string) => {
    written.stdout += `${text}\n`;
  });
  const [before, threads] = [process.cwd(), process.env.BANG_THREADS];
  process.env.BANG_THREADS ??= UNSET.BANG_THREADS;
  if (cwd !== before) process.chdir(cwd);
  try {
    const code = await main([...args]);
    return { code, ...written };
  } finally {
    if (cwd !== before) process.chdir(before);
    if (threads === undefined) delete process.env.BANG_THREADS;
    for (const spy of [...spies, log]) spy.mockRestore();
  }
}

/** Does work as a user to whom file permissions apply, unlike root. */
export async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) return work();
  process.seteuid!(65_534);
  try {
    return await work();
  } finally {
    process.seteuid!(0);
  }
}

/** Runs a command that must succeed. */
export async function bangOk(args: readonly string[], options: BangOptions): Promise<Finished> {
  return succeeded(await bang(args, options));
}

/** The same in this process. */
export async function bangInsideOk(
  args: readonly string[],
  options: Pick<BangOptions, 'cwd'>,
): Promise<Finished> {
  return succeeded(await bangInside(args, options));
}

function succeeded(finished: Finished): Finished {
  expect(finished.stderr).not.toMatch(/^ +at /m);
  expect(finished, finished.stderr).toMatchObject({ code: 0 });
  return finished;
}

/** Expects a refusal: nothing printed, `bang: ` and at most a few lines, no stack trace. */
export function expectRefusal({ code, stdout, stderr: said }: Finished, message: RegExp): void {
  const stderr = said.replace(BEGINNING, '');
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(/^bang: .*\n$/s);
  expect(stderr.split('\n').length).toBeLessThanOrEqual(5);
  expect(stderr).not.toMatch(/^ +at |defect of the program|\bundefined\b|\[object/m);
  expect(stdout).toBe('');
  expect(code).toBe(2);
}

/** The first line of `bang run` and `bang eval`. */
export const BEGINNING = /^.+: .* on (?:all|\d+) test images → .* threads?\)\n/;

/** What a finished result folder holds. */
export const FILES = [
  'config.yaml',
  'examples.json',
  'per-image.csv',
  'result.json',
  'table.csv',
  'training.csv',
  'weights.safetensors',
];

export interface Workspace {
  folder: string;
  file: (...parts: string[]) => string;
  read: (...parts: string[]) => string;
  bytes: (...parts: string[]) => Buffer;
  write: (name: string, content: string | Uint8Array) => string;
  /** The names in a folder, sorted. */
  list: (folder: string) => string[];
  /** The result in a folder. */
  result: (...folder: string[]) => Result;
  /** `bang run` on the data in `data`, in this folder and this process; it must succeed. */
  run: (...args: string[]) => Promise<Finished>;
  /** The files of a folder with all their bytes, to check that nothing changes. */
  contents: (folder: string) => Record<string, string>;
  remove: () => void;
}

/** A temporary folder to run in. */
export function workspace(): Workspace {
  const folder = mkdtempSync(path.join(tmpdir(), 'bang-cli-'));
  const file = (...parts: string[]): string => path.join(folder, ...parts);
  const read = (...parts: string[]): string => readFileSync(file(...parts), 'utf8');
  return {
    folder,
    file,
    read,
    result: (...parts) => JSON.parse(read(...parts, 'result.json')) as Result,
    run: (...args) => bangInsideOk(['run', ...args, '--data-dir', 'data'], { cwd: folder }),
    bytes: (...parts) => readFileSync(file(...parts)),
    write(name, content) {
      mkdirSync(path.dirname(file(name)), { recursive: true });
      writeFileSync(file(name), content);
      return file(name);
    },
    list: (folder) => readdirSync(file(folder)).sort(),
    contents: (folder) =>
      Object.fromEntries(
        readdirSync(file(folder), { withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map(({ name }) => [name, readFileSync(file(folder, name), 'base64')]),
      ),
    remove() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A network like LeNet, but small. */
export const TINY_MODEL = `published: null
model:
  scale: 0.00390625
  layers:
    - { kind: conv, name: conv1, filters: 4, size: 5 }
    - { kind: maxPool, size: 2, stride: 2 }
    - { kind: conv, name: conv2, filters: 8, size: 5 }
    - { kind: maxPool, size: 2, stride: 2 }
    - { kind: innerProduct, name: ip1, outputs: 32 }
    - { kind: relu }
    - { kind: dropout, rate: 0.5 }
    - { kind: innerProduct, name: ip2, outputs: 10 }
`;

/** A configuration of a second, half of which is the start: BANG, 40 iterations. */
export function tinyConfig(more = ''): string {
  return tinyLenetConfig(TINY_MODEL + more);
}

/** The same of a network with one layer, for what needs many images or iterations. */
export function linearConfig(): string {
  const layers = 'layers: [{ kind: innerProduct, name: ip, outputs: 10 }]\n';
  return tinyConfig().replace(/layers:\n.*$/s, layers);
}

/** The same of LeNet, for what compares with the paper; it takes twice as long. */
export function tinyLenetConfig(more = ''): string {
  return `extends: ${path.join(packageRoot, 'configs', 'lenet-b1.yaml')}
training: { iterations: 40, batch: 16, logEvery: 10, checkpointEvery: 10 }
evaluation: { images: 60, pass: false }
${more}`;
}

/** Writes a small data set in MNIST's form, a bright bar for each class, and returns its folder. */
export function writeSmallData(
  { file, write }: Workspace,
  name = 'data',
  { train = 300, test = 80, seed = 1 } = {},
): string {
  const random = randomOf(seed);
  for (const [prefix, count] of [
    ['train', train],
    ['t10k', test],
  ] as const) {
    const images = new Uint8Array(count * 784);
    const labels = Uint8Array.from({ length: count }, () => random(10));
    labels.forEach((label, i) => {
      for (let y = 2; y < 26; y++) {
        for (let x = 2; x < 26; x++) {
          const bar = label < 5 ? x - 2 : y - 2;
          const bright = Math.floor(bar / 5) === label % 5 && random(8) > 0;
          images[i * 784 + y * 28 + x] = bright ? 150 + random(100) : random(40);
        }
      }
    });
    write(`${name}/${prefix}-images-idx3-ubyte`, idxBytes([count, 28, 28], images));
    write(`${name}/${prefix}-labels-idx1-ubyte`, idxBytes([count], labels));
  }
  return file(name);
}

/** The tensors of a run's weights, without the metadata that say what made them. */
export function tensors({ bytes }: Workspace, folder: string) {
  return decodeSafetensors(bytes(folder, 'weights.safetensors'), folder).tensors;
}
