import { createRequire } from 'node:module';
import { kernelFiles } from '../../../native/build.mjs';
import { messageOf } from '../../base/errors.js';
import type { Binding, LoadedBinding, Memory } from '../kernels/binding.js';

/** The exports of the addon. */
interface Addon extends Omit<Binding, keyof typeof IN_PLACE | 'allocate'> {
  /** Bytes from the start of the buffer to the first cache-line boundary in it. */
  alignment(buffer: ArrayBuffer): number;
}

/** The addon reads and writes any memory of JavaScript, which the garbage collector frees. */
const IN_PLACE = { release: () => undefined, inPlace: () => true };

let loaded: LoadedBinding | undefined;

/** Loads the kernels, built by `npm ci` or prebuilt. */
export function loadNative(): LoadedBinding {
  return (loaded ??= load());
}

function load(): LoadedBinding {
  let problem = 'its kernels are not built';
  for (const file of filesOfKernels()) {
    try {
      const addon = createRequire(import.meta.url)(file) as Addon;
      const allocate = (bytes: number): Memory => {
        const buffer = new ArrayBuffer(bytes + 64);
        return { buffer, offset: addon.alignment(buffer) };
      };
      return { binding: { ...addon, ...IN_PLACE, allocate } };
    } catch (error) {
      problem = `its kernels cannot be loaded (${messageOf(error)})`;
    }
  }
  return { problem };
}

/** None where the sources are missing, with which the kernels are compared. */
function filesOfKernels(): string[] {
  try {
    return kernelFiles();
  } catch {
    return [];
  }
}
