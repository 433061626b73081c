import { tf } from '../../base/tf.js';
import { fused } from './kernel.js';

/**
 * Dropout's factors out of random bits: `factor` for each bit that is 1, else 0, from the lowest bit of the first word
 * on. A GPU is sent the bits and makes the factors itself.
 */
export function dropoutFactors(bits: Uint32Array, factor: number, shape: number[]): tf.Tensor {
  const own = fused('BangDropout', {}, { bits, factor, shape });
  if (own) return own[0];
  const factors = new Float32Array(tf.util.sizeFromShape(shape));
  // As integers, which takes half of the time.
  const asBits = new Uint32Array(factors.buffer);
  const [one] = new Uint32Array(Float32Array.of(factor).buffer);
  for (let begin = 0; begin < asBits.length; begin += 32) {
    const end = Math.min(begin + 32, asBits.length);
    let word = bits[begin / 32];
    for (let i = begin; i < end; i++, word >>>= 1) asBits[i] = -(word & 1) & one;
  }
  return tf.tensor(factors, shape);
}
