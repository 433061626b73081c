/**
 * Reproducible Gaussian noise on pixels: each value depends only on seed, image, copy, σ and pixel, not on
 * threads, batches or order.
 */

/** Identifies the noise of several copies of one image. */
export interface NoiseSource {
  /** 0 … 2³² − 1. */
  seed: number;
  /** The image's position in its data set. */
  image: number;
  /** The index of the first copy; the others follow. */
  firstCopy: number;
}

/** The distribution of a normal variable rounded to an integer and limited to ±255. */
export interface RoundedNormal {
  /** In grey levels. */
  sigma: number;
  /** Ascending: noise is −depth plus the number of thresholds below a word. The last is 2³² − 1. */
  thresholds: Uint32Array;
  depth: number;
}

/** The largest possible change of a pixel, in grey levels. */
const RANGE = 255;

/**
 * The distribution of round(z), z normal with mean 0 and standard deviation σ, limited to ±255, beyond
 * which every pixel is clipped: P(noise < j) = Φ((j − ½) / σ) for integers j. Noise is drawn by inversion
 * with 32 random bits, so each of these probabilities is accurate to 2⁻³³, and the distribution is
 * symmetric. Drawing compares integers only, so the noise is the same on every engine and machine.
 *
 * @param sigma above 0, in grey levels
 */
export function roundedNormal(sigma: number): RoundedNormal {
  // How many of the 2³² words give noise of j or more; 0 if its probability is below 2⁻³³.
  const words: number[] = [];
  for (let j = 1; j <= RANGE; j++) {
    const above = Math.round(2 ** 32 * upperTail((j - 0.5) / sigma));
    if (above === 0) break;
    words.push(above);
  }
  const depth = words.length;
  // As many give −j or less. The threshold t is below all words from t + 1 on.
  const thresholds = [
    ...words.toReversed().map((count) => count - 1),
    ...words.map((count) => 2 ** 32 - count - 1),
    2 ** 32 - 1,
  ];
  return { sigma, thresholds: Uint32Array.from(thresholds), depth };
}

/**
 * 1 − Φ(x) for x ≥ 0, with an error of about 10⁻¹⁶, from a series for Φ whose terms are all positive:
 * Marsaglia, Evaluating the Normal Distribution (Journal of Statistical Software 11, 2004).
 */
export function upperTail(x: number): number {
  if (x > 8) return 0;
  let sum = x;
  let before = 0;
  for (let i = 3, term = x; sum !== before; i += 2) {
    term *= (x * x) / i;
    before = sum;
    sum += term;
  }
  return Math.max(0, 0.5 - (sum * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI));
}

/** The second word of the generator's key, which separates noise from other uses of the seed. */
const PURPOSE = 0x6e6f6973;

/** The kernel's argument `counters`: [seed, purpose, image, firstCopy, bits of σ as float32]. */
export function countersOf({ seed, image, firstCopy }: NoiseSource, sigma: number): Uint32Array {
  return Uint32Array.of(seed, PURPOSE, image, firstCopy, bitsOf(sigma));
}

function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0];
}

/**
 * clip(x + noise, 0, 255) for several copies of an image of integers, with exactly the same values as
 * the native kernel `addNoise`: [copies, …x].
 */
export function noisyCopies(
  x: ArrayLike<number>,
  copies: number,
  source: NoiseSource,
  { sigma, thresholds, depth }: RoundedNormal,
): Float32Array {
  const [seed, purpose, image, firstCopy, bits] = countersOf(source, sigma);
  const noisy = new Float32Array(copies * x.length);
  for (let n = 0; n < copies; n++) {
    for (let p = 0; p < x.length; p += 4) {
      const words = philox([p / 4, firstCopy + n, image, bits], [seed, purpose]);
      for (let i = p; i < Math.min(p + 4, x.length); i++) {
        const moved = x[i] + countBelow(thresholds, words[i - p]) - depth;
        noisy[n * x.length + i] = Math.min(Math.max(moved, 0), 255);
      }
    }
  }
  return noisy;
}

/** The number of `values`, which ascend, that are below `word`; by bisection. */
function countBelow(values: Uint32Array, word: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < word) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Philox4x32-10: four random words from a counter of four words and a key of two. Salmon, Moraes, Dror
 * and Shaw, Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
 */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [a, b, c, d] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = product(a, 0xd2511f53);
    const [high1, low1] = product(c, 0xcd9e8d57);
    [a, b, c, d] = [high1 ^ b ^ k0, low1, high0 ^ d ^ k1, low0];
    k0 += 0x9e3779b9;
    k1 += 0xbb67ae85;
  }
  return [a >>> 0, b >>> 0, c >>> 0, d >>> 0];
}

/** The high and the low word of the product of two words. */
function product(a: number, b: number): [number, number] {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  // Each sum is below 2³³ and therefore exact.
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const other = a0 * b1 + (middle % 0x10000);
  const high = a1 * b1 + Math.floor(middle / 0x10000) + Math.floor(other / 0x10000);
  return [high >>> 0, Math.imul(a, b) >>> 0];
}
