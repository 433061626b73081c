import type { ImageSize } from '../data/shapes.js';
import { pngText } from '../store/pictures.js';

/** The image of height × width × channels values as a PNG in a `data:` address. */
export function imageUrl(pixels: Uint8Array, size: ImageSize): string {
  return `data:image/png;base64,${pngText(pixels, size)}`;
}
