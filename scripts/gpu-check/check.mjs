// What scripts/gpu-check.sh runs: node check.mjs WORK OUT. The most valuable comes first; results.json and table.txt are
// written after each line. A part that fails, or takes longer than its seconds, is recorded with what it had found, and
// the others go on, until GPU_CHECK_SECONDS are over.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { first, idxOf, valuesOf } from './idx.mjs';
import { decodeImages } from './images.mjs';

const [work, out, packs] = process.argv.slice(2);
const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
const tiny = process.env.GPU_CHECK === 'tiny';
const seconds = Number(process.env.GPU_CHECK_SECONDS || 540);
/** The preparation counts, too. */
const end = Date.now() + 1000 * (seconds - Number(process.env.GPU_CHECK_SPENT || 0));
const cache = path.join(work, 'cache');
const webgpu = path.join(cache, 'webgpu');
const files = path.join(cache, 'parts');
const results = { begun: new Date().toISOString(), tiny, seconds, parts: {} };
const lines = [];

function note(line) {
  if (line !== undefined) {
    lines.push(line);
    console.log(line);
  }
  writeFileSync(path.join(out, 'table.txt'), `${lines.join('\n')}\n`);
  writeFileSync(path.join(out, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
}

/** A command that is stopped, with all that it has started, after these seconds. */
function command(program, args, limit, line = () => undefined) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: root, detached: true });
    const texts = { stdout: '', stderr: '' };
    let rest = '';
    child.stdout.on('data', (bytes) => {
      texts.stdout += bytes;
      const all = `${rest}${bytes}`.split('\n');
      rest = all.pop();
      all.forEach(line);
    });
    child.stderr.on('data', (bytes) => (texts.stderr += bytes));
    const stop = (problem) => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
      clearTimeout(timer);
      // A driver may keep a process that was killed.
      resolve({ ...texts, problem });
    };
    const timer = setTimeout(() => stop(`stopped after ${limit.toFixed(0)} s`), 1000 * limit);
    child.on('error', (error) => stop(error.message));
    child.on('close', (code, signal) => {
      const said = texts.stderr.trim().split('\n');
      const why = said.find((text) => /^\w*Error\b|^bang: /.test(text)) ?? said.slice(-4).join(' ');
      stop(code === 0 ? undefined : `${signal ?? `exit code ${code}`}: ${why.slice(0, 1000)}`);
    });
  });
}

async function part(name, most, run) {
  const left = (end - Date.now()) / 1000;
  const found = (results.parts[name] = { lines: [] });
  if (left < 5) {
    found.problem = 'no time was left';
  } else {
    const begun = performance.now();
    try {
      const problem = await run(found, Math.min(tiny ? 2 * most : most, left));
      if (problem !== undefined) found.problem = problem;
    } catch (error) {
      found.problem = error.message;
    }
    found.seconds = Number(((performance.now() - begun) / 1000).toFixed(1));
  }
  note(found.problem === undefined ? undefined : `${name}: FAILED: ${found.problem}`);
}

/** Keeps the lines of JSON that a program prints, and shows their numbers. */
const collector = (label, found) => (text) => {
  let line;
  try {
    line = JSON.parse(text);
  } catch {
    return;
  }
  found.lines.push(line);
  const { name, ...numbers } = line;
  const shown = Object.entries(numbers)
    .filter(([, value]) => value !== null && typeof value !== 'object')
    .map(([what, value]) => `${what} ${value}`);
  note(`${label} | ${name} | ${shown.join(', ')}`);
};

const measure = (name, engine) => async (found, limit) => {
  const program = path.join(root, 'scripts/gpu-check/measure.mjs');
  const args = [program, name, engine, files, tiny ? 'tiny' : 'all'];
  const label = engine === 'webgpu' ? name : `${name} on ${engine}`;
  return (await command(process.execPath, args, limit, collector(label, found))).problem;
};

/** In a rehearsal, a few of the images of a data set. */
function imagesOf(data) {
  const folder = path.join(files, data);
  const few = path.join(work, 'few', data);
  mkdirSync(few, { recursive: true });
  for (const file of readdirSync(folder)) {
    const rank = Number(/idx(\d)/.exec(file)[1]);
    writeFileSync(path.join(few, file), first(readFileSync(path.join(folder, file)), rank, 60));
  }
  return few;
}

/** A row of the paper's tables, from start to table. */
const row = (name, args) => async (found, limit) => {
  const folder = path.join(work, 'runs', name);
  mkdirSync(path.dirname(folder), { recursive: true });
  const config = path.join(root, 'configs', `${name}.yaml`);
  const begun = performance.now();
  const { problem } = await command(
    process.execPath,
    [path.join(root, 'bin/bang.js'), 'run', config, '--engine', 'webgpu', '--out', folder, ...args],
    limit,
  );
  const took = (performance.now() - begun) / 1000;
  for (const file of ['training.csv', 'result.json']) {
    const written = path.join(folder, file);
    if (existsSync(written)) found[file] = readFileSync(written, 'utf8');
  }
  if (problem !== undefined) return problem;
  const { row: numbers, provenance } = JSON.parse(found['result.json']);
  const { accuracy, images, attacks } = numbers;
  const shown = Object.entries(attacks).map(
    ([attack, { rate, linf, seconds: spent }]) =>
      `${attack} ${rate?.toFixed(1)} % with L∞ ${linf?.mean?.toFixed(1)} in ${spent?.attack.toFixed(1)} s, PASS ${spent?.pass.toFixed(1)} s`,
  );
  found.lines.push({ name, seconds: took, row: numbers });
  note(
    `${name} | ${took.toFixed(1)} s from start to table on ${provenance.engine}: accuracy ${accuracy.toFixed(2)} % of ${images} | ${shown.join(' | ')}`,
  );
  return undefined;
};

/** CIFAR-10 as far as the second and third part of the pack are there; how to use it. */
function cifar10() {
  const pieces = [1, 2].flatMap((number) => {
    const folder = path.join(packs, `gpu-check-cifar10-${number}`);
    return existsSync(folder) ? [folder] : [];
  });
  if (pieces.length === 0) {
    return {
      images: 'a part of CIFAR-10',
      args: ['--data-dir', repeated(path.join(files, 'cifar10'))],
    };
  }
  const to = path.join(cache, 'data', 'cifar10');
  mkdirSync(to, { recursive: true });
  const counts = {};
  for (const split of ['train', 'test']) {
    const of = (what) =>
      pieces.map((folder) => path.join(folder, `${split}.${what}`)).filter(existsSync);
    const images = Buffer.concat(of('images').map((file) => decodeImages(readFileSync(file))));
    const labels = Buffer.concat(of('labels').map((file) => readFileSync(file)));
    counts[split] = labels.length;
    writeFileSync(
      path.join(to, `${split}-images-idx4-ubyte`),
      idxOf(images, [labels.length, 32, 32, 3]),
    );
    writeFileSync(path.join(to, `${split}-labels-idx1-ubyte`), idxOf(labels, [labels.length]));
  }
  const whole = counts.train === 50_000 && counts.test === 10_000;
  return {
    images: `${counts.train} + ${counts.test} images`,
    args: whole ? [] : ['--data-dir', repeated(to)],
  };
}

/** The six files of CIFAR-10 with the images of a folder, as often as it takes: what a row costs is as with all. */
function repeated(folder) {
  const to = path.join(work, 'repeated');
  mkdirSync(to, { recursive: true });
  const write = (split, names) => {
    const images = valuesOf(readFileSync(path.join(folder, `${split}-images-idx4-ubyte`)));
    const labels = valuesOf(readFileSync(path.join(folder, `${split}-labels-idx1-ubyte`)));
    let at = 0;
    for (const name of names) {
      const records = Buffer.alloc(10_000 * 3073);
      for (let n = 0; n < 10_000; n++, at = (at + 1) % labels.length) {
        records[3073 * n] = labels[at];
        for (let i = 0; i < 3072; i++) {
          records[3073 * n + 1 + (i % 3) * 1024 + Math.floor(i / 3)] = images[3072 * at + i];
        }
      }
      writeFileSync(path.join(to, name), records);
    }
  };
  write(
    'train',
    [1, 2, 3, 4, 5].map((number) => `data_batch_${number}.bin`),
  );
  write('test', ['test_batch.bin']);
  return to;
}

/** PyTorch on the same card, if a Python has it. */
async function pytorch(found, limit) {
  const pythons = [process.env.PYTHON, 'python3', 'python'].filter(Boolean);
  const has = (python) => spawnSync(python, ['-c', 'import torch, numpy'], { timeout: 30_000 });
  const python = pythons.find((each) => has(each).status === 0);
  if (python === undefined) return 'no Python with PyTorch was found; PYTHON names one';
  const program = path.join(root, 'scripts/gpu-check/peer.py');
  const args = tiny ? [program, '--tiny', '--device', 'cpu'] : [program];
  return (await command(python, args, limit, collector('PyTorch', found))).problem;
}

const asked = ['--query-gpu=name,driver_version,memory.total', '--format=csv,noheader'];
const nvidia = spawnSync('nvidia-smi', asked, { encoding: 'utf8', timeout: 20_000 });
results.nvidia = nvidia.stdout?.trim() || null;
results.processor = `${os.cpus()[0]?.model}, ${os.availableParallelism()} cores`;
note(`nvidia-smi: ${results.nvidia ?? 'none'}; ${results.processor}`);

// So that the program uses what was packed, whatever the comparison says.
const record = { version: '0.6.2', gpu: 'not known yet', software: true, difference: 0, faster: 0 };
const made = new Date().toISOString();
writeFileSync(path.join(webgpu, 'setup.json'), JSON.stringify({ ...record, made }));

await part('adapter', 60, measure('adapter', 'webgpu'));
await part('verified', 60, async (found, limit) => {
  const args = [path.join(root, 'dist/setup/verify.js'), 'webgpu', webgpu];
  const { stdout, problem } = await command(process.execPath, args, limit);
  if (problem !== undefined) return problem;
  const said = JSON.parse(stdout.trim().split('\n').at(-1));
  collector('verified', found)(JSON.stringify({ name: 'as bang setup does', ...said }));
  writeFileSync(path.join(webgpu, 'setup.json'), JSON.stringify({ ...record, ...said, made }));
  return undefined;
});
await part('correct', 90, measure('correct', 'webgpu'));
await part('steps', 90, measure('steps', 'webgpu'));
await part('kernels', 60, measure('kernels', 'webgpu'));
const few = [
  ...['training.iterations=20', 'training.batch=4', 'training.logEvery=20', 'evaluation.images=2'],
  ...['evaluation.attacks=[fgs]', 'evaluation.pass=false'],
];
const tinyRow = (data) => [
  ...few.flatMap((setting) => ['--set', setting]),
  ...['--data-dir', data === 'cifar10' ? repeated(imagesOf(data)) : imagesOf(data)],
];
await part(
  'lenet-b1',
  150,
  row('lenet-b1', tiny ? tinyRow('mnist') : ['--data-dir', path.join(files, 'mnist')]),
);
await part('PyTorch', 120, pytorch);
await part('cifar10-b0', 240, async (found, limit) => {
  const { images, args } = cifar10();
  note(`cifar10-b0 | ${images}`);
  found.images = images;
  return row('cifar10-b0', tiny ? tinyRow('cifar10') : args)(found, limit);
});
if (!tiny) await part('steps on the CPU', 60, measure('steps', 'native'));
results.ended = new Date().toISOString();
note(`done; ${path.join(out, 'results.json')}`);
