import { parse } from 'csv-parse/sync';
import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packageRoot } from '#bang/base/files.js';
import { bang, bangOk, tensors, workspace, writeSmallData, type Workspace } from '../cli/bang.js';

// On what `bang setup webgpu` leaves: `npm run test:webgpu`. Small, since the driver of the tests computes on the CPU.

const SMALL = `model:
  scale: 0.00390625
  subtractMean: true
  layers:
    - {kind: conv, name: first, filters: 4, size: 5}
    - {kind: maxPool, size: 2, stride: 2}
    - {kind: conv, name: second, filters: 4, size: 3, pad: 1}
    - {kind: maxPool, size: 3, stride: 2}
    - {kind: relu}
    - {kind: dropout, rate: 0.2}
    - {kind: innerProduct, name: out, outputs: 10}
data: mnist
training:
  iterations: 60
  batch: 8
  learningRate: {policy: fixed, base: 0.02}
  momentum: 0.9
  weightDecay: 0.0005
  logEvery: 20
  checkpointEvery: 20
  bang: {beta: 1, epsilon: 0.5, ratio: 0.5}
evaluation: {images: 6, pass: false}
`;

function lossesIn(csv: string): number[] {
  return parse<{ loss: string }>(csv, { columns: true }).map(({ loss }) => Number(loss));
}

interface Written {
  provenance: { engine: string };
}

let space: Workspace;
let data: string;

beforeAll(() => {
  space = workspace();
  data = writeSmallData(space, 'data', { train: 100, test: 60 });
  space.write('option.yaml', SMALL);
  space.write('config.yaml', `${SMALL}engine: webgpu\n`);
});
afterAll(() => {
  space.remove();
});

it('a whole run on WebGPU: trained, attacked, reported; as on the CPU', async () => {
  const results: Written[] = [];
  for (const engine of ['webgpu', 'native']) {
    const args = ['run', 'option.yaml', '--data-dir', data, '--out', engine, '--engine', engine];
    const { stderr } = await bangOk(args, { cwd: space.folder });
    // The driver says nothing of its own.
    expect(stderr.split('\n').filter((line) => !/^(\w[\w ,-]*:.*)?$/.test(line))).toEqual([]);
    results.push(JSON.parse(space.read(engine, 'result.json')) as Written);
  }
  const [webgpu, native] = results;
  expect(webgpu.provenance.engine).toMatch(/^WebGPU on /);
  expect(native.provenance.engine).toMatch(/^native/);
  const [losses, expected] = ['webgpu', 'native'].map((name) =>
    lossesIn(space.read(name, 'training.csv')),
  );
  expect(losses).toHaveLength(3);
  losses.forEach((loss, i) => {
    expect(Math.abs(loss / expected[i] - 1)).toBeLessThan(1e-3);
  });
  const [lines, others] = ['webgpu', 'native'].map((name) =>
    space.read(name, 'per-image.csv').split('\n'),
  );
  expect(lines).toHaveLength(others.length);
});

/** Loaded before the program: closes the GPU once a file is there, as a driver does that is reset. */
const LOSING = `import { existsSync } from 'node:fs';
import { isMainThread, Worker } from 'node:worker_threads';
const { postMessage } = Worker.prototype;
let lost = !isMainThread;
Worker.prototype.postMessage = function (message, transferred) {
  if (!lost && message?.commands && existsSync(process.env.LOSE_AFTER)) {
    lost = true;
    postMessage.call(this, 'close');
  }
  return postMessage.call(this, message, transferred);
};
`;

it('a process that ends as soon as the engine has started, ends in good order', () => {
  const script = `
    import { startEngine } from '#bang/engine/engine.js';
    await startEngine({ engine: 'webgpu' });`;
  for (const end of ['', 'process.exit(0);', '', 'process.exit(0);']) {
    const args = ['--input-type=module', '-e', script + end];
    const { status, stderr } = spawnSync(process.execPath, args, {
      cwd: packageRoot,
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([0, '']);
  }
});

it('a GPU that is lost in training is one sentence, and the checkpoint continues to the same bits', async () => {
  const args = ['run', 'config.yaml', '--data-dir', data, '--out', 'lost'];
  const losing = pathToFileURL(space.write('losing.mjs', LOSING)).href;
  const env = {
    NODE_OPTIONS: `--import=${losing}`,
    LOSE_AFTER: space.file('lost', 'checkpoint.safetensors'),
  };
  const { code, stdout, stderr } = await bang(args, { cwd: space.folder, env });
  const said = stderr.split('\n').filter((line) => line.startsWith('bang: '));
  expect(said).toEqual([
    expect.stringMatching(
      /^bang: .*the GPU was closed: start the same command again to go on from the last checkpoint, or use another --engine$/,
    ),
  ]);
  expect(stderr).not.toMatch(/^ +at /m);
  expect(stdout).toBe('');
  expect(code).toBe(1);
  expect(space.list('lost')).toContain('checkpoint.safetensors');
  expect(space.list('lost')).not.toContain('result.json');

  const again = await bangOk(args, { cwd: space.folder });
  expect(again.stderr).toMatch(/iteration 20/);
  // By config as by option, and at once as in two parts.
  expect(tensors(space, 'lost')).toEqual(tensors(space, 'webgpu'));
  expect(space.read('lost', 'per-image.csv')).toBe(space.read('webgpu', 'per-image.csv'));
  expect(lossesIn(space.read('lost', 'training.csv'))).toEqual(
    lossesIn(space.read('webgpu', 'training.csv')),
  );
});
