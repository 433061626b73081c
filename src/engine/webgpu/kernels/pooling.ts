import type { Device, DeviceArray } from '../device.js';
import { MATHEMATICS } from '../wgsl/source.js';
import {
  afterRelu,
  constantsOf,
  inSize,
  nameOf,
  outSize,
  overWindows,
  PLACE,
  type Shape,
  WINDOWS,
} from './geometry.js';
import { each } from './launch.js';

/** Max pooling, with the winner's pixel in each window if it is asked for, and ReLU if it follows. */
export function maxPool(
  device: Device,
  batch: number,
  shape: Shape,
  x: DeviceArray,
  { y, winners }: { y: DeviceArray; winners: DeviceArray | null },
  relu = false,
): void {
  const count = batch * outSize(shape);
  const given = { reads: { x }, writes: { y, winners } };
  each(device, `maxPool ${nameOf(shape)} ${relu}`, count, given, () => ({
    declarations: `${MATHEMATICS}\n${constantsOf(shape)}\n${WINNER}`,
    body: `
  let found = winnerOf(i / (outC * outW * outH), i / (outC * outW) % outH, i / outC % outW, i % outC);
  let v = found.value;
  y[i] = ${afterRelu('v', relu)};
  ${winners ? 'winners[i] = found.pixel;' : ''}`,
  }));
}

/** The gradient with respect to a max pooling's input, from the input itself. */
export function maxPoolGradient(
  device: Device,
  batch: number,
  shape: Shape,
  { x, dy }: { x: DeviceArray; dy: DeviceArray },
  dx: DeviceArray,
): void {
  const count = batch * inSize(shape);
  const given = { reads: { x, dy }, writes: { dx } };
  each(device, `maxPoolGradient ${nameOf(shape)}`, count, given, () => ({
    declarations: `${MATHEMATICS}\n${constantsOf(shape)}\n${WINDOWS}\n${WINNER}`,
    body: `${PLACE}
  ${overWindows('if (winnerOf(n, a, b, c).pixel == here) { sum += dy[at]; }')}
  dx[i] = sum;`,
  }));
}

/** The same from the winners. */
export function unpool(
  device: Device,
  batch: number,
  pooling: Shape,
  { kappa, winner }: { kappa: DeviceArray; winner: DeviceArray },
  dx: DeviceArray,
): void {
  const count = batch * inSize(pooling);
  const given = { reads: { kappa, winner }, writes: { dx } };
  each(device, `unpool ${nameOf(pooling)}`, count, given, () => ({
    declarations: `${constantsOf(pooling)}\n${WINDOWS}`,
    body: `${PLACE}
  ${overWindows('if (winner[at] == here) { sum += kappa[at]; }')}
  dx[i] = sum;`,
  }));
}

/** Average pooling, which divides by the size of the clipped window, and ReLU if it follows. */
export function avgPool(
  device: Device,
  batch: number,
  shape: Shape,
  x: DeviceArray,
  y: DeviceArray,
  relu = false,
): void {
  const count = batch * outSize(shape);
  each(device, `avgPool ${nameOf(shape)} ${relu}`, count, { reads: { x }, writes: { y } }, () => ({
    declarations: `${constantsOf(shape)}\n${CLIPPED}`,
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
  y[i] = ${afterRelu('v', relu)};`,
  }));
}

export function avgPoolGradient(
  device: Device,
  batch: number,
  shape: Shape,
  dy: DeviceArray,
  dx: DeviceArray,
): void {
  const count = batch * inSize(shape);
  const given = { reads: { dy }, writes: { dx } };
  each(device, `avgPoolGradient ${nameOf(shape)}`, count, given, () => ({
    declarations: `${constantsOf(shape)}\n${WINDOWS}\n${CLIPPED}`,
    body: `${PLACE}
  ${overWindows('sum += dy[at] / f32(clippedSize(a, b));')}
  dx[i] = sum;`,
  }));
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
