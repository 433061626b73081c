import { createRequire } from 'node:module';
import { kernelFiles } from '../../../native/build.mjs';
import { messageOf } from '../../base/errors.js';

type Floats = Float32Array;

/**
 * The kernels, which `native/kernels.def` documents. `native/border_*.cc` checks the arguments and throws
 * a TypeError for an invalid one. Outputs come last and are written in place.
 * `geometry` is [batch, inH, inW, inC, outH, outW, outC, kH, kW, strideH, strideW, padTop, padLeft].
 */
export interface NativeKernels {
  conv2d(
    geometry: Int32Array,
    x: Floats,
    filter: Floats,
    bias: Floats | null,
    relu: boolean,
    y: Floats,
  ): void;
  /** `pool`: the geometry of the max pooling of the convolution's output. */
  conv2dMaxPool(
    geometry: Int32Array,
    pool: Int32Array,
    x: Floats,
    filter: Floats,
    bias: Floats,
    y: Floats,
    winner: Uint8Array,
  ): void;
  /** If `pool` and `winner` are null, kappa refers to the convolution's output instead of the pooled output. */
  conv2dInputGradient(
    geometry: Int32Array,
    pool: Int32Array | null,
    winner: Uint8Array | null,
    kappa: Floats,
    filter: Floats,
    dx: Floats,
  ): void;
  conv2dWeightGradient(
    geometry: Int32Array,
    x: Floats,
    pool: Int32Array | null,
    winner: Uint8Array | null,
    kappa: Floats,
    scale: Floats | null,
    dw: Floats,
    db: Floats | null,
  ): void;
  pooledNorms(pool: Int32Array, winner: Uint8Array, kappa: Floats, norm: Floats): void;
  matMul(
    m: number,
    n: number,
    k: number,
    a: Floats,
    transposeA: boolean,
    b: Floats,
    transposeB: boolean,
    scale: Floats | null,
    bias: Floats | null,
    relu: boolean,
    c: Floats,
  ): void;
  columnSums(rows: number, columns: number, x: Floats, scale: Floats | null, sums: Floats): void;
  maxPool(geometry: Int32Array, x: Floats, y: Floats): void;
  maxPoolGradient(geometry: Int32Array, x: Floats, dy: Floats, dx: Floats): void;
  avgPool(geometry: Int32Array, x: Floats, y: Floats): void;
  avgPoolGradient(geometry: Int32Array, dy: Floats, dx: Floats): void;
  relu(count: number, x: Floats, y: Floats): void;
  reluGradient(count: number, y: Floats, dy: Floats, dx: Floats): void;
  multiply(count: number, a: Floats, b: Floats, y: Floats): void;
  softmaxCrossEntropy(
    batch: number,
    classes: number,
    logits: Floats,
    labels: Int32Array,
    factor: number,
    loss: Floats,
    gradient: Floats,
    correct: Floats,
  ): void;
  rowNorms(batch: number, values: number, x: Floats, norm: Floats): void;
  eta(batch: number, norm: Floats, epsilonHat: Floats, eta: Floats): void;
  sgd(
    count: number,
    weight: Floats,
    velocity: Floats,
    gradient: Floats,
    rate: number,
    momentum: number,
    decay: number,
  ): void;
  normalize(
    batch: number,
    values: number,
    x: Floats,
    mean: Floats | null,
    factor: number,
    y: Floats,
  ): void;
  overLargest(batch: number, values: number, x: Floats, y: Floats): void;
  /** `rows`: for each output, the index of its source image. */
  perturb(
    images: number,
    batch: number,
    values: number,
    x: Floats,
    direction: Floats,
    rows: Int32Array,
    scale: Floats,
    y: Floats,
  ): void;
  /**
   * `program`: for each layer its kind (0 convolution, 1 inner product, 2 max and 3 average pooling),
   * 1 if ReLU follows (else 0), and its geometry. The weights and biases of all layers follow as
   * `parameters`.
   */
  forward(
    layers: number,
    program: Int32Array,
    x: Floats,
    mean: Floats | null,
    factor: number,
    logits: Floats,
    ...parameters: Floats[]
  ): void;
  /**
   * `counters` is [seed, purpose, image, firstCopy, sigma]. `thresholds` ends with 2³² − 1. The lowest
   * noise is −depth.
   */
  addNoise(
    copies: number,
    values: number,
    x: Floats,
    counters: Uint32Array,
    thresholds: Uint32Array,
    depth: number,
    y: Floats,
  ): void;
}

/** The exports of the addon. */
export interface NativeBinding extends NativeKernels {
  kernelNames(): string[];
  setThreads(count: number): void;
  /** Multiply-adds per second of all threads together, on values in registers. */
  peak(seconds: number): number;
  /** Bytes from the start of the buffer to the first cache-line boundary in it. */
  alignment(buffer: ArrayBuffer): number;
  scratchBytes(): number;
  level(): string;
  levels(): string[];
  setLevel(name: string): void;
}

export type LoadedBinding = { binding: NativeBinding } | { problem: string };

let loaded: LoadedBinding | undefined;

/** Loads the kernels, built by `npm ci` or prebuilt, or returns a clause that says why it cannot. */
export function loadBinding(): LoadedBinding {
  return (loaded ??= load());
}

function load(): LoadedBinding {
  let problem = 'its kernels are not built';
  for (const file of filesOfKernels()) {
    try {
      return { binding: createRequire(import.meta.url)(file) as NativeBinding };
    } catch (error) {
      problem = `its kernels cannot be loaded (${messageOf(error)})`;
    }
  }
  return { problem };
}

/** None where the sources are missing, with which the kernels are compared. */
function filesOfKernels(): string[] {
  try {
    return kernelFiles();
  } catch {
    return [];
  }
}
