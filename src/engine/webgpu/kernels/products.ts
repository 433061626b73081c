import type { Device, DeviceArray } from '../device.js';
import type { DeviceKernels } from '../kernels.js';
import {
  afterRelu,
  constantsOf,
  forImages,
  inSize,
  nameOf,
  outSize,
  overWindows,
  type Shape,
  shapeOf,
  tilesByCells,
  WINDOWS,
} from './geometry.js';
import { type Factors, images, multiply, multiplyInOne, pieces, scratch } from './launch.js';
import { maxPool, unpool } from './pooling.js';

/** Kernels that are matrix products, those of convolutions without ever writing down their matrices. */

/** The kernel `matMul`. */
export function matMul(
  device: Device,
  ...[rows, columns, depth, a, transposeA, b, transposeB, scale, bias, relu, y]: Parameters<
    DeviceKernels['matMul']
  >
): void {
  const name = `matMul ${transposeA} ${transposeB} ${relu}`;
  const given = { rows, columns, depth, reads: { a, b, scale }, bias, writes: { y } };
  multiply(device, name, given, () => ({
    leftAlong: transposeA ? 'r' : 'k',
    rightAlong: transposeB ? 'k' : 'c',
    factors: `
fn left(r: u32, k: u32) -> f32 { return a[${transposeA ? 'k * p.rows + r' : 'r * p.depth + k'}]; }
fn right(k: u32, c: u32) -> f32 {
  return b[${transposeB ? 'c * p.depth + k' : 'k * p.columns + c'}]${scale ? ' * scale[k]' : ''};
}`,
    write: `y[r * p.columns + c] = ${afterRelu(bias ? '(v + bias[c])' : 'v', relu)};`,
  }));
}

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

/** The factors of a convolution. With `cells`, the rows of a 2 × 2 cell follow each other. */
function convolution(shape: Shape, cells = false): Omit<Factors, 'write'> {
  const row = cells
    ? `let q = r / 4u; let oh = q / (outW / 2u) % (outH / 2u) * 2u + r / 2u % 2u; let ow = q % (outW / 2u) * 2u + r % 2u;`
    : `let oh = r / outW % outH; let ow = r % outW;`;
  return {
    leftAlong: 'k',
    rightAlong: 'c',
    constants: constantsOf(shape),
    factors: `
${INPUT}
fn left(r: u32, k: u32) -> f32 {
  ${row}
  return input(r / (outH * outW), oh, ow, k);
}
fn right(k: u32, c: u32) -> f32 { return filters[k * outC + c]; }`,
  };
}

/** The rows, columns and depth of a convolution as a product. */
function extentsOf(batch: number, shape: Shape) {
  return {
    rows: batch * shape.outH * shape.outW,
    columns: shape.outC,
    depth: shape.kH * shape.kW * shape.inC,
  };
}

/** The kernel `conv2d`. */
export function convolve(
  device: Device,
  ...[geometry, x, filters, bias, relu, y]: Parameters<DeviceKernels['conv2d']>
): void {
  const shape = shapeOf(geometry);
  const given = { ...extentsOf(geometry[0], shape), reads: { x, filters }, bias, writes: { y } };
  multiply(device, `conv2d ${nameOf(shape)} ${relu}`, given, () => ({
    ...convolution(shape),
    write: `y[r * outC + c] = ${afterRelu(bias ? '(v + bias[c])' : 'v', relu)};`,
  }));
}

/** A convolution, max pooling, and ReLU if it follows; the winners if they are asked for. */
export function convolveAndPool(
  device: Device,
  geometry: Int32Array,
  pool: Int32Array,
  { x, filters, bias }: Record<'x' | 'filters' | 'bias', DeviceArray>,
  relu: boolean,
  { y, winners }: { y: DeviceArray; winners: DeviceArray | null },
): void {
  const [batch] = geometry;
  const [shape, pooling] = [shapeOf(geometry), shapeOf(pool)];
  if (tilesByCells(pooling)) {
    const given = {
      ...extentsOf(batch, shape),
      reads: { x, filters },
      bias,
      writes: { y, winners },
    };
    const make = (): Factors => ({
      ...convolution(shape, true),
      write: `
    y[r / 4u * outC + c] = ${afterRelu('(v + bias[c])', relu)};
    ${winners ? 'winners[r / 4u * outC + c] = winner;' : ''}`,
    });
    multiplyInOne(device, `conv2dMaxPool ${nameOf(shape)} ${relu}`, given, make, true);
    return;
  }
  pieces(batch, outSize(shape), (first, count) => {
    scratch(device, count * outSize(shape), (map) => {
      const some = images(x, inSize(shape), first, count);
      convolve(device, forImages(count, geometry), some, filters, bias, false, map);
      const part = (all: DeviceArray) => images(all, outSize(pooling), first, count);
      const to = { y: part(y), winners: winners && part(winners) };
      maxPool(device, count, pooling, map, to, relu);
    });
  });
}

/** The kernel `conv2dInputGradient`. */
export function inputGradient(
  device: Device,
  ...[geometry, pool, winner, kappa, filters, dx]: Parameters<DeviceKernels['conv2dInputGradient']>
): void {
  const [batch] = geometry;
  const shape = shapeOf(geometry);
  if (!pool || !winner) {
    ofOutput(device, batch, shape, { kappa, filters }, dx);
    return;
  }
  const pooling = shapeOf(pool);
  pieces(batch, outSize(shape), (first, count) => {
    scratch(device, count * outSize(shape), (map) => {
      const part = (all: DeviceArray) => images(all, outSize(pooling), first, count);
      unpool(device, count, pooling, { kappa: part(kappa), winner: part(winner) }, map);
      const to = images(dx, inSize(shape), first, count);
      ofOutput(device, count, shape, { kappa: map, filters }, to);
    });
  });
}

/** The input gradient from the gradient `kappa` with respect to the convolution's output. */
function ofOutput(
  device: Device,
  batch: number,
  shape: Shape,
  reads: Record<'kappa' | 'filters', DeviceArray>,
  dx: DeviceArray,
): void {
  const given = {
    rows: batch * shape.inH * shape.inW,
    columns: shape.inC,
    depth: shape.kH * shape.kW * shape.outC,
    reads,
    writes: { dx },
  };
  multiply(device, `conv2dInputGradient ${nameOf(shape)}`, given, () => ({
    leftAlong: 'k',
    rightAlong: 'k',
    constants: constantsOf(shape),
    factors: `
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
  }));
}

/** The kernel `conv2dWeightGradient`; the gradient of the biases is one more row of the product. */
export function weightGradient(
  device: Device,
  ...[geometry, x, pool, winner, kappa, scale, dw, db]: Parameters<
    DeviceKernels['conv2dWeightGradient']
  >
): void {
  const shape = shapeOf(geometry);
  const pooling = pool && shapeOf(pool);
  const taps = shape.kH * shape.kW * shape.inC;
  const kappaAt = pooling
    ? `${WINDOWS}
fn kappaAt(n: u32, h: u32, w: u32, c: u32) -> f32 {
  ${overWindows('if (winner[at] == here) { sum += kappa[at]; }', 'pool_')}
  return sum;
}`
    : `
fn kappaAt(n: u32, h: u32, w: u32, c: u32) -> f32 { return kappa[((n * outH + h) * outW + w) * outC + c]; }`;
  const given = {
    rows: taps + 1,
    columns: shape.outC,
    depth: geometry[0] * shape.outH * shape.outW,
    reads: { x, kappa, winner, scale },
    writes: { dw, db },
  };
  const name = `conv2dWeightGradient ${nameOf(shape)} ${pooling ? nameOf(pooling) : ''}`;
  multiply(device, name, given, () => ({
    leftAlong: 'r',
    rightAlong: 'c',
    constants: `
${constantsOf(shape)}
${pooling ? constantsOf(pooling, 'pool_') : ''}
const taps: u32 = ${taps}u;`,
    factors: `
${INPUT}
${kappaAt}
fn left(r: u32, k: u32) -> f32 {
  if (r == taps) { return 1.0; }
  return input(k / (outH * outW), k / outW % outH, k % outW, r);
}
fn right(k: u32, c: u32) -> f32 {
  let n = k / (outH * outW);
  return kappaAt(n, k / outW % outH, k % outW, c)${scale ? ' * scale[n]' : ''};
}`,
    write: 'if (r < taps) { dw[r * outC + c] = v; } else { db[c] = v; }',
  }));
}
