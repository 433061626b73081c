import { afterAll, beforeAll, expect, it } from 'vitest';
import { bangOk, tinyConfig, workspace, writeSmallData, type Workspace } from '../cli/bang.js';

let space: Workspace;

beforeAll(() => {
  space = workspace();
});
afterAll(() => {
  space.remove();
});

interface Written {
  row: { accuracy: number };
  provenance: { engine: string };
}

it('a whole run on TensorFlow: trained, attacked, reported, by option or by config', async () => {
  const data = writeSmallData(space);
  space.write('option.yaml', tinyConfig());
  space.write('config.yaml', tinyConfig('engine: tensorflow'));
  const results: Written[] = [];
  for (const [name, more] of [
    ['option', ['--engine', 'tensorflow']],
    ['config', []],
  ] as const) {
    const args = ['run', `${name}.yaml`, '--data-dir', data, '--out', name, ...more];
    const { stderr } = await bangOk(args, { cwd: space.folder });
    // TensorFlow says nothing of its own.
    expect(stderr.split('\n').filter((line) => !/^(\w[\w ,-]*:.*)?$/.test(line))).toEqual([]);
    expect(stderr).not.toMatch(/oneDNN|absl|cuda/i);
    results.push(JSON.parse(space.read(name, 'result.json')) as Written);
  }
  const [option, config] = results;
  expect(option.provenance.engine).toMatch(/^TensorFlow 2\.\d+\.\d+ on the (CPU|GPU)/);
  // The same number of threads: the same bits.
  expect(config.row.accuracy).toBe(option.row.accuracy);
  expect(space.bytes('config', 'per-image.csv')).toEqual(space.bytes('option', 'per-image.csv'));
});

it('doctor measures it, also on a Node that has less than it calls', async () => {
  // As since Node 23.
  space.write(
    'newer.cjs',
    "const util = require('node:util');\ndelete util.isNullOrUndefined;\ndelete util.isArray;\n",
  );
  const { stdout, stderr } = await bangOk(['doctor', '--engine', 'tensorflow'], {
    cwd: space.folder,
    env: { NODE_OPTIONS: `--require ${space.file('newer.cjs')}` },
  });
  expect(stderr).toBe('');
  expect(stdout).toMatch(
    /^engine +TensorFlow 2\.\d+\.\d+ on the (CPU|GPU), through tfjs-node-gpu$/m,
  );
  expect(stdout).toMatch(/^speed +LeNet forward [\d.]+ GFLOP\/s$/m);
  expect(stdout).toMatch(
    /^tensorflow +2\.\d+\.\d+ for the (CPU|GPU) with @tensorflow\/tfjs-node-gpu@4/m,
  );
});

it('is set up once: the second time it is compared and kept', async () => {
  const { stdout, stderr } = await bangOk(['setup', 'tensorflow'], { cwd: space.folder });
  expect(stderr).toMatch(/^compare with the CPU kernels: they differ by \d\.\de-\d+/m);
  expect(stdout).toMatch(/was set up already in /);
});
