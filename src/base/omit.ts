/** A copy of an object without some of its keys. */
export function omit<T extends object, const K extends keyof T>(
  object: T,
  ...keys: readonly K[]
): Omit<T, K> {
  const gone = new Set<PropertyKey>(keys);
  const kept = Object.entries(object).filter(([key]) => !gone.has(key));
  return Object.fromEntries(kept) as Omit<T, K>;
}
