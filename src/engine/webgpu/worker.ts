/// <reference types="@webgpu/types" />
import { pathToFileURL } from 'node:url';
import path from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import {
  COMMANDS,
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

const SCOPES = ['validation', 'out-of-memory', 'internal'] as const;

/** Everything that must not be collected: the binding crashes if it is. */
const kept: unknown[] = [];

async function open(): Promise<GPUDevice | string> {
  const file = pathToFileURL(path.join(start.package, 'index.js')).href;
  const { create, globals } = (await import(file)) as {
    create: (options: string[]) => GPU;
    globals: object;
  };
  Object.assign(globalThis, globals);
  // No kernel leaves its arrays: that is checked here, in the kernels, once and not at each access.
  const gpu = create(['enable-dawn-features=disable_robustness']);
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return 'no GPU was found, or its driver has no Vulkan, Metal or Direct3D 12';
  const { limits, info } = adapter;
  const requiredLimits = {
    maxBufferSize: limits.maxBufferSize,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
  };
  const device = await adapter.requestDevice({ requiredLimits });
  kept.push(gpu, adapter, device);
  const software =
    info.isFallbackAdapter ||
    /swiftshader|llvmpipe|warp|basic render/i.test(
      `${info.architecture} ${info.device} ${info.description}`,
    );
  const { vendor, architecture, device: name, description } = info;
  answer({
    adapter: {
      vendor,
      architecture,
      device: name,
      description,
      software,
      maxBuffer: limits.maxBufferSize,
      maxBinding: limits.maxStorageBufferBindingSize,
    },
  });
  return device;
}

function answer(message: Started): void {
  parentPort!.postMessage(message);
}

function serve(device: GPUDevice): void {
  const { queue } = device;
  const parameters = device.createBuffer({
    size: PARAMETER_STRIDE * MOST_DISPATCHES,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  const layouts = new Map<string, GPUBindGroupLayout>();
  const programs: { pipeline: GPUComputePipeline; layout: GPUBindGroupLayout }[] = [];
  const buffers = new Map<number, GPUBuffer>();
  const groups = new Map<number, { group: GPUBindGroup; pipeline: GPUComputePipeline }>();
  /** Buffers for reads, by size. */
  const staging = new Map<number, GPUBuffer[]>();
  /** The reads before are done when this is. */
  let reads = Promise.resolve();

  void device.lost.then(({ message, reason }) => {
    fail(
      reason === 'destroyed'
        ? 'the GPU was closed'
        : `the GPU was lost (${message.trim() || reason})`,
    );
  });
  device.addEventListener('uncapturederror', (event) => {
    event.preventDefault();
    refuse(event.error);
  });

  function refuse(error: GPUError): void {
    fail(
      error instanceof GPUOutOfMemoryError
        ? 'the memory of the GPU is not enough'
        : `the GPU refuses the work (${error.message.trim().replaceAll(/\s+/g, ' ')})`,
    );
  }

  /** What was wrong in the work since `pushErrorScope`; reads wait for it. */
  async function check(before: Promise<void>): Promise<void> {
    const errors = SCOPES.map(() => device.popErrorScope());
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
    const mapped = from.mapAsync(GPUMapMode.READ);
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
          const { pipeline, layout } = programs[program];
          const entries: GPUBindGroupEntry[] = [
            { binding: 0, resource: { buffer: parameters, size: PARAMETER_STRIDE } },
          ];
          i += 4;
          for (let k = 1; k <= count; k++, i += 3) {
            const [buffer, offset, size] = [buffers.get(c[i])!, c[i + 1], c[i + 2]];
            entries.push({ binding: k, resource: { buffer, offset, size } });
          }
          groups.set(id, { group: device.createBindGroup({ layout, entries }), pipeline });
          break;
        }
        case COMMANDS.forget:
          groups.delete(c[i + 1]);
          i += 2;
          break;
        case COMMANDS.dispatch: {
          const { group, pipeline } = groups.get(c[i + 1])!;
          pass ??= encoder.beginComputePass();
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
    queue.submit([encoder.finish()]);
    if (isNew) reads = check(reads);
    for (const each of found) {
      reads = each();
      reads.catch((error: unknown) => {
        fail(`what the GPU has computed cannot be read (${text(error)})`);
      });
    }
  }

  parentPort!.on('message', (message: Work | 'close') => {
    try {
      if (message === 'close') device.destroy();
      else work(message);
    } catch (error) {
      fail(`the GPU cannot be used any more (${text(error)})`);
    }
  });
}

process.on('uncaughtException', (error) => {
  fail(`the GPU cannot be used any more (${error.message})`);
});

try {
  const device = await open();
  if (typeof device === 'string') answer({ problem: device });
  else serve(device);
} catch (error) {
  answer({ problem: text(error) });
}
