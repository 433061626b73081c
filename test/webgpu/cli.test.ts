import { parse } from 'csv-parse/sync';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bangOk, workspace, writeSmallData, type Workspace } from '../cli/bang.js';

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
evaluation: {images: 20, pass: false}
`;

function lossesIn(csv: string): number[] {
  return parse<{ loss: string }>(csv, { columns: true }).map(({ loss }) => Number(loss));
}

interface Written {
  row: { accuracy: number };
  provenance: { engine: string };
}

let space: Workspace;
let data: string;

beforeAll(() => {
  space = workspace();
  data = writeSmallData(space, 'data', { train: 100, test: 40 });
  space.write('option.yaml', SMALL);
  space.write('config.yaml', `${SMALL}engine: webgpu\n`);
});
afterAll(() => {
  space.remove();
});

it('a whole run on WebGPU: trained, attacked, reported, by option or by config; as on the CPU', async () => {
  const results: Written[] = [];
  for (const [name, engine] of [
    ['option', ['--engine', 'webgpu']],
    ['config', []],
    ['option', ['--engine', 'native']],
  ] as const) {
    const out = [name, ...engine].join('-');
    const args = ['run', `${name}.yaml`, '--data-dir', data, '--out', out, ...engine];
    const { stderr } = await bangOk(args, { cwd: space.folder });
    // The driver says nothing of its own.
    expect(stderr.split('\n').filter((line) => !/^(\w[\w ,-]*:.*)?$/.test(line))).toEqual([]);
    results.push(JSON.parse(space.read(out, 'result.json')) as Written);
  }
  const [option, config, native] = results;
  expect(option.provenance.engine).toMatch(/^WebGPU on /);
  expect(config.row.accuracy).toBe(option.row.accuracy);
  // The same on one device, bit for bit.
  const files = ['option---engine-webgpu', 'config', 'option---engine-native'];
  const [first, second, third] = files.map((name) => space.read(name, 'per-image.csv'));
  expect(second).toBe(first);
  const losses = files.map((name) => lossesIn(space.read(name, 'training.csv')));
  expect(losses[1]).toEqual(losses[0]);
  losses[0].forEach((loss, i) => {
    expect(Math.abs(loss / losses[2][i] - 1)).toBeLessThan(1e-3);
  });
  expect(native.provenance.engine).toMatch(/^native/);
  expect(third.split('\n')).toHaveLength(first.split('\n').length);
});
