import { Worker } from 'node:worker_threads';
import { ExperimentError } from '../../base/errors.js';
import { sizeClass } from '../kernels/backend.js';
import type { Values } from '../kernels/binding.js';
import {
  type Adapter,
  COMMANDS,
  type KernelTime,
  MOST_DISPATCHES,
  PARAMETER_STRIDE,
  type Program,
  type Start,
  type Started,
  type Work,
} from './messages.js';

/** The types of values on the device, each of 4 bytes. Bytes (tfjs's bool) are stored as words. */
export type Kind = 'f32' | 'i32' | 'u32';

const TYPES = { f32: Float32Array, i32: Int32Array, u32: Uint32Array };
export type Words = Float32Array | Int32Array | Uint32Array;

/** A buffer of the device. */
interface DeviceBuffer {
  id: number;
  /** In words of 4 bytes. */
  words: number;
  /** The last submission that uses it. */
  used: number;
  /** The request at which it was released. */
  freed: number;
  /** The keys of the groups that contain it. */
  groups: string[];
}

/** An array in the memory of the device. */
export class DeviceArray implements Values {
  constructor(
    readonly buffer: DeviceBuffer,
    readonly kind: Kind,
    /** Its first word. */
    readonly begin: number,
    readonly length: number,
    /** Whether others have parts of the same buffer. */
    readonly part = false,
  ) {}

  /** A part; WebGPU wants `begin` to be a multiple of `ALIGNMENT`. */
  subarray(begin: number, end: number): DeviceArray {
    return new DeviceArray(this.buffer, this.kind, this.begin + begin, end - begin, true);
  }
}

/** Parts of a buffer begin at multiples of this, in words. */
export const ALIGNMENT = 64;

/** A kernel as it is known on the device. */
export interface Pipeline {
  id: number;
  /** `u` or `f` for each parameter. */
  parameters: string;
}

/** What a device has done since it was opened; `scripts/gpu-check` and tests count with it. */
export interface Counters {
  dispatches: number;
  submissions: number;
  reads: number;
  /** Bytes that were sent and fetched. */
  sent: number;
  fetched: number;
  /** Bytes that kernels were given to read and write. */
  touched: number;
}

/** Dispatches after which work is handed over, so that the device begins. */
const SUBMIT_AFTER = 64;
/** Requests for memory after which a buffer that nobody asked for again is given back. */
const IDLE = 8192;
const MOST_GROUPS = 8192;
/** Milliseconds after which a process that ends does not wait for the device any more. */
const DRAINED_AFTER = 2000;
/** Data sets that are kept: those to train on, to validate on and to test on, and one more. */
const MOST_RESIDENT = 4;

/**
 * A GPU, driven by another thread. Work is recorded here, in the order in which it is to be done, and handed
 * over when it is enough or somebody reads. So memory that is released can be given out again at once: who
 * gets it next comes later.
 */
export class Device {
  readonly counters: Counters = {
    dispatches: 0,
    submissions: 0,
    reads: 0,
    sent: 0,
    fetched: 0,
    touched: 0,
  };
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #groups = new Map<string, number>();
  readonly #free = new Map<number, DeviceBuffer[]>();
  readonly #resident = new Map<Uint8Array, DeviceArray>();
  #ids = 0;
  #requests = 0;
  #submission = 1;
  #reads = 0;
  #isNew = false;
  #programs: Program[] = [];
  #commands: number[] = [];
  #payloads: ArrayBuffer[] = [];
  #targets: SharedArrayBuffer[] = [];
  #dispatches = 0;
  readonly #words = new Uint32Array((PARAMETER_STRIDE / 4) * MOST_DISPATCHES);
  readonly #floats = new Float32Array(this.#words.buffer);

  private constructor(
    readonly adapter: Adapter,
    private readonly worker: Worker,
    private readonly start: Start,
  ) {}

  /**
   * Opens the GPU that the package `webgpu` in this folder finds.
   *
   * @param timed whether to measure for `times`, which makes the work slower
   * @returns the device, or why there is none
   */
  static async open(folder: string, timed = false): Promise<Device | string> {
    const start: Start = {
      package: folder,
      control: new Int32Array(new SharedArrayBuffer(16)),
      reason: new Uint8Array(new SharedArrayBuffer(4096)),
      timed,
    };
    const worker = new Worker(new URL('worker.js', import.meta.url), {
      workerData: start,
      execArgv: [],
    });
    const started = await new Promise<Started>((resolve) => {
      worker.once('message', resolve);
      worker.once('error', (error: Error) => {
        resolve({ problem: error.message });
      });
    });
    if ('problem' in started) {
      await worker.terminate();
      return started.problem;
    }
    worker.unref();
    const device = new Device(started.adapter, worker, start);
    process.once('exit', device.#atExit);
    return device;
  }

  /** Gives the GPU back. Whoever computes on it afterwards is told that it is gone. */
  close(): void {
    process.off('exit', this.#atExit);
    this.worker.postMessage('close');
  }

  /**
   * How long the device took for each kernel since the last call, the longest first: of a device that was opened to be
   * timed, and that can; otherwise none.
   */
  async times(): Promise<{ kernel: string; dispatches: number; milliseconds: number }[]> {
    this.submit();
    const found = await new Promise<KernelTime[]>((resolve) => {
      this.worker.once('message', resolve);
      this.worker.postMessage('times');
    });
    const names = [...this.#pipelines.keys()];
    return found
      .sort((a, b) => b.nanoseconds - a.nanoseconds)
      .map(({ program, dispatches, nanoseconds }) => {
        return { kernel: names[program], dispatches, milliseconds: nanoseconds / 1e6 };
      });
  }

  /** The kernel of this name, which says all that `make` depends on. */
  pipeline(name: string, make: () => Program & { parameters: string }): Pipeline {
    let pipeline = this.#pipelines.get(name);
    if (!pipeline) {
      const { code, reads, parameters } = make();
      pipeline = { id: this.#pipelines.size, parameters };
      this.#isNew = true;
      this.#programs.push({ code, reads });
      this.#pipelines.set(name, pipeline);
    }
    return pipeline;
  }

  /** Runs a kernel on x · y · z workgroups. */
  run(
    pipeline: Pipeline,
    arrays: readonly DeviceArray[],
    parameters: readonly number[],
    [x, y = 1, z = 1]: readonly number[],
  ): void {
    if (x * y * z === 0) return;
    if (this.#dispatches === MOST_DISPATCHES) this.submit();
    const first = (this.#dispatches * PARAMETER_STRIDE) / 4;
    for (let i = 0; i < parameters.length; i++) {
      if (pipeline.parameters[i] === 'f') this.#floats[first + i] = parameters[i];
      else this.#words[first + i] = parameters[i];
    }
    const group = this.#groupOf(pipeline, arrays);
    this.#commands.push(COMMANDS.dispatch, group, 4 * first, x, y, z);
    this.counters.dispatches++;
    if (++this.#dispatches >= SUBMIT_AFTER) this.submit();
  }

  #groupOf(pipeline: Pipeline, arrays: readonly DeviceArray[]): number {
    let key = `${pipeline.id}`;
    for (const { buffer, begin, length, part } of arrays) {
      key += part ? `,${buffer.id}@${begin}+${length}` : `,${buffer.id}`;
      buffer.used = this.#submission;
      this.counters.touched += 4 * length;
    }
    let group = this.#groups.get(key);
    if (group === undefined) {
      if (this.#groups.size >= MOST_GROUPS) this.#forget(this.#groups.keys());
      group = this.#ids++;
      this.#groups.set(key, group);
      this.#isNew = true;
      this.#commands.push(COMMANDS.group, group, pipeline.id, arrays.length);
      for (const { buffer, begin, length, part } of arrays) {
        const words = part ? Math.max(length, 1) : buffer.words;
        this.#commands.push(buffer.id, 4 * begin, 4 * words);
        buffer.groups.push(key);
      }
    }
    return group;
  }

  #forget(keys: Iterable<string>): void {
    for (const key of keys) {
      const group = this.#groups.get(key);
      if (group === undefined) continue;
      this.#groups.delete(key);
      this.#commands.push(COMMANDS.forget, group);
    }
  }

  /** An array with undefined values. */
  take(length: number, kind: Kind = 'f32'): DeviceArray {
    return new DeviceArray(this.#take(length, false), kind, 0, length);
  }

  /** The bytes of the largest array. */
  get #most(): number {
    return Math.min(this.adapter.maxBuffer, this.adapter.maxBinding);
  }

  /** @param idle whether no work recorded but not handed over may use the memory */
  #take(length: number, idle: boolean): DeviceBuffer {
    if (++this.#requests % IDLE === 0) this.#giveBack(this.#requests - IDLE);
    const words = sizeClass(length);
    let free = this.#free.get(words);
    if (!free) this.#free.set(words, (free = []));
    if (!idle) {
      const buffer = free.pop();
      if (buffer) return buffer;
    } else {
      const at = free.findIndex(({ used }) => used < this.#submission);
      if (at >= 0) return free.splice(at, 1)[0];
    }
    const most = this.#most;
    if (4 * words > most) {
      throw new ExperimentError(
        `the GPU gives no more than ${(most / 2 ** 20).toFixed(0)} MiB at once, and ${((4 * words) / 2 ** 20).toFixed(0)} are needed: use smaller batches, or another --engine`,
      );
    }
    const buffer = { id: this.#ids++, words, used: 0, freed: 0, groups: [] };
    this.#isNew = true;
    this.#commands.push(COMMANDS.allocate, buffer.id, 4 * words);
    return buffer;
  }

  /** Makes the memory of a whole array available again. */
  release({ buffer }: DeviceArray): void {
    buffer.freed = this.#requests;
    this.#free.get(buffer.words)!.push(buffer);
  }

  /** Gives memory back to the device. */
  #discard({ id, groups }: DeviceBuffer): void {
    this.#forget(groups);
    this.#commands.push(COMMANDS.free, id);
  }

  /** Gives back what was released before this request and not used again. */
  #giveBack(before: number): void {
    for (const [words, buffers] of this.#free) {
      const kept = buffers.filter((buffer) => {
        if (buffer.freed >= before) return true;
        this.#discard(buffer);
        return false;
      });
      this.#free.set(words, kept);
    }
  }

  /**
   * Bytes that stay on the device for whoever asks for the same array again, four to a word; undefined if they are too
   * many for it.
   */
  resident(bytes: Uint8Array): DeviceArray | undefined {
    let array = this.#resident.get(bytes);
    if (!array) {
      const words = Math.ceil(bytes.length / 4);
      if (4 * sizeClass(words) > this.#most) return undefined;
      const packed = new Uint32Array(words);
      new Uint8Array(packed.buffer).set(bytes);
      array = this.#sent(packed, 'u32');
      if (this.#resident.size === MOST_RESIDENT) {
        const [oldest, { buffer }] = [...this.#resident][0];
        this.#resident.delete(oldest);
        // What was recorded may use it.
        this.submit();
        this.#discard(buffer);
      }
    }
    // The last used is the last of the map.
    this.#resident.delete(bytes);
    this.#resident.set(bytes, array);
    return array;
  }

  /** A new array with these values; bytes become words. */
  upload(values: Float32Array | Int32Array | Uint8Array | Uint32Array): DeviceArray {
    const kind =
      values instanceof Float32Array ? 'f32' : values instanceof Int32Array ? 'i32' : 'u32';
    return this.#sent(
      values instanceof Uint8Array ? Uint32Array.from(values) : values.slice(),
      kind,
    );
  }

  /** @param words that nobody else uses */
  #sent(words: Words, kind: Kind): DeviceArray {
    const buffer = this.#take(words.length, true);
    const bytes = words.buffer as ArrayBuffer;
    if (bytes.byteLength > 0) {
      this.#commands.push(COMMANDS.write, buffer.id, 0, this.#payloads.push(bytes) - 1);
      this.counters.sent += bytes.byteLength;
    }
    return new DeviceArray(buffer, kind, 0, words.length);
  }

  /** Begins to read arrays; the function waits for their values. */
  read(arrays: readonly DeviceArray[]): () => Words[] {
    const all = arrays.reduce((sum, { length }) => sum + length, 0);
    if (all === 0) return () => arrays.map(({ kind }) => new TYPES[kind](0));
    const target = new SharedArrayBuffer(4 * all);
    const number = ++this.#reads;
    const index = this.#targets.push(target) - 1;
    const present = arrays.filter(({ length }) => length > 0);
    this.#commands.push(COMMANDS.read, index, 4 * all, number, present.length);
    for (const { buffer, begin, length } of present) {
      buffer.used = this.#submission;
      this.#commands.push(buffer.id, 4 * begin, 4 * length);
    }
    this.counters.reads++;
    this.counters.fetched += 4 * all;
    this.submit();
    return () => {
      this.#wait(number);
      let at = 0;
      return arrays.map(({ kind, length }) => {
        const bytes = target.slice(at, (at += 4 * length));
        return new TYPES[kind](bytes as unknown as ArrayBuffer).slice();
      });
    };
  }

  /** Hands over what was recorded. */
  submit(): void {
    if (this.#commands.length === 0) return;
    this.#refuseFailed();
    const work: Work = {
      isNew: this.#isNew,
      programs: this.#programs,
      commands: Float64Array.from(this.#commands),
      parameters: new Uint8Array(this.#words.buffer.slice(0, this.#dispatches * PARAMETER_STRIDE)),
      payloads: this.#payloads,
      targets: this.#targets,
    };
    this.worker.postMessage(work, [
      work.commands.buffer as ArrayBuffer,
      work.parameters.buffer as ArrayBuffer,
      ...work.payloads,
    ]);
    this.counters.submissions++;
    this.#submission++;
    this.#isNew = false;
    this.#programs = [];
    this.#commands = [];
    this.#payloads = [];
    this.#targets = [];
    this.#dispatches = 0;
  }

  #wait(read: number): void {
    const { control } = this.start;
    for (;;) {
      const done = Atomics.load(control, 0);
      if (done >= read) return;
      this.#refuseFailed();
      Atomics.wait(control, 0, done, 100);
    }
  }

  /** Waits for what is under way, but not for long: the binding would print a line for each read that is open. */
  readonly #atExit = (): void => {
    const { control } = this.start;
    const begun = performance.now();
    const isPatient = (): boolean => performance.now() - begun <= DRAINED_AFTER;
    while (
      Atomics.load(control, 0) < this.#reads &&
      Atomics.load(control, 1) === 0 &&
      isPatient()
    ) {
      Atomics.wait(control, 0, Atomics.load(control, 0), 20);
    }
    // From now on the other thread does nothing more.
    Atomics.compareExchange(control, 1, 0, 1);
    while (Atomics.load(control, 3) === 1 && isPatient()) Atomics.wait(control, 3, 1, 20);
  };

  /** @throws ExperimentError if the device has failed */
  #refuseFailed(): void {
    const { control, reason } = this.start;
    if (Atomics.load(control, 1) === 0) return;
    const said = new TextDecoder().decode(reason.slice(0, control[2]));
    throw new ExperimentError(
      `${said}: start the same command again to go on from the last checkpoint, or use another --engine`,
    );
  }
}
