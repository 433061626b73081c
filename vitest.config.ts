import { defineConfig } from 'vitest/config';
import { kernelFiles } from './native/build.mjs';
import { PATIENCE } from './test/patience.js';

const script = process.env.npm_lifecycle_event;

/** What computes on this machine: without a compiler there are no native kernels, nor tests of them. */
const OWN = kernelFiles().length > 0 ? 'native' : 'wasm';

/** The engine under test: in `npm run test:tensorflow` and `test:webgpu` the one that they are named after. */
const ENGINE = /^test:(tensorflow|webgpu)$/.exec(script ?? '')?.[1] ?? OWN;

/** What the kernels of native/ compute, which is tested as compiled for the machine and to WebAssembly. */
const KERNELS = [
  ...['block', 'border', 'kernels', 'noise', 'parity'].map((name) => `test/engine/${name}.test.ts`),
  'test/model/{forward,layers,predict}.test.ts',
  'test/training/{bang,train}.test.ts',
  'test/attacks/authors.test.ts',
];

/** Tests of what is read, written and said. None counts what is in the memory of its process, so that they share some. */
const SHARED = [
  'test/{base,check,cli,config,data,experiment,package,report,store,sweep}/**/*.test.ts',
];

export default defineConfig({
  test: {
    // What takes minutes, or needs a browser or `bang setup` before, has commands of its own.
    exclude: ['browser', 'long', 'mutations', 'tensorflow', 'webgpu']
      .filter((name) => script !== `test:${name}`)
      .map((name) => `test/${name}/**`),
    projects: [
      {
        extends: true,
        test: {
          name: 'bang',
          include: ['test/**/*.test.ts'],
          exclude: SHARED,
          env: { BANG_TEST_ENGINE: ENGINE },
        },
      },
      {
        extends: true,
        test: {
          name: 'shared',
          include: SHARED,
          isolate: false,
          env: { BANG_TEST_ENGINE: ENGINE },
        },
      },
      // Of the scripts, only `npm test` tests these kernels, too.
      ...(OWN === 'native' && !script?.startsWith('test:')
        ? [
            {
              extends: true as const,
              test: { name: 'wasm', include: KERNELS, env: { BANG_TEST_ENGINE: 'wasm' } },
            },
          ]
        : []),
    ],
    // What is compiled needs no transforming: Node loads it as for a user.
    server: { deps: { external: [/\/dist\//] } },
    // Two cores: one process a test file, and the kernels' own threads inside it.
    maxWorkers: 2,
    maxConcurrency: 2,
    setupFiles: 'test/equality.ts',
    // Only what hangs takes as long: a busy machine is no defect.
    testTimeout: PATIENCE,
    hookTimeout: PATIENCE,
    expect: { poll: { timeout: PATIENCE, interval: 20 } },
  },
});
