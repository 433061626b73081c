import { tf } from '../base/tf.js';
import { type Dataset, imagesAt } from '../data/dataset.js';
import { read } from '../engine/ops/read.js';
import { logitsOf, type Model, pixelGradient, trace } from '../model/network.js';
import { evaluationBatch, readClasses, readLogits } from '../model/predict.js';
import { ExperimentError } from '../base/errors.js';

/** Correctly classified images, N×H×W×C, and their positions in the data set. */
export interface Originals {
  count: number;
  /** Number of values of one image: H·W·C. */
  size: number;
  shape: readonly [number, number, number];
  images: Uint8Array;
  labels: Uint8Array;
  /** Positions in the data set, which seed the random numbers of each image. */
  positions: Uint32Array;
}

/**
 * A network as seen by attacks. Pixels are N×H×W×C, 0 to 255. The logits and gradients of an image do not
 * depend on the others.
 */
export interface Classifier {
  classes: number;
  /** The recommended number of images per call. */
  batch: number;
  /** Logits N×classes. */
  logits(pixels: Float32Array): Float32Array;
  /** The class of each image that `pixels` computes [N,H,W,C]; of equal logits the first counts. */
  predict(pixels: () => tf.Tensor4D): ArrayLike<number>;
  /**
   * One forward pass and, for each vector at the logits, one backward pass to the pixels.
   *
   * @param fromLogits computes the vectors [N,classes] to propagate back, from the logits
   * @param each called with each gradient N×H×W×C with respect to the pixels, in order
   * @returns the logits N×classes
   */
  gradients(
    pixels: Float32Array,
    fromLogits: (logits: tf.Tensor2D) => Iterable<tf.Tensor2D>,
    each: (gradient: Float32Array, index: number) => void,
  ): Float32Array;
}

/**
 * A network as attacks see it, with the parameters that it has at each call. The tensors that a call makes are disposed
 * of when it returns.
 */
export function classifierOf({ network, weights }: Model): Classifier {
  const { input, classes, scale } = network.spec;
  const size = input[0] * input[1] * input[2];
  const tensorOf = (pixels: Float32Array): tf.Tensor4D =>
    tf.tensor4d(pixels, [pixels.length / size, ...input]);
  return {
    classes,
    batch: evaluationBatch(network),
    logits: (pixels) => tf.tidy(() => readLogits(logitsOf(network, weights, tensorOf(pixels)))),
    predict: (pixels) => tf.tidy(() => readClasses(logitsOf(network, weights, pixels()))),
    gradients(pixels, fromLogits, each) {
      let values: Float32Array = new Float32Array();
      tf.tidy(() => {
        const forward = trace(network, weights, tensorOf(pixels));
        values = readLogits(forward.logits);
        let index = 0;
        for (const vector of fromLogits(forward.logits)) {
          // `pixelGradient` omits this factor, on which the length of a step may depend.
          const gradient = floats(() =>
            pixelGradient(network, weights, forward, tf.mul<tf.Tensor2D>(vector, scale)),
          );
          refuseNotFinite(gradient);
          each(gradient, index++);
        }
      });
      return values;
    },
  };
}

/** @throws ExperimentError if a value of a gradient is not finite: an attack along it would prove nothing */
export function refuseNotFinite(gradient: Float32Array): void {
  const wrong = gradient.find((value) => !Number.isFinite(value));
  if (wrong === undefined) return;
  throw new ExperimentError(
    `a gradient with respect to a pixel is ${wrong}: the network's weights are too large or damaged, so it cannot be attacked`,
  );
}

function floats(compute: () => tf.Tensor): Float32Array {
  return read(compute) as Float32Array;
}

/** Copies the images of a data set at these positions. */
export function originalsOf(data: Dataset, positions: Uint32Array): Originals {
  const { count, height, width, channels, images, labels } = imagesAt(data, positions);
  const shape = [height, width, channels] as const;
  return { count, size: height * width * channels, shape, images, labels, positions };
}
