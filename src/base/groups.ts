/** The elements of a list by a key: groups in the order of their first elements, elements in that of the list. */
export function groupedBy<T, K>(
  list: readonly T[],
  keyOf: (element: T, index: number) => K,
): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  list.forEach((element, i) => {
    const key = keyOf(element, i);
    const group = groups.get(key);
    if (group) group.push(element);
    else groups.set(key, [element]);
  });
  return groups;
}
