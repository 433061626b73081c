/** The sum, from the first number to the last. */
export function sumOf(values: readonly number[] | Uint8Array | Uint32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

/** The least and the greatest of numbers, also of more than a call takes arguments. */
export function extentOf(values: Iterable<number>): [least: number, greatest: number] {
  let [least, greatest] = [Infinity, -Infinity];
  for (const value of values) {
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
  }
  return [least, greatest];
}

/** The mean of at least one number. */
export function meanOf(values: readonly number[]): number {
  return sumOf(values) / values.length;
}

/** The product, as of a shape's extents: how many values it has. */
export function productOf(values: readonly number[]): number {
  return values.reduce((product, value) => product * value, 1);
}
