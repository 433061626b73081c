/**
 * The parts of the protocol buffer wire format that ONNX needs. A message is the concatenation of
 * its fields. A field is a key, `number · 8 + wire type`, and a value: either an integer in base 128,
 * lowest digit first, where the top bit of each byte marks that more follow (type 0); or a length in
 * base 128 and that many bytes, which are text, numbers or a message (type 2); or a number of 8 (type 1) or 4
 * bytes (type 5).
 */
const INTEGER = 0;
const WIDE = 1;
const BYTES = 2;
const NARROW = 5;

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

/** A field of a message that is read. */
export interface Field {
  number: number;
  /** The wire type. */
  type: number;
  /** An integer field's value, as two's complement of 64 bits. */
  integer: bigint;
  /** The bytes of any other field, a view. */
  bytes: Uint8Array;
}

/** A message by the numbers of its fields, each a list in the order of the file. */
export type Message = ReadonlyMap<number, readonly Field[]>;

/** In a message: ample for graphs, whose numbers are packed, and small beside the memory for as many objects. */
export const MOST_FIELDS = 2 ** 20;
const NOTHING = new Uint8Array();

/**
 * The fields of a message; undefined if the bytes are none, or have more than `most` fields.
 *
 * @param most bounds the time that bytes of another kind can take
 */
export function fieldsIn(bytes: Uint8Array, most = MOST_FIELDS): Field[] | undefined {
  const fields: Field[] = [];
  let at = 0;
  /** −1n where the bytes end, or after ten of them. */
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n && at < bytes.length; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return -1n;
  };
  while (at < bytes.length) {
    const key = varint();
    const [number, type] = [Number(key >> 3n), Number(key & 7n)];
    if (key < 0n || number < 1 || fields.length === most) return undefined;
    let [integer, length] = [0n, 0];
    if (type === INTEGER) integer = varint();
    else if (type === WIDE) length = 8;
    else if (type === NARROW) length = 4;
    else if (type === BYTES) length = Number(varint());
    else return undefined;
    if (integer < 0n || length < 0 || length > bytes.length - at) return undefined;
    fields.push({
      number,
      type,
      integer: BigInt.asIntN(64, integer),
      bytes: length === 0 ? NOTHING : bytes.subarray(at, at + length),
    });
    at += length;
  }
  return fields;
}

/** A message by its fields; undefined if the bytes are none. */
export function messageIn(bytes: Uint8Array): Message | undefined {
  const fields = fieldsIn(bytes);
  if (!fields) return undefined;
  const message = new Map<number, Field[]>();
  for (const field of fields) {
    const alike = message.get(field.number);
    if (alike) alike.push(field);
    else message.set(field.number, [field]);
  }
  return message;
}

/** The integers of a repeated field, packed or not; undefined if they are damaged. */
export function integersIn(fields: readonly Field[] = []): number[] | undefined {
  const found: number[] = [];
  const push = (value: bigint): number => found.push(Number(BigInt.asIntN(64, value)));
  for (const { type, integer, bytes } of fields) {
    if (type === INTEGER) {
      push(integer);
      continue;
    }
    if (type !== BYTES) return undefined;
    let [value, shift] = [0n, 0n];
    for (const byte of bytes) {
      if (shift >= 70n) return undefined;
      value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
      if (byte >= 0x80) continue;
      push(value);
      [value, shift] = [0n, 0n];
    }
    if (shift > 0n) return undefined;
  }
  return found;
}
