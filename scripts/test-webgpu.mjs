// `npm run test:webgpu`: the tests of the engine that `bang setup webgpu` has set up, which comes first.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { softwareDriver } from './webgpu-driver.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs');
const runs = [
  ['test/webgpu'],
  // Tests of all engines; a part of them, since the driver of the tests is slow.
  [
    'test/training/bang.test.ts',
    'test/model/layers.test.ts',
    '-t',
    'number 2:|gradients of lenet .* bang: every gradient|eta engine webgpu',
  ],
];
for (const args of runs) {
  const { status } = spawnSync(process.execPath, [vitest, 'run', ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...softwareDriver(), npm_lifecycle_event: 'test:webgpu' },
  });
  if (status !== 0) process.exit(status ?? 1);
}
