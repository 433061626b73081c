type Matrix = Float32Array | Uint8Array;

/**
 * Copies rows of a matrix, one below the other, to the beginning of another one.
 *
 * @param rows indices
 * @param size the number of values in a row
 * @returns `to`
 */
export function copyRows<T extends Matrix>(
  to: T,
  from: Matrix,
  rows: ArrayLike<number>,
  size: number,
): T {
  for (let i = 0; i < rows.length; i++) {
    to.set(from.subarray(rows[i] * size, (rows[i] + 1) * size), i * size);
  }
  return to;
}

/** The rows of a matrix with these indices, as float32. */
export function floatRows(from: Matrix, rows: ArrayLike<number>, size: number): Float32Array {
  return copyRows(new Float32Array(rows.length * size), from, rows, size);
}

/** A copy of these bytes, one part after the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}
