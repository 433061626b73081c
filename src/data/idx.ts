import { UserError } from '../base/errors.js';
import { shapeText } from '../base/text.js';

/**
 * An array of bytes in the IDX format of the MNIST files: two zero bytes, the element type
 * (8 = unsigned byte), the number of dimensions, each dimension as a big-endian uint32, then the
 * elements, last dimension fastest.
 */
export interface Idx {
  shape: number[];
  /** The elements, a view on the bytes that were parsed. */
  data: Uint8Array;
}

const UNSIGNED_BYTE = 8;

/**
 * Parses a whole IDX file. Allocates nothing of the size that the header claims.
 *
 * @param rank the number of dimensions expected: 3 for images, 1 for labels
 * @param name names the file in messages
 * @throws UserError if it is not such a file, is truncated, or goes on after its last element
 */
export function parseIdx(bytes: Uint8Array, rank: number, name: string): Idx {
  const shape = idxShape(bytes, rank, name);
  const expected = idxLength(shape);
  if (bytes.length !== expected) {
    throw new UserError(
      `${name} is ${bytes.length < expected ? 'truncated' : 'too long'}: its header announces ` +
        `${shapeText(shape)} bytes of data, which makes a file of ${expected} bytes, not of ` +
        `${bytes.length}; fetch it again from where it came`,
    );
  }
  // Not `subarray`: that of a Buffer is a Buffer, which behaves differently (`slice`, `toString`).
  const start = bytes.byteOffset + headerLength(rank);
  return { shape, data: new Uint8Array(bytes.buffer, start, expected - headerLength(rank)) };
}

/**
 * The dimensions that the header of an IDX file claims, from its first `4 + 4·rank` bytes or more.
 *
 * @throws UserError if these are not the first bytes of an IDX file of `rank` dimensions of bytes
 */
export function idxShape(head: Uint8Array, rank: number, name: string): number[] {
  if (head.length < 4 || head[0] !== 0 || head[1] !== 0) {
    throw new UserError(
      `${name} is not an IDX file: give the original MNIST file, gzipped or not, under this name`,
    );
  }
  if (head[2] !== UNSIGNED_BYTE) {
    throw new UserError(
      `${name} holds IDX elements of type ${head[2]}, not unsigned bytes (type ${UNSIGNED_BYTE}): ` +
        'give a file of bytes',
    );
  }
  if (head[3] !== rank) {
    throw new UserError(
      `${name} has ${head[3]} dimensions where ${rank === 1 ? 'labels have 1' : `images have ${rank}`}` +
        ': perhaps the files of images and labels are exchanged',
    );
  }
  if (head.length < headerLength(rank)) {
    throw new UserError(
      `${name} is truncated within its header: fetch it again from where it came`,
    );
  }
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  return Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
}

/** A whole IDX file of this shape whose elements, a view on it, are still 0. */
export function emptyIdx(shape: number[]): { file: Uint8Array; data: Uint8Array } {
  const file = new Uint8Array(idxLength(shape));
  const view = new DataView(file.buffer);
  file.set([0, 0, UNSIGNED_BYTE, shape.length]);
  shape.forEach((size, axis) => {
    view.setUint32(4 + 4 * axis, size);
  });
  return { file, data: file.subarray(headerLength(shape.length)) };
}

/** The length in bytes of an IDX file of bytes of this shape, header included. */
export function idxLength(shape: number[]): number {
  return headerLength(shape.length) + shape.reduce((product, size) => product * size, 1);
}

function headerLength(rank: number): number {
  return 4 + 4 * rank;
}
