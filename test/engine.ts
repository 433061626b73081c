import type { EngineName } from '#bang/engine/engine.js';

/** The engine under test: `npm run test:tensorflow` has some files tested on another than usual. */
export const ENGINE: EngineName =
  process.env.BANG_TEST_ENGINE === 'tensorflow' ? 'tensorflow' : 'native';
