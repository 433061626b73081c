import type { ImageSize } from '../data/shapes.js';
import { loadOpenCv, OpenCvError } from './opencv.js';

export interface Pass {
  /** The score, in [-1, 1]; 1 for identical images. */
  pass: number;
  /** Whether the images could be aligned; if not, they were compared unaligned. */
  aligned: boolean;
}

/** Measures PASS of pairs of images of one shape, in this thread. */
export interface PassMeter {
  /**
   * PASS of an image and its perturbed version, each height × width × channels.
   *
   * @throws RangeError if an image has another size
   */
  measure(original: Uint8Array, adversarial: Uint8Array): Pass;
  /** Frees the memory; the meter cannot be used afterwards. */
  close(): void;
}

// The alignment ends after this many iterations, or when the correlation improves by less than this.
const ITERATIONS = 50;
const TOLERANCE = 1e-3;
const NO_SMOOTHING = 1;
/** OpenCV's error code if ECC does not converge. */
const NO_CONVERGENCE = -7;

// SSIM's constants: the window's side and standard deviation in pixels, and (K · L)² for K₁ = 0.01, K₂ = 0.03, L = 255.
const WINDOW = 11;
const SIGMA = 1.5;
const C1 = (0.01 * 255) ** 2;
const C2 = (0.03 * 255) ** 2;

const IDENTITY = Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);

/**
 * The psychometric perceptual adversarial similarity score (PASS) of the paper's evaluation. Both images
 * are converted to grey. The original is aligned to the adversarial image by the homography that
 * maximises the enhanced correlation coefficient (ECC). PASS is the structural similarity (SSIM) of the
 * two, averaged over all pixels.
 *
 * @throws RangeError if the shape is not that of a grey or RGB image
 */
export async function createPassMeter(shape: ImageSize): Promise<PassMeter> {
  const { height, width, channels } = shape;
  if (![height, width].every((n) => Number.isSafeInteger(n) && n > 0)) {
    throw new RangeError(`an image of ${height}×${width} pixels`);
  }
  if (channels !== 1 && channels !== 3) throw new RangeError(`an image of ${channels} channels`);
  const runtime = await loadOpenCv();
  const { cv } = runtime;
  const pixels = height * width;

  // One set of matrices serves all pairs, because allocation in OpenCV is slow.
  const original = new cv.Mat(height, width, cv.CV_8UC1);
  const adversarial = new cv.Mat(height, width, cv.CV_8UC1);
  const aligned = new cv.Mat(height, width, cv.CV_8UC1);
  const homography = new cv.Mat(3, 3, cv.CV_32FC1);
  const everywhere = new cv.Mat();
  const moments = new cv.Mat(height, width, cv.CV_64FC4);
  const blurred = new cv.Mat(height, width, cv.CV_64FC4);
  const matrices = [original, adversarial, aligned, homography, everywhere, moments, blurred];
  runtime.objectsChanged();
  const size = new cv.Size(width, height);
  const window = new cv.Size(WINDOW, WINDOW);
  const black = new cv.Scalar();
  const criteria = {
    type: cv.TermCriteria_COUNT + cv.TermCriteria_EPS,
    maxCount: ITERATIONS,
    epsilon: TOLERANCE,
  };

  /** Finds the homography; false if ECC does not converge. */
  function align(): boolean {
    homography.data32F.set(IDENTITY);
    try {
      runtime.attempt(() =>
        cv.findTransformECC(
          adversarial,
          original,
          homography,
          cv.MOTION_HOMOGRAPHY,
          criteria,
          everywhere,
          NO_SMOOTHING,
        ),
      );
      return true;
    } catch (error) {
      if (error instanceof OpenCvError && error.code === NO_CONVERGENCE) return false;
      throw error;
    }
  }

  /** Mean SSIM of two grey images. Its four blurs are done as one, on four interleaved channels. */
  function meanSsim(x: Uint8Array, y: Uint8Array): number {
    const m = moments.data64F;
    for (let i = 0, k = 0; i < pixels; i++, k += 4) {
      m[k] = x[i];
      m[k + 1] = y[i];
      m[k + 2] = x[i] * x[i] + y[i] * y[i];
      m[k + 3] = x[i] * y[i];
    }
    cv.GaussianBlur(moments, blurred, window, SIGMA, SIGMA, cv.BORDER_REFLECT_101, 0);
    const b = blurred.data64F;
    let sum = 0;
    for (let k = 0; k < 4 * pixels; k += 4) {
      const meanSquares = b[k] * b[k] + b[k + 1] * b[k + 1];
      const meanProduct = b[k] * b[k + 1];
      const variances = b[k + 2] - meanSquares;
      const covariance = b[k + 3] - meanProduct;
      sum +=
        ((2 * meanProduct + C1) * (2 * covariance + C2)) / ((meanSquares + C1) * (variances + C2));
    }
    return sum / pixels;
  }

  return {
    measure(originalImage, adversarialImage) {
      for (const image of [originalImage, adversarialImage]) {
        if (image.length !== pixels * channels) {
          throw new RangeError(
            `an image of ${image.length} instead of ${pixels * channels} values`,
          );
        }
      }
      toGrey(originalImage, channels, original.data);
      toGrey(adversarialImage, channels, adversarial.data);
      if (align()) {
        // ECC's homography maps pixels of the adversarial image to those of the original.
        const flags = cv.INTER_LINEAR | cv.WARP_INVERSE_MAP;
        cv.warpPerspective(original, aligned, homography, size, flags, cv.BORDER_CONSTANT, black);
        return { pass: meanSsim(aligned.data, adversarial.data), aligned: true };
      }
      // The failed attempt has reset the matrices.
      toGrey(originalImage, channels, original.data);
      toGrey(adversarialImage, channels, adversarial.data);
      return { pass: meanSsim(original.data, adversarial.data), aligned: false };
    },
    close() {
      for (const matrix of matrices.splice(0)) matrix.delete();
      runtime.objectsChanged();
    },
  };
}

/** Converts an image to grey: 0.299 R + 0.587 G + 0.114 B, rounded half up; grey images are copied. */
function toGrey(image: Uint8Array, channels: number, grey: Uint8Array): void {
  if (channels === 1) {
    grey.set(image);
    return;
  }
  for (let i = 0, k = 0; i < grey.length; i++, k += 3) {
    // In thousandths, so that rounding is exact.
    grey[i] = Math.floor((299 * image[k] + 587 * image[k + 1] + 114 * image[k + 2] + 500) / 1000);
  }
}
