import { expect } from 'vitest';

// Vitest compares arrays value by value, at microseconds each: of weights that takes longer than to train them. Long
// arrays that are the same in every bit are equal at once; of others it finds as before where they differ.

const LONG = 1000;

const bytesOf = (array: ArrayBufferView): Buffer =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength);

function isSame(a: unknown, b: unknown): true | undefined {
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) {
    return (a.constructor === b.constructor && bytesOf(a).equals(bytesOf(b))) || undefined;
  }
  if (!Array.isArray(a) || !Array.isArray(b) || a.length < LONG || a.length !== b.length) return;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return;
  return true;
}

expect.addEqualityTesters([isSame]);
