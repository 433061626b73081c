// A computing thread: an instance of the module over the memory of the thread that started it.
import { workerData } from 'node:worker_threads';
import { importsOf, OutOfMemory } from './imports.js';

/** What a worker is started with; `native/wasm.cc` says what the numbers are. */
export interface WorkerData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  own: number;
  bytes: number;
  tasks: number;
  seen: number;
}

interface WorkerExports {
  __wasm_init_tls: (memory: number) => void;
  __stack_pointer: WebAssembly.Global;
  work: (tasks: number, seen: number) => void;
  workOn: (tasks: number, lackedMemory: boolean) => void;
}

const { module, memory, own, bytes, tasks, seen } = workerData as WorkerData;
const instance = new WebAssembly.Instance(module, importsOf(memory));
const { __wasm_init_tls, __stack_pointer, work, workOn } =
  instance.exports as unknown as WorkerExports;
__wasm_init_tls(own);
let failure: unknown;
for (let done = false; !done;) {
  __stack_pointer.value = own + bytes;
  try {
    if (failure === undefined) work(tasks, seen);
    else workOn(tasks, failure instanceof OutOfMemory);
    done = true;
  } catch (error) {
    // The thread that waits for the task says what went wrong.
    failure = error;
  }
}
