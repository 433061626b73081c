/**
 * The parts of the protocol buffer wire format needed to write ONNX. A message is the concatenation of
 * its fields. A field is a key, `number · 8 + wire type`, and a value: either an integer in base 128,
 * lowest digit first, where the top bit of each byte marks that more follow (type 0); or a length in
 * base 128 and that many bytes, which are text, numbers or a message (type 2).
 */
const INTEGER = 0;
const BYTES = 2;

/** An integer field, 0 ≤ value < 2⁵³. */
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

/** A message field, made of the fields `members`. */
export function message(field: number, ...members: Uint8Array[]): Uint8Array {
  return bytes(field, Buffer.concat(members));
}

function base128(value: number): number[] {
  const digits: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) digits.push((value % 128) + 128);
  return [...digits, value];
}
