/** The first images or labels of an IDX file. */
export function first(bytes, rank, count) {
  const header = 4 + 4 * rank;
  const each = (bytes.length - header) / bytes.readUInt32BE(4);
  const some = Buffer.from(bytes.subarray(0, header + each * count));
  some.writeUInt32BE(count, 4);
  return some;
}
