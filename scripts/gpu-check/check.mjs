// What scripts/gpu-check.sh runs: node check.mjs WORK OUT. A step that fails is recorded, and the others go on.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { first } from './idx.mjs';

const [work, out] = process.argv.slice(2);
const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
const tiny = process.env.GPU_CHECK === 'tiny';
const webgpu = path.join(work, 'cache', 'webgpu');
const results = { begun: new Date().toISOString(), tiny };
const lines = [];

function note(line) {
  lines.push(line);
  console.log(line);
  writeFileSync(path.join(out, 'table.txt'), `${lines.join('\n')}\n`);
  writeFileSync(path.join(out, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
}

/** Runs Node; the last line that it prints. */
function node(args, seconds) {
  const begun = performance.now();
  const { status, stdout, stderr, error } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 1000 * seconds,
    cwd: root,
  });
  const took = (performance.now() - begun) / 1000;
  if (status !== 0) {
    const why = error?.message ?? stderr.trim().split('\n').slice(-3).join(' ');
    throw new Error(`${args.slice(0, 4).join(' ')}: ${why}`);
  }
  return { last: stdout.trim().split('\n').at(-1), seconds: took };
}

function part(name, work) {
  try {
    results[name] = work();
  } catch (error) {
    results[name] = { failed: error.message };
    note(`${name}: FAILED: ${error.message}`);
  }
}

/** The folder of a data set; in a rehearsal with a few of its images. */
function imagesOf(data) {
  const folder = path.join(work, 'cache', 'parts', data);
  if (!tiny) return folder;
  const few = path.join(work, 'few', data);
  mkdirSync(few, { recursive: true });
  for (const file of readdirSync(folder)) {
    const rank = Number(/idx(\d)/.exec(file)[1]);
    writeFileSync(path.join(few, file), first(readFileSync(path.join(folder, file)), rank, 60));
  }
  return few;
}

const nvidia = spawnSync(
  'nvidia-smi',
  ['--query-gpu=name,driver_version', '--format=csv,noheader'],
  { encoding: 'utf8' },
);
results.nvidia = nvidia.stdout?.trim() ?? null;
note(`nvidia-smi: ${results.nvidia ?? 'none'}`);

part('verified', () => {
  const { last } = node([path.join(root, 'dist/setup/verify.js'), 'webgpu', webgpu], 120);
  const found = JSON.parse(last);
  note(`adapter: ${found.gpu}${found.software ? ' (computes on the CPU)' : ''}`);
  note(
    `loss and BANG gradients differ from the CPU's by ${found.difference.toExponential(1)} of the largest value`,
  );
  if (!found.software) note(`LeNet step: ${found.faster.toFixed(1)} times as fast as on the CPU`);
  const record = { version: '0.6.2', ...found, made: new Date().toISOString() };
  writeFileSync(path.join(webgpu, 'setup.json'), JSON.stringify(record));
  return found;
});

for (const engine of tiny ? ['webgpu'] : ['webgpu', 'native']) {
  part(`speed ${engine}`, () => {
    const program = path.join(root, 'scripts/gpu-check/speed.mjs');
    const found = JSON.parse(node([program, engine, tiny ? 'tiny' : 'all'], 120).last);
    for (const { name, ms, dispatches } of found) {
      note(
        `${engine} ${name}: ${ms.toFixed(3)} ms${dispatches ? `, ${dispatches} dispatches` : ''}`,
      );
    }
    return found;
  });
}

const bang = path.join(root, 'bin/bang.js');
const rows = [
  [
    'lenet-b1',
    'mnist',
    tiny
      ? [
          'training.iterations=20',
          'training.batch=4',
          'training.logEvery=20',
          'evaluation.images=4',
        ]
      : [],
  ],
  // On a part of the images, as many iterations as the row has: its time counts, not its numbers.
  ['cifar10-b0', 'cifar10', tiny ? null : ['evaluation.images=500']],
];
for (const [row, data, settings] of rows) {
  if (settings === null) continue;
  part(row, () => {
    const folder = path.join(work, 'runs', row);
    mkdirSync(path.dirname(folder), { recursive: true });
    const set = ['evaluation.pass=false', ...settings].flatMap((each) => ['--set', each]);
    const args = [bang, 'run', path.join(root, 'configs', `${row}.yaml`), '--engine', 'webgpu'];
    const where = ['--data-dir', imagesOf(data), '--out', folder];
    const { seconds } = node([...args, ...where, ...set], 240);
    const { row: numbers, provenance } = JSON.parse(
      readFileSync(path.join(folder, 'result.json'), 'utf8'),
    );
    note(
      `${row}: ${seconds.toFixed(1)} s from start to table on ${provenance.engine}: ${JSON.stringify(numbers)}`,
    );
    return { seconds, row: numbers };
  });
}
note(`done; ${path.join(out, 'results.json')}`);
