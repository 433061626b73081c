// The command `npm run fuzz`: options, a process for each target, and what is printed.
import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { makeRandom } from '#bang/base/random.js';
import { UserError } from '#bang/base/errors.js';
import { commandLine } from '../commandLine.mjs';
import { TARGETS } from './targets.mjs';

/** Longer than any input may take, also on a busy machine: the process is then ended. */
const HANGS_MS = 120_000;
/** A fault of its kind hides others behind it. */
const MOST_FAULTS = 10;
const HEAP_MIB = 1024;

export async function run(args) {
  try {
    return await fuzz(await parse(args));
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    process.stderr.write(`fuzz: ${error.message}\n`);
    return 2;
  }
}

async function fuzz(options) {
  if (options.help) return 0;
  const { target, count, seed, index } = options;
  const names = target ?? Object.keys(TARGETS);
  if (options.child) {
    await work(names[0], options);
    return 0;
  }
  let faults = 0;
  for (const name of names) {
    const from = index ?? 0;
    const wanted = index === undefined ? (count ?? TARGETS[name].count) : 1;
    const tally = await runTarget(name, { seed, from, to: from + wanted });
    faults += tally.faults;
    process.stdout.write(`${sentence(name, tally)}\n`);
  }
  return faults > 0 ? 1 : 0;
}

async function parse(args) {
  const whole = (name) => (value) => {
    if (value === undefined || /^\d{1,9}$/.test(value)) return value && Number(value);
    throw new UserError(`--${name}: expected a whole number, found ${value}`);
  };
  const number = (name, describe) => ({
    type: 'string',
    requiresArg: true,
    coerce: whole(name),
    describe,
  });
  return commandLine(args, 'npm run fuzz', 'Hands damaged and random inputs to the program.', {
    target: { choices: Object.keys(TARGETS), array: true, describe: 'what (default: all)' },
    count: number('count', 'how many inputs of each target (default: about a minute of each)'),
    seed: { ...number('seed', 'of the inputs'), default: '1' },
    index: number('index', 'only this input, with what went wrong'),
    child: { type: 'boolean', hidden: true },
    to: { ...number('to', ''), hidden: true },
  }).parseAsync();
}

/** Runs a target in processes of its own, since an input may hang or kill one. */
async function runTarget(name, { seed, from, to }) {
  const begun = performance.now();
  const tally = { seed, from, to, taken: 0, refused: 0, faults: 0, mib: 0, seconds: 0 };
  const fault = (index, message) => {
    tally.faults++;
    process.stdout.write(
      `fault of ${name}, input ${index}: ${message}\n` +
        `  again: npm run fuzz -- --target ${name} --seed ${seed} --index ${index}\n`,
    );
  };
  for (let next = from; next < to && tally.faults < MOST_FAULTS;) {
    const last = await spawnChild(name, { seed, next, to }, (line) => {
      if (line.fault !== undefined) fault(line.index, line.fault);
      else if (line.taken) tally.taken++;
      else tally.refused++;
      tally.mib = Math.max(tally.mib, line.mib);
      next = line.index + 1;
      return tally.faults < MOST_FAULTS;
    });
    if (last === undefined || tally.faults >= MOST_FAULTS) break;
    fault(next, last);
    next++;
  }
  tally.seconds = (performance.now() - begun) / 1000;
  return tally;
}

/** @returns undefined if all inputs were tried; else how the process ended with the one after the last line */
function spawnChild(name, { seed, next, to }, heard) {
  const args = ['--child', '--target', name, '--seed', seed, '--index', next, '--to', to].map(
    String,
  );
  const child = spawn(
    process.execPath,
    [
      `--max-old-space-size=${HEAP_MIB}`,
      fileURLToPath(new URL('main.mjs', import.meta.url)),
      ...args,
    ],
    { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], env: { ...process.env, BANG_THREADS: '1' } },
  );
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr = (stderr + text).slice(-3000)));
  let hangs = false;
  let isBegun = false;
  let isDone = false;
  const kill = () => {
    hangs = true;
    child.kill('SIGKILL');
  };
  let timer = setTimeout(kill, HANGS_MS);
  createInterface({ input: child.stdio[3] }).on('line', (text) => {
    clearTimeout(timer);
    timer = setTimeout(kill, HANGS_MS);
    const line = JSON.parse(text);
    if (line.begun) isBegun = true;
    else if (line.end) isDone = true;
    else if (!heard(line)) child.kill('SIGKILL');
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (!isBegun) reject(new UserError(`${name} cannot begin: ${stderr}`));
      else if (isDone) resolve(undefined);
      else if (hangs) resolve(`nothing for ${HANGS_MS / 1000} s`);
      else resolve(`the process ended (${signal ?? code}): ${stderr}`);
    });
  });
}

/** The process of a target: a line for each input. */
async function work(name, { seed, index, to }) {
  const say = (line) => writeSync(3, `${JSON.stringify(line)}\n`);
  const { start, mostSeconds = 10, mostMib = 600 } = TARGETS[name];
  const folder = await mkdtemp(path.join(tmpdir(), 'bang-fuzz-'));
  const before = process.cwd();
  try {
    const check = await start(folder);
    say({ begun: true });
    for (let i = index; i < to; i++) {
      const [begun, memory] = [performance.now(), process.memoryUsage.rss()];
      const line = { index: i };
      try {
        line.taken = await check(makeRandom(seed, `fuzz ${name}`, i), i);
        const seconds = (performance.now() - begun) / 1000;
        const grown = (process.memoryUsage.rss() - memory) / 2 ** 20;
        if (seconds > mostSeconds) line.fault = `took ${seconds.toFixed(1)} s`;
        if (grown > mostMib) line.fault = `took ${grown.toFixed(0)} MiB`;
      } catch (error) {
        line.fault = describe(error);
      }
      line.mib = Math.round(process.memoryUsage.rss() / 2 ** 20);
      say(line);
    }
    say({ end: true });
  } finally {
    process.chdir(before);
    await rm(folder, { recursive: true, force: true });
  }
}

function describe(error) {
  const { message, input, cause } = error;
  const given = input === undefined ? '' : `\n  input: ${short(input)}`;
  const why = cause === undefined ? '' : `: ${String(cause?.stack ?? cause).slice(0, 1200)}`;
  return `${input === undefined ? error.stack : message}${why}${given}`;
}

function short(input) {
  const text = typeof input === 'string' ? input : JSON.stringify(input);
  return text.length > 3000 ? `${text.slice(0, 3000)}…` : text;
}

function sentence(name, { seed, from, to, taken, refused, faults, mib, seconds }) {
  const inputs = `${taken + refused + faults} inputs (seed ${seed}, ${from} to ${to - 1})`;
  return `${name}: ${inputs}: ${taken} taken, ${refused} refused, ${faults} faults; ${seconds.toFixed(0)} s, ${mib} MiB at most`;
}
