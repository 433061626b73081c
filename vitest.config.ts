import { defineConfig } from 'vitest/config';

const script = process.env.npm_lifecycle_event;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // What takes minutes, or needs a browser or `bang setup tensorflow` before, has commands of its own.
    exclude: ['browser', 'long', 'mutations', 'tensorflow']
      .filter((name) => script !== `test:${name}`)
      .map((name) => `test/${name}/**`),
    env: { BANG_TEST_ENGINE: script === 'test:tensorflow' ? 'tensorflow' : 'native' },
    // Two cores: one process a test file, and the kernels' own threads inside it.
    maxWorkers: 2,
    maxConcurrency: 2,
    // Generous: a busy machine is no defect.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
