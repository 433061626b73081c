// Targets: folders of results in which a file is damaged, read by the commands that show results and by those
// that continue them.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { packageRoot } from '#bang/base/files.js';
import { decodeSafetensors } from '#bang/model/files/safetensors.js';
import { sha256Of } from '#bang/base/digest.js';
import { Fault, runInside } from './oracle.mjs';
import { below, chance, mutateBytes, mutateJson, mutateText, oneOf } from './mutate.mjs';
import { makeSpace } from './space.mjs';

/** All files below a folder. */
function filesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => path.join(parentPath, name))
    .sort();
}

/** Another content for a file, by its kind; undefined: none; null: a folder. */
function damaged(random, file, content, others) {
  const kind = below(random, 20);
  if (kind === 0) return undefined;
  if (kind === 1) return null;
  if (kind === 2) return '';
  if (kind === 3) return readFileSync(oneOf(random, others));
  if (kind < 8) return Buffer.from(mutateBytes(random, content));
  const text = content.toString('utf8');
  if (!file.endsWith('.json') || kind < 11) {
    const within = file.endsWith('.csv') && chance(random, 0.5) ? text.slice(0, 300) : text;
    return Buffer.from(mutateText(random, within) + text.slice(within.length));
  }
  return JSON.stringify(mutateJson(random, JSON.parse(text))) ?? '';
}

function put(file, content) {
  rmSync(file, { recursive: true, force: true });
  if (content === null) mkdirSync(file);
  else if (content !== undefined) writeFileSync(file, content);
}

/** What changes when a file is written: a name for it is another file, or it has another time. */
function stamps(files) {
  return files.map((file) => {
    const found = statSync(file, { bigint: true, throwIfNoEntry: false });
    return found ? `${found.ino} ${found.size} ${found.mtimeNs}` : 'none';
  });
}

const FIGURES = ['training', 'eta', 'linf', 'surfaces', 'noise'];

/** What shows results; the page and the figures take longest. */
function showing(random) {
  const all = ['runs', 'paper', 'sweep', 'study', 'transfer'];
  const one = () =>
    oneOf(random, ['runs/small', 'runs/regular', 'runs/seeds', 'runs/robust', 'sweep']);
  return oneOf(random, [
    ...Array(4).fill(['table', 'runs', 'paper', 'sweep', 'transfer', '--no-write']),
    ...Array(3).fill(['table', 'runs', 'paper', '--out', 'out']),
    ...Array(4).fill(['diff', one(), one()]),
    ...Array(2).fill(['diff', one(), one(), '--json']),
    ...Array(3).fill(['sweep', 'status', 'sweep']),
    ...Array(2).fill(['sweep', 'compare', 'sweep', 'other']),
    ['validate', 'runs/small/config.yaml', 'sweep/sweep.yaml'],
    ['config', 'runs/small/config.yaml'],
    ['figure', oneOf(random, FIGURES), ...all, '--out', 'out', '--format', 'svg'],
    [
      'figure',
      oneOf(random, FIGURES),
      `csv/${oneOf(random, FIGURES)}.csv`,
      '--out',
      'out',
      '--format',
      'svg',
    ],
    ['report', ...all, '--examples', '0', '--out', 'out/report.html'],
  ]);
}

/** Files that a command reads, so that the damage matters. */
function readBy(command, files) {
  const read = command.filter((word) => existsSync(word));
  const inside = files.filter((file) => read.some((folder) => file.startsWith(folder)));
  return inside.length > 0 ? inside : files;
}

async function show(folder) {
  await makeSpace(folder);
  for (const name of ['lenet-b1', 'lenet-r0']) {
    const from = path.join(packageRoot, 'results', 'table1', name, 'seed-1');
    cpSync(from, `paper/${name}`, { recursive: true });
    // A hundred images tell as much as all.
    const lines = readFileSync(`paper/${name}/per-image.csv`, 'utf8').split('\n').slice(0, 101);
    writeFileSync(`paper/${name}/per-image.csv`, `${lines.join('\n')}\n`);
  }
  cpSync('sweep', 'other', { recursive: true });
  for (const [name, from] of [
    ['training', 'runs'],
    ['eta', 'runs'],
    ['linf', 'runs'],
    ['surfaces', 'sweep'],
    ['noise', 'study'],
  ]) {
    await runInside(['figure', name, from, '--out', 'csv', '--format', 'svg']);
  }
  const files = ['runs', 'paper', 'sweep', 'study', 'transfer', 'csv'].flatMap(filesIn);
  // Weights are read for the examples only, which have a target of their own.
  const damageable = files.filter((file) => !/\.(safetensors|svg|md)$/.test(file));
  return async (random) => {
    const command = showing(random);
    const file = oneOf(random, readBy(command, damageable));
    const sound = readFileSync(file);
    const content = damaged(random, file, sound, damageable);
    const input = {
      command: command.join(' '),
      file,
      content: content?.toString().slice(0, 1500) ?? String(content),
    };
    put(file, content);
    try {
      const before = stamps(files);
      const { taken } = await runInside(command, input);
      const changed = stamps(files).findIndex((stamp, i) => stamp !== before[i]);
      if (changed >= 0) throw new Fault(`${files[changed]} is changed`, input);
      for (const made of existsSync('out') ? filesIn('out') : []) demandNumbers(made, input);
      return taken;
    } finally {
      put(file, sound);
      rmSync('out', { recursive: true, force: true });
    }
  };
}

/** No file that is made says NaN. The script in a page may. */
function demandNumbers(file, input) {
  const text = readFileSync(file, 'utf8').replace(/<script[^>]*>[\s\S]*?<\/script>/g, '');
  const found = /\bNaN\b|\bundefined\b|\[object|\bInfinity\b/.exec(text);
  if (!found) return;
  const about = text.slice(Math.max(0, found.index - 100), found.index + 60);
  throw new Fault(`${file} has ${found[0]}: ${about}`, input);
}

/** The text of a result without what differs between two runs of the same experiment: times and names of machines. */
export function timeless(text) {
  const { provenance, ...rest } = JSON.parse(text);
  for (const attack of Object.values(rest.row?.attacks ?? {})) delete attack.seconds;
  return JSON.stringify([rest, provenance?.engine]);
}

/** All numbers of a run. */
function numbersOf(folder, files = ['per-image.csv', 'training.csv']) {
  const tensors = decodeSafetensors(readFileSync(path.join(folder, 'weights.safetensors')), folder);
  const digest = [...tensors.tensors].map(([name, { data: values }]) => [
    name,
    sha256Of(values.join()),
  ]);
  const texts = files.map((name) => readFileSync(path.join(folder, name), 'utf8'));
  return JSON.stringify([
    timeless(readFileSync(path.join(folder, 'result.json'), 'utf8')),
    digest,
    texts,
  ]);
}

/** A run that was stopped, with a file damaged: continued, it has the numbers that it would have had, or says no. */
async function resume(folder) {
  await makeSpace(folder);
  const run = (out, ...more) =>
    runInside(['run', 'small.yaml', '--data-dir', 'data', '--threads', '1', '--out', out, ...more]);
  // As a kill leaves it: within training, and within evaluation.
  await run('part', '--set', 'training.snapshots=30');
  cpSync('part', 'training', { recursive: true });
  for (const name of ['weights.safetensors', 'per-image.csv', 'table.csv', 'result.json']) {
    rmSync(`training/${name}`, { force: true });
  }
  cpSync('training/snapshots/iteration-30.safetensors', 'training/checkpoint.safetensors');
  rmSync('training/snapshots', { recursive: true });
  cpSync('part', 'evaluation', { recursive: true });
  for (const name of ['per-image.csv', 'table.csv', 'result.json', 'snapshots']) {
    rmSync(`evaluation/${name}`, { recursive: true, force: true });
  }
  return async (random) => {
    const from = oneOf(random, ['training', 'evaluation']);
    rmSync('again', { recursive: true, force: true });
    cpSync(from, 'again', { recursive: true });
    const files = filesIn('again');
    const file = oneOf(random, files);
    const content = damaged(random, file, readFileSync(file), files);
    put(file, content);
    const input = { from, file, content: content?.toString().slice(0, 300) ?? String(content) };
    const { taken, stderr } = await run('again');
    // The log of a finished training is no longer read: what is wrong in it stays there.
    const compared = from === 'evaluation' ? ['per-image.csv'] : undefined;
    if (taken && numbersOf('again', compared) !== numbersOf('runs/small', compared))
      throw new Fault(`other numbers, and only said: ${stderr}`, input);
    return taken;
  };
}

export const targets = { show, resume };
