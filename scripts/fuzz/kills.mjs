// Targets: kill -9 at a random moment, or no room for a file; and the same command again. The outcome is that of an
// undisturbed run, byte for byte but for times.
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parse } from 'csv-parse/sync';
import { packageRoot } from '#bang/base/files.js';
import { emptyIdx } from '#bang/data/idx.js';
import { demandGoodEnd, Fault } from './oracle.mjs';
import { below, chance, oneOf } from './mutate.mjs';
import { timeless } from './results.mjs';
import { runOutside } from './commands.mjs';
import { writeConfigs, writeMnist } from './space.mjs';

const DATA = ['--data-dir', 'data'];
const TWO = ['--jobs', '2', '--threads', '2'];
const WEIGHTS = 'made/small/weights.safetensors';

/** Commands that write into a folder `OUT`; each continues or repeats what a killed one began. */
const COMMANDS = {
  run: ['run', 'small.yaml', ...DATA, '--set', 'training.snapshots=20', '--out', 'OUT'],
  seeds: ['run', 'seeds.yaml', ...DATA, '--out', 'OUT'],
  attacks: ['run', 'robust.yaml', ...DATA, '--out', 'OUT'],
  eval: ['eval', WEIGHTS, ...DATA, '--attacks', 'fgs,hc1,pgd,deepfool-l2', '--out', 'OUT'],
  noise: ['noise', 'noise.yaml', ...DATA, '--out', 'OUT'],
  check: ['check', 'check.yaml', ...DATA, '--out', 'OUT', '--junit', 'OUT/junit.xml'],
  sweep: ['sweep', 'sweep.yaml', ...DATA, ...TWO, '--out', 'OUT', '--keep', 'weights,training'],
  halving: ['sweep', 'halving.yaml', '--data-dir', 'large', ...TWO, '--out', 'OUT'],
  transfer: ['transfer', WEIGHTS, 'made/regular/weights.safetensors', ...DATA, '--out', 'OUT'],
  table: ['table', 'made', '--out', 'OUT'],
  report: ['report', 'made', ...DATA, '--examples', '1', '--out', 'OUT/report.html'],
  figure: ['figure', 'linf', 'made', '--out', 'OUT'],
  export: ['export', WEIGHTS, '--to', 'onnx', '--force', '--out', 'OUT/small.onnx'],
};
const NAMES = Object.keys(COMMANDS);

const argsOf = (name, out) => COMMANDS[name].map((arg) => arg.replace(/^OUT(?=$|\/)/, out));

/** The files below a folder by path, without what differs between two undisturbed runs. */
function outcomeOf(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => path.relative(folder, path.join(parentPath, name)))
    .sort();
  return new Map(files.map((file) => [file, comparable(path.join(folder, file))]));
}

/** Columns of sweep.csv that say when, how long, and on how many threads: those of cells that are done are shared. */
const TIMES = ['seconds', 'seconds_training', 'finished', 'threads'];

function comparable(file) {
  const bytes = readFileSync(file);
  const name = path.basename(file);
  if (name === 'result.json') return timeless(bytes.toString('utf8'));
  if (name === 'junit.xml') return bytes.toString('utf8').replace(/(time|timestamp)="[^"]*"/g, '');
  if (name !== 'sweep.csv') return bytes.toString('base64');
  const lines = parse(bytes, { columns: true });
  for (const line of lines) for (const column of TIMES) delete line[column];
  return JSON.stringify(lines);
}

/** @throws Fault that names the first file that is missing, left over or another */
function demandSame(was, is, input) {
  for (const file of was.keys()) if (!is.has(file)) throw new Fault(`${file} is missing`, input);
  for (const [file, content] of is) {
    if (!was.has(file)) throw new Fault(`${file} is left over`, input);
    if (was.get(file) === content) continue;
    const parts = [was.get(file), content].map((text) =>
      text.slice(firstDifference(was.get(file), content)),
    );
    throw new Fault(
      `${file} is another than undisturbed: …${parts.map((text) => text.slice(0, 200)).join('… and …')}…`,
      input,
    );
  }
}

/** A little before the place where two texts differ. */
function firstDifference(a, b) {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return Math.max(0, at - 80);
}

/** What a kill leaves is complete files, and others only under temporary names and in the lock. */
function demandComplete(folder, input) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.json')) continue;
    const file = path.join(entry.parentPath, entry.name);
    try {
      JSON.parse(readFileSync(file, 'utf8'));
    } catch (error) {
      throw new Fault(`${file} is written in part`, input, error);
    }
  }
}

/** Starts a command and kills it after a time; its own processes, too, or they notice by themselves. */
async function killedAfter(args, ms, isGroup) {
  const child = spawn(process.execPath, [path.join(packageRoot, 'bin', 'bang.js'), ...args], {
    ...{ stdio: 'ignore', detached: true, env: { ...process.env, BANG_THREADS: '1' } },
  });
  const closed = new Promise((resolve) => child.on('close', resolve));
  await setTimeout(ms);
  try {
    process.kill(isGroup ? -child.pid : child.pid, 'SIGKILL');
  } catch {
    // It was over before.
  }
  return (await closed) === null;
}

async function must(args, input = args) {
  const { code, stderr } = await runOutside(args, '.');
  if (code !== 0) throw new Fault(`exit code ${code}: ${stderr.slice(-1500)}`, input);
}

/** As the small set, but with images left for validation, which halving compares cells by. */
function writeLarge(folder) {
  mkdirSync(folder);
  cpSync('data', folder, { recursive: true });
  for (const [name, bytes] of [
    ['images-idx3', 784],
    ['labels-idx1', 1],
  ]) {
    const file = path.join(folder, `train-${name}-ubyte`);
    const shape = bytes === 1 ? [50_100] : [50_100, 28, 28];
    const { file: whole, data } = emptyIdx(shape);
    const small = readFileSync(file).subarray(whole.length - data.length);
    for (let at = 0; at < data.length; at += small.length) {
      data.set(small.subarray(0, Math.min(small.length, data.length - at)), at);
    }
    writeFileSync(file, whole);
  }
}

/** Kills a command one to three times; returns whether it was still running once. */
async function killing(random, args, ms, out, input) {
  let kills = 0;
  for (let n = 1 + below(random, 3); n > 0; n--) {
    // Node itself takes the first third of a second, in which nothing is at stake.
    const after = Math.round((0.15 + 0.95 * random.uniform()) * ms);
    const isGroup = chance(random, 0.5);
    input.disturbed.push({ after, isGroup });
    if (await killedAfter(args, after, isGroup)) kills++;
    demandComplete(out, input);
  }
  return kills > 0;
}

/** Has the system refuse to write files beyond a size, as a full disk or quota does; returns whether that mattered. */
async function limiting(random, args, _ms, out, input) {
  const kib = oneOf(random, [1, 2, 3, 4, 5, 6, 8, 12, 16]);
  input.disturbed.push({ kib });
  const bang = [process.execPath, path.join(packageRoot, 'bin', 'bang.js'), ...args];
  const ended = await runOutside(bang, '.', {
    command: ['bash', '-c', `ulimit -f ${kib}; exec "$@"`, 'bash'],
  });
  demandGoodEnd(ended, input);
  demandComplete(out, input);
  return ended.code !== 0;
}

/** Makes, unless they are there, the larger data and the results that a command reads. */
async function makeWhatIsReadBy(command) {
  const isMissing = (folder) =>
    !existsSync(folder) && command.some((arg) => arg.split('/')[0] === folder);
  if (isMissing('large')) writeLarge('large');
  if (isMissing('made'))
    await must(['run', 'small.yaml', 'regular.yaml', ...DATA, '--out', 'made']);
}

/** Disturbs a command, repeats it, and compares the outcome with that of an undisturbed one. */
function disturbing(disturb) {
  return async (folder) => {
    process.chdir(folder);
    writeMnist('data');
    writeConfigs('.');
    const undisturbed = new Map();
    const wholeOf = async (name) => {
      const out = `whole-${name}`;
      await makeWhatIsReadBy(COMMANDS[name]);
      const begun = performance.now();
      await must(argsOf(name, out));
      return { ms: performance.now() - begun, outcome: outcomeOf(out) };
    };
    return async (random, i) => {
      const name = NAMES[i % NAMES.length];
      if (!undisturbed.has(name)) undisturbed.set(name, await wholeOf(name));
      const { ms, outcome } = undisturbed.get(name);
      const out = `again-${name}`;
      rmSync(out, { recursive: true, force: true });
      const args = argsOf(name, out);
      const input = { command: args.join(' '), disturbed: [] };
      const mattered = await disturb(random, args, ms, out, input);
      await must(args, input);
      demandSame(outcome, outcomeOf(out), input);
      return mattered;
    };
  };
}

export const targets = { kill: disturbing(killing), full: disturbing(limiting) };
