import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // What takes minutes has a command of its own: npm run test:long.
    exclude: process.env.npm_lifecycle_event === 'test:long' ? [] : ['test/long/**'],
    // Two cores: one process a test file, and the kernels' own threads inside it.
    maxWorkers: 2,
    // Generous: a busy machine is no defect.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
