import { sha256Of } from '../../base/digest.js';
import { UserError } from '../../base/errors.js';
import { productOf } from '../../base/sums.js';
import { quoted } from '../../base/text.js';
import type { NamedArray } from '../tensors.js';
import { fromBfloat, fromHalf } from './halfFloats.js';

export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** A tensor of any type; F16 and BF16 values are converted to float32. */
export interface TypedTensor {
  dtype: Dtype;
  shape: number[];
  data: TensorData;
}

export interface Safetensors {
  tensors: Map<string, TypedTensor>;
  metadata: Record<string, string>;
}

// The format is little-endian, as are all machines that this program supports.
const DTYPES = {
  F64: { bytes: 8, decode: (b: ArrayBuffer) => new Float64Array(b) },
  F32: { bytes: 4, decode: (b: ArrayBuffer) => new Float32Array(b) },
  F16: { bytes: 2, decode: (b: ArrayBuffer) => fromHalf(new Uint16Array(b)) },
  BF16: { bytes: 2, decode: (b: ArrayBuffer) => fromBfloat(new Uint16Array(b)) },
  I64: { bytes: 8, decode: (b: ArrayBuffer) => new BigInt64Array(b) },
  U64: { bytes: 8, decode: (b: ArrayBuffer) => new BigUint64Array(b) },
  I32: { bytes: 4, decode: (b: ArrayBuffer) => new Int32Array(b) },
  U32: { bytes: 4, decode: (b: ArrayBuffer) => new Uint32Array(b) },
  I16: { bytes: 2, decode: (b: ArrayBuffer) => new Int16Array(b) },
  U16: { bytes: 2, decode: (b: ArrayBuffer) => new Uint16Array(b) },
  I8: { bytes: 1, decode: (b: ArrayBuffer) => new Int8Array(b) },
  U8: { bytes: 1, decode: (b: ArrayBuffer) => new Uint8Array(b) },
  BOOL: { bytes: 1, decode: (b: ArrayBuffer) => new Uint8Array(b) },
} as const;

export type Dtype = keyof typeof DTYPES;

/** The header is preceded by its length, a 64-bit number. */
const PREFIX = 8;
/** Far more than a network needs, yet quick to parse. */
const MAX_HEADER = 16 * 2 ** 20;
const METADATA = '__metadata__';

/** Whether a file begins like a safetensors file. */
export function looksLikeSafetensors(bytes: Uint8Array): boolean {
  // The header is a JSON object, and its length is below 2⁴⁸.
  return bytes.length > PREFIX && bytes[PREFIX] === 0x7b && bytes[6] === 0 && bytes[7] === 0;
}

/** Metadata with a digest of the tensors and of the rest of the metadata, in `sha256`. */
export function sealed(
  tensors: ReadonlyMap<string, NamedArray>,
  metadata: Readonly<Record<string, string>>,
): Record<string, string> {
  const content = { ...metadata };
  delete content.sha256;
  const bytes = encodeSafetensors(tensors, content);
  return { ...content, sha256: sha256Of(bytes) };
}

/** Whether the digest of sealed metadata still fits: the format has no checksum of its own. */
export function isIntact(
  tensors: ReadonlyMap<string, NamedArray>,
  metadata: Readonly<Record<string, string>>,
): boolean {
  return sealed(tensors, metadata).sha256 === metadata.sha256;
}

/**
 * Encodes float32 tensors as a safetensors file. The bytes do not depend on the order of the entries.
 *
 * @throws RangeError if a shape does not fit its data
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, NamedArray>,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  // Written member by member, since a JavaScript object would put numeric names first.
  const members: string[] = [];
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) {
    const pairs = keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`);
    members.push(`"${METADATA}":{${pairs.join(',')}}`);
  }
  const names = [...tensors.keys()].sort();
  let end = 0;
  for (const name of names) {
    const { shape, data } = tensors.get(name)!;
    if (name === METADATA || productOf(shape) !== data.length) {
      throw new RangeError(`tensor ${name} of ${data.length} values with shape [${shape.join()}]`);
    }
    const begin = end;
    end += data.byteLength;
    const entry = { dtype: 'F32', shape, data_offsets: [begin, end] };
    members.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  const json = Buffer.from(`{${members.join(',')}}`);
  // Spaces after the header align the data to 8 bytes.
  const start = Math.ceil((PREFIX + json.length) / 8) * 8;
  const bytes = new Uint8Array(start + end).fill(0x20, PREFIX + json.length, start);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - PREFIX), true);
  bytes.set(json, PREFIX);
  let at = start;
  for (const name of names) {
    const { data } = tensors.get(name)!;
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

/**
 * Reads a safetensors file, as strictly as the reference implementation: the tensors must cover the data
 * without gaps or overlaps, and no name may occur twice.
 *
 * @param file the name of the file, for messages
 * @throws UserError if it is not a safetensors file or is damaged
 */
export function decodeSafetensors(bytes: Uint8Array, file: string): Safetensors {
  const fail = (problem: string): never => {
    throw new UserError(`${file}: not a sound safetensors file: ${problem}`);
  };
  if (bytes.length < PREFIX) fail(`it ends after ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getBigUint64(0, true);
  if (length > bytes.length - PREFIX) {
    fail(`its header claims ${length.toString()} bytes, the file has ${bytes.length}; truncated?`);
  }
  if (length > MAX_HEADER) fail(`its header claims ${length.toString()} bytes`);
  const start = PREFIX + Number(length);
  const header = parseHeader(bytes.subarray(PREFIX, start), fail);
  const size = bytes.length - start;

  const entries = header.tensors.map(([name, value]) => {
    const entry = checkEntry(value) ?? fail(`the entry of tensor ${quoted(name)} is malformed`);
    const { dtype, shape, begin, end } = entry;
    const type = isDtype(dtype)
      ? DTYPES[dtype]
      : fail(`tensor ${quoted(name)} has the unknown type ${quoted(dtype)}`);
    if (begin > end || end > size) {
      fail(`tensor ${quoted(name)} lies outside of the file; truncated?`);
    }
    if (elements(shape) * type.bytes !== end - begin) {
      fail(`tensor ${quoted(name)} has ${end - begin} bytes, which its shape does not fit`);
    }
    return { name, dtype: dtype as Dtype, shape, begin, end, decode: type.decode };
  });
  let covered = 0;
  for (const { name, begin, end } of [...entries].sort(
    (a, b) => a.begin - b.begin || a.end - b.end,
  )) {
    if (begin !== covered) fail(`tensor ${quoted(name)} overlaps another or leaves a gap`);
    covered = end;
  }
  if (covered !== size) fail(`${size - covered} bytes at its end belong to no tensor`);

  const tensors = new Map<string, TypedTensor>();
  for (const { name, dtype, shape, begin, end, decode } of entries) {
    // A copy, since tensors in a file may be unaligned.
    const { buffer } = new Uint8Array(bytes.subarray(start + begin, start + end));
    tensors.set(name, { dtype, shape, data: decode(buffer) });
  }
  return { tensors, metadata: header.metadata };
}

function parseHeader(
  bytes: Uint8Array,
  fail: (problem: string) => never,
): { tensors: [string, unknown][]; metadata: Record<string, string> } {
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text);
  } catch {
    return fail('its header is not JSON');
  }
  if (!isObject(json)) return fail('its header is not an object');
  const tensors = Object.entries(json).filter(([name]) => name !== METADATA);
  const metadata = Object.hasOwn(json, METADATA) ? json[METADATA] : {};
  if (!isTableOfTexts(metadata)) return fail('its metadata is not a table of strings');
  // JSON.parse keeps the last of two equal keys.
  const keys = countColons(text);
  const kept = Object.values(json).reduce<number>(
    (sum, value) => sum + (isObject(value) ? Object.keys(value).length : 0),
    Object.keys(json).length,
  );
  if (keys !== kept) return fail('its header has a key twice, or objects inside of entries');
  return { tensors, metadata };
}

/** The number of colons outside strings, which is the number of keys. */
function countColons(json: string): number {
  let count = 0;
  let inString = false;
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (character === '"') inString = !inString;
    else if (inString && character === '\\') i++;
    else if (!inString && character === ':') count++;
  }
  return count;
}

/** An entry of the header, or undefined if it is malformed. */
function checkEntry(
  value: unknown,
): { dtype: string; shape: number[]; begin: number; end: number } | undefined {
  if (!isObject(value) || Object.keys(value).length !== 3) return undefined;
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !isCounts(shape) || !isCounts(offsets)) return undefined;
  if (offsets.length !== 2) return undefined;
  return { dtype, shape, begin: offsets[0], end: offsets[1] };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a JSON value is an object whose members are all strings, as metadata must be. */
export function isTableOfTexts(value: unknown): value is Record<string, string> {
  return isObject(value) && Object.values(value).every((member) => typeof member === 'string');
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
}

function isDtype(dtype: string): dtype is Dtype {
  return Object.hasOwn(DTYPES, dtype);
}

/** The number of elements of a shape; 0 if any extent is 0, even if the product of the others overflows. */
function elements(shape: number[]): number {
  return shape.includes(0) ? 0 : productOf(shape);
}
