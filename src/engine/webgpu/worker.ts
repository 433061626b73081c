/// <reference types="@webgpu/types" />
import { pathToFileURL } from 'node:url';
import path from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
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

/**
 * The thread that drives the device. WebGPU hands over what it has computed only to a thread that returns to
 * its event loop; the program waits for this one, so that it can read a tensor like on any other engine.
 */

const start = workerData as Start;

/** Marks the device as failed, and wakes the program if it waits. Only the first reason counts. */
function fail(reason: string): void {
  if (Atomics.load(start.control, 1) !== 0) return;
  const { written } = new TextEncoder().encodeInto(reason, start.reason);
  Atomics.store(start.control, 2, written);
  Atomics.store(start.control, 1, 1);
  Atomics.notify(start.control, 0);
}

const text = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Through which GPUs are found on Linux. */
const LOADER = 'libvulkan.so.1';

/** Milliseconds for which a device that has failed is waited for. */
const PATIENCE = 1000;

const SCOPES = ['validation', 'out-of-memory', 'internal'] as const;

/** Everything that must not be collected: the binding crashes if it is. */
const kept: unknown[] = [];

/**
 * Whether the loader of Vulkan's drivers is there. Dawn would look for it as well, but complain on the terminal of
 * whoever only asks. It is no addon of Node's, and the error is another if it cannot be opened at all.
 */
function hasLoader(): boolean {
  if (process.platform !== 'linux') return true;
  try {
    process.dlopen({ exports: {} }, LOADER);
    return true;
  } catch (error) {
    return !/cannot open shared object|Error loading shared library/.test(text(error));
  }
}

async function open(): Promise<{ device: GPUDevice; adapter: Adapter } | string> {
  const file = pathToFileURL(path.join(start.package, 'index.js')).href;
  const { create, globals } = (await import(file)) as {
    create: (options: string[]) => GPU;
    globals: object;
  };
  if (!hasLoader()) {
    return `there is no ${LOADER}, through which GPUs are found: install libvulkan1 (Debian) or vulkan-loader`;
  }
  Object.assign(globalThis, globals);
  // No kernel leaves its arrays: that is checked here, in the kernels, once and not at each access.
  const gpu = create([
    'enable-dawn-features=disable_robustness',
    // Dawn rounds times to a tenth of a millisecond, as browsers must.
    ...(start.timed ? ['disable-dawn-features=timestamp_quantization'] : []),
  ]);
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return 'no GPU was found, or its driver has no Vulkan, Metal or Direct3D 12';
  const { limits, info } = adapter;
  const requiredLimits = {
    maxBufferSize: limits.maxBufferSize,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
  };
  const features = [...adapter.features].sort();
  const timed = start.timed && adapter.features.has('timestamp-query');
  const requiredFeatures: GPUFeatureName[] = timed ? ['timestamp-query'] : [];
  const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
  kept.push(gpu, adapter, device);
  const software =
    info.isFallbackAdapter ||
    /swiftshader|llvmpipe|warp|basic render/i.test(
      `${info.architecture} ${info.device} ${info.description}`,
    );
  const { vendor, architecture, device: name, description } = info;
  const found: Adapter = {
    vendor,
    architecture,
    device: name,
    description,
    software,
    maxBuffer: limits.maxBufferSize,
    maxBinding: limits.maxStorageBufferBindingSize,
    features,
    limits: numbersOf(limits),
  };
  return { device, adapter: found };
}

function numbersOf(limits: GPUSupportedLimits): Record<string, number> {
  const found: Record<string, number> = {};
  for (const name in limits) {
    const value = limits[name as keyof GPUSupportedLimits];
    if (typeof value === 'number') found[name] = value;
  }
  return found;
}

function answer(message: Started): void {
  parentPort!.postMessage(message);
}

/** Measures how long the device takes for each dispatch of a submission. */
function clockOf(device: GPUDevice) {
  const totals = new Map<number, KernelTime>();
  const bytes = 16 * MOST_DISPATCHES;
  const set = device.createQuerySet({ type: 'timestamp', count: 2 * MOST_DISPATCHES });
  const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const resolved = device.createBuffer({ size: bytes, usage: QUERY_RESOLVE | COPY_SRC });
  let seen: number[] = [];
  let reads = Promise.resolve();
  return {
    /** For the pass of a dispatch of this kernel. */
    next(program: number): GPUComputePassDescriptor {
      const at = 2 * (seen.push(program) - 1);
      return {
        timestampWrites: {
          querySet: set,
          beginningOfPassWriteIndex: at,
          endOfPassWriteIndex: at + 1,
        },
      };
    },
    /** Before the submission; the function is to be called after it. */
    finish(encoder: GPUCommandEncoder): () => void {
      const programs = seen;
      seen = [];
      if (programs.length === 0) return () => undefined;
      const to = device.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST });
      encoder.resolveQuerySet(set, 0, 2 * programs.length, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, to, 0, 16 * programs.length);
      return () => {
        const mapped = to.mapAsync(GPUMapMode.READ);
        reads = reads.then(async () => {
          await mapped;
          const times = new BigInt64Array(to.getMappedRange());
          for (const [i, program] of programs.entries()) {
            const total = totals.get(program) ?? { program, dispatches: 0, nanoseconds: 0 };
            total.dispatches++;
            total.nanoseconds += Math.max(0, Number(times[2 * i + 1] - times[2 * i]));
            totals.set(program, total);
          }
          to.destroy();
        });
      };
    },
    /** What was measured since the last call. */
    async times(): Promise<KernelTime[]> {
      await reads;
      const found = [...totals.values()];
      totals.clear();
      return found;
    },
  };
}

function serve(device: GPUDevice): void {
  const { queue } = device;
  const clock = device.features.has('timestamp-query') ? clockOf(device) : undefined;
  const parameters = device.createBuffer({
    size: PARAMETER_STRIDE * MOST_DISPATCHES,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  const layouts = new Map<string, GPUBindGroupLayout>();
  const programs: { pipeline: GPUComputePipeline; layout: GPUBindGroupLayout }[] = [];
  const buffers = new Map<number, GPUBuffer>();
  const groups = new Map<number, { group: GPUBindGroup; program: number }>();
  /** Buffers for reads, by size. */
  const staging = new Map<number, GPUBuffer[]>();
  /** The reads before are done when this is. */
  let reads = Promise.resolve();
  /** What the device still has to answer. */
  const pending = new Set<Promise<unknown>>();
  /** Why the device is gone. */
  let gone: string | undefined;

  void device.lost.then(({ message, reason }) => {
    gone =
      reason === 'destroyed'
        ? 'the GPU was closed'
        : `the GPU was lost (${message.trim() || reason})`;
    failLater(gone);
  });

  /** An answer of the device, which is waited for before the device counts as failed. */
  function answered<T>(promise: Promise<T>): Promise<T> {
    const settled: Promise<void> = promise.then(
      () => void pending.delete(settled),
      () => void pending.delete(settled),
    );
    pending.add(settled);
    return promise;
  }

  /**
   * Fails once the device has answered everything: the program ends then, and the binding would print a line for each
   * promise that is open.
   */
  function failLater(reason: string): void {
    const patience = new Promise((resolve) => setTimeout(resolve, PATIENCE));
    void Promise.race([Promise.all(pending), patience]).then(() => {
      fail(gone ?? reason);
    });
  }
  device.addEventListener('uncapturederror', (event) => {
    event.preventDefault();
    refuse(event.error);
  });

  function refuse(error: GPUError): void {
    failLater(
      error instanceof GPUOutOfMemoryError
        ? 'the memory of the GPU is not enough'
        : `the GPU refuses the work (${error.message.trim().replaceAll(/\s+/g, ' ')})`,
    );
  }

  /** What was wrong in the work since `pushErrorScope`; reads wait for it. */
  async function check(before: Promise<void>): Promise<void> {
    const errors = SCOPES.map(() => answered(device.popErrorScope()));
    await before;
    for (const error of await Promise.all(errors)) if (error) refuse(error);
  }

  function layoutOf(readOnly: boolean[]): GPUBindGroupLayout {
    const key = readOnly.join();
    let layout = layouts.get(key);
    if (!layout) {
      const visibility = GPUShaderStage.COMPUTE;
      layout = device.createBindGroupLayout({
        entries: [
          { binding: 0, visibility, buffer: { type: 'uniform', hasDynamicOffset: true } },
          ...readOnly.map((only, i): GPUBindGroupLayoutEntry => {
            const type = only ? 'read-only-storage' : 'storage';
            return { binding: i + 1, visibility, buffer: { type } };
          }),
        ],
      });
      layouts.set(key, layout);
    }
    return layout;
  }

  function compile({ code, reads: readOnly }: Program): void {
    const layout = layoutOf(readOnly);
    const pipeline = device.createComputePipeline({
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module: device.createShaderModule({ code }), entryPoint: 'main' },
    });
    programs.push({ pipeline, layout });
  }

  /** Copies what a read has found to where the program looks for it. */
  async function deliver(
    from: GPUBuffer,
    bytes: number,
    target: SharedArrayBuffer,
    read: number,
  ): Promise<void> {
    const before = reads;
    const mapped = answered(from.mapAsync(GPUMapMode.READ));
    await before;
    await mapped;
    new Uint8Array(target).set(new Uint8Array(from.getMappedRange(0, bytes)));
    from.unmap();
    staging.get(from.size)!.push(from);
    Atomics.store(start.control, 0, read);
    Atomics.notify(start.control, 0);
  }

  function work({
    isNew,
    programs: fresh,
    commands: c,
    parameters: values,
    payloads,
    targets,
  }: Work): void {
    if (isNew) for (const scope of SCOPES) device.pushErrorScope(scope);
    fresh.forEach(compile);
    if (values.length > 0) queue.writeBuffer(parameters, 0, values);
    const encoder = device.createCommandEncoder();
    let pass: GPUComputePassEncoder | undefined;
    let current: GPUComputePipeline | undefined;
    const found: (() => Promise<void>)[] = [];
    for (let i = 0; i < c.length;) {
      switch (c[i]) {
        case COMMANDS.allocate: {
          const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
          buffers.set(c[i + 1], device.createBuffer({ size: c[i + 2], usage }));
          i += 3;
          break;
        }
        case COMMANDS.free:
          buffers.get(c[i + 1])!.destroy();
          buffers.delete(c[i + 1]);
          i += 2;
          break;
        case COMMANDS.group: {
          const [, id, program, count] = c.subarray(i, i + 4);
          const { layout } = programs[program];
          const entries: GPUBindGroupEntry[] = [
            { binding: 0, resource: { buffer: parameters, size: PARAMETER_STRIDE } },
          ];
          i += 4;
          for (let k = 1; k <= count; k++, i += 3) {
            const [buffer, offset, size] = [buffers.get(c[i])!, c[i + 1], c[i + 2]];
            entries.push({ binding: k, resource: { buffer, offset, size } });
          }
          groups.set(id, { group: device.createBindGroup({ layout, entries }), program });
          break;
        }
        case COMMANDS.forget:
          groups.delete(c[i + 1]);
          i += 2;
          break;
        case COMMANDS.dispatch: {
          const { group, program } = groups.get(c[i + 1])!;
          const { pipeline } = programs[program];
          if (clock) {
            pass?.end();
            pass = current = undefined;
          }
          pass ??= encoder.beginComputePass(clock?.next(program));
          if (pipeline !== current) pass.setPipeline((current = pipeline));
          pass.setBindGroup(0, group, [c[i + 2]]);
          pass.dispatchWorkgroups(c[i + 3], c[i + 4], c[i + 5]);
          i += 6;
          break;
        }
        case COMMANDS.write:
          queue.writeBuffer(buffers.get(c[i + 1])!, c[i + 2], payloads[c[i + 3]]);
          i += 4;
          break;
        case COMMANDS.read: {
          const [, target, bytes, read, count] = c.subarray(i, i + 5);
          pass?.end();
          pass = current = undefined;
          const size = 2 ** Math.ceil(Math.log2(Math.max(bytes, 256)));
          if (!staging.has(size)) staging.set(size, []);
          const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
          const to = staging.get(size)!.pop() ?? device.createBuffer({ size, usage });
          i += 5;
          for (let k = 0, at = 0; k < count; k++, at += c[i + 2], i += 3) {
            encoder.copyBufferToBuffer(buffers.get(c[i])!, c[i + 1], to, at, c[i + 2]);
          }
          found.push(() => deliver(to, bytes, targets[target], read));
          break;
        }
      }
    }
    pass?.end();
    const timed = clock?.finish(encoder);
    queue.submit([encoder.finish()]);
    timed?.();
    if (isNew) reads = check(reads);
    for (const each of found) {
      reads = each();
      reads.catch((error: unknown) => {
        failLater(`what the GPU has computed cannot be read (${text(error)})`);
      });
    }
  }

  parentPort!.on('message', (message: Work | 'close' | 'times') => {
    // In this order: the process waits for whoever is busy, and ends. In a thread that is stopped, the binding aborts.
    Atomics.store(start.control, 3, 1);
    try {
      if (Atomics.load(start.control, 1) !== 0) {
        if (message === 'times') parentPort!.postMessage([]);
      } else if (message === 'close') device.destroy();
      else if (message === 'times') {
        void (clock?.times() ?? Promise.resolve([])).then((times) => {
          parentPort!.postMessage(times);
        });
      } else work(message);
    } catch (error) {
      failLater(`the GPU cannot be used any more (${text(error)})`);
    } finally {
      Atomics.store(start.control, 3, 0);
      Atomics.notify(start.control, 3);
    }
  });
}

process.on('uncaughtException', (error) => {
  fail(`the GPU cannot be used any more (${error.message})`);
});

try {
  const opened = await open();
  if (typeof opened === 'string') {
    answer({ problem: opened });
  } else {
    serve(opened.device);
    // Last of all: a process that ends does not wait for what comes after, and in a thread that is stopped, the binding
    // aborts.
    answer({ adapter: opened.adapter });
  }
} catch (error) {
  answer({ problem: text(error) });
}
