import type { EngineName } from '#bang/engine/engine.js';
import { kernelFiles } from '../native/build.mjs';

/**
 * The engine under test: the tests of the kernels run on each that computes with them, and `npm run
 * test:tensorflow` has some files tested on that one.
 */
export const ENGINE = (process.env.BANG_TEST_ENGINE ?? 'native') as EngineName;

/** Whether there are native kernels; a machine without a compiler has none. */
export const HAS_NATIVE = kernelFiles().length > 0;
