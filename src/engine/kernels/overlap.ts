/** Whether two arrays have memory in common, where all of WebAssembly's memory counts as one buffer. */
export function overlap(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const shared = (array: ArrayBufferView) => array.buffer instanceof SharedArrayBuffer;
  if (a.buffer !== b.buffer && !(shared(a) && shared(b))) return false;
  return a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength;
}
