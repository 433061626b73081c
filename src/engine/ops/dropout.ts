import type { tf } from '../../base/tf.js';
import { filled, fused } from './kernel.js';

/**
 * Dropout's factors out of random bits: `factor` for each bit that is 1, else 0, from the lowest bit of the first word
 * on. A GPU is sent the bits and makes the factors itself.
 */
export function dropoutFactors(bits: Uint32Array, factor: number, shape: number[]): tf.Tensor {
  const own = fused('BangDropout', {}, { bits, factor, shape });
  if (own) return own[0];
  return filled(shape, ({ buffer, byteOffset, length }) => {
    // As integers, which takes half of the time.
    const asBits = new Uint32Array(buffer, byteOffset, length);
    const [one] = new Uint32Array(Float32Array.of(factor).buffer);
    for (let begin = 0; begin < length; begin += 32) {
      const end = Math.min(begin + 32, length);
      let word = bits[begin / 32];
      for (let i = begin; i < end; i++, word >>>= 1) asBits[i] = -(word & 1) & one;
    }
  });
}
