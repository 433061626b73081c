import { readFileSync } from 'node:fs';
import os from 'node:os';
import { Worker } from 'node:worker_threads';
import { wasmFile, wasmStamp } from '../../../native/build.mjs';
import { messageOf } from '../../base/errors.js';
import type { Binding, LoadedBinding } from '../kernels/binding.js';
import { overlap } from '../kernels/overlap.js';
import { importsOf, OutOfMemory } from './imports.js';
import type { WorkerData } from './worker.js';

/** The exports of the module, which `native/wasm.cc` documents. Pointers are byte offsets in its memory. */
interface Exports {
  _initialize(): void;
  __stack_pointer: WebAssembly.Global;
  functionName(index: number): number;
  arguments(): number;
  mostArguments(): number;
  call(index: number, count: number): number;
  abandon(): void;
  allocate(bytes: number): number;
  release(memory: number): void;
  scratchBytes(): number;
}

const PAGE = 65_536;
/** All that 32 bits can address but one page, with which the size fits in 32 bits. */
const MOST_PAGES = 65_535;
const FEWEST_PAGES = 256;

let loaded: LoadedBinding | undefined;

/** Loads the kernels that are compiled to WebAssembly. */
export function loadWasm(): LoadedBinding {
  try {
    return (loaded ??= { binding: load() });
  } catch (error) {
    return { problem: `its kernels cannot be loaded (${messageOf(error)})` };
  }
}

function load(): Binding {
  const module = new WebAssembly.Module(readFileSync(wasmFile));
  const section = WebAssembly.Module.customSections(module, 'stamp').at(0);
  if (section === undefined || Buffer.from(section).toString() !== wasmStamp()) {
    throw new Error(`${wasmFile} is of other sources; npm run build:wasm makes it anew`);
  }
  return bindingOf(module, newMemory());
}

/**
 * As much memory as this process may have, up to half of the machine's. Only what is written takes memory. It does not
 * grow, because a thread may not learn at once that another has let it.
 */
function newMemory(): WebAssembly.Memory {
  const half = Math.floor(os.totalmem() / 2 / PAGE);
  for (let pages = Math.min(MOST_PAGES, Math.max(half, FEWEST_PAGES)); ;) {
    try {
      return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    } catch (error) {
      // A limit on address space, or strict accounting of memory.
      pages = Math.floor(pages / 2);
      if (pages < FEWEST_PAGES) throw error;
    }
  }
}

/** Kinds of arguments, fields of one (in bytes), and its size: `Argument` in native/arguments.h. */
const [NONE, NUMBER, FLAG, FLOATS, INTEGERS, WORDS, BYTES, OTHER] = [0, 1, 2, 3, 4, 5, 6, 7];
const [SHARED, WRITTEN, VALUE, DATA, LENGTH, SIZE] = [4, 5, 8, 16, 20, 24];

/** An argument outside the module's memory, and the copy of it inside. */
interface Copy {
  of: ArrayBufferView;
  at: number;
  /** The argument's place. */
  argument: number;
}

function bindingOf(module: WebAssembly.Module, memory: WebAssembly.Memory): Binding {
  const imports = importsOf(memory);
  const instance = new WebAssembly.Instance(module, {
    ...imports,
    bang: { ...imports.bang, startWorker },
  });
  const wasm = instance.exports as unknown as Exports;
  wasm._initialize();
  const base = wasm.arguments();
  const most = wasm.mostArguments();
  const { buffer } = memory;
  const bytes = new Uint8Array(buffer);
  const words = new Int32Array(buffer);
  const doubles = new Float64Array(buffer);

  function startWorker(own: number, size: number, tasks: number, seen: number): void {
    const workerData: WorkerData = { module, memory, own, bytes: size, tasks, seen };
    const worker = new Worker(new URL('worker.js', import.meta.url), {
      workerData,
      execArgv: [],
      env: {},
    });
    worker.unref();
    worker.on('exit', () => {
      wasm.release(own);
    });
    // Without it the other threads compute alone.
    worker.on('error', () => undefined);
  }

  function inPlace(values: ArrayBufferView): boolean {
    return values.buffer === buffer;
  }

  /** Writes an argument; the copy, if one had to be made. */
  function write(value: unknown, at: number, copies: Copy[]): void {
    bytes[at + SHARED] = 0;
    bytes[at + WRITTEN] = 0;
    if (typeof value === 'number') {
      words[at >> 2] = NUMBER;
      doubles[(at + VALUE) >> 3] = value;
    } else if (value === null || value === undefined) {
      words[at >> 2] = NONE;
      doubles[(at + VALUE) >> 3] = 0;
    } else if (ArrayBuffer.isView(value)) {
      words[at >> 2] = kindOf(value);
      doubles[(at + VALUE) >> 3] = 1;
      words[(at + LENGTH) >> 2] = (value as Uint8Array).length;
      if (inPlace(value)) words[(at + DATA) >> 2] = value.byteOffset;
      else if (value.buffer instanceof SharedArrayBuffer) bytes[at + SHARED] = 1;
      else words[(at + DATA) >> 2] = copyOf(value, at, copies);
    } else {
      words[at >> 2] = typeof value === 'boolean' ? FLAG : OTHER;
      doubles[(at + VALUE) >> 3] = value === false ? 0 : 1;
    }
  }

  /** Copies an array into the memory. The same array is copied once, so that the border sees that it is. */
  function copyOf(value: ArrayBufferView, argument: number, copies: Copy[]): number {
    const same = copies.find(
      ({ of }) =>
        of.buffer === value.buffer &&
        of.byteOffset === value.byteOffset &&
        of.byteLength === value.byteLength,
    );
    const at = same?.at ?? allocate(value.byteLength);
    copies.push({ of: value, at, argument });
    if (!same) new Uint8Array(buffer, at, value.byteLength).set(bytesOf(value));
    return at;
  }

  /** Copies back what the kernel has written. */
  function copyBack(copies: readonly Copy[]): void {
    const written = copies.filter(({ argument }) => bytes[argument + WRITTEN]);
    for (const { of, at } of written) {
      if (copies.some((other) => other.at !== at && overlap(other.of, of))) {
        throw new TypeError('an output shares memory with another argument');
      }
    }
    for (const { of, at } of written) {
      bytesOf(of).set(new Uint8Array(buffer, at, of.byteLength));
    }
  }

  /** Calls the module, whose frames an exception leaves without their clean-up. */
  function enter(action: () => number): number {
    const stack = wasm.__stack_pointer.value;
    try {
      return action();
    } catch (error) {
      wasm.__stack_pointer.value = stack;
      wasm.abandon();
      throw error;
    }
  }

  function allocate(count: number): number {
    // From here on it is a 32-bit number.
    if (count > MOST_PAGES * PAGE) throw new OutOfMemory('not enough memory');
    return enter(() => wasm.allocate(count)) >>> 0;
  }

  function call(index: number, values: readonly unknown[]): number {
    if (values.length > most) throw new TypeError('too many arguments');
    const copies: Copy[] = [];
    try {
      for (let i = 0; i < values.length; i++) write(values[i], base + SIZE * i, copies);
      const result = enter(() => wasm.call(index, values.length));
      if (copies.length > 0) copyBack(copies);
      return result;
    } finally {
      for (const at of new Set(copies.map((copy) => copy.at))) wasm.release(at);
    }
  }

  const functions: Record<string, (...values: unknown[]) => number> = {};
  for (let index = 0, name; (name = textAt(bytes, wasm.functionName(index))); index++) {
    const own = index;
    functions[name] = (...values) => call(own, values);
  }
  const kernels = functions as unknown as Binding;
  return {
    ...kernels,
    peak: (seconds) => {
      // Node optimizes a function only after a while, and between calls.
      for (let i = 0; i < 20; i++) kernels.peak(1e-3);
      return kernels.peak(seconds);
    },
    scratchBytes: () => wasm.scratchBytes() >>> 0,
    level: () => 'wasm',
    levels: () => ['wasm'],
    setLevel: (name) => {
      if (name !== 'wasm') throw new TypeError(`WebAssembly does not have the level ${name}`);
    },
    allocate: (count) => ({ buffer, offset: allocate(count) }),
    release: ({ offset }) => {
      wasm.release(offset);
    },
    inPlace,
  };
}

function kindOf(value: ArrayBufferView): number {
  if (value instanceof Float32Array) return FLOATS;
  if (value instanceof Int32Array) return INTEGERS;
  if (value instanceof Uint32Array) return WORDS;
  return value instanceof Uint8Array ? BYTES : OTHER;
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The string that ends with a zero at this place; none at 0. */
function textAt(bytes: Uint8Array, at: number): string {
  return at === 0 ? '' : Buffer.from(bytes.slice(at, bytes.indexOf(0, at))).toString();
}
