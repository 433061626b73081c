/**
 * The wire format of protocol buffers, as far as a writer of ONNX needs it. A message is its fields,
 * one after the other. A field is a key, `number · 8 + wire type`, and a value: an integer in base
 * 128, its lowest digit first and the top bit of each byte saying that more follow (type 0); or a
 * length in base 128 and as many bytes, which are text, numbers or a message (type 2).
 */
const INTEGER = 0;
const BYTES = 2;

/** A field that is an integer from 0 to 2⁵³. */
export function integer(field: number, value: number): Uint8Array {
  return Uint8Array.from([...base128(field * 8 + INTEGER), ...base128(value)]);
}

export function bytes(field: number, value: Uint8Array): Uint8Array {
  const head = [...base128(field * 8 + BYTES), ...base128(value.byteLength)];
  return Buffer.concat([Uint8Array.from(head), value]);
}

export function text(field: number, value: string): Uint8Array {
  return bytes(field, Buffer.from(value));
}

/** A field that is itself a message, of these fields. */
export function message(field: number, ...members: Uint8Array[]): Uint8Array {
  return bytes(field, Buffer.concat(members));
}

function base128(value: number): number[] {
  const digits: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) digits.push((value % 128) + 128);
  return [...digits, value];
}
