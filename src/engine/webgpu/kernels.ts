import type { Kernels } from '../kernels/binding.js';
import { type Device, DeviceArray, type Kernel } from './device.js';
import type { Program } from './messages.js';
import { chunkOf, product, type Product, type Tile, tileFor } from './wgsl/product.js';
import {
  constants,
  eachValue,
  gridOf,
  groupsFor,
  MATHEMATICS,
  program,
  reduction,
  ROW_SIZE,
} from './wgsl/source.js';

/**
 * The kernels of `native/kernels.def` on a GPU: the same names, arguments and results. How many images there
 * are differs from call to call; all other extents are constants of the WGSL.
 */
export type DeviceKernels = Kernels<DeviceArray, DeviceArray, DeviceArray>;

/** With fewer tiles than this, the chunks of a product are summed by workgroups of their own. */
const FEW_TILES = 128;
/** The chunk of the sums of forward products and their input gradients. */
const CHUNK = 128;
/** The gradient of a convolution's weights sums over all positions of all images, in at most so many chunks. */
const GRADIENT_CHUNKS = 256;
/** Maps that exist only between two kernels are made for as many images as this many values allow. */
const SCRATCH_VALUES = 2 ** 25;

type Shape = Record<
  'inH' | 'inW' | 'inC' | 'outH' | 'outW' | 'outC' | 'kH' | 'kW' | 'sH' | 'sW' | 'pT' | 'pL',
  number
>;

const EXTENTS = [
  'inH',
  'inW',
  'inC',
  'outH',
  'outW',
  'outC',
  'kH',
  'kW',
  'sH',
  'sW',
  'pT',
  'pL',
] as const;

/** A `geometry` of `Kernels` without its number of images, by name. */
function shapeOf(geometry: Int32Array): Shape {
  return Object.fromEntries(EXTENTS.map((name, i) => [name, geometry[i + 1]])) as Shape;
}

/** Whether 2 × 2 cells tile the image. */
function tilesByCells({ kH, kW, sH, sW, pT, pL, inH, inW, outH, outW }: Shape): boolean {
  const two = kH === 2 && kW === 2 && sH === 2 && sW === 2;
  return two && pT === 0 && pL === 0 && outH * 2 === inH && outW * 2 === inW;
}

const inSize = ({ inH, inW, inC }: Shape): number => inH * inW * inC;
const outSize = ({ outH, outW, outC }: Shape): number => outH * outW * outC;

/** `x` at image n, row h, column w and channel c of a convolution's input, where the padding is zero. */
const INPUT = `
fn inputAt(n: u32, h: i32, w: i32, c: u32) -> f32 {
  if (h < 0 || w < 0 || h >= i32(inH) || w >= i32(inW)) { return 0.0; }
  return x[((n * inH + u32(h)) * inW + u32(w)) * inC + c];
}
fn input(n: u32, oh: u32, ow: u32, k: u32) -> f32 {
  let kh = k / (kW * inC);
  let kw = k / inC % kW;
  return inputAt(n, i32(oh * sH + kh) - i32(pT), i32(ow * sW + kw) - i32(pL), k % inC);
}`;

/** The windows of a pooling that contain row `h` (or column `w`): from `begin` up to, not including, `end`. */
const WINDOWS = `
fn firstWindow(at: u32, pad: u32, size: u32, stride: u32) -> u32 {
  let last = at + pad + 1u;
  if (last <= size) { return 0u; }
  return (last - size + stride - 1u) / stride;
}
fn windowsEnd(at: u32, pad: u32, stride: u32, count: u32) -> u32 {
  return min(count, (at + pad) / stride + 1u);
}`;

export function makeKernels(device: Device): DeviceKernels {
  const kernel = (name: string, make: () => Program & { parameters: string }): Kernel =>
    device.kernel(name, make);

  /** Runs `work` with memory that nobody needs afterwards. */
  function scratch(values: number, work: (memory: DeviceArray) => void): void {
    const memory = device.take(values);
    work(memory);
    device.release(memory);
  }

  /** Calls `work` for parts of a batch whose scratch memory has not too many values. */
  function pieces(
    batch: number,
    perImage: number,
    work: (first: number, count: number) => void,
  ): void {
    // Parts of arrays begin at multiples of 64 values.
    const most = Math.max(64, 64 * Math.floor(SCRATCH_VALUES / perImage / 64));
    for (let first = 0; first < batch; first += most) work(first, Math.min(most, batch - first));
  }

  /** The values of some images of a batch. */
  function images(all: DeviceArray, size: number, first: number, count: number): DeviceArray {
    if (first === 0 && count * size === all.length) return all;
    return all.subarray(first * size, (first + count) * size);
  }

  /**
   * A product of `rows` × `depth` and `depth` × `columns`. What is written per element is done in a second step
   * if the chunks of the sums have workgroups of their own.
   */
  function multiply(
    name: string,
    make: (tile: Tile) => Omit<Product, 'tile' | 'write' | 'arrays'> & {
      inputs: Product['arrays'];
      outputs: Product['arrays'];
      write: string;
    },
    size: { rows: number; columns: number; depth: number; chunk: number },
    inputs: DeviceArray[],
    outputs: DeviceArray[],
    parameters: number[] = [],
  ): void {
    const { rows, columns, depth, chunk } = size;
    if (rows * columns === 0) return;
    const tile = tileFor(columns, rows);
    const tiles = Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);
    const chunks = Math.max(1, Math.ceil(depth / chunk));
    const numbers = [rows, columns, depth, chunk, ...parameters];
    const label = `${name} ${tile.rows}x${tile.columns}`;
    if (chunks === 1 || tiles >= FEW_TILES) {
      const whole = kernel(label, () => {
        const { inputs: ins, outputs: outs, ...what } = make(tile);
        return product({ ...what, tile, arrays: [...ins, ...outs] });
      });
      device.run(whole, [...inputs, ...outputs], numbers, gridOf(tiles));
      return;
    }
    scratch(chunks * rows * columns, (part) => {
      const parts = kernel(`${label} in chunks`, () => {
        const { inputs: ins, ...what } = make(tile);
        return product({
          ...what,
          write: undefined,
          tile,
          arrays: [...ins.filter(([array]) => array !== 'bias'), ['part', 'write', 'f32']],
        });
      });
      const made = make(tile);
      const used = inputs.filter((_, i) => made.inputs[i][0] !== 'bias');
      device.run(parts, [...used, part], numbers, [...gridOf(tiles), chunks]);
      const bias = inputs.filter((_, i) => made.inputs[i][0] === 'bias');
      const sum = kernel(`${name} sum`, () =>
        eachValue({
          arrays: [
            ['part', 'read', 'f32'],
            ...made.inputs.filter(([array]) => array === 'bias'),
            ...made.outputs,
          ],
          parameters: ['rows', 'columns', 'chunks'],
          declarations: sumDeclarations(made.declarations),
          body: `
  var v = 0.0;
  for (var k = 0u; k < p.chunks; k++) { v += part[k * p.count + i]; }
  let r = i / p.columns;
  let c = i % p.columns;
  ${made.write}`,
        }),
      );
      const count = rows * columns;
      device.run(
        sum,
        [part, ...bias, ...outputs],
        [count, rows, columns, chunks],
        groupsFor(count),
      );
    });
  }

  const kernels: DeviceKernels = {
    conv2d(geometry, x, filter, bias, relu, y) {
      convolve(geometry, x, filter, bias, { relu }, y);
    },

    conv2dMaxPool(geometry, pool, x, filter, bias, y, winner) {
      convolveAndPool(geometry, pool, x, filter, bias, false, y, winner);
    },

    conv2dInputGradient(geometry, pool, winner, kappa, filter, dx) {
      const shape = shapeOf(geometry);
      if (!pool || !winner) {
        inputGradient(geometry[0], shape, kappa, filter, dx);
        return;
      }
      const pooling = shapeOf(pool);
      pieces(geometry[0], outSize(shape), (first, count) => {
        scratch(count * outSize(shape), (whole) => {
          const [some, who] = [kappa, winner].map((all) =>
            images(all, outSize(pooling), first, count),
          );
          unpool(count, pooling, some, who, whole);
          const to = images(dx, inSize(shape), first, count);
          inputGradient(count, shape, whole, filter, to);
        });
      });
    },

    conv2dWeightGradient(geometry, x, pool, winner, kappa, scale, dw, db) {
      const shape = shapeOf(geometry);
      const pooling = pool && shapeOf(pool);
      const taps = shape.kH * shape.kW * shape.inC;
      const depth = geometry[0] * shape.outH * shape.outW;
      const name = `weight gradient ${Object.values(shape).join()} ${pooling ? Object.values(pooling).join() : ''} ${scale ? 'scaled' : ''} ${db ? 'bias' : ''}`;
      const poolingConstants = pooling
        ? constants(
            Object.fromEntries(
              EXTENTS.map((extent) => [`pool_${extent}`, pooling[extent]] as const),
            ),
          )
        : '';
      const kappaAt = pooling
        ? `${WINDOWS}
fn kappaAt(n: u32, h: u32, w: u32, c: u32) -> f32 {
  var sum = 0.0;
  let endH = windowsEnd(h, pool_pT, pool_sH, pool_outH);
  let endW = windowsEnd(w, pool_pL, pool_sW, pool_outW);
  for (var i = firstWindow(h, pool_pT, pool_kH, pool_sH); i < endH; i++) {
    for (var j = firstWindow(w, pool_pL, pool_kW, pool_sW); j < endW; j++) {
      let at = ((n * pool_outH + i) * pool_outW + j) * outC + c;
      let here = (h + pool_pT - i * pool_sH) * pool_kW + w + pool_pL - j * pool_sW;
      if (winner[at] == here) { sum += kappa[at]; }
    }
  }
  return sum;
}`
        : `fn kappaAt(n: u32, h: u32, w: u32, c: u32) -> f32 { return kappa[((n * outH + h) * outW + w) * outC + c]; }`;
      multiply(
        name,
        () => ({
          inputs: [
            ['x', 'read', 'f32'],
            ['kappa', 'read', 'f32'],
            ...(winner ? [['winner', 'read', 'u32'] as const] : []),
            ...(scale ? [['scale', 'read', 'f32'] as const] : []),
          ],
          outputs: [['dw', 'write', 'f32'], ...(db ? [['db', 'write', 'f32'] as const] : [])],
          leftAlong: 'r',
          rightAlong: 'c',
          declarations: `
${constants({ ...shape, taps })}
${poolingConstants}
// SUM
${INPUT}
${kappaAt}
fn left(r: u32, k: u32) -> f32 {
  // The gradient of the biases is one more row.
  if (r == taps) { return 1.0; }
  return input(k / (outH * outW), k / outW % outH, k % outW, r);
}
fn right(k: u32, c: u32) -> f32 {
  let n = k / (outH * outW);
  return kappaAt(n, k / outW % outH, k % outW, c)${scale ? ' * scale[n]' : ''};
}`,
          write: db
            ? `if (r < taps) { dw[r * outC + c] = v; } else { db[c] = v; }`
            : `dw[r * outC + c] = v;`,
        }),
        {
          rows: taps + (db ? 1 : 0),
          columns: shape.outC,
          depth,
          chunk: chunkOf(depth, CHUNK, GRADIENT_CHUNKS),
        },
        [x, kappa, ...(winner ? [winner] : []), ...(scale ? [scale] : [])],
        [dw, ...(db ? [db] : [])],
      );
    },

    pooledNorms(pool, winner, kappa, norm) {
      const pooling = shapeOf(pool);
      if (tilesByCells(pooling)) {
        kernels.rowNorms(pool[0], outSize(pooling), kappa, norm);
        return;
      }
      scratch(pool[0] * inSize(pooling), (whole) => {
        unpool(pool[0], pooling, kappa, winner, whole);
        kernels.rowNorms(pool[0], inSize(pooling), whole, norm);
      });
    },

    matMul(m, n, k, a, transposeA, b, transposeB, scale, bias, relu, c) {
      const name = `matMul ${transposeA} ${transposeB} ${scale !== null} ${bias !== null} ${relu}`;
      multiply(
        name,
        () => ({
          inputs: [
            ['a', 'read', 'f32'],
            ['b', 'read', 'f32'],
            ...(scale ? [['scale', 'read', 'f32'] as const] : []),
            ...(bias ? [['bias', 'read', 'f32'] as const] : []),
          ],
          outputs: [['y', 'write', 'f32']],
          leftAlong: transposeA ? 'r' : 'k',
          rightAlong: transposeB ? 'k' : 'c',
          declarations: `
// SUM
fn left(r: u32, k: u32) -> f32 { return a[${transposeA ? 'k * p.rows + r' : 'r * p.depth + k'}]; }
fn right(k: u32, c: u32) -> f32 {
  return b[${transposeB ? 'c * p.depth + k' : 'k * p.columns + c'}]${scale ? ' * scale[k]' : ''};
}`,
          write: `y[r * p.columns + c] = ${finished(bias !== null, relu)};`,
        }),
        { rows: m, columns: n, depth: k, chunk: CHUNK },
        [a, b, ...(scale ? [scale] : []), ...(bias ? [bias] : [])],
        [c],
      );
    },

    columnSums(rows, columns, x, scale, sums) {
      const run = kernel(`columnSums ${scale !== null}`, () =>
        eachValue({
          arrays: [
            ['x', 'read', 'f32'],
            ...(scale ? [['scale', 'read', 'f32'] as const] : []),
            ['y', 'write', 'f32'],
          ],
          parameters: ['rows'],
          body: `
  var sum = 0.0;
  for (var r = 0u; r < p.rows; r++) {
    sum ${scale ? '= fma(x[r * p.count + i], scale[r], sum)' : '+= x[r * p.count + i]'};
  }
  y[i] = sum;`,
        }),
      );
      device.run(run, [x, ...(scale ? [scale] : []), sums], [columns, rows], groupsFor(columns));
    },

    maxPool(geometry, x, y) {
      maxPool(geometry[0], shapeOf(geometry), x, y, null, false);
    },

    maxPoolGradient(geometry, x, dy, dx) {
      const shape = shapeOf(geometry);
      const run = kernel(`maxPoolGradient ${Object.values(shape).join()}`, () =>
        eachValue({
          arrays: [
            ['x', 'read', 'f32'],
            ['dy', 'read', 'f32'],
            ['dx', 'write', 'f32'],
          ],
          declarations: `
${MATHEMATICS}
${constants({ ...shape })}
${WINDOWS}
${WINNER}`,
          body: `
  let c = i % inC;
  let w = i / inC % inW;
  let h = i / (inC * inW) % inH;
  let n = i / (inC * inW * inH);
  var sum = 0.0;
  let endH = windowsEnd(h, pT, sH, outH);
  let endW = windowsEnd(w, pL, sW, outW);
  for (var a = firstWindow(h, pT, kH, sH); a < endH; a++) {
    for (var b = firstWindow(w, pL, kW, sW); b < endW; b++) {
      let here = (h + pT - a * sH) * kW + w + pL - b * sW;
      if (winnerOf(n, a, b, c).pixel == here) { sum += dy[((n * outH + a) * outW + b) * outC + c]; }
    }
  }
  dx[i] = sum;`,
        }),
      );
      const count = geometry[0] * inSize(shape);
      device.run(run, [x, dy, dx], [count], groupsFor(count));
    },

    avgPool(geometry, x, y) {
      averagePool(geometry[0], shapeOf(geometry), x, y, false);
    },

    avgPoolGradient(geometry, dy, dx) {
      const shape = shapeOf(geometry);
      const run = kernel(`avgPoolGradient ${Object.values(shape).join()}`, () =>
        eachValue({
          arrays: [
            ['dy', 'read', 'f32'],
            ['dx', 'write', 'f32'],
          ],
          declarations: `
${constants({ ...shape })}
${WINDOWS}
${CLIPPED}`,
          body: `
  let c = i % inC;
  let w = i / inC % inW;
  let h = i / (inC * inW) % inH;
  let n = i / (inC * inW * inH);
  var sum = 0.0;
  let endH = windowsEnd(h, pT, sH, outH);
  let endW = windowsEnd(w, pL, sW, outW);
  for (var a = firstWindow(h, pT, kH, sH); a < endH; a++) {
    for (var b = firstWindow(w, pL, kW, sW); b < endW; b++) {
      sum += dy[((n * outH + a) * outW + b) * outC + c] / f32(clippedSize(a, b));
    }
  }
  dx[i] = sum;`,
        }),
      );
      const count = geometry[0] * inSize(shape);
      device.run(run, [dy, dx], [count], groupsFor(count));
    },

    relu(count, x, y) {
      const run = kernel('relu', () =>
        eachValue({
          arrays: [
            ['x', 'read', 'f32'],
            ['y', 'write', 'f32'],
          ],
          body: 'y[i] = select(x[i], 0.0, x[i] <= 0.0);',
        }),
      );
      device.run(run, [x, y], [count], groupsFor(count));
    },

    reluGradient(count, y, dy, dx) {
      const run = kernel('reluGradient', () =>
        eachValue({
          arrays: [
            ['y', 'read', 'f32'],
            ['dy', 'read', 'f32'],
            ['dx', 'write', 'f32'],
          ],
          body: 'dx[i] = select(0.0, dy[i], y[i] > 0.0);',
        }),
      );
      device.run(run, [y, dy, dx], [count], groupsFor(count));
    },

    multiply(count, a, b, y) {
      const run = kernel('multiply', () =>
        eachValue({
          arrays: [
            ['a', 'read', 'f32'],
            ['b', 'read', 'f32'],
            ['y', 'write', 'f32'],
          ],
          body: 'y[i] = a[i] * b[i];',
        }),
      );
      device.run(run, [a, b, y], [count], groupsFor(count));
    },

    softmaxCrossEntropy(batch, classes, logits, labels, factor, loss, gradient, correct) {
      const run = kernel('softmaxCrossEntropy', () =>
        eachValue({
          arrays: [
            ['logits', 'read', 'f32'],
            ['labels', 'read', 'i32'],
            ['loss', 'write', 'f32'],
            ['gradient', 'write', 'f32'],
            ['correct', 'write', 'f32'],
          ],
          parameters: ['classes'],
          reals: ['factor'],
          declarations: MATHEMATICS,
          body: `
  let first = i * p.classes;
  var best = 0u;
  for (var c = 1u; c < p.classes; c++) {
    if (logits[first + c] > logits[first + best]) { best = c; }
  }
  let top = logits[first + best];
  var sum = 0.0;
  // In class order, which decides the losses that are exactly zero.
  for (var c = 0u; c < p.classes; c++) { sum += exponential(logits[first + c] - top); }
  let label = u32(labels[i]);
  loss[i] = logarithm(sum) - (logits[first + label] - top);
  correct[i] = select(0.0, 1.0, best == label);
  for (var c = 0u; c < p.classes; c++) {
    let q = exponential(logits[first + c] - top) / sum;
    gradient[first + c] = select(q, q - 1.0, c == label) * p.factor;
  }`,
        }),
      );
      const arrays = [logits, labels, loss, gradient, correct];
      device.run(run, arrays, [batch, classes, factor], groupsFor(batch));
    },

    rowNorms(batch, values, x, norm) {
      const run = kernel('rowNorms', () =>
        program({
          arrays: [
            ['x', 'read', 'f32'],
            ['y', 'write', 'f32'],
          ],
          parameters: ['rows', 'values'],
          declarations: reduction('total', 'a + b'),
          size: ROW_SIZE,
          body: `
  if (group >= p.rows) { return; }
  var squares = 0.0;
  for (var i = t; i < p.values; i += ${ROW_SIZE}u) {
    let v = x[group * p.values + i];
    squares = fma(v, v, squares);
  }
  let sum = total(t, squares);
  if (t == 0u) { y[group] = sqrt(sum); }`,
        }),
      );
      device.run(run, [x, norm], [batch, values], gridOf(batch));
    },

    eta(batch, norm, epsilonHat, eta) {
      const run = kernel('eta', () =>
        program({
          arrays: [
            ['norm', 'read', 'f32'],
            ['epsilon', 'read', 'f32'],
            ['eta', 'write', 'f32'],
          ],
          parameters: ['count'],
          declarations: MATHEMATICS + reduction('largest', 'max(a, b)'),
          size: ROW_SIZE,
          body: `
  var most = 0.0;
  for (var i = t; i < p.count; i += ${ROW_SIZE}u) { most = select(most, norm[i], norm[i] > most); }
  let m = largest(t, most);
  for (var i = t; i < p.count; i += ${ROW_SIZE}u) {
    let n = norm[i];
    eta[i] = 1.0;
    if (n > 0.0) { eta[i] = exponential(epsilon[i] * (1.0 - n / m) * logarithm(m / n)); }
  }`,
        }),
      );
      device.run(run, [norm, epsilonHat, eta], [batch], [1]);
    },

    sgd(count, weight, velocity, gradient, rate, momentum, decay) {
      const run = kernel('sgd', () =>
        eachValue({
          arrays: [
            ['weight', 'write', 'f32'],
            ['velocity', 'write', 'f32'],
            ['gradient', 'read', 'f32'],
          ],
          reals: ['rate', 'momentum', 'decay'],
          body: `
  let v = p.momentum * velocity[i] + p.rate * (gradient[i] + p.decay * weight[i]);
  velocity[i] = v;
  weight[i] -= v;`,
        }),
      );
      const numbers = [count, rate, momentum, decay];
      device.run(run, [weight, velocity, gradient], numbers, groupsFor(count));
    },

    normalize(batch, values, x, mean, factor, y) {
      const run = kernel(`normalize ${mean !== null}`, () =>
        eachValue({
          arrays: [
            ['x', 'read', 'f32'],
            ...(mean ? [['mean', 'read', 'f32'] as const] : []),
            ['y', 'write', 'f32'],
          ],
          parameters: ['values'],
          reals: ['factor'],
          body: `y[i] = ${mean ? '(x[i] - mean[i % p.values])' : 'x[i]'} * p.factor;`,
        }),
      );
      const count = batch * values;
      const arrays = [x, ...(mean ? [mean] : []), y];
      device.run(run, arrays, [count, values, factor], groupsFor(count));
    },

    overLargest(batch, values, x, y) {
      const run = kernel('overLargest', () =>
        program({
          arrays: [
            ['x', 'read', 'f32'],
            ['y', 'write', 'f32'],
          ],
          parameters: ['rows', 'values'],
          declarations: reduction('largest', 'max(a, b)'),
          size: ROW_SIZE,
          body: `
  if (group >= p.rows) { return; }
  let first = group * p.values;
  var most = 0.0;
  for (var i = t; i < p.values; i += ${ROW_SIZE}u) { most = max(most, abs(x[first + i])); }
  let m = largest(t, most);
  for (var i = t; i < p.values; i += ${ROW_SIZE}u) {
    y[first + i] = 0.0;
    if (m > 0.0) { y[first + i] = x[first + i] / m; }
  }`,
        }),
      );
      device.run(run, [x, y], [batch, values], gridOf(batch));
    },

    perturb(_images, batch, values, x, direction, rows, scale, y) {
      const run = kernel('perturb', () =>
        eachValue({
          arrays: [
            ['x', 'read', 'f32'],
            ['direction', 'read', 'f32'],
            ['rows', 'read', 'i32'],
            ['scale', 'read', 'f32'],
            ['y', 'write', 'f32'],
          ],
          parameters: ['values'],
          body: `
  let n = i / p.values;
  let source = u32(rows[n]) * p.values + i % p.values;
  // Rounds half to even.
  y[i] = round(clamp(fma(scale[n], direction[source], x[source]), 0.0, 255.0));`,
        }),
      );
      const count = batch * values;
      device.run(run, [x, direction, rows, scale, y], [count, values], groupsFor(count));
    },

    addNoise(copies, values, x, counters, thresholds, depth, y) {
      const run = kernel('addNoise', () =>
        eachValue({
          arrays: [
            ['x', 'read', 'f32'],
            ['thresholds', 'read', 'u32'],
            ['y', 'write', 'f32'],
          ],
          parameters: ['values', 'steps', 'depth', 'seed', 'purpose', 'image', 'first', 'sigma'],
          declarations: PHILOX,
          body: `
  let at = i % p.values;
  let words = philox(vec4u(at / 4u, p.first + i / p.values, p.image, p.sigma), vec2u(p.seed, p.purpose));
  let word = words[at % 4u];
  var low = 0u;
  var high = p.steps;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (thresholds[middle] < word) { low = middle + 1u; } else { high = middle; }
  }
  y[i] = clamp(x[at] + f32(i32(low) - i32(p.depth)), 0.0, 255.0);`,
        }),
      );
      const count = copies * values;
      const steps = device.upload(thresholds);
      const numbers = [count, values, thresholds.length, depth, ...counters];
      device.run(run, [x, steps, y], numbers, groupsFor(count));
      device.release(steps);
    },

    forward(_layers, rows, x, mean, factor, logits, ...parameters) {
      const program: Layer[] = [];
      const width = 15;
      const left = [...parameters];
      for (let at = 0; at < rows.length; at += width) {
        const [kind, relu] = rows.subarray(at, at + 2);
        const geometry = rows.slice(at + 2, at + width);
        const [weight, bias] = kind <= 1 ? left.splice(0, 2) : [];
        program.push({ kind, relu: relu === 1, geometry, weight, bias });
      }
      const first = shapeOf(program[0].geometry);
      const batch = program[0].geometry[0];
      const largest = program.reduce(
        (most, { geometry }) => Math.max(most, outSize(shapeOf(geometry))),
        inSize(first),
      );
      pieces(batch, largest, (begin, count) => {
        let values = device.take(count * inSize(first));
        kernels.normalize(
          count,
          inSize(first),
          images(x, inSize(first), begin, count),
          mean,
          factor,
          values,
        );
        for (let i = 0; i < program.length; i++) {
          const layer = program[i];
          const geometry = Int32Array.from(layer.geometry);
          geometry[0] = count;
          let next = program[i + 1] as Layer | undefined;
          const pools = layer.kind === 0 && next?.kind === 2;
          if (pools) i++;
          else next = undefined;
          const size = outSize(shapeOf((next ?? layer).geometry));
          const isLast = i === program.length - 1;
          const y = isLast ? images(logits, size, begin, count) : device.take(count * size);
          if (next) {
            const pool = Int32Array.from(next.geometry);
            pool[0] = count;
            const relu = layer.relu || next.relu;
            convolveAndPool(geometry, pool, values, layer.weight!, layer.bias!, relu, y, null);
          } else {
            runLayer(layer, geometry, values, y);
          }
          device.release(values);
          values = y;
        }
      });
    },
  };

  interface Layer {
    kind: number;
    relu: boolean;
    geometry: Int32Array;
    weight: DeviceArray | undefined;
    bias: DeviceArray | undefined;
  }

  function runLayer(
    { kind, relu, weight, bias }: Layer,
    geometry: Int32Array,
    x: DeviceArray,
    y: DeviceArray,
  ): void {
    const shape = shapeOf(geometry);
    if (kind === 0) convolve(geometry, x, weight!, bias!, { relu }, y);
    else if (kind === 1) {
      const inputs = inSize(shape);
      kernels.matMul(
        geometry[0],
        shape.outC,
        inputs,
        x,
        false,
        weight!,
        false,
        null,
        bias!,
        relu,
        y,
      );
    } else if (kind === 2) maxPool(geometry[0], shape, x, y, null, relu);
    else averagePool(geometry[0], shape, x, y, relu);
  }

  function convolve(
    geometry: Int32Array,
    x: DeviceArray,
    filter: DeviceArray,
    bias: DeviceArray | null,
    { relu }: { relu: boolean },
    y: DeviceArray,
  ): void {
    const shape = shapeOf(geometry);
    const taps = shape.kH * shape.kW * shape.inC;
    multiply(
      `conv2d ${Object.values(shape).join()} ${bias !== null} ${relu}`,
      () => ({
        ...convolution(shape, bias !== null),
        outputs: [['y', 'write', 'f32']],
        write: `y[r * outC + c] = ${finished(bias !== null, relu)};`,
      }),
      {
        rows: geometry[0] * shape.outH * shape.outW,
        columns: shape.outC,
        depth: taps,
        chunk: CHUNK,
      },
      [x, filter, ...(bias ? [bias] : [])],
      [y],
    );
  }

  /** `winner` null: not asked for. */
  function convolveAndPool(
    geometry: Int32Array,
    pool: Int32Array,
    x: DeviceArray,
    filter: DeviceArray,
    bias: DeviceArray,
    relu: boolean,
    y: DeviceArray,
    winner: DeviceArray | null,
  ): void {
    const [shape, pooling] = [shapeOf(geometry), shapeOf(pool)];
    if (!tilesByCells(pooling)) {
      pieces(geometry[0], outSize(shape), (first, count) => {
        scratch(count * outSize(shape), (whole) => {
          const some = Int32Array.from(geometry);
          some[0] = count;
          convolve(
            some,
            images(x, inSize(shape), first, count),
            filter,
            bias,
            { relu: false },
            whole,
          );
          const size = outSize(pooling);
          const who = winner && images(winner, size, first, count);
          maxPool(count, pooling, whole, images(y, size, first, count), who, relu);
        });
      });
      return;
    }
    const rows = geometry[0] * shape.outH * shape.outW;
    if (rows === 0) return;
    const tile = tileFor(shape.outC, rows);
    const run = kernel(
      `conv2dMaxPool ${Object.values(shape).join()} ${relu} ${winner !== null} ${tile.rows}x${tile.columns}`,
      () => {
        const { inputs, ...what } = convolution(shape, true, true);
        return product({
          ...what,
          tile,
          arrays: [
            ...inputs,
            ['y', 'write', 'f32'],
            ...(winner ? [['winners', 'write', 'u32'] as const] : []),
          ],
          cells: true,
          write: `
    y[r / 4u * outC + c] = ${finished(true, relu)};
    ${winner ? 'winners[r / 4u * outC + c] = winner;' : ''}`,
        });
      },
    );
    const tiles = Math.ceil(rows / tile.rows) * Math.ceil(shape.outC / tile.columns);
    const taps = shape.kH * shape.kW * shape.inC;
    const arrays = [x, filter, bias, y, ...(winner ? [winner] : [])];
    device.run(run, arrays, [rows, shape.outC, taps, CHUNK], gridOf(tiles));
  }

  function inputGradient(
    batch: number,
    shape: Shape,
    kappa: DeviceArray,
    filter: DeviceArray,
    dx: DeviceArray,
  ): void {
    multiply(
      `input gradient ${Object.values(shape).join()}`,
      () => ({
        inputs: [
          ['kappa', 'read', 'f32'],
          ['filters', 'read', 'f32'],
        ],
        outputs: [['dx', 'write', 'f32']],
        leftAlong: 'k',
        rightAlong: 'k',
        declarations: `
${constants({ ...shape })}
// SUM
fn left(r: u32, k: u32) -> f32 {
  let kh = k / (kW * outC);
  let kw = k / outC % kW;
  let h = r / inW % inH + pT;
  let w = r % inW + pL;
  if (h < kh || w < kw) { return 0.0; }
  if ((h - kh) % sH != 0u || (w - kw) % sW != 0u) { return 0.0; }
  let oh = (h - kh) / sH;
  let ow = (w - kw) / sW;
  if (oh >= outH || ow >= outW) { return 0.0; }
  return kappa[((r / (inH * inW) * outH + oh) * outW + ow) * outC + k % outC];
}
fn right(k: u32, c: u32) -> f32 { return filters[(k / outC * inC + c) * outC + k % outC]; }`,
        write: 'dx[r * inC + c] = v;',
      }),
      {
        rows: batch * shape.inH * shape.inW,
        columns: shape.inC,
        depth: shape.kH * shape.kW * shape.outC,
        chunk: CHUNK,
      },
      [kappa, filter],
      [dx],
    );
  }

  /** The gradient with respect to a max pooling's input. */
  function unpool(
    batch: number,
    pooling: Shape,
    kappa: DeviceArray,
    winner: DeviceArray,
    whole: DeviceArray,
  ): void {
    const run = kernel(`unpool ${Object.values(pooling).join()}`, () =>
      eachValue({
        arrays: [
          ['kappa', 'read', 'f32'],
          ['winner', 'read', 'u32'],
          ['whole', 'write', 'f32'],
        ],
        declarations: `
${constants({ ...pooling })}
${WINDOWS}`,
        body: `
  let c = i % inC;
  let w = i / inC % inW;
  let h = i / (inC * inW) % inH;
  let n = i / (inC * inW * inH);
  var sum = 0.0;
  let endH = windowsEnd(h, pT, sH, outH);
  let endW = windowsEnd(w, pL, sW, outW);
  for (var a = firstWindow(h, pT, kH, sH); a < endH; a++) {
    for (var b = firstWindow(w, pL, kW, sW); b < endW; b++) {
      let at = ((n * outH + a) * outW + b) * outC + c;
      let here = (h + pT - a * sH) * kW + w + pL - b * sW;
      if (winner[at] == here) { sum += kappa[at]; }
    }
  }
  whole[i] = sum;`,
      }),
    );
    const count = batch * inSize(pooling);
    device.run(run, [kappa, winner, whole], [count], groupsFor(count));
  }

  function maxPool(
    batch: number,
    shape: Shape,
    x: DeviceArray,
    y: DeviceArray,
    winner: DeviceArray | null,
    relu: boolean,
  ): void {
    const run = kernel(`maxPool ${Object.values(shape).join()} ${winner !== null} ${relu}`, () =>
      eachValue({
        arrays: [
          ['x', 'read', 'f32'],
          ['y', 'write', 'f32'],
          ...(winner ? [['winners', 'write', 'u32'] as const] : []),
        ],
        declarations: `
${MATHEMATICS}
${constants({ ...shape })}
${WINNER}`,
        body: `
  let found = winnerOf(i / (outC * outW * outH), i / (outC * outW) % outH, i / outC % outW, i % outC);
  let v = found.value;
  y[i] = ${relu ? 'select(v, 0.0, v <= 0.0)' : 'v'};
  ${winner ? 'winners[i] = found.pixel;' : ''}`,
      }),
    );
    const count = batch * outSize(shape);
    device.run(run, [x, y, ...(winner ? [winner] : [])], [count], groupsFor(count));
  }

  function averagePool(
    batch: number,
    shape: Shape,
    x: DeviceArray,
    y: DeviceArray,
    relu: boolean,
  ): void {
    const run = kernel(`avgPool ${Object.values(shape).join()} ${relu}`, () =>
      eachValue({
        arrays: [
          ['x', 'read', 'f32'],
          ['y', 'write', 'f32'],
        ],
        declarations: `
${constants({ ...shape })}
${CLIPPED}`,
        body: `
  let c = i % outC;
  let ow = i / outC % outW;
  let oh = i / (outC * outW) % outH;
  let n = i / (outC * outW * outH);
  let rows = clipped(oh, sH, kH, pT, inH);
  let columns = clipped(ow, sW, kW, pL, inW);
  var sum = 0.0;
  for (var h = rows.x; h < rows.y; h++) {
    for (var w = columns.x; w < columns.y; w++) { sum += x[((n * inH + h) * inW + w) * inC + c]; }
  }
  let v = sum / f32(clippedSize(oh, ow));
  y[i] = ${relu ? 'select(v, 0.0, v <= 0.0)' : 'v'};`,
      }),
    );
    const count = batch * outSize(shape);
    device.run(run, [x, y], [count], groupsFor(count));
  }

  return kernels;
}

/** The factors of a convolution. With `cells`, the rows of a 2 × 2 cell follow each other. */
function convolution(
  shape: Shape,
  bias: boolean,
  cells = false,
): Pick<Product, 'leftAlong' | 'rightAlong' | 'declarations'> & { inputs: Product['arrays'] } {
  const row = cells
    ? `let q = r / 4u; let oh = q / (outW / 2u) % (outH / 2u) * 2u + r / 2u % 2u; let ow = q % (outW / 2u) * 2u + r % 2u;`
    : `let oh = r / outW % outH; let ow = r % outW;`;
  return {
    inputs: [
      ['x', 'read', 'f32'],
      ['filters', 'read', 'f32'],
      ...(bias ? [['bias', 'read', 'f32'] as const] : []),
    ],
    leftAlong: 'k',
    rightAlong: 'c',
    declarations: `
${constants({ ...shape })}
// SUM
${INPUT}
fn left(r: u32, k: u32) -> f32 {
  ${row}
  return input(r / (outH * outW), oh, ow, k);
}
fn right(k: u32, c: u32) -> f32 { return filters[k * outC + c]; }`,
  };
}

/** What the kernel that only sums chunks needs of a product's declarations: those before this mark. */
function sumDeclarations(declarations: string): string {
  return MATHEMATICS + declarations.split('// SUM')[0];
}

function finished(bias: boolean, relu: boolean): string {
  const value = bias ? '(v + bias[c])' : 'v';
  return relu ? `select(${value}, 0.0, ${value} <= 0.0)` : value;
}

/** The part of a window that lies in the image, along one direction, and the number of its pixels. */
const CLIPPED = `
fn clipped(o: u32, stride: u32, size: u32, pad: u32, extent: u32) -> vec2u {
  let first = i32(o * stride) - i32(pad);
  return vec2u(u32(max(0, first)), u32(min(i32(extent), first + i32(size))));
}
fn clippedSize(oh: u32, ow: u32) -> u32 {
  let rows = clipped(oh, sH, kH, pT, inH);
  let columns = clipped(ow, sW, kW, pL, inW);
  return (rows.y - rows.x) * (columns.y - columns.x);
}`;

/** The first maximum of a pooling's window: its value, and its pixel in the window. */
const WINNER = `
struct Winner { value: f32, pixel: u32 }
fn winnerOf(n: u32, oh: u32, ow: u32, c: u32) -> Winner {
  let top = i32(oh * sH) - i32(pT);
  let side = i32(ow * sW) - i32(pL);
  let h0 = max(0, top);
  let w0 = max(0, side);
  let h1 = min(i32(inH), top + i32(kH));
  let w1 = min(i32(inW), side + i32(kW));
  var value = x[((n * inH + u32(h0)) * inW + u32(w0)) * inC + c];
  var pixel = u32(h0 - top) * kW + u32(w0 - side);
  for (var h = h0; h < h1; h++) {
    for (var w = w0; w < w1; w++) {
      let v = x[((n * inH + u32(h)) * inW + u32(w)) * inC + c];
      if (exceeds(v, value)) { value = v; pixel = u32(h - top) * kW + u32(w - side); }
    }
  }
  return Winner(value, pixel);
}`;

/** Philox4x32-10, as in `engine/noise.ts`. */
const PHILOX = `
// The high and the low word of a product.
fn wide(a: u32, b: u32) -> vec2u {
  let a0 = a & 0xffffu; let a1 = a >> 16u;
  let b0 = b & 0xffffu; let b1 = b >> 16u;
  let middle = a1 * b0 + ((a0 * b0) >> 16u);
  let other = a0 * b1 + (middle & 0xffffu);
  return vec2u(a1 * b1 + (middle >> 16u) + (other >> 16u), a * b);
}
fn philox(counter: vec4u, key: vec2u) -> vec4u {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    let x = wide(c.x, 0xd2511f53u);
    let y = wide(c.z, 0xcd9e8d57u);
    c = vec4u(y.x ^ c.y ^ k.x, y.y, x.x ^ c.w ^ k.y, x.y);
    k += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}`;
