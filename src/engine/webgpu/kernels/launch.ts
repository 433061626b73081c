import type { Device, DeviceArray } from '../device.js';
import { chunkOf, product, type Product, tileFor } from '../wgsl/product.js';
import {
  eachValue,
  gridOf,
  groupsFor,
  MATHEMATICS,
  program,
  ROW_SIZE,
  type Source,
} from '../wgsl/source.js';

/** Running kernels: what they are given is said once, and gets the same names in WGSL. */

/** Arrays by the names that they have in WGSL; those that are null are left out, of the WGSL too. */
export type Arrays = Record<string, DeviceArray | null>;

export interface Given {
  reads: Arrays;
  writes: Arrays;
  /** Numbers that differ from call to call, `p.name` in WGSL. */
  integers?: Record<string, number>;
  reals?: Record<string, number>;
}

type Written = Pick<Source, 'body' | 'declarations'>;

interface Bound {
  arrays: Source['arrays'];
  values: DeviceArray[];
  /** What distinguishes kernels of one name: the arrays that they have. */
  names: string;
}

function bound({ reads, writes }: Pick<Given, 'reads' | 'writes'>): Bound {
  const [arrays, values, names]: [Source['arrays'][number][], DeviceArray[], string[]] = [
    [],
    [],
    [],
  ];
  for (const [access, some] of [['read', reads] as const, ['write', writes] as const]) {
    for (const name in some) {
      const array = some[name];
      if (!array) continue;
      arrays.push([name, access, array.kind]);
      values.push(array);
      names.push(name);
    }
  }
  return { arrays, values, names: names.join() };
}

/**
 * Runs a kernel for each of `count` values, whose number is `i`.
 *
 * @param name with the arrays says all that `make` depends on
 * @param make called when this kernel is run for the first time
 */
export function each(
  device: Device,
  name: string,
  count: number,
  given: Given,
  make: () => Written,
): void {
  const { arrays, values, names } = bound(given);
  const { integers = {}, reals = {} } = given;
  const pipeline = device.pipeline(`${name} ${names}`, () =>
    eachValue({ ...make(), arrays, parameters: Object.keys(integers), reals: Object.keys(reals) }),
  );
  const numbers = [count, ...Object.values(integers), ...Object.values(reals)];
  device.run(pipeline, values, numbers, groupsFor(count));
}

/** Runs a kernel with a workgroup of `ROW_SIZE` for each of `rows` rows, whose number is `group`. */
export function eachRow(
  device: Device,
  name: string,
  rows: number,
  given: Given,
  make: () => Written,
): void {
  const { arrays, values, names } = bound(given);
  const { integers = {} } = given;
  const pipeline = device.pipeline(`${name} ${names}`, () => {
    const { body, declarations } = make();
    return program({
      arrays,
      parameters: ['rows', ...Object.keys(integers)],
      declarations,
      size: ROW_SIZE,
      body: `if (group >= p.rows) { return; }\n${body}`,
    });
  });
  device.run(pipeline, values, [rows, ...Object.values(integers)], gridOf(rows));
}

/** Runs `work` with memory that nobody needs afterwards. */
export function scratch(device: Device, values: number, work: (memory: DeviceArray) => void): void {
  const memory = device.take(values);
  work(memory);
  device.release(memory);
}

/** Maps that exist only between two kernels are made for as many images as this many values allow. */
const SCRATCH_VALUES = 2 ** 25;

/** Calls `work` for parts of a batch whose scratch memory has not too many values. */
export function pieces(
  batch: number,
  perImage: number,
  work: (first: number, count: number) => void,
): void {
  // Parts of arrays begin at multiples of 64 values.
  const most = Math.max(64, 64 * Math.floor(SCRATCH_VALUES / perImage / 64));
  for (let first = 0; first < batch; first += most) work(first, Math.min(most, batch - first));
}

/** The values of some images of a batch. */
export function images(all: DeviceArray, size: number, first: number, count: number): DeviceArray {
  if (first === 0 && count * size === all.length) return all;
  return all.subarray(first * size, (first + count) * size);
}

/** With fewer tiles than this, the chunks of a product are summed by workgroups of their own. */
const FEW_TILES = 128;
/** The chunk of a product's sums, unless there would be more than `MOST_CHUNKS`. */
const CHUNK = 128;
const MOST_CHUNKS = 256;

/** A product of `rows` × `depth` and `depth` × `columns`. */
export interface Multiplication {
  rows: number;
  columns: number;
  depth: number;
  reads: Arrays;
  /** Read where the sums are finished. */
  bias?: DeviceArray | null;
  writes: Arrays;
}

/** How a product is written in WGSL. */
export interface Factors extends Pick<Product, 'leftAlong' | 'rightAlong'> {
  constants?: string;
  /** The functions `left(r, k)` and `right(k, c)`. */
  factors: string;
  /** What becomes of the value `v` in row `r` and column `c`. */
  write: string;
}

/** What a workgroup of a product does, and how many there are. */
function tiled({ rows, columns }: Multiplication) {
  const tile = tileFor(columns, rows);
  const tiles = Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);
  return { tile, tiles, label: `${tile.rows}x${tile.columns}` };
}

/**
 * Runs a matrix product. What is written for each element is done in a second step if the chunks of the sums have
 * workgroups of their own.
 */
export function multiply(
  device: Device,
  name: string,
  given: Multiplication,
  make: () => Factors,
): void {
  const { rows, columns, depth, reads, bias = null, writes } = given;
  if (rows * columns === 0) return;
  const { tile, tiles, label } = tiled(given);
  const chunk = chunkOf(depth, CHUNK, MOST_CHUNKS);
  const chunks = Math.max(1, Math.ceil(depth / chunk));
  if (chunks === 1 || tiles >= FEW_TILES) {
    multiplyInOne(device, name, given, make);
    return;
  }
  scratch(device, chunks * rows * columns, (part) => {
    const { arrays, values, names } = bound({ reads, writes: { part } });
    const pipeline = device.pipeline(`${name} ${label} ${names}`, () => {
      const { constants = '', factors, leftAlong, rightAlong } = make();
      const declarations = `${constants}\n${factors}`;
      return product({ leftAlong, rightAlong, declarations, tile, arrays });
    });
    device.run(pipeline, values, [rows, columns, depth, chunk], [...gridOf(tiles), chunks]);
    const sums = { reads: { part, bias }, writes, integers: { columns, chunks } };
    each(device, `${name} sum`, rows * columns, sums, () => {
      const { constants = '', write } = make();
      return {
        declarations: `${MATHEMATICS}\n${constants}`,
        body: `
  var v = 0.0;
  for (var k = 0u; k < p.chunks; k++) { v += part[k * p.count + i]; }
  let r = i / p.columns;
  let c = i % p.columns;
  ${write}`,
      };
    });
  });
}

/**
 * The same with all chunks of a sum in one workgroup.
 *
 * @param cells whether the rows come as 2 × 2 cells, of which the largest value is written
 */
export function multiplyInOne(
  device: Device,
  name: string,
  given: Multiplication,
  make: () => Factors,
  cells = false,
): void {
  const { rows, columns, depth, reads, bias = null, writes } = given;
  if (rows * columns === 0) return;
  const { tile, tiles, label } = tiled(given);
  const { arrays, values, names } = bound({ reads: { ...reads, bias }, writes });
  const pipeline = device.pipeline(`${name} ${label} ${names}`, () => {
    const { constants = '', factors, leftAlong, rightAlong, write } = make();
    const declarations = `${constants}\n${factors}`;
    return product({ leftAlong, rightAlong, declarations, tile, arrays, write, cells });
  });
  const chunk = chunkOf(depth, CHUNK, MOST_CHUNKS);
  device.run(pipeline, values, [rows, columns, depth, chunk], gridOf(tiles));
}
