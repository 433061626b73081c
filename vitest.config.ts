import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // What takes minutes has commands of its own: npm run test:long, npm run test:mutations.
    exclude: ['long', 'mutations']
      .filter((name) => process.env.npm_lifecycle_event !== `test:${name}`)
      .map((name) => `test/${name}/**`),
    // Two cores: one process a test file, and the kernels' own threads inside it.
    maxWorkers: 2,
    maxConcurrency: 2,
    // Generous: a busy machine is no defect.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
