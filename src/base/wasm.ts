import { messageOf, UserError } from './errors.js';

/** Whether the system refused the address space of a WebAssembly module: Node reserves 10 GB for each. */
export function isWasmShortage(error: unknown): boolean {
  return /could not allocate memory|Cannot allocate Wasm memory/.test(messageOf(error));
}

export function wasmShortage(purpose: string): UserError {
  return new UserError(
    `the system refuses the 10 GB of address space that Node reserves for ${purpose}: raise the limit (ulimit -v), ` +
      'or set NODE_OPTIONS=--disable-wasm-trap-handler, with which none are reserved',
  );
}

/** Node's types lack it. */
const { Memory } = (
  globalThis as unknown as { WebAssembly: { Memory: new (size: { initial: number }) => object } }
).WebAssembly;

/**
 * For modules that print when they fail.
 *
 * @throws UserError if WebAssembly has no memory here
 */
export function demandWasmMemory(purpose: string): void {
  try {
    new Memory({ initial: 1 });
  } catch (error) {
    throw isWasmShortage(error) ? wasmShortage(purpose) : error;
  }
}
