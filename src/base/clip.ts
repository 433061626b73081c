/** The value, or the bound that it is beyond. */
export function clip(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
