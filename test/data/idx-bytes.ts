/** An IDX file of bytes that claims `shape` and holds `elements`, however many these are. */
export function idxBytes(shape: number[], elements: ArrayLike<number>): Uint8Array {
  const header = 4 + 4 * shape.length;
  const bytes = new Uint8Array(header + elements.length);
  const view = new DataView(bytes.buffer);
  bytes[2] = 8;
  bytes[3] = shape.length;
  shape.forEach((size, axis) => {
    view.setUint32(4 + 4 * axis, size);
  });
  bytes.set(elements, header);
  return bytes;
}

/** Integers in [0, below) that are the same for the same seed (mulberry32). */
export function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
