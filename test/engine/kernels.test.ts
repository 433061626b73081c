import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kernelBinding, startEngine } from '#bang/engine/engine.js';
import type { Binding } from '#bang/engine/kernels/binding.js';
import { makeRandom } from '#bang/base/random.js';
import { maxPoolGradient, pool as poolImages } from '#bang/engine/ops/pooling.js';
import { ENGINE } from '../engine.js';
import { between } from '../random.js';
import { kernel, tensor, values } from './tensors.js';

let binding: Binding;

beforeAll(async () => {
  await startEngine({ engine: ENGINE, threads: 2 });
  binding = kernelBinding()!;
});

afterAll(() => {
  binding.setLevel(binding.levels()[0]);
  binding.setThreads(2);
});

describe('kernels', () => {
  it('average pooling has the gradients that finite differences say, clipped windows too', () => {
    const random = makeRandom(5, 'average');
    for (let trial = 0; trial < 40; trial++) {
      const size = between(random, 1, 4);
      const stride = between(random, 1, 3);
      const pad = trial % 2 ? 'same' : 'valid';
      const shape = [2, size + between(random, 0, 5), size + between(random, 0, 5), 3];
      tf.tidy(() => {
        const x = tensor(random, shape) as tf.Tensor4D;
        const y = tf.avgPool(x, size, stride, pad);
        const dy = tensor(random, y.shape);
        const attrs = { filterSize: [size, size], strides: [stride, stride], pad };
        const dx = kernel('BangAvgPoolGradient', { dy, x }, attrs).dataSync();
        // Pooling is linear: a step of 1 in one pixel is the derivative itself.
        for (let probe = 0; probe < 10; probe++) {
          const at = between(random, 0, x.size - 1);
          const moved = x.dataSync().slice();
          moved[at] += 1;
          const change = tf.sub(tf.avgPool(tf.tensor4d(moved, x.shape), size, stride, pad), y);
          const expected = tf.sum(tf.mul(change, dy)).dataSync()[0];
          expect(Math.abs(dx[at] - expected)).toBeLessThan(1e-4);
        }
      });
    }
  });

  it('convolution gradients are what finite differences say', () => {
    const random = makeRandom(6, 'differences');
    for (let trial = 0; trial < 20; trial++) {
      const size = between(random, 1, 5);
      const geometry = Int32Array.of(2, 7, 6, 3, 8 - size, 7 - size, 4, size, size, 1, 1, 0, 0);
      const x = values(random, 2 * 7 * 6 * 3);
      const w = values(random, size * size * 3 * 4);
      const y = new Float32Array(2 * (8 - size) * (7 - size) * 4);
      const kappa = values(random, y.length);
      const loss = (): number => {
        binding.conv2d(geometry, x, w, null, false, y);
        return y.reduce((sum, v, i) => sum + v * kappa[i], 0);
      };
      const dx = new Float32Array(x.length);
      const dw = new Float32Array(w.length);
      binding.conv2dInputGradient(geometry, null, null, kappa, w, dx);
      binding.conv2dWeightGradient(geometry, x, null, null, kappa, null, dw, new Float32Array(4));
      for (const [parameters, gradient] of [
        [x, dx],
        [w, dw],
      ]) {
        for (let probe = 0; probe < 8; probe++) {
          const at = between(random, 0, parameters.length - 1);
          const before = parameters[at];
          // The loss is linear in each value, so a large step is exact but for rounding.
          parameters[at] = before + 1;
          const above = loss();
          parameters[at] = before - 1;
          const below = loss();
          parameters[at] = before;
          expect(Math.abs((above - below) / 2 - gradient[at])).toBeLessThan(2e-4);
        }
      }
    }
  });

  it('convolution with max pooling is the same bits as one after the other, gradients and norms too', () => {
    const random = makeRandom(10, 'pooled');
    for (const level of binding.levels()) {
      binding.setLevel(level);
      for (let trial = 0; trial < 90; trial++) {
        const [size, pad] = [between(random, 1, 5), trial % 3];
        // Cells that tile the output; or windows that overlap, leave gaps and are clipped.
        const cells = trial % 2 === 0;
        // Images can be so many that they fill the lanes better than channels do.
        const batch = trial % 12 === 6 ? between(random, 12, 36) : between(random, 0, 5);
        const [poolSize, stride] = cells ? [2, 2] : [between(random, 1, 4), between(random, 1, 3)];
        const [outH, outW] = [0, 1].map(() =>
          cells ? 2 * between(random, 1, 5) : between(random, poolSize, 11),
        );
        const [inC, outC] = [between(random, 1, 24), between(random, 1, 70)];
        const [inH, inW] = [outH + size - 1 - 2 * pad, outW + size - 1 - 2 * pad];
        if (pad >= size || inH < 1 || inW < 1) continue;
        // prettier-ignore
        const geometry = Int32Array.of(batch, inH, inW, inC, outH, outW, outC, size, size, 1, 1, pad, pad);
        const [poolH, poolW] = [outH, outW].map((extent) =>
          Math.min(Math.ceil((extent - poolSize) / stride) + 1, Math.ceil(extent / stride)),
        );
        // prettier-ignore
        const pool = Int32Array.of(
          batch, outH, outW, outC, poolH, poolW, outC, poolSize, poolSize, stride, stride, 0, 0,
        );
        const [x, w] = [
          values(random, batch * inH * inW * inC),
          values(random, size * size * inC * outC),
        ];
        const bias = values(random, outC);
        const [whole, y] = [
          new Float32Array(batch * outH * outW * outC),
          new Float32Array(batch * poolH * poolW * outC),
        ];
        const [pooled, winner] = [new Float32Array(y.length), new Uint8Array(y.length)];
        binding.conv2d(geometry, x, w, bias, false, whole);
        binding.maxPool(pool, whole, y);
        binding.conv2dMaxPool(geometry, pool, x, w, bias, pooled, winner);
        expect(pooled).toEqual(y);

        const [kappa, scale] = [values(random, y.length), values(random, batch)];
        const wholeKappa = new Float32Array(whole.length);
        binding.maxPoolGradient(pool, whole, kappa, wholeKappa);
        const gradients = [null, winner].map((who) => {
          const [dx, dw, db] = [
            new Float32Array(x.length),
            new Float32Array(w.length),
            new Float32Array(outC),
          ];
          const mine = who ? kappa : wholeKappa;
          binding.conv2dInputGradient(geometry, who && pool, who, mine, w, dx);
          binding.conv2dWeightGradient(geometry, x, who && pool, who, mine, scale, dw, db);
          return [...dx, ...dw, ...db];
        });
        const norms = [new Float32Array(batch), new Float32Array(batch)];
        binding.rowNorms(batch, outH * outW * outC, wholeKappa, norms[0]);
        binding.pooledNorms(pool, winner, kappa, norms[1]);
        if (poolSize === 2 && stride === 2 && outH % 2 === 0 && outW % 2 === 0) {
          // Sums of the same terms in another order.
          const largest = Math.max(1, ...gradients[0].map(Math.abs));
          // One expectation: thousands take longer than the kernels.
          const apart = gradients[0].map((value, i) => Math.abs(value - gradients[1][i]));
          expect(apart.every((one) => one < 1e-5 * largest)).toBe(true);
          norms[0].forEach((norm, n) => {
            expect(Math.abs(norm - norms[1][n])).toBeLessThanOrEqual(1e-6 * norm);
          });
        } else {
          expect(gradients[1]).toEqual(gradients[0]);
          expect(norms[1]).toEqual(norms[0]);
        }
      }
    }
    binding.setLevel(binding.levels()[0]);
  });

  // NaN is the largest value, the first of equal ones wins: by sorting, which is not how the kernels do it.
  it('max pooling keeps NaN, and its gradient goes to the first', async () => {
    const random = makeRandom(12, 'windows with NaN');
    let poisoned = 0;
    for (let trial = 0; trial < 60; trial++) {
      const channels = between(random, 1, 40);
      const batch = trial % 6 === 0 ? between(random, 12, 20) : between(random, 1, 3);
      const [size, stride] =
        trial % 3 === 0 ? [2, 2] : [between(random, 1, 4), between(random, 1, 3)];
      const [height, width] = [0, 1].map(() =>
        trial % 3 === 0 ? 2 * between(random, 1, 4) : between(random, size, 9),
      );
      const pad = trial % 2 ? 'same' : 'valid';
      const odd = [NaN, NaN, Infinity, -Infinity, 0, -0];
      const x = values(random, batch * height * width * channels).map((value) =>
        random.uniform() < 0.1 ? odd[between(random, 0, odd.length - 1)] : value,
      );
      const shape: [number, number, number, number] = [batch, height, width, channels];
      const info = tf.backend_util.computePool2DInfo(shape, size, stride, 1, pad);
      const [outH, outW, top, left] = [
        info.outHeight,
        info.outWidth,
        info.padInfo.top,
        info.padInfo.left,
      ];
      // prettier-ignore
      const pool = Int32Array.of(
        batch, height, width, channels, outH, outW, channels, size, size, stride, stride, top, left,
      );
      // The first channel times 1 in every channel.
      // prettier-ignore
      const copies = Int32Array.of(
        batch, height, width, 1, height, width, channels, 1, 1, 1, 1, 0, 0,
      );
      const y = new Float32Array(batch * outH * outW * channels);
      const kappa = y.map((_, i) => 1 + (i % 7));
      const dx = new Float32Array(x.length);
      const winners = new Uint8Array(y.length);
      for (let i = 0; i < y.length; i++) {
        const [c, ow] = [i % channels, Math.floor(i / channels) % outW];
        const oh = Math.floor(i / channels / outW) % outH;
        const n = Math.floor(i / channels / outW / outH);
        const window = Array.from({ length: size * size }, (_, k) => {
          const h = oh * stride - top + Math.floor(k / size);
          const w = ow * stride - left + (k % size);
          const inside = h >= 0 && h < height && w >= 0 && w < width;
          return { k, inside, at: ((n * height + h) * width + w) * channels + c };
        }).filter(({ inside }) => inside);
        const above = (a: number, b: number) => (Number.isNaN(a) && !Number.isNaN(b)) || a > b;
        const [first] = window.sort((a, b) =>
          above(x[a.at], x[b.at]) ? -1 : above(x[b.at], x[a.at]) ? 1 : a.k - b.k,
        );
        y[i] = x[first.at];
        winners[i] = first.k;
        dx[first.at] += kappa[i];
        if (Number.isNaN(y[i])) poisoned++;
      }
      for (const level of binding.levels()) {
        binding.setLevel(level);
        const [found, gradient] = [new Float32Array(y.length), new Float32Array(x.length)];
        binding.maxPool(pool, x, found);
        binding.maxPoolGradient(pool, x, kappa, gradient);
        expect(found, level).toEqual(y);
        expect(gradient, level).toEqual(dx);
        const image = Float32Array.from({ length: x.length / channels }, (_, i) => x[i * channels]);
        const [ones, zeros] = [1, 0].map((value) => new Float32Array(channels).fill(value));
        const who = new Uint8Array(y.length);
        binding.conv2dMaxPool(copies, pool, image, ones, zeros, found, who);
        const ofFirst = (_: number, i: number) => i - (i % channels);
        // A sum that begins with 0 has no -0.
        expect(found, level).toEqual(y.map(ofFirst).map((i) => y[i] + 0));
        expect(who, level).toEqual(winners.map((_, i) => winners[ofFirst(_, i)]));
      }
      // As the program calls them, on the kernels of tfjs, too.
      for (const backend of [ENGINE, 'cpu']) {
        await tf.setBackend(backend);
        tf.tidy(() => {
          const [image, sliding] = [tf.tensor4d(x, shape), { stride, pad } as const];
          const pooled = poolImages('maxPool', image, size, sliding);
          expect(pooled.dataSync(), backend).toEqual(y);
          const finite = x.every((value) => value !== Infinity && value !== -Infinity);
          if (backend === 'cpu' && !finite) return;
          const down = tf.tensor4d(kappa, pooled.shape);
          const found = maxPoolGradient(image, pooled, down, size, sliding);
          expect(found.dataSync(), backend).toEqual(dx);
        });
      }
      await tf.setBackend(ENGINE);
    }
    binding.setLevel(binding.levels()[0]);
    expect(poisoned).toBeGreaterThan(500);
  });

  it('survives infinities and NaN in every argument', () => {
    const geometry = Int32Array.of(2, 6, 6, 3, 4, 4, 19, 3, 3, 1, 1, 0, 0);
    const make = (count: number) => new Float32Array(count).fill(1);
    for (const level of binding.levels()) {
      binding.setLevel(level);
      for (const bad of [NaN, Infinity, -Infinity]) {
        for (let which = 0; which < 4; which++) {
          const [x, w, kappa, scale] = [216, 513, 608, 2].map(make);
          [x, w, kappa, scale][which].fill(bad);
          const winner = new Uint8Array(152).fill(255);
          const [y, dx, dw, db] = [608, 216, 513, 19].map(make);
          binding.conv2d(geometry, x, w, null, false, y);
          for (const stride of [1, 2]) {
            const pool = Int32Array.of(2, 4, 4, 19, 2, 2, 19, 2, 2, stride, stride, 0, 0);
            binding.conv2dMaxPool(geometry, pool, x, w, db, y.subarray(0, 152), winner);
            winner.fill(255);
            for (const who of [null, winner]) {
              const mine = who ? kappa.subarray(0, 152) : kappa;
              binding.conv2dInputGradient(geometry, who && pool, who, mine, w, dx);
              binding.conv2dWeightGradient(geometry, x, who && pool, who, mine, scale, dw, db);
            }
          }
          binding.conv2dWeightGradient(geometry, x, null, null, kappa, scale, dw, db);
          if (which > 1) expect(dw.some((value) => !Number.isFinite(value))).toBe(true);
        }
      }
    }
    binding.setLevel(binding.levels()[0]);
  });

  it('ReLU keeps NaN, alone and after sums, and has one zero', () => {
    const tiny = -1e-40;
    for (const level of binding.levels()) {
      binding.setLevel(level);
      const x = Float32Array.from({ length: 70 }, (_, i) => [NaN, -0, -1, 2, tiny][i % 5]);
      const y = new Float32Array(70);
      binding.relu(70, x, y);
      const expected = Float32Array.from({ length: 70 }, (_, i) => [NaN, 0, 0, 2, 0][i % 5]);
      expect(y, level).toEqual(expected);
      // Panels of all widths, narrow and not; of five rows one is NaN, two are negative, -0 among them.
      for (const columns of [1, 7, 16, 17, 33, 50, 70]) {
        const matrix = Float32Array.of(NaN, 0, tiny, -3, 3);
        const [weight, bias] = [new Float32Array(columns).fill(1e-40), new Float32Array(columns)];
        const sums = [0, 1].map(() => new Float32Array(5 * columns));
        const geometry = Int32Array.of(1, 5, 1, 1, 5, 1, columns, 1, 1, 1, 1, 0, 0);
        bias.fill(-0);
        binding.matMul(5, columns, 1, matrix, false, weight, false, null, bias, true, sums[0]);
        binding.conv2d(geometry, matrix, weight, bias, true, sums[1]);
        const three = Math.fround(3 * Math.fround(1e-40));
        const rows = [NaN, 0, 0, 0, three].flatMap((value) => Array<number>(columns).fill(value));
        for (const sum of sums) expect(sum, `${level} ${columns}`).toEqual(Float32Array.from(rows));
      }
    }
    binding.setLevel(binding.levels()[0]);
  });

  it('equal windows give equal sums, wherever they lie and whatever the batch', () => {
    const random = makeRandom(7, 'ties');
    for (const [outC, inC] of [
      [20, 1],
      [50, 20],
      [33, 3],
    ]) {
      const geometry = Int32Array.of(3, 12, 13, inC, 8, 9, outC, 5, 5, 1, 1, 0, 0);
      const x = new Float32Array(3 * 12 * 13 * inC);
      const pixel = values(random, inC);
      for (let i = 0; i < x.length; i++) x[i] = pixel[i % inC];
      const y = new Float32Array(3 * 8 * 9 * outC);
      binding.conv2d(geometry, x, values(random, 25 * inC * outC), values(random, outC), false, y);
      expect(y.every((one, i) => Object.is(one, y[i % outC]))).toBe(true);
    }
  });

  it('gives the same bits with any number of threads', () => {
    const random = makeRandom(8, 'threads');
    const geometry = Int32Array.of(37, 12, 12, 20, 8, 8, 50, 5, 5, 1, 1, 0, 0);
    const x = values(random, 37 * 144 * 20);
    const w = values(random, 25 * 20 * 50);
    const kappa = values(random, 37 * 64 * 50);
    const scale = values(random, 37);
    const outputs = [1, 2, 3, 7].map((threads) => {
      binding.setThreads(threads);
      const [y, dx] = [new Float32Array(37 * 64 * 50), new Float32Array(x.length)];
      const [dw, db] = [new Float32Array(w.length), new Float32Array(50)];
      const product = new Float32Array(37 * 1250);
      const norms = new Float32Array(37);
      binding.conv2d(geometry, x, w, null, true, y);
      binding.conv2dInputGradient(geometry, null, null, kappa, w, dx);
      binding.conv2dWeightGradient(geometry, x, null, null, kappa, scale, dw, db);
      binding.matMul(37, 1250, 20, x.subarray(0, 740), false, w, true, null, null, false, product);
      binding.rowNorms(37, 3200, kappa, norms);
      return [y, dx, dw, db, product, norms];
    });
    binding.setThreads(2);
    const bits = (output: Float32Array[]) =>
      output.map(({ buffer }) => Buffer.from(buffer).toString('base64'));
    for (const output of outputs) expect(bits(output)).toEqual(bits(outputs[0]));
  });

  it('a product with a transposed factor is the same bits as with that factor the other way round', () => {
    const random = makeRandom(11, 'transposed');
    for (const level of binding.levels()) {
      binding.setLevel(level);
      for (let trial = 0; trial < 40; trial++) {
        // Few rows and many columns, and the other way round.
        const [few, many] = [between(random, 1, 20), between(random, 1, 160)];
        const [m, n] = trial % 4 ? [few, many] : [many, few];
        const k = between(random, 0, 150);
        const [a, b] = [values(random, m * k), values(random, k * n)];
        const turned = new Float32Array(n * k);
        for (let i = 0; i < k; i++) for (let j = 0; j < n; j++) turned[j * k + i] = b[i * n + j];
        const products = [b, turned].map((factor, i) => {
          const product = new Float32Array(m * n).fill(NaN);
          binding.matMul(m, n, k, a, false, factor, i === 1, null, null, false, product);
          return product;
        });
        expect(products[1]).toEqual(products[0]);
      }
    }
  });

  it('rounds half to even and clips', () => {
    const x = Float32Array.of(0, 10, 250, 5, 2, 3, 255, 0);
    const direction = Float32Array.of(-1, 0.5, 1, 0.1, 0.25, 0.25, 1e5, -1e5);
    const y = new Float32Array(12);
    const rows = Int32Array.of(1, 0, 1);
    binding.perturb(2, 3, 4, x, direction, rows, Float32Array.of(2, 9, 0), y);
    expect([...y]).toEqual([2, 4, 255, 0, 0, 14, 255, 6, 2, 3, 255, 0]);
    for (const wrong of [-1, 2]) {
      expect(() => {
        binding.perturb(2, 1, 4, x, direction, Int32Array.of(wrong), y.slice(0, 1), y.slice(0, 4));
      }).toThrow(/rows/);
    }
  });

  it('counts denormals: nothing is flushed to zero', () => {
    const tiny = 1e-42;
    const y = new Float32Array(1);
    binding.multiply(1, Float32Array.of(tiny), Float32Array.of(0.5), y);
    expect(y[0]).toBeGreaterThan(0);
    const product = new Float32Array(1);
    binding.matMul(
      1,
      1,
      1,
      Float32Array.of(tiny),
      false,
      Float32Array.of(1),
      false,
      null,
      null,
      false,
      product,
    );
    expect(product[0]).toBe(Math.fround(tiny));
  });
});
