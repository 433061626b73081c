import type { Binding } from '#bang/engine/kernels/binding.js';

/** What bindings have beside kernels. */
const OTHERS =
  'setThreads peak scratchBytes level levels setLevel allocate release inPlace alignment'.split(
    ' ',
  );

/** The names of all kernels, sorted. */
export function kernelNames(binding: Binding): string[] {
  const names = Object.keys(binding).filter((name) => !OTHERS.includes(name));
  return names.sort();
}
