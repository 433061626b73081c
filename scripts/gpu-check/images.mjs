// CIFAR-10 without loss in two thirds of its bytes, so that all of it fits into two parts of the pack: green, and how
// red and blue differ from it, as distances from what the neighbours suggest, through brotli.
import zlib from 'node:zlib';

const EXTENT = 32;
const PIXELS = EXTENT * EXTENT;
/** Green predicts the others. */
const ORDER = [1, 0, 2];

/** From [N,32,32,3]. */
export function encodeImages(images) {
  const count = images.length / (3 * PIXELS);
  const all = Buffer.alloc(images.length);
  const plane = new Int32Array(PIXELS);
  for (let n = 0, at = 0; n < 3 * count; n++) {
    const [channel, first] = [ORDER[Math.floor(n / count)], (n % count) * 3 * PIXELS];
    for (let i = 0; i < PIXELS; i++) {
      const value = images[first + 3 * i + channel];
      plane[i] = channel === 1 ? value : signed(value - images[first + 3 * i + 1]);
      const distance = signed(plane[i] - predicted(plane, i, channel));
      all[at++] = (distance << 1) ^ (distance >> 31);
    }
  }
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN } = zlib.constants;
  const params = { [BROTLI_PARAM_QUALITY]: 5, [BROTLI_PARAM_LGWIN]: 24 };
  return zlib.brotliCompressSync(all, { params });
}

export function decodeImages(bytes) {
  const all = zlib.brotliDecompressSync(bytes);
  const count = all.length / (3 * PIXELS);
  const images = Buffer.alloc(all.length);
  const plane = new Int32Array(PIXELS);
  for (let n = 0, at = 0; n < 3 * count; n++) {
    const [channel, first] = [ORDER[Math.floor(n / count)], (n % count) * 3 * PIXELS];
    for (let i = 0; i < PIXELS; i++) {
      const coded = all[at++];
      const distance = (coded >> 1) ^ -(coded & 1);
      const value = predicted(plane, i, channel) + distance;
      plane[i] = channel === 1 ? value & 255 : signed(value);
      images[first + 3 * i + channel] = plane[i] + (channel === 1 ? 0 : images[first + 3 * i + 1]);
    }
  }
  return images;
}

/** Modulo 256, from −128 to 127. */
function signed(value) {
  return (value << 24) >> 24;
}

/** The median of left, above, and left + above − above left. */
function predicted(plane, i, channel) {
  if (i === 0) return channel === 1 ? 128 : 0;
  if (i < EXTENT) return plane[i - 1];
  const above = plane[i - EXTENT];
  if (i % EXTENT === 0) return above;
  const [left, corner] = [plane[i - 1], plane[i - EXTENT - 1]];
  const [low, high] = left < above ? [left, above] : [above, left];
  return corner >= high ? low : corner <= low ? high : left + above - corner;
}
