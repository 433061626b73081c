/** The sum, from the first number to the last. */
export function sumOf(values: readonly number[] | Uint8Array | Uint32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

/** The mean of at least one number. */
export function meanOf(values: readonly number[]): number {
  return sumOf(values) / values.length;
}
