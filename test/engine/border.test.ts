import { spawnSync } from 'node:child_process';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { PATIENCE } from '../patience.js';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import type { KernelBackend } from '#bang/engine/kernels/backend.js';
import type { Binding, Kernels } from '#bang/engine/kernels/binding.js';
import { packageRoot } from '#bang/base/files.js';
import { makeRandom } from '#bang/base/random.js';
import { between } from '../random.js';
import { ENGINE, HAS_NATIVE } from '../engine.js';
import { kernelNames } from './kernelNames.js';

let binding: Binding;

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
  binding = kernelBinding()!;
});

type Calls = { [Name in keyof Kernels]: Parameters<Kernels[Name]>[] };
type Loose = Record<string, (...args: unknown[]) => unknown>;

/**
 * Calls that fit, for every kernel, with null wherever a kernel takes it. The geometries are those of a
 * convolution and of a max pooling of its output; in `forward` an inner product follows.
 */
function fittingCalls(conv: number[], pool: number[]): Calls {
  const [batch, inH, inW, inC, outH, outW, outC, kH, kW] = conv;
  const floats = (...extents: number[]) => new Float32Array(tf.util.sizeFromShape(extents));
  const [x, dx] = [floats(batch, inH, inW, inC), floats(batch, inH, inW, inC)];
  const [filter, dw] = [floats(kH, kW, inC, outC), floats(kH, kW, inC, outC)];
  const [bias, db, each] = [floats(outC), floats(outC), floats(batch)];
  const [whole, dWhole] = [floats(batch, outH, outW, outC), floats(batch, outH, outW, outC)];
  const pooled = floats(batch, pool[4], pool[5], outC);
  const winner = new Uint8Array(pooled.length);
  const [g, p] = [Int32Array.from(conv), Int32Array.from(pool)];
  const last = [batch, pool[4], pool[5], outC, 1, 1, 3, 1, 1, 1, 1, 0, 0];
  const program = Int32Array.of(0, 1, ...conv, 2, 1, ...pool, 1, 0, ...last);
  const parameters = [filter, bias, floats(pool[4], pool[5], outC, 3), floats(3)];
  const size = inH * inW * inC;
  const [row, out] = [floats(size), floats(batch, 3)];
  const counters = new Uint32Array(5);
  const thresholds = Uint32Array.of(2 ** 32 - 1);
  return {
    conv2d: [
      [g, x, filter, bias, true, whole],
      [g, x, filter, null, false, whole],
    ],
    conv2dMaxPool: [[g, p, x, filter, bias, pooled, winner]],
    conv2dInputGradient: [
      [g, null, null, whole, filter, dx],
      [g, p, winner, pooled, filter, dx],
    ],
    conv2dWeightGradient: [
      [g, x, null, null, whole, each, dw, db],
      [g, x, p, winner, pooled, each, dw, db],
      [g, x, p, winner, pooled, null, dw, db],
    ],
    pooledNorms: [[p, winner, pooled, each]],
    matMul: [
      [batch, 3, size, x, false, floats(size, 3), false, row, floats(3), true, out],
      [batch, 3, size, x, true, floats(size, 3), true, null, null, false, out],
    ],
    columnSums: [
      [batch, size, x, each, row],
      [batch, size, x, null, row],
    ],
    maxPool: [[p, whole, pooled]],
    maxPoolGradient: [[p, whole, pooled, dWhole]],
    avgPool: [[p, whole, pooled]],
    avgPoolGradient: [[p, pooled, dWhole]],
    relu: [[x.length, x, dx]],
    reluGradient: [[x.length, x, x, dx]],
    multiply: [[x.length, x, x, dx]],
    softmaxCrossEntropy: [[batch, size, x, new Int32Array(batch), 0.5, each, dx, floats(batch)]],
    rowNorms: [[batch, size, x, each]],
    eta: [[batch, each, each, floats(batch)]],
    sgd: [[x.length, x, dx, floats(x.length), 0.5, 0.5, 0.5]],
    normalize: [
      [batch, size, x, row, 0.5, dx],
      [batch, size, x, null, 0.5, dx],
    ],
    overLargest: [[batch, size, x, dx]],
    perturb: [[batch, batch, size, x, x, new Int32Array(batch), each, dx]],
    forward: [
      [3, program, x, row, 0.5, out, ...parameters],
      [3, program, x, null, 0.5, out, ...parameters],
    ],
    addNoise: [[batch, size, row, counters, thresholds, 4, dx]],
  };
}

describe('the border to native code', () => {
  // Several windows, pooled by cells; and a single one, which strides and paddings do not move.
  const cells = fittingCalls(
    [2, 6, 6, 1, 4, 4, 20, 3, 3, 1, 1, 0, 0],
    [2, 4, 4, 20, 2, 2, 20, 2, 2, 2, 2, 0, 0],
  );
  const single = fittingCalls(
    [2, 3, 3, 2, 1, 1, 17, 4, 4, 2, 2, 2, 2],
    [2, 1, 1, 17, 1, 1, 17, 3, 3, 2, 2, 1, 1],
  );
  const names = Object.keys(cells) as (keyof Kernels)[];

  it('has exactly the kernels that are tested here', () => {
    expect(kernelNames(binding)).toEqual([...names].sort());
  });

  /** What newer versions of Node have. */
  const { Float16Array } = globalThis as { Float16Array?: Float32ArrayConstructor };

  /** Values like this one that do not fit. */
  function misfits(arg: unknown): unknown[] {
    if (typeof arg === 'number') {
      return Number.isInteger(arg) ? ['x', -1, 1.5, NaN, 2 ** 31] : ['x', undefined];
    }
    if (!ArrayBuffer.isView(arg)) return [];
    const array = arg as Float32Array;
    const longer = new (array.constructor as Float32ArrayConstructor)(array.length + 1);
    longer.set(array);
    const halves = Float16Array ? [Float16Array.from(array)] : [];
    return ['x', [...array], array.slice(1), longer, Float64Array.from(array), ...halves];
  }

  it.each(names)('refuses wrong types, lengths and sizes: %s', (name) => {
    const call = binding as unknown as Loose;
    expect(() => call[name]()).toThrow(TypeError);
    const calls: unknown[][] = cells[name];
    for (const args of calls) {
      call[name](...args);
      args.forEach((arg, i) => {
        const nullable = calls.some((other) => other[i] === null);
        const required = ArrayBuffer.isView(arg) && !nullable;
        for (const wrong of [...misfits(arg), ...(required ? [null] : [])]) {
          expect(() => call[name](...args.with(i, wrong)), `argument ${i}`).toThrow(TypeError);
        }
      });
    }
  });

  it.each(names)('refuses hostile integers or survives them: %s', (name) => {
    const random = makeRandom(9, 'hostile');
    const extremes = [0, -1, 1, 2, 3, 7, 46341, 65536, 2 ** 28, 2 ** 31 - 1, -(2 ** 31)];
    const call = binding as unknown as Loose;
    const calls: unknown[][] = [...cells[name], ...single[name]];
    for (const args of calls.filter((all) => all.some((arg) => arg instanceof Int32Array))) {
      expect(() => call[name](...args)).not.toThrow();
      let reached = 0;
      const otherwise: unknown[] = [];
      for (let trial = 0; trial < 2000; trial++) {
        const mutated = args.map((arg) => (arg instanceof Int32Array ? arg.slice() : arg));
        const arrays = mutated.filter((arg) => arg instanceof Int32Array);
        for (let k = between(random, 1, 3); k > 0; k--) {
          const array = arrays[between(random, 0, arrays.length - 1)];
          array[between(random, 0, array.length - 1)] = extremes[between(random, 0, 10)];
        }
        try {
          call[name](...mutated);
          const before = args.filter((arg) => arg instanceof Int32Array);
          if (arrays.some((array, i) => String(array) !== String(before[i]))) reached++;
        } catch (error) {
          if (!(error instanceof TypeError)) otherwise.push(error);
        }
      }
      expect(otherwise).toEqual([]);
      // Otherwise only the first lines of the border would be tested.
      expect(reached).toBeGreaterThan(50);
    }
  });

  /** Where each kernel's outputs are among its arguments. */
  const OUTPUTS: Record<keyof Kernels, number[]> = {
    conv2d: [5],
    conv2dMaxPool: [5, 6],
    conv2dInputGradient: [5],
    conv2dWeightGradient: [6, 7],
    pooledNorms: [3],
    matMul: [10],
    columnSums: [4],
    maxPool: [2],
    maxPoolGradient: [3],
    avgPool: [2],
    avgPoolGradient: [2],
    relu: [2],
    reluGradient: [3],
    multiply: [3],
    softmaxCrossEntropy: [5, 6, 7],
    rowNorms: [3],
    eta: [3],
    sgd: [1, 2],
    normalize: [5],
    overLargest: [3],
    perturb: [7],
    forward: [5],
    addNoise: [6],
  };
  const IN_PLACE = ['relu', 'reluGradient', 'multiply', 'normalize'];

  type Float = Float32Array | Uint8Array;
  const isArray = (arg: unknown): arg is Float =>
    arg instanceof Float32Array || arg instanceof Uint8Array;

  it.each(names)('refuses outputs that share memory with another argument: %s', (name) => {
    const call = binding as unknown as Loose;
    for (const args of cells[name] as unknown[][]) {
      for (const out of OUTPUTS[name].filter((i) => isArray(args[i]))) {
        args.forEach((arg, i) => {
          if (i === out || !isArray(arg)) return;
          const written = args[out] as Float;
          // Both in one buffer, which overlap by the last value of one.
          const buffer = new ArrayBuffer(arg.byteLength + written.byteLength);
          const make = (like: Float, at: number) =>
            new (like.constructor as Float32ArrayConstructor)(buffer, at, like.length);
          const step = Math.max(arg.BYTES_PER_ELEMENT, written.BYTES_PER_ELEMENT);
          const apart = Math.ceil(arg.byteLength / 4) * 4;
          if (apart + written.byteLength <= buffer.byteLength) {
            call[name](...args.with(i, make(arg, 0)).with(out, make(written, apart)));
          }
          const overlapping = args.with(i, make(arg, 0)).with(out, make(written, apart - step));
          expect(() => call[name](...overlapping), `${i} and ${out}`).toThrow(TypeError);
          if (arg.length !== written.length || arg.constructor !== written.constructor) return;
          const same = () => call[name](...args.with(i, written));
          if (IN_PLACE.includes(name)) expect(same).not.toThrow();
          else expect(same, `${i} and ${out}`).toThrow(TypeError);
        });
      }
    }
  });

  it('computes the same in place', () => {
    const random = makeRandom(4, 'in place');
    const [a, b] = [0, 1].map(() =>
      Float32Array.from({ length: 97 }, () => between(random, -9, 9)),
    );
    const apart = new Float32Array(97);
    for (const name of ['multiply', 'reluGradient'] as const) {
      const inPlace = a.slice();
      binding[name](97, a, b, apart);
      binding[name](97, inPlace, b, inPlace);
      expect(inPlace).toEqual(apart);
    }
  });

  it('refuses shared memory, which another thread could change meanwhile', () => {
    const shared = new Float32Array(new SharedArrayBuffer(16));
    expect(() => {
      binding.relu(4, shared, new Float32Array(4));
    }).toThrow('x must not be in shared memory');
  });

  it('measures its peak for a limited time', () => {
    for (const seconds of [Infinity, -Infinity, NaN, 0, -1, 61]) {
      expect(() => binding.peak(seconds)).toThrow(TypeError);
    }
    expect(binding.peak(0.01)).toBeGreaterThan(1e6);
  });

  it('takes a level by name only', () => {
    const name = { toString: () => binding.level() } as unknown as string;
    expect(() => {
      binding.setLevel(name);
    }).toThrow(TypeError);
  });

  it.runIf(HAS_NATIVE)("serves several of Node's threads at once, and outlives them", () => {
    const script = `
      import { Worker } from 'node:worker_threads';
      const code = \`
        import { workerData, parentPort } from 'node:worker_threads';
        import { createRequire } from 'node:module';
        const binding = createRequire('/')(workerData);
        binding.setThreads(2);
        const [M, N, K] = [40, 30, 50];
        const a = Float32Array.from({ length: M * K }, (_, i) => (i * 7919) % 13 - 6);
        const b = Float32Array.from({ length: K * N }, (_, i) => (i * 104729) % 11 - 5);
        const expected = new Float32Array(M * N);
        for (let m = 0; m < M; m++)
          for (let n = 0; n < N; n++)
            for (let k = 0; k < K; k++) expected[m * N + n] += a[m * K + k] * b[k * N + n];
        const c = new Float32Array(M * N);
        let wrong = 0;
        for (let i = 0; i < 3000; i++) {
          c.fill(NaN);
          binding.matMul(M, N, K, a, false, b, false, null, null, false, c);
          if (i % 100 === 0) binding.setThreads(1 + (i / 100) % 3);
          if (c.some((value, j) => value !== expected[j])) wrong++;
        }
        parentPort.postMessage(wrong);
      \`;
      const { kernelFiles } = await import('./native/build.mjs');
      const [workerData] = kernelFiles();
      const one = () => new Promise((resolve, reject) => {
        let wrong = 'no answer';
        const worker = new Worker(code, { eval: true, workerData });
        worker.on('message', (count) => (wrong = count));
        worker.on('error', reject);
        worker.on('exit', () => resolve(wrong));
      });
      console.log(await Promise.all([one(), one(), one()]));
      // Now no thread uses the addon, whose own threads live on.
      await new Promise((resolve) => setTimeout(resolve, 100));
      console.log(await one());`;
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      ['--input-type=module', '-e', script],
      { cwd: packageRoot, encoding: 'utf8' },
    );
    expect([status, stderr, stdout]).toEqual([0, '', '[ 0, 0, 0 ]\n0\n']);
  });

  it('refuses sizes that no step could be added to', () => {
    const none = new Float32Array(0);
    expect(() => {
      binding.overLargest(2 ** 31 - 1, 0, none, none);
    }).toThrow('batch must be a whole number from 0 to 2^31-2^16');
  });

  // Where 2^27 terms of 16 lanes are 2^31 floats. It takes a gigabyte.
  it.skipIf(ENGINE !== 'native')('finds the last term of the longest windows', () => {
    const script = `
      import { kernelBinding, startEngine } from '#bang/engine/engine.js';
      await startEngine({ engine: '${ENGINE}', threads: 1 });
      const width = 2 ** 27 + 8;
      const conv = [0, 0, 1, 1, 8, 1, 1, 1, 1, 1, width, 1, 1, 0, width - 1];
      const dense = [1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0];
      const [weight, logits] = [new Float32Array(width), new Float32Array(1)];
      weight[width - 1] = 2;
      const [pixels, one, zero] = [new Float32Array(8).fill(3), Float32Array.of(1), new Float32Array(1)];
      const program = Int32Array.from([...conv, ...dense]);
      kernelBinding().forward(2, program, pixels, null, 1, logits, weight, zero, one, zero);
      console.log(logits[0]);`;
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      ['--input-type=module', '-e', script],
      { cwd: packageRoot, encoding: 'utf8' },
    );
    expect([status, stderr, stdout]).toEqual([0, '', '6\n']);
  });

  it('refuses labels that are not a class', () => {
    const call = (label: number) => () => {
      binding.softmaxCrossEntropy(
        1,
        3,
        new Float32Array(3),
        Int32Array.of(label),
        1,
        new Float32Array(1),
        new Float32Array(3),
        new Float32Array(1),
      );
    };
    expect(call(3)).toThrow('label 3 is not one of 3 classes');
    expect(call(-1)).toThrow(TypeError);
    expect(call(2)).not.toThrow();
  });

  it('refuses thread counts out of range', () => {
    for (const count of [0, 257, 1.5, NaN])
      expect(() => {
        binding.setThreads(count);
      }).toThrow(TypeError);
  });

  // Limits of the process, which root is not held to. WebAssembly has reserved its memory before.
  it.skipIf(ENGINE !== 'native' || spawnSync('prlimit', ['--version']).status !== 0)(
    'says so where the system refuses memory or threads, and goes on',
    () => {
      const script = `
        import { execFileSync } from 'node:child_process';
        import { readFileSync } from 'node:fs';
        import { kernelBinding, startEngine } from '#bang/engine/engine.js';
        await startEngine({ engine: '${ENGINE}', threads: 3 });
        const binding = kernelBinding();
        const [, kilobytes] = /VmSize:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'));
        const memory = 1024 * Number(kilobytes) + 2 ** 29;
        if (process.getuid() === 0) process.setuid(65534);
        execFileSync('prlimit', ['--pid', String(process.pid), '--nproc=1', '--as=' + memory]);
        // Pixels far from each other in images whose zero border takes a gigabyte.
        const geometry = Int32Array.of(4, 1, 1, 1, 2, 2, 1, 1, 1, 16383, 16383, 0, 0);
        const [x, y, one] = [new Float32Array(4), new Float32Array(16), new Float32Array(1)];
        try {
          binding.conv2d(geometry, x, one, null, false, y);
        } catch (error) {
          console.log(error.message);
        }
        await startEngine({ engine: '${ENGINE}', threads: 256 }).catch((error) => {
          console.log(error.name + ': ' + error.message);
        });
        const [three, two] = [Float32Array.of(3), Float32Array.of(2)];
        binding.matMul(1, 1, 1, three, false, two, false, null, null, false, one);
        console.log(one[0]);`;
      const { stdout, stderr, status } = spawnSync(
        process.execPath,
        ['--input-type=module', '-e', script],
        { cwd: packageRoot, encoding: 'utf8' },
      );
      const lines = stdout.trim().split('\n');
      expect([status, stderr, lines[0], lines[2]]).toEqual([0, '', 'not enough memory', '6']);
      expect(lines[1]).toMatch(/^UserError: .*256 threads.*--threads or BANG_THREADS$/);
    },
  );
});

describe.runIf(ENGINE === 'wasm')('the memory of WebAssembly', () => {
  it('ends a call that needs more than there is, on every thread, and the next is right', () => {
    // Pixels far from each other in images whose zero border takes a gigabyte.
    const geometry = Int32Array.of(12, 1, 1, 1, 2, 2, 1, 1, 1, 16383, 16383, 0, 0);
    const [x, y, one] = [12, 48, 1].map((count) => new Float32Array(count).fill(1));
    for (const threads of [1, 3, 2]) {
      binding.setThreads(threads);
      const held = [0.9, 0.9, 0.9].map((gigabytes) => binding.allocate(gigabytes * 2 ** 30));
      for (let trial = 0; trial < 5; trial++) {
        expect(() => {
          binding.conv2d(geometry, x, one, null, false, y);
        }).toThrow('not enough memory');
        const [n, product] = [120, new Float32Array(120 * 120)];
        const ones = new Float32Array(n * n).fill(1);
        binding.matMul(n, n, n, ones, false, ones, false, null, null, false, product);
        expect(product.every((value) => value === n)).toBe(true);
      }
      expect(() => binding.allocate(2 ** 31)).toThrow('not enough memory');
      expect(() => binding.allocate(2 ** 33)).toThrow('not enough memory');
      for (const memory of held) binding.release(memory);
    }
  });

  it('is not taken for enough where the bytes that are needed overflow', () => {
    // Sixteen sums of 2²⁶ floats: 2³² bytes.
    const geometry = Int32Array.of(16, 1, 1, 8192, 1, 1, 8192, 1, 1, 1, 1, 0, 0);
    const [x, kappa, dw, db] = [2 ** 17, 2 ** 17, 2 ** 26, 8192].map(
      (count) => new Float32Array(count),
    );
    // Free memory between blocks that are in use, for what is written to the wrong place.
    const blocks = Array.from({ length: 40 }, () => binding.allocate(2 ** 20));
    const views = blocks.map(({ buffer, offset }) =>
      new Uint8Array(buffer, offset, 2 ** 20).fill(7),
    );
    for (let i = 0; i < 40; i += 2) binding.release(blocks[i]);
    expect(() => {
      binding.conv2dWeightGradient(geometry, x, null, null, kappa, null, dw, db);
    }).toThrow('not enough memory');
    for (let i = 1; i < 40; i += 2) {
      expect(views[i].every((value) => value === 7)).toBe(true);
      binding.release(blocks[i]);
    }
  });

  it('is used above 2 GiB, and grows', () => {
    const held = [0.9, 0.9].map((gigabytes) => binding.allocate(gigabytes * 2 ** 30));
    const { buffer, offset } = binding.allocate(0.1 * 2 ** 30);
    expect(offset).toBeGreaterThan(2 ** 31);
    const [x, y] = [
      new Float32Array(buffer, offset, 50),
      new Float32Array(buffer, offset + 200, 50),
    ];
    x.fill(-3).fill(3, 25);
    binding.relu(50, x, y);
    expect([y[0], y[49]]).toEqual([0, 3]);
    for (const memory of [...held, { buffer, offset }]) binding.release(memory);
  });
});

it('a process whose workers are asleep ends', () => {
  const script = `
    import { kernelBinding, startEngine } from '#bang/engine/engine.js';
    await startEngine({ engine: '${ENGINE}', threads: 3 });
    const product = new Float32Array(120 * 120);
    const ones = new Float32Array(120 * 120).fill(1);
    kernelBinding().matMul(120, 120, 120, ones, false, ones, false, null, null, false, product);
    await new Promise((resolve) => setTimeout(resolve, 100));
    console.log(product[7]);`;
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: packageRoot,
    encoding: 'utf8',
    timeout: PATIENCE,
  });
  expect([stdout, status]).toEqual(['120\n', 0]);
});

describe('pooled memory', () => {
  const backend = () => tf.backend() as unknown as KernelBackend;

  it('is used again, and what was read from a tensor outlives it', () => {
    const a = tf.ones([100, 100]);
    const first = tf.mul(a, a);
    const read = first.dataSync();
    first.dispose();
    const before = backend().poolSize();
    const second = tf.mul(a, tf.fill([100, 100], 7));
    expect(backend().poolSize().free).toBe(before.free - 1);
    expect(read[0]).toBe(1);
    expect(second.dataSync()[0]).toBe(7);
    tf.dispose([a, second]);
  });

  it('is given back where batches shrink', () => {
    const sizes = Array.from({ length: 60 }, (_, i) => Math.round(400 * 0.93 ** i));
    const start = backend().poolSize().floats;
    for (const batch of sizes) {
      const [a, b] = [tf.ones([batch, 1000]), tf.fill([batch, 1000], 2)];
      for (let i = 0; i < 5; i++) tf.dispose(tf.mul(a, b));
      tf.dispose([a, b]);
      // So many are alive at once; all sizes together would be fourteen of the first.
      const alive = binding.inPlace(new Float32Array(1)) ? 1 : 3;
      expect(backend().poolSize().floats - start).toBeLessThan(alive * 1.6 * 1.25 * 400 * 1000);
    }
    // After many small requests, what the large ones needed is gone.
    const [a, b] = [tf.ones([10]), tf.ones([10])];
    for (let i = 0; i < 3 * 4096; i++) tf.dispose(tf.mul(a, b));
    tf.dispose([a, b]);
    expect(backend().poolSize().floats).toBeLessThan(start + 10_000);
  });

  it('is not shared by slices and reshapes of a tensor that is gone', () => {
    const a = tf.ones([64, 8]);
    const whole = tf.mul(a, a);
    const part = tf.slice(whole, [8, 0], [8, 8]);
    const view = tf.reshape(whole, [512]);
    whole.dispose();
    const overwriting = Array.from({ length: 4 }, () => tf.mul(a, tf.fill([64, 8], 9)));
    expect([...new Set(part.dataSync())]).toEqual([1]);
    expect([...new Set(view.dataSync())]).toEqual([1]);
    tf.dispose([a, part, view, ...overwriting]);
  });

  // The last test, since the pool keeps for a while what was in use at once.
  it.runIf(ENGINE === 'wasm')(
    'is refused only where free blocks of other sizes are not enough',
    () => {
      const takeAndGive = (count: number, floats: number): void => {
        const taken = Array.from({ length: count }, () => backend().output([floats]).info);
        for (const { dataId } of taken) backend().disposeData(dataId);
      };
      takeAndGive(7, 100 * 2 ** 20);
      takeAndGive(4, 127 * 2 ** 20);
      expect(() => {
        takeAndGive(1, 2 ** 30);
      }).toThrow('not enough memory');
      expect(backend().poolSize().free).toBe(0);
    },
  );
});
