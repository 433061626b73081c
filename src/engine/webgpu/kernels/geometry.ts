import { constants } from '../wgsl/source.js';

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

/** A `geometry` of `Kernels` without its number of images, by name; the names are constants of the WGSL. */
export type Shape = Record<(typeof EXTENTS)[number], number>;

export function shapeOf(geometry: Int32Array): Shape {
  return Object.fromEntries(EXTENTS.map((name, i) => [name, geometry[i + 1]])) as Shape;
}

/** The same geometry for another number of images. */
export function forImages(count: number, geometry: Int32Array): Int32Array {
  const some = Int32Array.from(geometry);
  some[0] = count;
  return some;
}

/** Whether 2 × 2 cells tile the image. */
export function tilesByCells({ kH, kW, sH, sW, pT, pL, inH, inW, outH, outW }: Shape): boolean {
  const two = kH === 2 && kW === 2 && sH === 2 && sW === 2;
  return two && pT === 0 && pL === 0 && outH * 2 === inH && outW * 2 === inW;
}

export const inSize = ({ inH, inW, inC }: Shape): number => inH * inW * inC;
export const outSize = ({ outH, outW, outC }: Shape): number => outH * outW * outC;

/** What distinguishes kernels that depend on a shape. */
export const nameOf = (shape: Shape): string => Object.values(shape).join();

/** The constants of WGSL; `prefix` for those of a second shape. */
export function constantsOf(shape: Shape, prefix = ''): string {
  return constants(Object.fromEntries(EXTENTS.map((name) => [prefix + name, shape[name]])));
}

/** Where the value number `i` of an input lies. */
export const PLACE = `
  let c = i % inC;
  let w = i / inC % inW;
  let h = i / (inC * inW) % inH;
  let n = i / (inC * inW * inH);`;

/**
 * The windows of a pooling that contain row `h` (or column `w`): from `firstWindow` up to, not including,
 * `windowsEnd`.
 */
export const WINDOWS = `
fn firstWindow(at: u32, pad: u32, size: u32, stride: u32) -> u32 {
  let last = at + pad + 1u;
  if (last <= size) { return 0u; }
  return (last - size + stride - 1u) / stride;
}
fn windowsEnd(at: u32, pad: u32, stride: u32, count: u32) -> u32 {
  return min(count, (at + pad) / stride + 1u);
}`;

/**
 * Adds up over the windows that contain pixel (h, w) of image n, channel c.
 *
 * @param add adds to `sum`; `a` and `b` are the window's row and column, `at` the index of its value, and `here` the
 *   pixel in the window
 * @param prefix that of the pooling's constants
 */
export function overWindows(add: string, prefix = ''): string {
  return `
  var sum = 0.0;
  let endH = windowsEnd(h, ${prefix}pT, ${prefix}sH, ${prefix}outH);
  let endW = windowsEnd(w, ${prefix}pL, ${prefix}sW, ${prefix}outW);
  for (var a = firstWindow(h, ${prefix}pT, ${prefix}kH, ${prefix}sH); a < endH; a++) {
    for (var b = firstWindow(w, ${prefix}pL, ${prefix}kW, ${prefix}sW); b < endW; b++) {
      let at = ((n * ${prefix}outH + a) * ${prefix}outW + b) * ${prefix}outC + c;
      let here = (h + ${prefix}pT - a * ${prefix}sH) * ${prefix}kW + w + ${prefix}pL - b * ${prefix}sW;
      ${add}
    }
  }`;
}

/** `value` with or without ReLU; NaN passes. */
export function afterRelu(value: string, relu: boolean): string {
  return relu ? `select(${value}, 0.0, ${value} <= 0.0)` : value;
}
