import { UserError } from '../base/errors.js';
import { productOf } from '../base/sums.js';
import { shapeText } from '../base/text.js';

/**
 * An array of bytes in the IDX format of the MNIST files: two zero bytes, the element type
 * (8 = unsigned byte), the number of dimensions, each dimension as a big-endian uint32, then the
 * elements, last dimension fastest.
 */
export interface Idx {
  shape: number[];
  /** The elements, a view of the parsed bytes. */
  data: Uint8Array;
}

const UNSIGNED_BYTE = 8;

/**
 * Parses a whole IDX file without copying it.
 *
 * @param ranks the numbers of dimensions expected: 3 or 4 for images, 1 for labels
 * @param name names the file in messages
 * @throws UserError if it is not an IDX file of bytes, is truncated, or is too long
 */
export function parseIdx(bytes: Uint8Array, ranks: readonly number[], name: string): Idx {
  const shape = idxShape(bytes, ranks, name);
  const expected = idxLength(shape);
  if (bytes.length !== expected) {
    throw new UserError(
      `${name} is ${bytes.length < expected ? 'truncated' : 'too long'}: its header announces ` +
        `${shapeText(shape)} bytes of data, which makes a file of ${expected} bytes, not of ` +
        `${bytes.length}; download it again`,
    );
  }
  // Not `subarray`, which returns a Buffer for a Buffer; its `slice` and `toString` differ.
  const header = headerLength(shape.length);
  return {
    shape,
    data: new Uint8Array(bytes.buffer, bytes.byteOffset + header, expected - header),
  };
}

/**
 * The dimensions in the header of an IDX file.
 *
 * @param head at least the header of the file
 *
 * @throws UserError if this is not the header of an IDX file of bytes with one of `ranks` dimensions
 */
export function idxShape(head: Uint8Array, ranks: readonly number[], name: string): number[] {
  if (head.length < 4 || head[0] !== 0 || head[1] !== 0) {
    throw new UserError(`${name} is not an IDX file: give one, gzipped or not, under this name`);
  }
  if (head[2] !== UNSIGNED_BYTE) {
    throw new UserError(
      `${name} holds IDX elements of type ${head[2]}, not unsigned bytes (type ${UNSIGNED_BYTE}): ` +
        'give a file of bytes',
    );
  }
  const rank = head[3];
  if (!ranks.includes(rank)) {
    throw new UserError(
      `${name} has ${rank} dimensions where ${ranks[0] === 1 ? 'labels have 1' : `images have ${ranks.join(' or ')}`}` +
        ': perhaps the files of images and labels are exchanged',
    );
  }
  if (head.length < headerLength(rank)) {
    throw new UserError(`${name} is truncated within its header: download it again`);
  }
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  return Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
}

/** An IDX file of this shape, filled with zeros; `data` is a view of its elements. */
export function emptyIdx(shape: number[]): { file: Uint8Array; data: Uint8Array } {
  const file = new Uint8Array(idxLength(shape));
  const view = new DataView(file.buffer);
  file.set([0, 0, UNSIGNED_BYTE, shape.length]);
  shape.forEach((size, axis) => {
    view.setUint32(4 + 4 * axis, size);
  });
  return { file, data: file.subarray(headerLength(shape.length)) };
}

/** The length in bytes of an IDX file of this shape, including its header. */
export function idxLength(shape: number[]): number {
  return headerLength(shape.length) + productOf(shape);
}

function headerLength(rank: number): number {
  return 4 + 4 * rank;
}
