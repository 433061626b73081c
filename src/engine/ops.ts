import * as tf from '@tensorflow/tfjs-core';
import { countersOf, noisyCopies, type NoiseSource, type RoundedNormal } from './noise.js';

/**
 * The operations that the experiment needs beside tfjs's own. Each has a kernel of its own on the
 * native engine and is composed of ordinary tfjs operations on every other, with the same meaning.
 */

/**
 * Computes in a tidy and reads the result. (A tidy that returned the values would look for tensors
 * among them, one by one.)
 */
export function read(compute: () => tf.Tensor): Float32Array | Int32Array | Uint8Array {
  const tensor = tf.tidy(compute);
  const values = tensor.dataSync();
  tensor.dispose();
  return values;
}

/**
 * Runs the kernel `name` if the engine in use has one; undefined otherwise. Directly: tfjs's own way
 * there (gradient tape, profile, checks) costs a tenth of a training step of LeNet.
 */
function fused(
  name: string,
  inputs: Record<string, tf.Tensor | undefined>,
  attributes: Record<string, unknown> = {},
): tf.Tensor[] | undefined {
  // The types leave out that there may be none.
  const kernel = tf.getKernel(name, tf.getBackend()) as tf.KernelConfig | undefined;
  if (!kernel) return undefined;
  const engine = tf.engine();
  const outputs = kernel.kernelFunc({
    inputs,
    attrs: attributes as tf.NamedAttrMap,
    backend: engine.backend,
  });
  return [outputs]
    .flat()
    .map((info) => (info instanceof tf.Tensor ? info : engine.makeTensorFromTensorInfo(info)));
}

/** Runs a kernel that every engine has. */
function run(
  name: string,
  inputs: Record<string, tf.Tensor>,
  attributes: Record<string, unknown> = {},
): tf.Tensor {
  return fused(name, inputs, attributes)![0];
}

/** How a window moves over an image: its stride and the zeros around the image, in pixels. */
export interface Sliding {
  stride: number;
  /** As tfjs has it; explicit for a pooling whose last windows are clipped. */
  pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
}

function slidingAttributes({ stride, pad }: Sliding): Record<string, unknown> {
  return { strides: [stride, stride], pad, dataFormat: 'NHWC', dilations: [1, 1] };
}

function poolingAttributes({ size, sliding }: MaxPooling): Record<string, unknown> {
  return { filterSize: [size, size], strides: [sliding.stride, sliding.stride], pad: sliding.pad };
}

/** x [N,H,W,I] * filter [h,w,I,O] + bias [O], as [N,oH,oW,O]. */
export function conv2d(
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  bias: tf.Tensor1D,
  sliding: Sliding,
): tf.Tensor4D {
  return run(tf.FusedConv2D, { x, filter, bias }, slidingAttributes(sliding)) as tf.Tensor4D;
}

/** The gradient with respect to x of a convolution whose output has the gradient kappa. */
export function conv2dInputGradient(
  inputShape: number[],
  kappa: tf.Tensor4D,
  filter: tf.Tensor4D,
  sliding: Sliding,
): tf.Tensor4D {
  const attributes = { ...slidingAttributes(sliding), inputShape };
  return run(tf.Conv2DBackpropInput, { dy: kappa, filter }, attributes) as tf.Tensor4D;
}

/** Gradients of a layer's weight and bias, in the shapes of these. */
export interface WeightGradient {
  weight: tf.Tensor;
  bias: tf.Tensor1D;
}

/**
 * Weight and bias gradient of a convolution: Σᵢ scaleᵢ · (gradient of batch element i), where kappa
 * [N,oH,oW,O] is the gradient with respect to its output. Without scale [N] all count once.
 */
export function conv2dWeightGradient(
  x: tf.Tensor4D,
  kappa: tf.Tensor4D,
  filterShape: number[],
  sliding: Sliding,
  scale?: tf.Tensor1D,
): WeightGradient {
  const attributes = { ...slidingAttributes(sliding), filterShape };
  const both = fused('BangConvWeightGradient', { x, kappa, scale }, attributes);
  if (both) return { weight: both[0], bias: both[1] as tf.Tensor1D };
  const scaled = scale ? tf.mul(kappa, tf.reshape(scale, [-1, 1, 1, 1])) : kappa;
  return {
    weight: run(tf.Conv2DBackpropFilter, { x, dy: scaled }, attributes),
    bias: tf.sum(scaled, [0, 1, 2]),
  };
}

/** A max pooling over size × size windows. */
export interface MaxPooling {
  size: number;
  sliding: Sliding;
}

/** A convolution and the max pooling behind it, in one. */
export interface Pooled {
  /** [N,pH,pW,O] */
  y: tf.Tensor4D;
  /** What the way back needs: which pixel of each window won, or the convolution's whole output. */
  saved: tf.Tensor4D;
}

/** Whether `saved` is winners: then the kernels below take kappa of the pooled values as it is. */
function hasWinners({ saved }: Pooled): boolean {
  return saved.dtype === 'bool';
}

/** max over windows of `conv2d`. */
export function conv2dMaxPool(
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  bias: tf.Tensor1D,
  sliding: Sliding,
  pooling: MaxPooling,
): Pooled {
  const attributes = { ...slidingAttributes(sliding), pooling: poolingAttributes(pooling) };
  const own = fused('BangConvMaxPool', { x, filter, bias }, attributes);
  if (own) return { y: own[0] as tf.Tensor4D, saved: own[1] as tf.Tensor4D };
  const whole = conv2d(x, filter, bias, sliding);
  return { y: pool('maxPool', whole, pooling.size, pooling.sliding), saved: whole };
}

/**
 * The gradient by the pooled values as the three functions below take it: on engines without a kernel
 * for them the gradient by the convolution's output.
 */
export function kappaBehind(
  pooled: Pooled,
  kappa: tf.Tensor4D,
  { size, sliding }: MaxPooling,
): tf.Tensor4D {
  if (hasWinners(pooled)) return kappa;
  return maxPoolGradient(pooled.saved, pooled.y, kappa, size, sliding);
}

/** L2 norm [N] of each batch element's gradient by the convolution's output [N,oH,oW,O]. */
export function pooledNorms(
  outputShape: number[],
  pooled: Pooled,
  kappa: tf.Tensor4D,
  pooling: MaxPooling,
): tf.Tensor1D {
  if (!hasWinners(pooled)) return rowNorms(kappa);
  const attributes = { shape: outputShape, pooling: poolingAttributes(pooling) };
  return run('BangPooledNorms', { kappa, winner: pooled.saved }, attributes) as tf.Tensor1D;
}

/** The gradient by x. */
export function conv2dMaxPoolInputGradient(
  inputShape: number[],
  pooled: Pooled,
  kappa: tf.Tensor4D,
  filter: tf.Tensor4D,
  sliding: Sliding,
  pooling: MaxPooling,
): tf.Tensor4D {
  if (!hasWinners(pooled)) return conv2dInputGradient(inputShape, kappa, filter, sliding);
  return run(
    'BangConvMaxPoolInputGradient',
    { kappa, winner: pooled.saved, filter },
    { ...slidingAttributes(sliding), inputShape, pooling: poolingAttributes(pooling) },
  ) as tf.Tensor4D;
}

/** Weight and bias gradient; scale as above. */
export function conv2dMaxPoolWeightGradient(
  x: tf.Tensor4D,
  pooled: Pooled,
  kappa: tf.Tensor4D,
  filterShape: number[],
  sliding: Sliding,
  pooling: MaxPooling,
  scale?: tf.Tensor1D,
): WeightGradient {
  if (!hasWinners(pooled)) return conv2dWeightGradient(x, kappa, filterShape, sliding, scale);
  const [weight, bias] = fused(
    'BangConvWeightGradient',
    { x, kappa, scale, winner: pooled.saved },
    { ...slidingAttributes(sliding), filterShape, pooling: poolingAttributes(pooling) },
  )!;
  return { weight, bias: bias as tf.Tensor1D };
}

/** x [N,I] · weight [I,O] + bias [O]. */
export function dense(x: tf.Tensor2D, weight: tf.Tensor2D, bias: tf.Tensor1D): tf.Tensor2D {
  const attributes = { transposeA: false, transposeB: false, activation: 'linear' };
  return run(tf._FusedMatMul, { a: x, b: weight, bias }, attributes) as tf.Tensor2D;
}

/** The gradient with respect to x of a dense layer whose output has the gradient kappa [N,O]. */
export function denseInputGradient(kappa: tf.Tensor2D, weight: tf.Tensor2D): tf.Tensor2D {
  const attributes = { transposeA: false, transposeB: true };
  return run(tf.BatchMatMul, { a: kappa, b: weight }, attributes) as tf.Tensor2D;
}

/** Weight [I,O] and bias gradient of a dense layer, x [N,I], kappa [N,O]; scale as above. */
export function denseWeightGradient(
  x: tf.Tensor2D,
  kappa: tf.Tensor2D,
  scale?: tf.Tensor1D,
): WeightGradient {
  const both = fused('BangDenseWeightGradient', { x, kappa, scale });
  if (both) return { weight: both[0], bias: both[1] as tf.Tensor1D };
  const scaled = scale ? tf.mul(kappa, tf.reshape(scale, [-1, 1])) : kappa;
  return { weight: tf.matMul(x, scaled, true), bias: tf.sum(scaled, 0) };
}

/**
 * Max or average pooling over size × size windows; averages divide by the clipped window. Both give NaN
 * where a window has one.
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

/** tfjs's own kernel passes over NaN, and TensorFlow's on some devices. */
function maxPoolKeepsNaN(): boolean {
  return Boolean(tf.getKernel('BangConvMaxPool', tf.getBackend()));
}

/**
 * The gradient of max pooling: to the first maximum of each window, of which NaN is the largest. x is its
 * input, y its output.
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
 * The gradient of average pooling, which divides by the size of the window clipped to the image.
 *
 * @param x its input
 * @param kappa the gradient by its output
 * @param beyond rows and columns by which the last windows reach beyond the image
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
  // tfjs's AvgPoolGrad divides by the whole window everywhere, on some engines: so it gets whole
  // windows of a larger image, and kappa makes up for it where they are clipped.
  const [batch, height, width, channels] = x.shape;
  const [rows, columns] = [kappa.shape[1], kappa.shape[2]];
  const share = (at: number, extent: number): number => size / Math.min(size, extent - at * stride);
  const shares = Float32Array.from(
    { length: rows * columns },
    (_, i) => share(Math.floor(i / columns), height) * share(i % columns, width),
  );
  const larger = run(
    tf.AvgPoolGrad,
    {
      dy: tf.mul(kappa, tf.tensor4d(shares, [1, rows, columns, 1])),
      input: tf.zeros([batch, height + below, width + right, channels]),
    },
    { filterSize: [size, size], strides: [stride, stride], pad: 'valid' },
  ) as tf.Tensor4D;
  return tf.slice(larger, [0, 0, 0, 0], [-1, height, width, -1]);
}

/** Paddings below and to the right of an image only, as Caffe's poolings clip. */
export function clippedAt(below: number, right: number): tf.backend_util.ExplicitPadding {
  return [
    [0, 0],
    [0, below],
    [0, right],
    [0, 0],
  ];
}

/** max(0, x) */
export function relu<T extends tf.Tensor>(x: T): T {
  return run(tf.Relu, { x }) as T;
}

/** a · b of equal shapes. */
export function multiply<T extends tf.Tensor>(a: T, b: T): T {
  return run(tf.Multiply, { a, b }) as T;
}

/** kappa where y = relu(x) is positive, else 0. */
export function reluGradient<T extends tf.Tensor>(y: T, kappa: T): T {
  const own = fused('BangReluGradient', { y, dy: kappa });
  return (own ? own[0] : tf.mul(kappa, tf.step(y))) as T;
}

/** Loss of each element [N], its gradient by the logits [N,C], and 1 or 0: classified correctly. */
export interface Loss {
  loss: tf.Tensor1D;
  gradient: tf.Tensor2D;
  correct: tf.Tensor1D;
}

/**
 * Softmax cross entropy. The gradient is factor · (softmax(logits) − one-hot(label)): factor 1/N for
 * the mean over a batch. In float32: where the probability of the label is 1.0f, loss and gradient
 * are exactly zero.
 *
 * @param labels int32 [N], each below C
 */
export function softmaxCrossEntropy(
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  factor: number,
): Loss {
  const own = fused('BangSoftmaxCrossEntropy', { logits, labels }, { factor });
  if (own) {
    const [loss, gradient, correct] = own as [tf.Tensor1D, tf.Tensor2D, tf.Tensor1D];
    return { loss, gradient, correct };
  }
  const shifted = tf.sub(logits, tf.max(logits, 1, true));
  const exponentials = tf.exp(shifted);
  // One by one in class order, which tf.sum does not promise: it decides which losses are zero.
  const columns = tf.unstack(exponentials, 1);
  const sums = tf.expandDims(
    columns.reduce((sum, column) => tf.add(sum, column)),
    1,
  );
  const hot = tf.cast(tf.oneHot(labels, logits.shape[1]), 'float32');
  return {
    loss: tf.sub(tf.reshape(tf.log(sums), [-1]), tf.sum(tf.mul(shifted, hot), 1)),
    gradient: tf.mul(tf.sub(tf.div(exponentials, sums), hot), factor),
    correct: tf.cast(tf.equal(tf.argMax(logits, 1), labels), 'float32'),
  };
}

/** L2 norm of each batch element of x [N,…], accumulated in float32: [N]. */
export function rowNorms(x: tf.Tensor): tf.Tensor1D {
  const own = fused('BangRowNorms', { x });
  if (own) return own[0] as tf.Tensor1D;
  return tf.sqrt(tf.sum(tf.square(tf.reshape(x, [x.shape[0], -1])), 1));
}

/** The kernel for η of `training/bang.ts`, which defines it; undefined where there is none. */
export function fusedEta(norm: tf.Tensor1D, epsilonHat: tf.Tensor1D): tf.Tensor1D | undefined {
  return fused('BangEta', { norm, epsilonHat })?.[0] as tf.Tensor1D | undefined;
}

/**
 * One step of SGD as Caffe does it, in place: v ← momentum·v + rate·(g + decay·w), w ← w − v.
 * Tensors that share the variables' memory (clones) change with them.
 */
export function sgdStep(
  weight: tf.Variable,
  velocity: tf.Variable,
  gradient: tf.Tensor,
  { rate, momentum, decay }: { rate: number; momentum: number; decay: number },
): void {
  if (fused('BangSgd', { weight, velocity, gradient }, { rate, momentum, decay })) return;
  tf.tidy(() => {
    const push = tf.mul(tf.add(gradient, tf.mul(weight, decay)), rate);
    velocity.assign(tf.add(tf.mul(velocity, momentum), push));
    weight.assign(tf.sub(weight, velocity));
  });
}

/** (x − mean) · factor, for x [N,…] and mean […] (none: zero). */
export function normalize<T extends tf.Tensor>(
  x: T,
  mean: tf.Tensor | undefined,
  factor: number,
): T {
  const own = fused('BangNormalize', { x, mean }, { factor });
  if (own) return own[0] as T;
  return tf.mul<T>(mean ? tf.sub(x, mean) : x, factor);
}

/** x · factor */
export function times<T extends tf.Tensor>(x: T, factor: number): T {
  return normalize(x, undefined, factor);
}

/** Each image of x [N,H,W,C] divided by its largest magnitude; one of zeros stays as it is. */
export function overLargest(x: tf.Tensor4D): tf.Tensor4D {
  const own = fused('BangOverLargest', { x });
  if (own) return own[0] as tf.Tensor4D;
  return tf.divNoNan(x, tf.max(tf.abs(x), [1, 2, 3], true));
}

/** One step of a forward pass, as `forwardPass` takes it. */
export type ForwardStep =
  | { kind: 'relu' }
  | {
      kind: 'conv' | 'innerProduct' | 'maxPool' | 'avgPool';
      /** Extents of an image: height, width, channels; 1×1 for what an inner product gives. */
      input: readonly [number, number, number];
      output: readonly [number, number, number];
      size: number;
      stride: number;
      /** Rows above and columns to the left of the image. */
      pad: number;
      /** Of convolutions [h,w,I,O] and [O], of inner products [I,O] and [O]. */
      parameters?: { weight: tf.Tensor; bias: tf.Tensor1D };
    };

const STEP_KINDS = ['conv', 'innerProduct', 'maxPool', 'avgPool'];

/**
 * A whole forward pass at once, without what a way back would need; undefined on engines that have
 * no kernel for it, and for steps that it does not do. Bit for bit what single layers give.
 *
 * @param x pixels [N,H,W,C], prepared as `normalize` does with this mean and factor
 */
export function forwardPass(
  x: tf.Tensor4D,
  mean: tf.Tensor | undefined,
  factor: number,
  steps: readonly ForwardStep[],
): tf.Tensor2D | undefined {
  const program: number[][] = [];
  const parameters: Record<string, tf.Tensor> = {};
  for (const step of steps) {
    if (step.kind === 'relu') {
      const before = program.at(-1);
      if (!before) return undefined;
      before[1] = 1;
      continue;
    }
    const { size, stride, pad } = step;
    const window = [
      x.shape[0],
      ...step.input,
      ...step.output,
      size,
      size,
      stride,
      stride,
      pad,
      pad,
    ];
    if (step.parameters) {
      parameters[`weight${program.length}`] = step.parameters.weight;
      parameters[`bias${program.length}`] = step.parameters.bias;
    }
    program.push([STEP_KINDS.indexOf(step.kind), 0, ...window]);
  }
  const most = Math.max(
    ...program.flatMap((row) => [row[3] * row[4] * row[5], row[6] * row[7] * row[8]]),
  );
  if (program.length > 64 || most > 2 ** 22 || steps.at(-1)?.kind === 'relu') return undefined;
  const attributes = { program, factor };
  return fused('BangForward', { x, mean, ...parameters }, attributes)?.[0] as
    tf.Tensor2D | undefined;
}

/**
 * The line that attacks move along: clip(round(x + scale · direction), 0, 255), in pixel units, for
 * the images in `rows`.
 *
 * @param x images [M,H,W,C]
 * @param direction [M,H,W,C]
 * @param rows int32 [N], each below M
 * @param scale [N]
 */
export function perturb(
  x: tf.Tensor4D,
  direction: tf.Tensor4D,
  rows: tf.Tensor1D,
  scale: tf.Tensor1D,
): tf.Tensor4D {
  const own = fused('BangPerturb', { x, direction, rows, scale });
  if (own) return own[0] as tf.Tensor4D;
  const along = tf.mul(tf.gather(direction, rows), tf.reshape(scale, [-1, 1, 1, 1]));
  return tf.clipByValue(tf.round(tf.add(tf.gather(x, rows), along)), 0, 255);
}

/**
 * Copies of an image with noise: clip(x + round(z), 0, 255), z normal. The same on every engine.
 *
 * @param x an image [H,W,C] of integers from 0 to 255
 * @returns [copies,H,W,C]
 */
export function addNoise(
  x: tf.Tensor3D,
  copies: number,
  source: NoiseSource,
  distribution: RoundedNormal,
): tf.Tensor4D {
  const { sigma, thresholds, depth } = distribution;
  const attributes = { copies, counters: countersOf(source, sigma), thresholds, depth };
  const own = fused('BangNoise', { x }, attributes);
  if (own) return own[0] as tf.Tensor4D;
  const values = noisyCopies(x.dataSync(), copies, source, distribution);
  return tf.tensor4d(values, [copies, ...x.shape]);
}
