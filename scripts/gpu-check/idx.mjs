/** The first images or labels of an IDX file. */
export function first(bytes, rank, count) {
  const header = 4 + 4 * rank;
  const all = bytes.readUInt32BE(4);
  const each = (bytes.length - header) / all;
  const some = Buffer.from(bytes.subarray(0, header + each * Math.min(count, all)));
  some.writeUInt32BE(Math.min(count, all), 4);
  return some;
}

/** The values of an IDX file. */
export function valuesOf(bytes) {
  return bytes.subarray(4 + 4 * bytes[3]);
}

/** An IDX file of bytes. */
export function idxOf(values, shape) {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, 8, shape.length]);
  shape.forEach((extent, i) => header.writeUInt32BE(extent, 4 + 4 * i));
  return Buffer.concat([header, values]);
}
