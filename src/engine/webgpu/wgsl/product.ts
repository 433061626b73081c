import type { Program } from '../messages.js';
import { MATHEMATICS, program, type Source } from './source.js';

/**
 * Matrix products, tiled: a workgroup computes a tile of the result. It brings what the tile needs of both factors
 * into its shared memory, `DEPTH` at a time, and each invocation sums a few rows times a few columns in registers.
 *
 * A sum over many values is cut into chunks, which are summed each for itself and then added in order. So it is
 * the same whether one workgroup sums all chunks or each chunk has its own, where there would be too few.
 */

export interface Tile {
  rows: number;
  columns: number;
  /** Rows of an invocation, a multiple of 4, and columns: 1, 2 or 4. */
  high: number;
  wide: number;
}

/** How much of the sums a workgroup brings into its memory at a time. */
const DEPTH = 16;

/** The tile for a result with this many columns. */
export function tileFor(columns: number, rows: number): Tile {
  if (columns <= 4) return { rows: 64, columns: 4, high: 4, wide: 1 };
  if (columns <= 16) return { rows: 32, columns: 16, high: 4, wide: 2 };
  if (rows * columns >= 2 ** 19) return { rows: 64, columns: 32, high: 8, wide: 4 };
  return { rows: 32, columns: 32, high: 4, wide: 4 };
}

/** A chunk of a sum over `depth`: a multiple of `DEPTH`, of which there are at most `most`. */
export function chunkOf(depth: number, least: number, most: number): number {
  return DEPTH * Math.ceil(Math.max(least, depth / most) / DEPTH);
}

export interface Product extends Pick<Source, 'arrays'> {
  tile: Tile;
  /** Functions `left(r, k)` and `right(k, c)`, for values in range; constants. */
  declarations: string;
  /** Which index of each factor is that of neighbours in memory. */
  leftAlong: 'k' | 'r';
  rightAlong: 'k' | 'c';
  /**
   * What becomes of the value `v` in row `r` and column `c`; or, with `cells`, of four rows from `r` on, whose
   * largest value is `v`, found at `winner`. Without it, chunk z of the sums is written to the array `part`.
   */
  write?: string | undefined;
  cells?: boolean;
}

/** The kernel that computes a matrix product. */
export function product(what: Product): Program & { parameters: string } {
  const { tile, write, cells = false } = what;
  const { rows, columns, high, wide } = tile;
  const size = (rows / high) * (columns / wide);
  const split = write === undefined;
  const vector = wide === 1 ? 'f32' : `vec${wide}f`;
  const lines = (count: number, line: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => line(i)).join('\n');
  const part = (name: string, j: number): string => (wide === 1 ? name : `${name}.${'xyzw'[j]}`);

  /** Brings `DEPTH` × `extent` values into shared memory, as vectors along `extent`. */
  const load = (to: string, extent: number, length: number, along: boolean, value: string) => `
      for (var i = t; i < ${(DEPTH * extent) / length}u; i += ${size}u) {
        ${along ? `let k = i % ${DEPTH}u; let o = i / ${DEPTH}u;` : `let o = i % ${extent / length}u; let k = i / ${extent / length}u;`}
        var v = ${length === 1 ? 'f32' : `vec${length}f`}();
        if (start + k < end) {
          ${lines(length, (j) => value.replaceAll('OTHER', `(o * ${length}u + ${j}u)`).replaceAll('PART', length === 1 ? 'v' : `v.${'xyzw'[j]}`))}
        }
        ${to}[k * ${extent / length}u + o] = v;
      }`;
  const zero = lines(high, (i) => `var s${i} = ${vector}();`);
  const sum = `
    let end = min(p.depth, begin + p.chunk);
    for (var start = begin; start < end; start += ${DEPTH}u) {
      ${load('lefts', rows, 4, what.leftAlong === 'k', 'if (top + OTHER < p.rows) { PART = left(top + OTHER, start + k); }')}
      ${load('rights', columns, wide, what.rightAlong === 'k', 'if (side + OTHER < p.columns) { PART = right(start + k, side + OTHER); }')}
      workgroupBarrier();
      for (var k = 0u; k < ${DEPTH}u; k++) {
        let q = rights[k * ${columns / wide}u + (column - side) / ${wide}u];
        ${lines(
          high / 4,
          (b) => `
        let l${b} = lefts[k * ${rows / 4}u + (row - top) / 4u + ${b}u];
        ${lines(4, (i) => `s${4 * b + i} = fma(${vector}(l${b}.${'xyzw'[i]}), q, s${4 * b + i});`)}`,
        )}
      }
      workgroupBarrier();
    }`;
  const onlyChunk = `
  ${zero}
  let begin = layer * p.chunk;
  ${sum}`;
  const allChunks = `
  ${lines(high, (i) => `var total${i} = ${vector}();`)}
  for (var begin = 0u; begin < p.depth; begin += p.chunk) {
    ${zero}
    ${sum}
    ${lines(high, (i) => `total${i} += s${i};`)}
  }`;
  const place = (i: number, j: number): string => `
  if (row + ${i}u < p.rows && column + ${j}u < p.columns) {
    let r = row + ${i}u;
    let c = column + ${j}u;`;
  const store = (i: number, j: number): string => `${place(i, j)}
    let v = ${part(`${split ? 's' : 'total'}${i}`, j)};
    ${write ?? 'part[(layer * p.rows + r) * p.columns + c] = v;'}
  }`;
  const storeCell = (i: number, j: number): string => `${place(i, j)}
    var v = ${part(`total${i}`, j)};
    var winner = 0u;
    ${[1, 2, 3].map((k) => `if (exceeds(${part(`total${i + k}`, j)}, v)) { v = ${part(`total${i + k}`, j)}; winner = ${k}u; }`).join('\n')}
    ${write}
  }`;
  return program({
    arrays: what.arrays,
    parameters: ['rows', 'columns', 'depth', 'chunk'],
    size,
    declarations: `
${MATHEMATICS}
${what.declarations}
var<workgroup> lefts: array<vec4f, ${(DEPTH * rows) / 4}>;
var<workgroup> rights: array<${vector}, ${(DEPTH * columns) / wide}>;`,
    body: `
  let across = (p.columns + ${columns - 1}u) / ${columns}u;
  let top = group / across * ${rows}u;
  let side = group % across * ${columns}u;
  if (top >= p.rows) { return; }
  let row = top + t / ${columns / wide}u * ${high}u;
  let column = side + t % ${columns / wide}u * ${wide}u;
  ${split ? onlyChunk : allChunks}
  ${
    cells
      ? lines(high / 4, (b) => lines(wide, (j) => storeCell(4 * b, j)))
      : lines(high, (i) => lines(wide, (j) => store(i, j)))
  }`,
  });
}
