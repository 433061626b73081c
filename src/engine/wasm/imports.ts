export class OutOfMemory extends Error {}

/** What the module calls on any thread, as `native/wasm.cc` declares it. */
export function importsOf(memory: WebAssembly.Memory): WebAssembly.Imports {
  return {
    env: { memory },
    bang: {
      refuse: (message: number, length: number): never => {
        const bytes = new Uint8Array(memory.buffer, message >>> 0, length).slice();
        throw new TypeError(new TextDecoder().decode(bytes));
      },
      outOfMemory: (): never => {
        throw new OutOfMemory('not enough memory');
      },
      trapped: (): never => {
        throw new Error('a kernel has failed on another thread');
      },
      now: () => performance.now() / 1000,
      startWorker: () => {
        throw new Error('a worker cannot start another');
      },
    },
  };
}
