import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Two cores: one process a test file, and the kernels' own threads inside it.
    maxWorkers: 2,
    testTimeout: 60_000,
  },
});
