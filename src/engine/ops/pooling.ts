import { tf } from '../../base/tf.js';
import { fused, run } from './kernel.js';
import { poolingAttributes, type Sliding } from './sliding.js';

/**
 * Max or average pooling over size × size windows. Averages divide by the size of the clipped window. The
 * result is NaN if a window contains NaN.
 */
export function pool(
  kind: 'maxPool' | 'avgPool',
  x: tf.Tensor4D,
  size: number,
  sliding: Sliding,
): tf.Tensor4D {
  const attributes = poolingAttributes({ size, sliding });
  if (kind === 'avgPool') return run(tf.AvgPool, { x }, attributes) as tf.Tensor4D;
  const y = run(tf.MaxPool, { x }, attributes) as tf.Tensor4D;
  if (maxPoolKeepsNaN()) return y;
  return tf.tidy(() => {
    const odd = run(tf.MaxPool, { x: tf.cast(tf.isNaN(x), 'float32') }, attributes);
    return tf.where(tf.greater(odd, 0), NaN, y);
  });
}

/** tfjs's own kernel ignores NaN, as does TensorFlow's on some devices. */
function maxPoolKeepsNaN(): boolean {
  return Boolean(tf.getKernel('BangConvMaxPool', tf.getBackend()));
}

/**
 * The gradient of max pooling with respect to its input x, routed to the first maximum of each window. NaN
 * counts as the largest value. y is the output, kappa the gradient with respect to it.
 */
export function maxPoolGradient(
  x: tf.Tensor4D,
  y: tf.Tensor4D,
  kappa: tf.Tensor4D,
  size: number,
  sliding: Sliding,
): tf.Tensor4D {
  const attributes = poolingAttributes({ size, sliding });
  const gradient = (input: tf.Tensor4D, output: tf.Tensor4D) =>
    run(tf.MaxPoolGrad, { dy: kappa, input, output }, attributes) as tf.Tensor4D;
  if (maxPoolKeepsNaN()) return gradient(x, y);
  const compared = (values: tf.Tensor4D) => tf.where(tf.isNaN(values), Infinity, values);
  return tf.tidy(() => gradient(compared(x), compared(y)));
}

/**
 * The gradient of average pooling with respect to its input; each window is clipped to the image.
 *
 * @param x its input
 * @param kappa the gradient with respect to its output
 * @param beyond rows and columns by which the last windows extend past the image
 */
export function avgPoolGradient(
  x: tf.Tensor4D,
  kappa: tf.Tensor4D,
  size: number,
  { stride, pad }: Sliding,
  [below, right]: [number, number],
): tf.Tensor4D {
  const attributes = { filterSize: [size, size], strides: [stride, stride], pad };
  const own = fused('BangAvgPoolGradient', { dy: kappa, x }, attributes);
  if (own) return own[0] as tf.Tensor4D;
  // On some engines tfjs's AvgPoolGrad always divides by the whole window. So it is given a larger image
  // without clipped windows, and kappa is scaled to compensate.
  const [batch, height, width, channels] = x.shape;
  const [rows, columns] = [kappa.shape[1], kappa.shape[2]];
  const [top, left] = typeof pad === 'object' ? [pad[1][0], pad[2][0]] : [0, 0];
  const share = (at: number, before: number, extent: number): number => {
    const begin = at * stride - before;
    return size / (Math.min(begin + size, extent) - Math.max(begin, 0));
  };
  const shares = Float32Array.from(
    { length: rows * columns },
    (_, i) => share(Math.floor(i / columns), top, height) * share(i % columns, left, width),
  );
  const larger = run(
    tf.AvgPoolGrad,
    {
      dy: tf.mul(kappa, tf.tensor4d(shares, [1, rows, columns, 1])),
      input: tf.zeros([batch, top + height + below, left + width + right, channels]),
    },
    { filterSize: [size, size], strides: [stride, stride], pad: 'valid' },
  ) as tf.Tensor4D;
  return tf.slice(larger, [0, top, left, 0], [-1, height, width, -1]);
}
